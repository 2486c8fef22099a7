//! Partial clones: what a client leaves out ([rev-list]).
//!
//! What a client names it gets, whatever the filter says; commits and tags are only left out by `object:type`.
//!
//! [rev-list]: https://git-scm.com/docs/git-rev-list#Documentation/git-rev-list.txt---filterltfilter-specgt

use gix::{bstr::BString, objs::Kind};
use percent_encoding::percent_decode;

/// Filters in one combination.
const MAX_COMBINED: usize = 32;

/// What a client wants of what it could have; several filters leave out what any of them leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// `blob:limit`: blobs of this size and more are left out; `blob:none` is 0.
    pub blob_limit: Option<u64>,
    /// `tree`: trees and blobs so far below the root of a commit, and farther, are left out; the root tree is at 0.
    pub depth: Option<u64>,
    /// `object:type`: objects of other kinds are left out.
    pub kind: Option<Only>,
    /// `sparse:oid`: blobs are left out that are not matched by the patterns in each of these blobs, which are named as they were.
    pub sparse: Vec<BString>,
}

/// The kinds that `object:type` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// Objects of this kind.
    Kind(Kind),
    /// None: two such filters contradict each other.
    Nothing,
}

/// Why a filter is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Not a filter.
    #[error("invalid filter-spec '{0}'")]
    Invalid(String),
    /// A filter that is not offered.
    #[error("the filter '{0}' is not supported by this server")]
    Unsupported(&'static str),
}

impl Filter {
    /// Reads a filter, such as `blob:none` or `combine:tree:3+blob:limit=1m`.
    ///
    /// # Errors
    /// When it is not one, or is not supported.
    pub fn parse(text: &[u8]) -> Result<Self, FilterError> {
        let invalid = || FilterError::Invalid(String::from_utf8_lossy(&text[..text.len().min(100)]).into_owned());
        let Some(combined) = text.strip_prefix(b"combine:") else { return Self::single(text, invalid) };
        let parts: Vec<&[u8]> = combined.split(|byte| *byte == b'+').take(MAX_COMBINED + 1).collect();
        if parts.len() > MAX_COMBINED {
            return Err(invalid());
        }
        parts.into_iter().try_fold(Self::default(), |filter, part| {
            let part: Vec<u8> = percent_decode(part).collect();
            Ok(filter.and(Self::single(&part, invalid)?))
        })
    }

    fn single(text: &[u8], invalid: impl Fn() -> FilterError) -> Result<Self, FilterError> {
        let text = std::str::from_utf8(text).map_err(|_| invalid())?;
        let (name, value) = text.split_once([':', '=']).unwrap_or((text, ""));
        match (name, value) {
            ("blob", "none") => Ok(Self { blob_limit: Some(0), ..Self::default() }),
            ("blob", value) => {
                let limit = value.strip_prefix("limit=").and_then(magnitude).ok_or_else(invalid)?;
                Ok(Self { blob_limit: Some(limit), ..Self::default() })
            }
            ("tree", value) => Ok(Self { depth: Some(magnitude(value).ok_or_else(invalid)?), ..Self::default() }),
            ("object", value) => {
                let kind = value.strip_prefix("type=").and_then(|kind| Kind::from_bytes(kind.as_bytes()).ok());
                Ok(Self { kind: Some(Only::Kind(kind.ok_or_else(invalid)?)), ..Self::default() })
            }
            ("sparse", value) => {
                let name = value.strip_prefix("oid=").filter(|name| !name.is_empty()).ok_or_else(invalid)?;
                Ok(Self { sparse: vec![name.into()], ..Self::default() })
            }
            ("combine", _) => Err(FilterError::Unsupported("combine in combine")),
            _ => Err(invalid()),
        }
    }

    /// What both leave.
    fn and(self, other: Self) -> Self {
        let least = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        let kind = match (self.kind, other.kind) {
            (Some(one), Some(two)) if one != two => Some(Only::Nothing),
            (one, two) => one.or(two),
        };
        let sparse = [self.sparse, other.sparse].concat();
        Self {
            blob_limit: least(self.blob_limit, other.blob_limit),
            depth: least(self.depth, other.depth),
            kind,
            sparse,
        }
    }

