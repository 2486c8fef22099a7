//! MinIO, built from the Go module proxy by `cargo xtask tools`: one process, one folder. AGPL: it is run, never linked or shipped.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{KEY, SECRET, store_url};
use crate::{binary, raw_http, server, wait};

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct MinIo {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl MinIo {
    /// Starts a server and waits for it.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new().context("failed to make a folder for MinIO")?;
        let (address, console) = (server::free_address()?, server::free_address()?);
        let program = binary::tool("minio");
        std::fs::create_dir(folder.path().join("data"))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(&program);
        command.arg("server").arg("--quiet").args(["--address", &address.to_string()]);
        command.args(["--console-address", &console.to_string()]).arg(folder.path().join("data"));
        command.env("MINIO_ROOT_USER", KEY).env("MINIO_ROOT_PASSWORD", SECRET).env("HOME", folder.path());
        command.envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off"), ("MINIO_CALLHOME_ENABLE", "off")]);
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("failed to start {}: `cargo xtask tools` installs it", program.display()))?;
        let server = Self { child, port: address.port(), folder };
        wait::until("MinIO", Duration::from_mins(1), || {
            Ok(raw_http::get(address, "/minio/health/cluster").ok().filter(|response| response.status == 200))
        })
        .with_context(|| std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default())?;
        Ok(server)
    }

    /// Makes a bucket and gives its store URL.
    pub fn bucket(&self, name: &str) -> Result<String> {
        // A folder of its disk is a bucket: no signed request needed.
        std::fs::create_dir(self.folder.path().join("data").join(name)).context("failed to make a bucket")?;
        Ok(store_url(name, ([127, 0, 0, 1], self.port).into()))
    }

    /// Port of the S3 endpoint.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for MinIo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
