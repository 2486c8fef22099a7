//! The rules by which git refuses objects on receive (`git fsck` messages of severity error, and warnings as
//! `receive.fsckObjects` makes them errors).
//!
//! One deliberate difference: zero-padded file modes are accepted, as all large hosts do, because well-known
//! histories have them and clients ignore them. Not here: whether linked objects exist ([`crate::connectivity`]).

mod attributes;
mod commit;
mod config;
mod dot_git;
mod identity;
mod modules;
mod submodule_url;
mod tag;
mod tree;

use std::fmt;

use gix::objs::Kind;
use model::ObjectFormat;

/// A broken rule, named as in `git help fsck`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    id: &'static str,
    text: &'static str,
}

impl Problem {
    pub(crate) const GITMODULES_MISSING: Self = Self::new("gitmodulesMissing", "unable to read .gitmodules blob");
    pub(crate) const GITATTRIBUTES_MISSING: Self =
        Self::new("gitattributesMissing", "unable to read .gitattributes blob");

    const fn new(id: &'static str, text: &'static str) -> Self {
        Self { id, text }
    }

    /// git's name of the rule, such as `treeNotSorted`.
    #[must_use]
    pub fn id(&self) -> &'static str {
        self.id
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id, self.text)
    }
}

/// Is told what an object mentions while it is checked.
pub trait Mentions {
    /// The object needs another one to exist, of this kind.
    fn link(&mut self, id: &gix::oid, kind: Kind);
    /// A tree calls an object `.gitmodules`.
    fn gitmodules(&mut self, id: &gix::oid);
    /// A tree calls an object `.gitattributes`.
    fn gitattributes(&mut self, id: &gix::oid);
}

/// Checks an object by itself; what it names has ids of `format`.
///
/// # Errors
/// The first broken rule.
pub fn check(kind: Kind, data: &[u8], format: ObjectFormat, mentions: &mut dyn Mentions) -> Result<(), Problem> {
    match kind {
        Kind::Commit => commit::check(data, format, mentions),
        Kind::Tree => tree::check(data, format, mentions),
        Kind::Tag => tag::check(data, format, mentions),
        Kind::Blob => Ok(()),
    }
}

/// Checks what a tree calls `.gitmodules`.
///
/// # Errors
/// The first broken rule.
pub fn gitmodules(kind: Kind, data: &[u8]) -> Result<(), Problem> {
    modules::check(kind, data)
}

/// Checks what a tree calls `.gitattributes`.
///
/// # Errors
/// The first broken rule.
pub fn gitattributes(kind: Kind, data: &[u8]) -> Result<(), Problem> {
    attributes::check(kind, data)
}

/// Takes the rest of the line and its end from `rest`.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| *byte == b'\n')?;
    let line = &rest[..at];
    *rest = &rest[at + 1..];
    Some(line)
}

/// Takes a line that begins with `key` and a space.
fn take_field<'a>(rest: &mut &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let mut after = rest.strip_prefix(key)?.strip_prefix(b" ")?;
    let value = take_line(&mut after)?;
    *rest = after;
    Some(value)
}

/// An object's name in lower or upper case hexadecimal.
fn parse_id(hex: &[u8], format: ObjectFormat) -> Option<gix::ObjectId> {
    gix::ObjectId::from_hex(hex).ok().filter(|id| id.kind() == format)
}

/// Headers end in an empty line or at least in a line end, and hold no NUL.
fn check_headers(data: &[u8]) -> Result<(), Problem> {
    for (at, byte) in data.iter().enumerate() {
        match byte {
            0 => return Err(Problem::new("nulInHeader", "unterminated header: NUL byte in it")),
            b'\n' if data.get(at + 1) == Some(&b'\n') => return Ok(()),
            _ => {}
        }
    }
    if data.last() == Some(&b'\n') { Ok(()) } else { Err(Problem::new("unterminatedHeader", "unterminated header")) }
}

#[cfg(test)]
mod tests;
