//! Where else a repository is kept, and when a push counts as kept.

use std::fmt;

/// What a Repository asks for: further stores that hold the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replication {
    /// When a push is acknowledged.
    pub mode: ReplicationMode,
    /// Names of the further stores; never the one that holds the repository.
    pub stores: Vec<String>,
    /// With [`ReplicationMode::Synchronous`]: stores that hold a push before it is acknowledged, the primary one among them; all of them
    /// when `None`. At least 2, at most all.
    pub quorum: Option<u32>,
    /// The store that is to be the primary one, when somebody said so.
    pub primary: Option<String>,
}

/// When a push to a replicated repository is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationMode {
    /// When the primary store holds it; the others get it as soon as they can.
    Asynchronous,
    /// When a quorum of the stores holds it.
    Synchronous,
}

impl fmt::Display for ReplicationMode {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Asynchronous => "Asynchronous",
            Self::Synchronous => "Synchronous",
        })
    }
}

impl Replication {
    /// Replicas, beside the primary store, that must hold a push before it is acknowledged.
    #[must_use]
    pub fn needed(&self) -> usize {
        let all = self.stores.len();
        match (self.mode, self.quorum) {
            (ReplicationMode::Asynchronous, _) => 0,
            (ReplicationMode::Synchronous, None) => all,
            (ReplicationMode::Synchronous, Some(quorum)) => (quorum as usize).saturating_sub(1).clamp(1, all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_counts_the_primary_store() {
        let needed = |mode, quorum| {
            let stores = vec!["far".to_owned(), "third".to_owned()];
            Replication { mode, stores, quorum, primary: None }.needed()
        };
        assert_eq!(needed(ReplicationMode::Asynchronous, None), 0);
        assert_eq!(needed(ReplicationMode::Synchronous, None), 2);
        assert_eq!(needed(ReplicationMode::Synchronous, Some(2)), 1);
        assert_eq!(needed(ReplicationMode::Synchronous, Some(3)), 2);
    }
}
