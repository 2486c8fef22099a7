//! The names in the addresses of repositories, the same for every transport: `/NAMESPACE/REPOSITORY[.git]`, and `/v1/repos/REPOSITORY`
//! where the namespace follows from something else; and the addresses of clients.

use std::net::IpAddr;

use model::{Namespace, RepositoryName};

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The namespace, if the path has one.
    pub(crate) namespace: Option<Namespace>,
    /// The repository; `None` when the path has the shape but no name that could exist.
    pub(crate) name: Option<RepositoryName>,
}

/// Reads a path without its first `/`; `None` when it does not have the shape of a repository's address.
pub(crate) fn named(path: &str) -> Option<Named> {
    let (namespace, name) = if let Some(name) = path.strip_prefix("v1/repos/") {
        (None, name)
    } else {
        let (namespace, name) = path.split_once('/')?;
        match namespace.parse() {
            Ok(namespace) => (Some(namespace), name),
            // The shape is right, so the answer must be that of a repository that does not exist.
            Err(_) => return Some(Named { namespace: None, name: None }),
        }
    };
    let name = name.strip_suffix(".git").unwrap_or(name).parse().ok();
    Some(Named { namespace, name })
}

/// An IPv6 client has a whole network of addresses.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (!0 << 64)).into()),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}
