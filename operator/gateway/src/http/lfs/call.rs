//! Which call of the LFS API an address means.

use http::Method;
use model::lfs::{LockId, Oid};
use model::policy::Action;

/// A call. Names that cannot be are `None`: who may not know the repository must not learn it from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// `objects/batch`
    Batch,
    /// `objects/<oid>`
    Object(Option<Oid>),
    /// `verify`
    Verify,
    /// `locks`
    Locks,
    /// `locks/verify`
    VerifyLocks,
    /// `locks/<id>/unlock`
    Unlock(Option<LockId>),
    /// None that there is.
    Unknown,
}

impl Call {
    /// Parses what comes after `info/lfs/`.
    pub(crate) fn parse(rest: &str) -> Self {
        match rest {
            "objects/batch" => Self::Batch,
            "verify" => Self::Verify,
            "locks" => Self::Locks,
            "locks/verify" => Self::VerifyLocks,
            _ => {
                if let Some(oid) = rest.strip_prefix("objects/").filter(|oid| !oid.contains('/')) {
                    return Self::Object(oid.parse().ok());
                }
                let id = rest.strip_prefix("locks/").and_then(|rest| rest.strip_suffix("/unlock"));
                id.filter(|id| !id.contains('/')).map_or(Self::Unknown, |id| Self::Unlock(LockId::parse(id)))
            }
        }
    }

    /// The label in metrics.
    pub(crate) fn verb(self, method: &Method) -> &'static str {
        match self {
            Self::Batch => "lfs-batch",
            Self::Object(_) if method == Method::PUT => "lfs-upload",
            Self::Object(_) => "lfs-download",
            Self::Verify => "lfs-verify",
            Self::Locks | Self::VerifyLocks | Self::Unlock(_) => "lfs-lock",
            Self::Unknown => "other",
        }
    }

    /// The methods that it has; `None` when there is no such call.
    pub(super) fn methods(self) -> Option<&'static str> {
        match self {
            Self::Batch | Self::Verify | Self::VerifyLocks | Self::Unlock(_) => Some("POST"),
            Self::Object(_) => Some("GET, HEAD, PUT"),
            Self::Locks => Some("GET, POST"),
            Self::Unknown => None,
        }
    }

    /// Whether a body in JSON comes with it.
    pub(super) fn has_json(self, method: &Method) -> bool {
        method == Method::POST && !matches!(self, Self::Object(_) | Self::Unknown)
    }

    /// What the caller needs for it; a batch says so in its body.
    pub(super) fn action(self, method: &Method) -> Action {
        match self {
            Self::Verify | Self::VerifyLocks | Self::Unlock(_) => Action::GitPush,
            Self::Object(_) if method == Method::PUT => Action::GitPush,
            Self::Locks if method == Method::POST => Action::GitPush,
            Self::Object(_) | Self::Locks | Self::Batch | Self::Unknown => Action::GitPull,
        }
    }
}
