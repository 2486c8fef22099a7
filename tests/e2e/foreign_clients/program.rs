//! What a foreign client is: how it is started, and what it cannot do.

use std::process::Command;

/// A program under `tests/clients/`.
#[derive(Debug)]
pub(crate) struct Program {
    /// As its makers write it.
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The file of this repository that pins the version.
    pub(crate) pinned_in: &'static str,
    pub(crate) command: fn() -> Command,
    /// Whether it takes name and password from the URL only.
    pub(crate) password_in_url: bool,
    pub(crate) cannot: &'static [Feature],
}

/// What a client may be without. Each lack is measured too: when it goes away, a test says that the table is old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    /// A password without TLS.
    PlainHttp,
    Ssh,
    /// To say what references a server has.
    List,
    Push,
    /// Annotated tags of its own.
    Tags,
    /// More than one ref in one push.
    SeveralRefs,
    /// To clone a repository without commits.
    EmptyClone,
    /// To clone with a depth.
    Depth,
    /// More of the history of a shallow clone, up to all of it.
    Deepen,
    /// A partial clone.
    Filter,
}

impl Program {
    pub(crate) fn can(&self, feature: Feature) -> bool {
        !self.cannot.contains(&feature)
    }
}
