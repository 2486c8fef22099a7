//! Names of namespaces and repositories, and the ids that stand for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::clock::Random;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not an RFC 1123 label.
    #[error("a namespace has 1 to 63 lower case letters, digits and '-', and starts and ends with a letter or digit")]
    Namespace,
    /// Not a repository name.
    #[error(
        "a repository name has 1 to 100 letters, digits, '.', '_' and '-', with '/' between segments; no segment is empty, \
         '.', '..' or starts with '-', none ends in '.lock', and the name does not end in '.git'"
    )]
    Repository,
    /// Not `NAMESPACE/NAME`.
    #[error("write NAMESPACE/NAME")]
    Path,
    /// Not a repository id.
    #[error("a repository id has 32 lower case hexadecimal digits")]
    Id,
    /// Not an account id.
    #[error("an account id has 12 digits")]
    Account,
}

macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

/// A Kubernetes namespace: an RFC 1123 label. It plays the part of an AWS account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(String);

/// A repository's name within its namespace, by CodeCommit's rules, with `/` between segments as an extension.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName(String);

/// The random id of a repository in its bucket: 32 lower case hexadecimal digits, never made of client text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryId(String);

/// The 12 digits by which a namespace is known where AWS expects an account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

text_name!(Namespace);
text_name!(RepositoryName);
text_name!(RepositoryId);
text_name!(AccountId);

impl FromStr for Namespace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good =
            (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Namespace) }
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let byte_ok = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let segment_ok = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && !segment.starts_with('-')
                && segment.strip_suffix(".lock").is_none()
                && segment.bytes().all(byte_ok)
        };
        let good =
            (1..=100).contains(&text.len()) && text.strip_suffix(".git").is_none() && text.split('/').all(segment_ok);
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Repository) }
    }
}

impl FromStr for RepositoryId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Id) }
    }
}

impl FromStr for AccountId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::Account) }
    }
}

impl RepositoryName {
    /// The name that no other one sorts before: where those of a namespace begin in a sorted list of paths.
    #[must_use]
    pub(crate) fn least() -> Self {
        // A name begins with '.' at the least, goes on then, and nothing in it sorts before '-'.
        Self(".-".to_owned())
    }
}

impl RepositoryId {
    /// A new id.
    #[must_use]
    pub fn random(random: &dyn Random) -> Self {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        Self(hex::encode(bytes))
    }
}

impl AccountId {
    /// The account id of a namespace: stable, derived from its name alone.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, namespace.as_str().as_bytes());
        let number = digest.as_ref().iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
        Self(format!("{:012}", number % 1_000_000_000_000))
    }
}

/// Where a repository is for people: its namespace and name, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RepositoryPath {
    /// The namespace.
    pub namespace: Namespace,
    /// The name within it.
    pub name: RepositoryName,
}

impl fmt::Display for RepositoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for RepositoryPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (namespace, name) = text.split_once('/').ok_or(NameError::Path)?;
        Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
    }
}

#[cfg(test)]
mod tests;
