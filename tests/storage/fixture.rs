//! Stores to ask: a new folder, and a new bucket of one SeaweedFS that lives for a test.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use store::{FileStore, S3Store, StoreMetrics, StoreUrl};
use tempfile::TempDir;
use tests::fault_proxy::FaultProxy;
use tests::s3::SeaweedFs;

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

/// A client of the bucket, by way of `address`.
pub(crate) async fn client(bucket: &str, address: SocketAddr, key: (&str, &str)) -> Result<S3Store> {
    let url = format!("s3://{bucket}/some/prefix?region=us-east-1&endpoint=http://{address}&path-style=true");
    let StoreUrl::S3(url) = url.parse()? else { anyhow::bail!("not an S3 URL") };
    Ok(S3Store::open_as(&url, key, metrics()?).await?)
}

/// A server, a proxy in front of it, and a client that goes through the proxy.
pub(crate) struct Proxied {
    pub(crate) proxy: FaultProxy,
    pub(crate) store: S3Store,
    pub(crate) server: SeaweedFs,
}

impl Proxied {
    pub(crate) async fn start() -> Result<Self> {
        let server = SeaweedFs::start()?;
        server.bucket("test").context("failed to make a bucket")?;
        let proxy = FaultProxy::start(([127, 0, 0, 1], server.port()).into())?;
        let store = client("test", proxy.address(), ADMIN).await?;
        Ok(Self { proxy, store, server })
    }
}
