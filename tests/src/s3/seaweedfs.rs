//! SeaweedFS from its Python wheel, on free ports and a temporary folder.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::{KEY, SECRET, environment, store_url};
use crate::{binary, raw_http, wait};

const CONFIG: &str = r#"{"identities":[
  {"name":"test","credentials":[{"accessKey":"testkey","secretKey":"testsecret"}],
   "actions":["Admin","Read","Write","List","Tagging"]},
  {"name":"reader","credentials":[{"accessKey":"readkey","secretKey":"readsecret"}],"actions":["Read","List"]}],
 "kms":{"default_provider":"local","providers":{"local":{"type":"local","enableOnDemandCreate":true}}}}"#;

/// A running SeaweedFS; killed when dropped.
#[derive(Debug)]
pub struct SeaweedFs {
    child: Child,
    s3_port: u16,
    filer_port: u16,
    folder: TempDir,
}

impl SeaweedFs {
    /// Starts a server and waits for it.
    pub fn start() -> Result<Self> {
        Self::start_with_ports(&Ports::free()?)
    }

    fn start_with_ports(ports: &Ports) -> Result<Self> {
        let folder = TempDir::new().context("failed to make a folder for SeaweedFS")?;
        let config = folder.path().join("s3.json");
        std::fs::write(&config, CONFIG)?;
        std::fs::create_dir(folder.path().join("data"))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = Command::new(weed());
        command.arg("server").arg(format!("-dir={}", folder.path().join("data").display()));
        command.args([
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.peers=none",
            "-master.telemetry=false",
            "-filer",
            "-s3",
        ]);
        command.arg(format!("-master.port={}", ports.master)).arg(format!("-volume.port={}", ports.volume));
        command.arg(format!("-filer.port={}", ports.filer)).arg(format!("-s3.port={}", ports.s3));
        command.arg(format!("-s3.config={}", config.display()));
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=200"]);
        command.env("GOMEMLIMIT", "300MiB").env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("failed to start {}: `cargo xtask tools` installs it", weed().display()))?;
        let server = Self { child, s3_port: ports.s3, filer_port: ports.filer, folder };
        let address = ([127, 0, 0, 1], server.s3_port).into();
        wait::until("SeaweedFS", Duration::from_mins(1), || {
            Ok(raw_http::get(address, "/healthz").ok().filter(|response| response.status == 200))
        })
        .with_context(|| std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default())?;
        Ok(server)
    }

    /// Makes a bucket and gives its store URL.
    pub fn bucket(&self, name: &str) -> Result<String> {
        // A folder below /buckets of the filer is a bucket: no signed request needed.
        let (address, target) = (self.plain(), format!("/buckets/{name}/"));
        wait::until("a bucket", Duration::from_secs(30), || {
            let response = raw_http::send(address, "POST", &target, &[], b"").ok();
            Ok(response.filter(|response| (200..300).contains(&response.status)))
        })?;
        Ok(store_url(name, ([127, 0, 0, 1], self.s3_port).into()))
    }

    /// Where objects, as `/buckets/<bucket>/<key>`, are read and written without a signature.
    #[must_use]
    pub fn plain(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.filer_port).into()
    }

    /// Credentials that may do everything, as environment variables.
    #[must_use]
    pub fn credentials() -> Vec<(String, String)> {
        environment(KEY, SECRET)
    }

    /// Credentials that may only read.
    #[must_use]
    pub fn read_only_credentials() -> Vec<(String, String)> {
        environment("readkey", "readsecret")
    }

    /// Port of the S3 endpoint.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.s3_port
    }

    /// Kills the server: the bucket is away from now on.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // SIGTERM takes it half a minute; its data is safe under SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn weed() -> PathBuf {
    binary::python().with_file_name("weed")
}

struct Ports {
    master: u16,
    volume: u16,
    filer: u16,
    s3: u16,
}

impl Ports {
    /// Four free ports whose twins 10,000 higher, which SeaweedFS takes for gRPC, are free too.
    fn free() -> Result<Self> {
        let mut held = Vec::new();
        let mut next = || -> Result<u16> {
            for _ in 0..1_000 {
                let port = 11_000 + rand::random::<u16>() % 20_000;
                let (Ok(low), Ok(high)) =
                    (TcpListener::bind(("127.0.0.1", port)), TcpListener::bind(("127.0.0.1", port + 10_000)))
                else {
                    continue;
                };
                held.push((low, high));
                return Ok(port);
            }
            anyhow::bail!("found no free ports for SeaweedFS")
        };
        Ok(Self { master: next()?, volume: next()?, filer: next()?, s3: next()? })
    }
}
