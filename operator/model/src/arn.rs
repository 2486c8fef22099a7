//! Amazon resource names of repositories.

use std::fmt;

use crate::name::{AccountId, RepositoryPath};

/// `arn:aws:codecommit:<region>:<account>:<repositoryName>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryArn {
    region: String,
    account: AccountId,
    path: RepositoryPath,
}

impl RepositoryArn {
    /// The ARN of a repository in a region.
    #[must_use]
    pub fn new(region: &str, path: &RepositoryPath) -> Self {
        Self { region: region.to_owned(), account: AccountId::of(&path.namespace), path: path.clone() }
    }
}

impl fmt::Display for RepositoryArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:codecommit:{}:{}:{}", self.region, self.account, self.path.name)
    }
}
