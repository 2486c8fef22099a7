//! Where webhooks may not go: addresses that are not public, whatever name or notation points at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Networks that an operator permits although they are not public.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    allowed: Arc<[IpNet]>,
}

/// A target that must not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the address {0} is not public; an operator may permit its network with --webhook-allow-cidr")]
pub(crate) struct Forbidden(String);

impl Filter {
    pub(crate) fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether an address may be connected to.
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Checks a URL whose host is an address; names are checked when they are resolved.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err(Forbidden("without a host".to_owned())),
        };
        if self.permits(address) { Ok(()) } else { Err(Forbidden(address.to_string())) }
    }
}

/// Resolves a name once, keeps the permitted addresses; the connection goes to one of exactly these.
impl Resolve for Filter {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted: Vec<SocketAddr> =
                found.iter().copied().filter(|address| filter.permits(address.ip())).collect();
            if permitted.is_empty() {
                let forbidden =
                    found.first().map_or_else(|| name.as_str().to_owned(), |address| address.ip().to_string());
                return Err(Forbidden(forbidden).into());
            }
            let addresses: Addrs = Box::new(permitted.into_iter());
            Ok(addresses)
        })
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// By the IANA registry of special-purpose addresses.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., ..)
            | (169, 254, _)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (100, 64..=127, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

/// Global unicast only, without the ranges that carry IPv4 addresses or are for documentation.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    // 2001::/23 protocol assignments with Teredo, 2001:db8::/32 and 3fff::/20 documentation; 6to4, where the IPv4 address inside
    // decides nothing and which nobody needs for a webhook.
    let special =
        matches!((segments[0], segments[1]), (0x2001, 0..=0x01ff | 0x0db8) | (0x3fff, 0..=0x0fff) | (0x2002, _));
    global_unicast && !special
}

#[cfg(test)]
mod tests;
