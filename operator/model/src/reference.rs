//! A reference with its value, as those see it who list references.

use gix::ObjectId;
use gix::bstr::BStr;

use crate::ref_name;

/// A reference, borrowed from wherever references are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Its full name.
    pub name: &'a BStr,
    /// The object that it points to.
    pub id: ObjectId,
    /// For an annotated tag, the first object behind it that is no tag.
    pub peeled: Option<ObjectId>,
}

impl Reference<'_> {
    /// Whether it is a tag.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        ref_name::is_tag(self.name)
    }

    /// Whether it is invisible to ordinary clients.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        ref_name::is_hidden(self.name)
    }
}

/// What a reference points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefValue {
    /// The object.
    pub id: ObjectId,
    /// For an annotated tag, the first object behind it that is no tag.
    pub peeled: Option<ObjectId>,
}
