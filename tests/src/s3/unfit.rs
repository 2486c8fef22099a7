//! Servers that say they are S3 and lose pushes: what Codekeep must refuse. `cargo xtask tools` installs them.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{KEY, SECRET, environment, store_url};
use crate::{binary, raw_http, server, wait};

const BUCKET: &str = "bucket";
/// Garage wants keys of this form.
const GARAGE_KEY: &str = "GK00000000000000000000c0de";
const GARAGE_SECRET: &str = "00000000000000000000000000000000000000000000000000000000000c0dee";

/// What they do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// Ignores `If-None-Match`, gives wrong ranges, asks nobody for a signature.
    S3rver,
    /// Ignores `If-None-Match`.
    Rclone,
    /// Ignores `If-None-Match`.
    Garage,
    /// Checks `If-None-Match` without a lock.
    S3sFs,
}

/// A running server with a bucket; killed when dropped.
#[derive(Debug)]
pub struct UnfitServer {
    child: Child,
    kind: Unfit,
    address: SocketAddr,
    _folder: TempDir,
}

impl UnfitServer {
    /// Starts a server and waits for it.
    pub fn start(kind: Unfit) -> Result<Self> {
        let (folder, address) = (TempDir::new()?, server::free_address()?);
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join(BUCKET))?;
        let log = folder.path().join("log");
        let output = File::create(&log)?;
        let mut command = command(kind, address, folder.path(), &data)?;
        command.env("HOME", folder.path()).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| {
            format!("failed to start {}: `cargo xtask tools` installs it", command.get_program().display())
        })?;
        let mut server = Self { child, kind, address, _folder: folder };
        wait::until("an S3 server", Duration::from_mins(1), || {
            anyhow::ensure!(server.child.try_wait()?.is_none(), "it ended by itself");
            Ok(raw_http::get(address, "/").ok())
        })
        .with_context(|| format!("{kind:?}: {}", std::fs::read_to_string(&log).unwrap_or_default()))?;
        Ok(server)
    }

    /// Store URL of its bucket.
    #[must_use]
    pub fn url(&self) -> String {
        store_url(BUCKET, self.address)
    }

    /// Credentials that may do everything, as environment variables.
    #[must_use]
    pub fn credentials(&self) -> Vec<(String, String)> {
        match self.kind {
            Unfit::S3rver => environment("S3RVER", "S3RVER"),
            Unfit::Rclone | Unfit::S3sFs => environment(KEY, SECRET),
            Unfit::Garage => environment(GARAGE_KEY, GARAGE_SECRET),
        }
    }
}

fn command(kind: Unfit, address: SocketAddr, folder: &Path, data: &Path) -> Result<Command> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    Ok(match kind {
        Unfit::S3rver => {
            let program = binary::workspace().join("target/tools/s3rver/node_modules/.bin/s3rver");
            let mut command = Command::new(program);
            command.arg("--directory").arg(data).args(["--address", &host, "--port", &port]);
            command.args(["--configure-bucket", BUCKET]);
            command
        }
        Unfit::Rclone => {
            let mut command = Command::new(binary::tool("rclone"));
            command.args(["serve", "s3", "--addr", &address.to_string(), "--auth-key", &format!("{KEY},{SECRET}")]);
            command.arg(data);
            command
        }
        Unfit::S3sFs => {
            let mut command = Command::new(binary::tool("s3s-fs"));
            command.args(["--host", &host, "--port", &port, "--access-key", KEY, "--secret-key", SECRET]).arg(data);
            command
        }
        Unfit::Garage => {
            let config = folder.join("garage.toml");
            std::fs::write(&config, garage_config(address, folder)?)?;
            let mut command = Command::new(binary::tool("garage"));
            command.arg("-c").arg(config).args(["server", "--single-node", "--default-bucket"]);
            command.env("GARAGE_DEFAULT_BUCKET", BUCKET).env("GARAGE_DEFAULT_ACCESS_KEY", GARAGE_KEY);
            command.env("GARAGE_DEFAULT_SECRET_KEY", GARAGE_SECRET);
            command
        }
    })
}

fn garage_config(address: SocketAddr, folder: &Path) -> Result<String> {
    let rpc = server::free_address()?;
    let (meta, data) = (folder.join("meta"), folder.join("blocks"));
    Ok(format!(
        "metadata_dir = \"{}\"\ndata_dir = \"{}\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\nrpc_bind_addr = \"{rpc}\"\n\
         rpc_public_addr = \"{rpc}\"\nrpc_secret = \"{GARAGE_SECRET}\"\n[s3_api]\ns3_region = \"us-east-1\"\n\
         api_bind_addr = \"{address}\"\nroot_domain = \".s3.garage.localhost\"\n",
        meta.display(),
        data.display()
    ))
}

impl Drop for UnfitServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