    /// Whether objects of this kind may be sent at all.
    pub(super) fn sends(&self, kind: Kind) -> bool {
        let by_kind = self.kind.is_none_or(|only| only == Only::Kind(kind));
        let by_place = match kind {
            Kind::Blob => self.blob_limit != Some(0) && self.depth.is_none_or(|depth| depth > 1),
            Kind::Tree => self.depth != Some(0),
            Kind::Commit | Kind::Tag => true,
        };
        by_kind && by_place
    }

    /// Whether trees must be walked to know what is sent below them.
    pub(super) fn looks_into_trees(&self) -> bool {
        self.sends(Kind::Tree) || self.sends(Kind::Blob)
    }

    /// Whether the place of an object decides, and not only what it is.
    pub(super) fn minds_depth(&self) -> bool {
        self.depth.is_some_and(|depth| depth > 0) && self.looks_into_trees()
    }

    /// Whether the path of a blob decides.
    pub(super) fn minds_paths(&self) -> bool {
        !self.sparse.is_empty() && self.sends(Kind::Blob)
    }

    /// Whether an object so far below a root tree is sent.
    pub(super) fn reaches(&self, depth: u64) -> bool {
        self.depth.is_none_or(|limit| depth < limit)
    }

    /// The size from which on blobs are left out, if there is one and some are sent.
    pub(super) fn size_limit(&self) -> Option<u64> {
        self.blob_limit.filter(|limit| *limit > 0 && self.sends(Kind::Blob))
    }
}

/// A number with one of git's suffixes.
fn magnitude(text: &str) -> Option<u64> {
    let last = text.chars().last()?;
    let (digits, factor) = match last.to_ascii_lowercase() {
        'k' => (&text[..text.len() - 1], 1 << 10),
        'm' => (&text[..text.len() - 1], 1 << 20),
        'g' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Filter, FilterError> {
        Filter::parse(text.as_bytes())
    }

    #[test]
    fn filters_are_read_as_git_writes_them() {
        let of = |blob_limit, depth, kind| Ok(Filter { blob_limit, depth, kind, sparse: vec![] });
        assert_eq!(parse("blob:none"), of(Some(0), None, None));
        assert_eq!(parse("blob:limit=10"), of(Some(10), None, None));
        assert_eq!(parse("blob:limit=1K"), of(Some(1_024), None, None));
        assert_eq!(parse("tree:0"), of(None, Some(0), None));
        assert_eq!(parse("object:type=tag"), of(None, None, Some(Only::Kind(Kind::Tag))));
        assert_eq!(parse("combine:blob:none+tree:3"), of(Some(0), Some(3), None));
        assert_eq!(parse("combine:blob%3Alimit%3D1m+blob:limit=2k"), of(Some(2_048), None, None));
        assert_eq!(parse("combine:object:type=tag+object:type=blob"), of(None, None, Some(Only::Nothing)));
        assert_eq!(parse("combine:object:type=tag+object:type=tag"), parse("object:type=tag"));
        let sparse = |blob_limit, names: &[&str]| {
            Ok(Filter { blob_limit, sparse: names.iter().map(|name| (*name).into()).collect(), ..Filter::default() })
        };
        assert_eq!(parse("sparse:oid=main:a/b=c"), sparse(None, &["main:a/b=c"]));
        assert_eq!(parse("combine:sparse:oid=x+blob:none+sparse:oid=main%3ay"), sparse(Some(0), &["x", "main:y"]));
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in [
            "",
            "blob",
            "blob:",
            "blob:some",
            "blob:limit=",
            "blob:limit=-1",
            "blob:limit=k",
            "tree:",
            "tree:x",
            "object:type=",
            "object:type=thing",
            "combine:",
            "combine:+",
            "bogus:1",
            "sparse",
            "sparse:oid=",
            "sparse:path=x",
            "blob:limit=99999999999999999999",
        ] {
            assert!(matches!(parse(text), Err(FilterError::Invalid(_))), "{text}: {:?}", parse(text));
        }
        assert!(matches!(Filter::parse(b"blob:\xff"), Err(FilterError::Invalid(_))));
        assert!(matches!(parse(&format!("combine:{}", ["tree:1"; 40].join("+"))), Err(FilterError::Invalid(_))));
        assert!(matches!(parse("combine:combine:blob:none"), Err(FilterError::Unsupported(_))));
    }
}
