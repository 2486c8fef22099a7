//! Names of references, as `git check-ref-format` wants them.

use std::borrow::Borrow;
use std::fmt;

use gix::bstr::{BStr, BString, ByteSlice as _};

/// Longest name that is accepted, in bytes: far above what file systems of clients can hold.
const MAX_BYTES: usize = 1_024;

/// References below this prefix hold data of ours; clients neither see nor change them.
const HIDDEN: &[u8] = b"refs/codekeep/";

/// Why bytes are not the name of a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefNameError {
    /// Not below `refs/`.
    #[error("a reference name starts with refs/ and has a name after it")]
    NotFull,
    /// Too long.
    #[error("a reference name has at most {MAX_BYTES} bytes")]
    TooLong,
    /// Against git's rules.
    #[error("not a valid reference name (git check-ref-format)")]
    Format,
}

pub(crate) fn is_tag(name: &[u8]) -> bool {
    name.starts_with(b"refs/tags/")
}

pub(crate) fn is_hidden(name: &[u8]) -> bool {
    name.starts_with(HIDDEN)
}

/// A full reference name such as `refs/heads/main`: bytes, not necessarily UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(BString);

impl RefName {
    /// The name as bytes.
    #[must_use]
    pub fn as_bstr(&self) -> &BStr {
        self.0.as_bstr()
    }

    /// Whether it is a branch.
    #[must_use]
    pub fn is_branch(&self) -> bool {
        self.0.starts_with(b"refs/heads/")
    }

    /// Whether it is a tag.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        is_tag(&self.0)
    }

    /// Whether it is invisible to ordinary clients.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        is_hidden(&self.0)
    }

    /// The name without `refs/heads/` or `refs/tags/`.
    #[must_use]
    pub fn short(&self) -> &BStr {
        let bytes = self.0.as_slice();
        bytes.strip_prefix(b"refs/heads/").or_else(|| bytes.strip_prefix(b"refs/tags/")).unwrap_or(bytes).as_bstr()
    }

    /// The branch of this short name.
    ///
    /// # Errors
    /// When `refs/heads/<short>` is not a reference name.
    pub fn branch(short: &str) -> Result<Self, RefNameError> {
        Self::try_from(format!("refs/heads/{short}").as_bytes())
    }
}

impl TryFrom<&[u8]> for RefName {
    type Error = RefNameError;

    fn try_from(bytes: &[u8]) -> Result<Self, RefNameError> {
        if bytes.len() > MAX_BYTES {
            return Err(RefNameError::TooLong);
        }
        if bytes.strip_prefix(b"refs/").is_none_or(<[u8]>::is_empty) {
            return Err(RefNameError::NotFull);
        }
        // `-x` as the last part becomes an option in scripts; git refuses to create such branches too.
        if bytes.rsplit(|byte| *byte == b'/').next().is_some_and(|last| last.starts_with(b"-")) {
            return Err(RefNameError::Format);
        }
        gix::validate::reference::name(bytes.as_bstr()).map_err(|_| RefNameError::Format)?;
        Ok(Self(bytes.into()))
    }
}

impl TryFrom<&str> for RefName {
    type Error = RefNameError;

    fn try_from(text: &str) -> Result<Self, RefNameError> {
        Self::try_from(text.as_bytes())
    }
}

/// Names compare as their bytes do, so a sorted map may be asked for a prefix.
impl Borrow<[u8]> for RefName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_bstr())
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
