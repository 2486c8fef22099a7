//! nginx, fcgiwrap and `git http-backend` from Debian, on a free port of loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tests::cpu::Meter;
use tests::{Git, process, raw_http, server, wait};

/// A running peer; killed when dropped.
pub(crate) struct Peer {
    nginx: Child,
    wrapper: Child,
    pub(crate) address: SocketAddr,
    repositories: PathBuf,
    meter: Meter,
}

impl Peer {
    /// Starts both in a folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let (nginx, wrapper) = (find("nginx")?, find("fcgiwrap")?);
        let repositories = folder.join("repositories");
        std::fs::create_dir_all(&repositories)?;
        let (address, socket) = (server::free_address()?, folder.join("fcgi.socket"));
        let config = folder.join("nginx.conf");
        std::fs::write(&config, configuration(folder, address, &socket, &repositories))?;
        let quiet =
            |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut command = Command::new(wrapper);
        let wrapper = quiet(command.args(["-c", "4", "-s"]).arg(format!("unix:{}", socket.display())))?;
        let mut command = Command::new(nginx);
        let nginx = quiet(command.arg("-p").arg(folder).arg("-c").arg(&config))?;
        let mut peer = Self { nginx, wrapper, address, repositories, meter: Meter::of(&[]) };
        wait::until("nginx", Duration::from_secs(20), || Ok(raw_http::get(address, "/").ok()))?;
        // Now both have their workers.
        peer.meter = Meter::of(&[peer.nginx.id(), peer.wrapper.id()]);
        Ok(peer)
    }

    /// Copies a repository and prepares it as well as git can.
    pub(crate) fn take(&self, git: &Git, source: &Path, name: &str) -> Result<()> {
        prepare(git, &self.repositories, source, name)
    }

    /// Where its repositories are.
    pub(crate) fn repositories(&self) -> &Path {
        &self.repositories
    }

    /// CPU time of all its processes so far.
    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

/// Copies a repository into a peer's folder: one pack, bitmaps, a commit-graph, packed refs.
pub(crate) fn prepare(git: &Git, repositories: &Path, source: &Path, name: &str) -> Result<()> {
    let source = source.to_str().context("path")?;
    git.ok(repositories, &["clone", "--quiet", "--mirror", source, name])?;
    let folder = repositories.join(name);
    git.ok(&folder, &["config", "http.receivepack", "true"])?;
    git.ok(&folder, &["pack-refs", "--all"])?;
    git.ok(&folder, &["repack", "-a", "-d", "-q", "--write-bitmap-index"])?;
    git.ok(&folder, &["commit-graph", "write", "--reachable"])?;
    Ok(())
}

impl Drop for Peer {
    fn drop(&mut self) {
        // TERM, so that each ends its workers; both hold nothing that could be lost.
        for child in [&mut self.nginx, &mut self.wrapper] {
            let _ = process::signal(child.id(), "TERM");
            let _ = child.wait();
        }
    }
}

fn find(name: &str) -> Result<PathBuf> {
    for folder in ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"] {
        let path = Path::new(folder).join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{name} is not installed: apt-get install --no-install-recommends nginx-light fcgiwrap")
}

fn configuration(folder: &Path, address: SocketAddr, socket: &Path, repositories: &Path) -> String {
    let (folder, socket, repositories) = (folder.display(), socket.display(), repositories.display());
    format!(
        "daemon off;\nuser root;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n  client_max_body_size 0;\n  client_body_temp_path {folder}/body;\n  \
         proxy_temp_path {folder}/proxy;\n  fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  \
         scgi_temp_path {folder}/scgi;\n  \
         server {{\n    listen {address};\n    location /static/ {{\n      alias {repositories}/;\n      sendfile on;\n      sendfile_max_chunk 2m;\n    }}\n    location / {{\n      fastcgi_pass unix:{socket};\n      \
         fastcgi_buffering off;\n      fastcgi_request_buffering off;\n      \
         fastcgi_param SCRIPT_FILENAME /usr/lib/git-core/git-http-backend;\n      \
         fastcgi_param GIT_PROJECT_ROOT {repositories};\n      fastcgi_param GIT_HTTP_EXPORT_ALL 1;\n      \
         fastcgi_param GIT_PROTOCOL $http_git_protocol;\n      fastcgi_param PATH_INFO $uri;\n      \
         fastcgi_param QUERY_STRING $query_string;\n      fastcgi_param REQUEST_METHOD $request_method;\n      \
         fastcgi_param CONTENT_TYPE $content_type;\n      fastcgi_param CONTENT_LENGTH $content_length;\n      \
         fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;\n      fastcgi_param REMOTE_USER bench;\n      \
         fastcgi_param REMOTE_ADDR $remote_addr;\n    }}\n  }}\n}}\n"
    )
}
