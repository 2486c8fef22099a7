//! Stores to ask: a new folder, and a new bucket of a server that lives for a test.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use store::{FileStore, S3Store, StoreMetrics, StoreUrl};
use tempfile::TempDir;
use tests::fault_proxy::FaultProxy;
use tests::s3::{S3Kind, S3Server};

/// Makes tests of functions that take the kind of a server: one on each.
macro_rules! on_each_server {
    ($($story:ident),+ $(,)?) => {
        mod on_seaweedfs {
            $(#[tokio::test]
            async fn $story() -> anyhow::Result<()> {
                super::$story(tests::s3::S3Kind::SeaweedFs).await
            })+
        }
        mod on_minio {
            $(#[tokio::test]
            async fn $story() -> anyhow::Result<()> {
                super::$story(tests::s3::S3Kind::MinIo).await
            })+
        }
    };
}
pub(crate) use on_each_server;

pub(crate) const ADMIN: (&str, &str) = ("testkey", "testsecret");
pub(crate) const READER: (&str, &str) = ("readkey", "readsecret");

pub(crate) fn metrics() -> Result<StoreMetrics> {
    Ok(StoreMetrics::new(&prometheus::Registry::new())?)
}

pub(crate) async fn folder() -> Result<(TempDir, FileStore)> {
    let folder = TempDir::new()?;
    let store = FileStore::open(folder.path(), metrics()?).await?;
    Ok((folder, store))
}

fn url(bucket: &str, address: SocketAddr) -> String {
    format!("s3://{bucket}/some/prefix?region=us-east-1&endpoint=http://{address}&path-style=true")
}

/// A client of the bucket, by way of `address`.
pub(crate) async fn client(bucket: &str, address: SocketAddr, key: (&str, &str)) -> Result<S3Store> {
    let url = url(bucket, address);
    let StoreUrl::S3(url) = url.parse()? else { anyhow::bail!("not an S3 URL") };
    Ok(S3Store::open_as(&url, key, metrics()?).await?)
}

/// A server, a proxy in front of it, and a client that goes through the proxy.
pub(crate) struct Proxied {
    pub(crate) proxy: FaultProxy,
    pub(crate) store: S3Store,
    pub(crate) server: S3Server,
}

impl Proxied {
    pub(crate) async fn start(kind: S3Kind) -> Result<Self> {
        let server = S3Server::start(kind)?;
        server.bucket("test").context("failed to make a bucket")?;
        let proxy = FaultProxy::start(server.address())?;
        let store = client("test", proxy.address(), ADMIN).await?;
        Ok(Self { proxy, store, server })
    }

    /// Store URL of the same bucket, by way of the proxy.
    pub(crate) fn url(&self) -> String {
        url("test", self.proxy.address())
    }
}
