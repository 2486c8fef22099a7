//! The real `codekeep` binary on free ports, ended by its process id.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use crate::manifests::PASSWORD;
use crate::{binary, process, raw_http};

/// A slow machine with a slow bucket still starts within this time: the bucket's proof has races in it.
const START: Duration = Duration::from_mins(3);

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Folder of manifests.
    pub manifests: PathBuf,
    /// Store URL.
    pub store: String,
    /// Folder of the cache; a temporary one of the server's own when there is none.
    pub cache: Option<PathBuf>,
    /// Further arguments.
    pub arguments: Vec<String>,
    /// Environment on top of the test's own.
    pub environment: Vec<(String, String)>,
}

impl ServerOptions {
    /// A server of these manifests on this store, nothing else set.
    #[must_use]
    pub fn new(manifests: &Path, store: impl Into<String>) -> Self {
        Self {
            manifests: manifests.to_path_buf(),
            store: store.into(),
            cache: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Sets the cache folder.
    #[must_use]
    pub fn with_cache(mut self, cache: &Path) -> Self {
        self.cache = Some(cache.to_path_buf());
        self
    }
}

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    options: ServerOptions,
    listen: SocketAddr,
    admin: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// Starts a server and waits until it is ready.
    pub fn start(options: ServerOptions) -> Result<Self> {
        let mut server = Self::spawn(options)?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts a server that is expected to give up by itself; gives what it logged.
    pub fn start_in_vain(options: ServerOptions, limit: Duration) -> Result<String> {
        let mut server = Self::spawn(options)?;
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = server.child.try_wait()? {
                anyhow::ensure!(!status.success(), "the server ended with success: {}", server.log());
                return Ok(server.log());
            }
            if server.is_ready() {
                bail!("the server became ready, which it should not: {}", server.log());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the server neither gave up nor became ready: {}", server.log())
    }

    /// Starts the process without waiting.
    pub fn spawn(options: ServerOptions) -> Result<Self> {
        let folder = TempDir::new().context("failed to make a folder for the server")?;
        let (listen, admin) = (free_address()?, free_address()?);
        let cache = options.cache.clone().unwrap_or_else(|| folder.path().join("cache"));
        let log = File::options().create(true).append(true).open(folder.path().join("log"))?;
        let mut command = Command::new(binary::codekeep()?);
        command.arg("serve").arg("--manifests").arg(&options.manifests).arg("--store").arg(&options.store);
        command.arg("--cache").arg(cache).arg("--listen").arg(listen.to_string());
        command.arg("--metrics-listen").arg(admin.to_string()).args(&options.arguments);
        command.envs(options.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("failed to start codekeep")?;
        Ok(Self { child, options, listen, admin, folder })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        while !self.is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended by itself ({status}):\n{}", self.log());
            }
            anyhow::ensure!(started.elapsed() < START, "the server did not become ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        raw_http::get(self.admin, "/readyz").is_ok_and(|response| response.status == 200)
    }

    /// Kills the process as a crash would, without any chance to tidy up.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("failed to kill the server")?;
        self.child.wait().context("failed to wait for the server")?;
        Ok(())
    }

    /// Asks the process to stop and waits for its end.
    pub fn terminate(&mut self, limit: Duration) -> Result<bool> {
        process::signal(self.pid(), "TERM")?;
        let child = &mut self.child;
        let status = crate::wait::until("the server's end", limit, || Ok(child.try_wait()?))?;
        Ok(status.success())
    }

    /// The same server again after [`Self::kill`], on other ports and with an empty cache unless its folder was given.
    pub fn restarted(mut self) -> Result<Self> {
        self.kill()?;
        Self::start(self.options.clone())
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where git clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// Where /metrics is.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// URL of a repository with a user's credential in it.
    #[must_use]
    pub fn url(&self, user: &str, repository: &str) -> String {
        format!("http://{user}:{PASSWORD}@{}/{repository}", self.listen)
    }

    /// URL of a repository without a credential.
    #[must_use]
    pub fn bare_url(&self, repository: &str) -> String {
        format!("http://{}/{repository}", self.listen)
    }

    /// All that the server printed and logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Peak resident memory in bytes.
    pub fn peak_memory(&self) -> Result<u64> {
        process::memory(self.pid(), "VmHWM")
    }

    /// Sum of all samples of a metric whose line contains `label`.
    pub fn metric(&self, name: &str, label: &str) -> Result<f64> {
        let text = String::from_utf8(raw_http::get(self.admin, "/metrics")?.body)?;
        let samples = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        Ok(samples
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |sum, sample| sum + sample))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            // The test's own output is where its reader looks.
            std::io::Write::write_all(&mut std::io::stderr(), format!("server log:\n{}\n", tail.join("\n")).as_bytes())
                .ok();
        }
    }
}

/// An address on loopback that nobody listened on a moment ago.
///
/// Below the ports that the kernel gives to outgoing connections: one of those may be taken again before the server listens.
pub fn free_address() -> Result<SocketAddr> {
    for _ in 0..100 {
        let address = SocketAddr::from(([127, 0, 0, 1], rand::random_range(10_000..30_000)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("failed to find a free port")
}
