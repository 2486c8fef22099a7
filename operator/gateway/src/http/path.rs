//! The addresses that git clients use, parsed strictly: what is not exactly one of them is no repository.

use git::advertise::Service;
use model::{Namespace, RepositoryName};

use super::ServiceName;
use super::lfs::Call;
use crate::address::{Named, named};
use crate::gateway::GatewayConfig;

/// What is asked of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `info/refs?service=…`
    Advertisement(Service),
    /// `git-upload-pack` or `git-receive-pack`
    Rpc(Service),
    /// `info/refs` without a service: the old protocol of static files.
    Dumb,
    /// `info/refs` with a service that does not exist.
    UnknownService,
    /// `info/lfs/…`
    Lfs(Call),
}

/// A repository-shaped address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The namespace, if the path has one; else it follows from host or credential.
    pub(crate) namespace: Option<Namespace>,
    /// The repository; `None` when the path has the shape but no name that could exist.
    pub(crate) name: Option<RepositoryName>,
    /// What is asked of it.
    pub(crate) endpoint: Endpoint,
}

/// Parses path and query; `None` when the path does not have the shape of a repository's address.
pub(crate) fn parse(path: &str, query: Option<&str>) -> Option<Address> {
    let (repository, endpoint) = split(path, query)?;
    let Named { namespace, name } = named(repository.strip_prefix('/')?)?;
    Some(Address { namespace, name, endpoint })
}

fn split<'a>(path: &'a str, query: Option<&str>) -> Option<(&'a str, Endpoint)> {
    if let Some(repository) = path.strip_suffix("/info/refs") {
        return Some((repository, advertisement(query)));
    }
    if let Some((repository, rest)) = path.rsplit_once("/info/lfs/") {
        return Some((repository, Endpoint::Lfs(Call::parse(rest))));
    }
    if let Some((repository, last)) = path.rsplit_once('/')
        && let Some(service) = Service::from_name(last)
    {
        return Some((repository, Endpoint::Rpc(service)));
    }
    if let Some(repository) = path.strip_suffix("/HEAD") {
        return Some((repository, Endpoint::Dumb));
    }
    path.split_once("/objects/").map(|(repository, _)| (repository, Endpoint::Dumb))
}

fn advertisement(query: Option<&str>) -> Endpoint {
    let Some(service) = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("service=")) else {
        return Endpoint::Dumb;
    };
    Service::from_name(service).map_or(Endpoint::UnknownService, Endpoint::Advertisement)
}

/// The namespace that a host name `<service>.<namespace>.svc[.<domain>]` names, if it is one and not that of a pool.
///
/// The form without `svc` is left to certificates: outside of a cluster it is anybody's host name.
pub(crate) fn namespace_of_host(host: &str, config: &GatewayConfig) -> Option<Namespace> {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let service = ServiceName::parse_full(name, &config.cluster_domain)?;
    if config.pool_service.as_ref() == Some(&service) {
        return None;
    }
    service.namespace.parse().ok()
}

#[cfg(test)]
mod tests;
