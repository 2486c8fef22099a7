//! One address of an endpoint that has several: gateways of one store must agree on who won.

use std::net::IpAddr;

use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};

use super::S3Store;
use crate::url::S3Url;

/// A resolver that knows one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pinned(pub(super) IpAddr);

impl ResolveDns for Pinned {
    fn resolve_dns<'a>(&'a self, _name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Ok(vec![self.0]))
    }
}

impl S3Store {
    /// The addresses of the endpoint that the URL names; none when it names none, or when it cannot be resolved.
    pub(crate) async fn addresses(url: &S3Url) -> Vec<IpAddr> {
        let Some((host, port)) = url.endpoint.as_ref().and_then(|endpoint| {
            let host = endpoint.host_str()?.trim_matches(['[', ']']);
            Some((host.to_owned(), endpoint.port_or_known_default()?))
        }) else {
            return Vec::new();
        };
        let Ok(found) = tokio::net::lookup_host((host, port)).await else { return Vec::new() };
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::s3::Signed;
    use crate::{StoreMetrics, StoreUrl};

    #[tokio::test]
    async fn a_pinned_client_goes_to_its_address_whatever_the_name_says() -> Result<(), Box<dyn std::error::Error>> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let answer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await?;
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).await?;
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
            request.truncate(length);
            std::io::Result::Ok(String::from_utf8_lossy(&request).into_owned())
        });
        let url = format!("s3://bucket?endpoint=http://nowhere.invalid:{port}&path-style=true");
        let StoreUrl::S3(url) = url.parse()? else { return Err("not an S3 URL".into()) };
        assert!(S3Store::addresses(&url).await.is_empty());
        let loader = aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12());
        let loader =
            loader.credentials_provider(aws_sdk_s3::config::Credentials::new("key", "secret", None, None, "test"));
        let metrics = StoreMetrics::new(&prometheus::Registry::new())?;
        let store = S3Store::load(loader, &url, metrics, Some(Ipv4Addr::LOCALHOST.into())).await?;
        assert_eq!(store.contact("key", Signed::Ours).await?.status, 404);
        assert!(answer.await??.contains("nowhere.invalid"));
        Ok(())
    }
}
