//! What an error asks of the one who sees it; every crate maps its errors to this.

/// What the caller should do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The thing is not there.
    NotFound,
    /// Somebody else changed it first: look again.
    Conflict,
    /// The caller may not.
    Denied,
    /// The input is wrong: change it.
    Invalid,
    /// Try again later.
    Unavailable,
    /// This process lost its right to act: stop.
    Fenced,
    /// A fault of ours or damaged data: a person must look.
    Internal,
}
