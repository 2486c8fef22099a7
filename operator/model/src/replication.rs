//! Where else a repository is kept, and when a push counts as kept.

use std::fmt;
use std::str::FromStr;

/// Most further stores of a repository.
pub const MAX_REPLICAS: usize = 4;

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

impl Replication {
    /// What contradicts itself in it, for repositories of the store `of`; the schema of a `Repository` says the same.
    #[must_use]
    pub fn flaw(&self, of: &str) -> Option<String> {
        let most = 1 + self.stores.len();
        let twice = self.stores.iter().enumerate().find(|(at, store)| self.stores[..*at].contains(store));
        if self.stores.is_empty() || self.stores.len() > MAX_REPLICAS {
            Some(format!("it names {} further stores; name 1 to {MAX_REPLICAS}", self.stores.len()))
        } else if let Some((_, store)) = twice {
            Some(format!("it names the store '{store}' twice; remove one of them"))
        } else if self.stores.iter().any(|store| store == of) {
            Some(format!("it names the store '{of}' itself, which holds the repositories anyhow; remove it"))
        } else {
            match (self.mode, self.quorum) {
                (ReplicationMode::Asynchronous, Some(_)) => {
                    Some("a quorum is about mode Synchronous only; remove it, or change the mode".to_owned())
                }
                (ReplicationMode::Synchronous, Some(quorum)) if !(2..=most).contains(&(quorum as usize)) => {
                    Some(format!("the quorum {quorum} is none of 2 to {most} stores; change it"))
                }
                _ => None,
            }
        }
    }
}

impl FromStr for ReplicationMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Asynchronous" => Ok(Self::Asynchronous),
            "Synchronous" => Ok(Self::Synchronous),
            _ => Err(format!("'{text}' is no mode: write Asynchronous or Synchronous")),
        }
    }
}

/// As on the command line: `MODE:STORE[+STORE...][:QUORUM]`.
impl FromStr for Replication {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let mode = parts.next().unwrap_or_default().parse()?;
        let stores = parts.next().filter(|stores| !stores.is_empty());
        let stores = stores.ok_or("it names no further stores: write MODE:STORE[+STORE...][:QUORUM]")?;
        let quorum =
            parts.next().map(|quorum| quorum.parse().map_err(|_| format!("the quorum '{quorum}' is no number")));
        if parts.next().is_some() {
            return Err("it has too many parts: write MODE:STORE[+STORE...][:QUORUM]".to_owned());
        }
        let stores = stores.split('+').map(str::to_owned).collect();
        Ok(Self { mode, stores, quorum: quorum.transpose()?, primary: None })
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}:{}", self.mode, self.stores.join("+"))?;
        self.quorum.map_or(Ok(()), |quorum| write!(to, ":{quorum}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        for text in ["Asynchronous:far", "Synchronous:far+third", "Synchronous:far+third:2"] {
            let read: Replication = text.parse().unwrap();
            assert_eq!((read.to_string().as_str(), read.flaw("default")), (text, None));
        }
        for text in
            ["", "far", "Synchronous", "Synchronous:", "synchronous:far", "Synchronous:far:x", "Synchronous:far:2:3"]
        {
            assert!(text.parse::<Replication>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_said_with_the_way_out() {
        let flaw = |text: &str| text.parse::<Replication>().unwrap().flaw("default").unwrap_or_default();
        for (text, said) in [
            ("Asynchronous:far+far", "'far' twice"),
            ("Asynchronous:far+default", "'default' itself"),
            ("Asynchronous:a+b+c+d+e", "name 1 to 4"),
            ("Asynchronous:far:2", "Synchronous only"),
            ("Synchronous:far:1", "none of 2 to 2"),
            ("Synchronous:far:3", "none of 2 to 2"),
        ] {
            assert!(flaw(text).contains(said), "{text}: {}", flaw(text));
        }
    }

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
