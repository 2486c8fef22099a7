//! One wished change of a reference.

use gix::{
    ObjectId,
    bstr::{BString, ByteSlice as _},
};
use model::RefName;

/// A change that the client wants: created without `old`, deleted without `new`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Which reference.
    pub name: RefName,
    /// What the client saw there.
    pub old: Option<ObjectId>,
    /// What shall be there.
    pub new: Option<ObjectId>,
}

/// A change that is refused before anybody looks at policies: its name is none, or it comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The name as it was sent.
    pub name: BString,
    /// Why, in a few words.
    pub reason: String,
}

/// A line of the form `<old> <new> <name>`.
pub(super) struct Line<'a> {
    pub(super) old: Option<ObjectId>,
    pub(super) new: Option<ObjectId>,
    pub(super) name: &'a [u8],
}

impl<'a> Line<'a> {
    /// `None` when the line has another form.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (old, rest) = split_id(line)?;
        let (new, name) = split_id(rest)?;
        (!name.is_empty()).then_some(Self { old, new, name })
    }

    /// The change, if it may be thought about.
    pub(super) fn into_command(self) -> Result<Command, Refused> {
        let refuse = |reason: &str| Refused { name: self.name.into(), reason: reason.to_owned() };
        let name = RefName::try_from(self.name).map_err(|error| refuse(&error.to_string()))?;
        if name.is_hidden() {
            return Err(refuse("this reference is kept by the server"));
        }
        if self.old.is_none() && self.new.is_none() {
            return Err(refuse("neither an old nor a new object"));
        }
        Ok(Command { name, old: self.old, new: self.new })
    }
}

fn split_id(line: &[u8]) -> Option<(Option<ObjectId>, &[u8])> {
    let (hex, rest) = line.split_once_str(" ")?;
    let id = ObjectId::from_hex(hex).ok()?;
    Some(((!id.is_null()).then_some(id), rest))
}
