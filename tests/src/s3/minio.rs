//! MinIO, built from the Go module proxy by `cargo xtask tools`: one process, one folder. AGPL: it is run, never linked or shipped.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
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
    /// Of the S3 endpoint.
    address: SocketAddr,
    folder: TempDir,
}

impl MinIo {
    /// Starts a server and waits for it.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new().context("failed to make a folder for MinIO")?;
        std::fs::create_dir(folder.path().join("data"))?;
        let address = server::free_address()?;
        let started = Self { child: spawn(address, folder.path())?, address, folder };
        started.wait()?;
        Ok(started)
    }

    /// The same server again after [`Self::kill`], with the same data at the same address.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(self.address, self.folder.path())?;
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        wait::until("MinIO", Duration::from_mins(1), || {
            Ok(raw_http::get(self.address, "/minio/health/cluster").ok().filter(|response| response.status == 200))
        })
        .with_context(|| std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())?;
        Ok(())
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the server: the bucket is away from now on.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Makes a bucket and gives its store URL.
    pub fn bucket(&self, name: &str) -> Result<String> {
        // A folder of its disk is a bucket: no signed request needed.
        std::fs::create_dir(self.folder.path().join("data").join(name)).context("failed to make a bucket")?;
        Ok(store_url(name, self.address))
    }

    /// Port of the S3 endpoint.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for MinIo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(address: SocketAddr, folder: &Path) -> Result<Child> {
    let (program, console) = (binary::tool("minio"), server::free_address()?);
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(&program);
    command.arg("server").arg("--quiet").args(["--address", &address.to_string()]);
    command.args(["--console-address", &console.to_string()]).arg(folder.join("data"));
    command.env("MINIO_ROOT_USER", KEY).env("MINIO_ROOT_PASSWORD", SECRET).env("HOME", folder);
    command.envs([("MINIO_BROWSER", "off"), ("MINIO_UPDATE", "off"), ("MINIO_CALLHOME_ENABLE", "off")]);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("failed to start {}: `cargo xtask tools` installs it", program.display()))
}
