//! Real S3 servers for tests, each in a process of its own on loopback with its data in a temporary folder.

mod minio;
mod seaweedfs;
mod unfit;

use std::net::SocketAddr;

use anyhow::Result;

pub use minio::MinIo;
pub use seaweedfs::SeaweedFs;
pub use unfit::{Unfit, UnfitServer};

/// Credentials of all of them.
const KEY: &str = "testkey";
const SECRET: &str = "testsecret";

/// The servers whose conditional writes are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Kind {
    /// SeaweedFS: losers of a race wait for seconds.
    SeaweedFs,
    /// MinIO: the second opinion.
    MinIo,
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub enum S3Server {
    /// SeaweedFS.
    SeaweedFs(SeaweedFs),
    /// MinIO.
    MinIo(MinIo),
}

impl S3Server {
    /// Starts a server and waits for it.
    pub fn start(kind: S3Kind) -> Result<Self> {
        Ok(match kind {
            S3Kind::SeaweedFs => Self::SeaweedFs(SeaweedFs::start()?),
            S3Kind::MinIo => Self::MinIo(MinIo::start()?),
        })
    }

    /// Makes a bucket and gives its store URL.
    pub fn bucket(&self, name: &str) -> Result<String> {
        match self {
            Self::SeaweedFs(server) => server.bucket(name),
            Self::MinIo(server) => server.bucket(name),
        }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match self {
            Self::SeaweedFs(server) => server.pid(),
            Self::MinIo(server) => server.pid(),
        }
    }

    /// Kills the server: its buckets are away from now on.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::SeaweedFs(server) => server.kill(),
            Self::MinIo(server) => server.kill(),
        }
    }

    /// The same server again after [`Self::kill`], with the same data at the same address.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Self::SeaweedFs(server) => server.restart(),
            Self::MinIo(server) => server.restart(),
        }
    }

    /// Credentials that may do everything, as environment variables.
    #[must_use]
    pub fn credentials() -> Vec<(String, String)> {
        environment(KEY, SECRET)
    }

    /// The S3 endpoint.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let port = match self {
            Self::SeaweedFs(server) => server.port(),
            Self::MinIo(server) => server.port(),
        };
        ([127, 0, 0, 1], port).into()
    }
}

/// Store URL of a bucket at an address, which may be that of a proxy.
#[must_use]
pub fn store_url(bucket: &str, address: SocketAddr) -> String {
    format!("s3://{bucket}?region=us-east-1&endpoint=http://{address}&path-style=true")
}

fn environment(key: &str, secret: &str) -> Vec<(String, String)> {
    [("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_EC2_METADATA_DISABLED", "true")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}
