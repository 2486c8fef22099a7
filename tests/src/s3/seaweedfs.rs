//! SeaweedFS from its Python wheel, on free ports and a temporary folder.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
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
    ports: Ports,
    /// Its configuration and its log; its data unless that is elsewhere.
    folder: TempDir,
    data: PathBuf,
}

impl SeaweedFs {
    /// Starts a server and waits for it.
    pub fn start() -> Result<Self> {
        let folder = TempDir::new().context("failed to make a folder for SeaweedFS")?;
        let data = folder.path().join("data");
        Self::start_of(folder, data)
    }

    /// Starts a server with its data in a folder, which may be of a small disk.
    pub fn start_in(data: &Path) -> Result<Self> {
        Self::start_of(TempDir::new().context("failed to make a folder for SeaweedFS")?, data.join("data"))
    }

    fn start_of(folder: TempDir, data: PathBuf) -> Result<Self> {
        std::fs::write(folder.path().join("s3.json"), CONFIG)?;
        std::fs::create_dir(&data)?;
        let ports = Ports::free()?;
        let child = spawn(&ports, folder.path(), &data)?;
        let server = Self { child, ports, folder, data };
        server.wait()?;
        Ok(server)
    }

    /// The same server again after [`Self::kill`], with the same data at the same address.
    pub fn restart(&mut self) -> Result<()> {
        self.child = spawn(&self.ports, self.folder.path(), &self.data)?;
        self.wait()
    }

    fn wait(&self) -> Result<()> {
        let address = ([127, 0, 0, 1], self.ports.s3).into();
        wait::until("SeaweedFS", Duration::from_mins(1), || {
            Ok(raw_http::get(address, "/healthz").ok().filter(|response| response.status == 200))
        })
        .with_context(|| std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())?;
        Ok(())
    }

    /// Makes a bucket and gives its store URL.
    pub fn bucket(&self, name: &str) -> Result<String> {
        // A folder below /buckets of the filer is a bucket: no signed request needed.
        let (address, target) = (self.plain(), format!("/buckets/{name}/"));
        wait::until("a bucket", Duration::from_secs(30), || {
            let response = raw_http::send(address, "POST", &target, &[], b"").ok();
            Ok(response.filter(|response| (200..300).contains(&response.status)))
        })?;
        Ok(store_url(name, ([127, 0, 0, 1], self.ports.s3).into()))
    }

    /// Where objects, as `/buckets/<bucket>/<key>`, are read and written without a signature.
    #[must_use]
    pub fn plain(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.ports.filer).into()
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
        self.ports.s3
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
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        // SIGTERM takes it half a minute; its data is safe under SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(ports: &Ports, folder: &Path, data: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(weed());
    command.arg("server").arg(format!("-dir={}", data.display()));
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
    command.arg(format!("-s3.config={}", folder.join("s3.json").display()));
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=200"]);
    command.env("GOMEMLIMIT", "300MiB").env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("failed to start {}: `cargo xtask tools` installs it", weed().display()))
}

fn weed() -> PathBuf {
    binary::python().with_file_name("weed")
}

#[derive(Debug)]
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
                // Below those that the system gives to connections: a server that is started again finds its own free.
                let port = 11_000 + rand::random::<u16>() % 10_000;
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
