//! First clones that take the bulk from the bucket (ADR 0020): whom a bundle is offered to, what it saves, when it ends.

mod newer;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::fault_proxy::{Fault, FaultProxy, Rule};
use tests::history::{self, Plan};
use tests::lfs::Link;
use tests::manifests::PASSWORD;
use tests::protocol::{DELIMITER, FLUSH, RawClient, line, packets};
use tests::raw_http;
use tests::s3::{SeaweedFs, store_url};
use tests::ssh::Ssh;
use tests::{Git, Manifests, Server, ServerOptions, fixture, server, wait};

use crate::bed::REPOSITORY;

const BUCKET: &str = "bundles";
const PATIENCE: Duration = Duration::from_mins(1);
const HURRIED: [&str; 2] = ["--maintenance-interval", "1s"];

/// A bucket that clients reach through a proxy, which tells what they read.
pub(super) struct Offer {
    git: Git,
    manifests: Manifests,
    s3: SeaweedFs,
    clients: FaultProxy,
}

impl Offer {
    pub(super) fn new() -> Result<Self> {
        let (git, manifests, s3) = (Git::new()?, Manifests::standard()?, SeaweedFs::start()?);
        s3.bucket(BUCKET)?;
        let clients = FaultProxy::start(([127, 0, 0, 1], s3.port()).into())?;
        let offer = Self { git, manifests, s3, clients };
        offer.wish("hello", "{bundleURI: {minSize: 10k}}")?;
        Ok(offer)
    }

    fn wish(&self, name: &str, spec: &str) -> Result<()> {
        let text = format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: {name}, namespace: team-a}}\nspec: {spec}\n"
        );
        self.manifests.write(&format!("repository-team-a-{name}.yaml"), &text)
    }

    fn options(&self, parameter: &str) -> ServerOptions {
        let store = store_url(BUCKET, ([127, 0, 0, 1], self.s3.port()).into());
        let mut options = ServerOptions::new(self.manifests.path(), format!("{store}{parameter}")).with(&HURRIED);
        options.environment = SeaweedFs::credentials();
        options
    }

    pub(super) fn server(&self, arguments: &[&str]) -> Result<Server> {
        let direct = format!("&lfs-direct=http://{}", self.clients.address());
        Server::start(self.options(&direct).with(arguments))
    }

    /// A history of some megabytes with branches and tags, pushed; and its source.
    pub(super) fn started(&self, server: &Server) -> Result<PathBuf> {
        let source = fixture::import(&self.git, "source.git", |out| history::write(Plan::of(300), out, &mut |_| {}))?;
        self.git.ok(&source, &["push", "--quiet", "--mirror", &server.url("alice", REPOSITORY)])?;
        Ok(source)
    }

    /// Sizes of the bundles in the bucket.
    fn bundles(&self) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for (folder, _) in self.listed(&format!("/buckets/{BUCKET}/"))? {
            let packs = format!("/buckets/{BUCKET}/{folder}/packs/");
            let all = self.listed(&packs).unwrap_or_default().into_iter();
            let bundles = all.filter(|(name, _)| name.rsplit('.').next() == Some("bundle"));
            found.extend(bundles.map(|(name, size)| (format!("{packs}{name}"), size)));
        }
        Ok(found)
    }

    /// Deletes them behind everybody's back.
    pub(super) fn lose_bundles(&self) -> Result<()> {
        for (key, _) in self.bundles()? {
            let answer = raw_http::send(self.s3.plain(), "DELETE", &key, &[], b"")?;
            ensure!(answer.status < 300, "{key} cannot be deleted: {}", answer.text());
        }
        ensure!(self.bundles()?.is_empty(), "some are left");
        Ok(())
    }

    fn listed(&self, folder: &str) -> Result<Vec<(String, u64)>> {
        let headers = [("Accept", "application/json")];
        let listing: Value =
            serde_json::from_slice(&raw_http::send(self.s3.plain(), "GET", folder, &headers, b"")?.body)?;
        let entries = listing["Entries"].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| Some(entry["FullPath"].as_str()?.rsplit('/').next()?.to_owned());
        Ok(entries.iter().filter_map(|entry| Some((name(entry)?, entry["FileSize"].as_u64().unwrap_or(0)))).collect())
    }

    /// A bare clone by a bundle, with stock git's option for it; what the server sent for it.
    fn clone_by(&self, bundle: &str, server: &Server, name: &str) -> Result<f64> {
        let before = server.metric("codekeep_git_sent_bytes_total", "")?;
        let (option, url) = (format!("--bundle-uri={bundle}"), server.url("alice", REPOSITORY));
        self.git.ok(&self.git.path(""), &["clone", "--quiet", "--bare", &option, &url, name])?;
        Ok(server.metric("codekeep_git_sent_bytes_total", "")? - before)
    }

    /// A clone is the same as one without a bundle, but for the references that git keeps of the bundle.
    pub(super) fn is_like_any_clone(&self, clone: &Path, server: &Server) -> Result<()> {
        let name = format!("plain-of-{}", clone.file_name().and_then(|name| name.to_str()).context("no name")?);
        let url = server.url("alice", REPOSITORY);
        self.git.ok(&self.git.path(""), &["clone", "--quiet", "--bare", &url, &name])?;
        let plain = self.git.path(&name);
        ensure!(self.git.refs(clone)? == self.git.refs(&plain)?, "other references");
        let objects = |folder: &Path| -> Result<BTreeSet<String>> {
            let all = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)"];
            Ok(self.git.ok(folder, &all)?.lines().map(str::to_owned).collect())
        };
        ensure!(objects(clone)? == objects(&plain)?, "other objects");
        self.git.fsck(clone)
    }
}

fn client(server: &Server, user: &str, repository: &str) -> RawClient {
    RawClient::new(server.address(), repository, Some((user, PASSWORD)))
}

/// Whether version 2 offers a bundle.
fn offered(server: &Server, user: &str, repository: &str) -> Result<bool> {
    let answer = client(server, user, repository).advertisement("git-upload-pack", 2)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    Ok(answer.text().contains("bundle-uri"))
}

/// The lines of the answer to `bundle-uri`.
fn asked(server: &Server, user: &str, repository: &str) -> Result<Vec<String>> {
    let body = [line("command=bundle-uri"), line("object-format=sha1"), DELIMITER.to_vec(), FLUSH.to_vec()].concat();
    let answer = client(server, user, repository).post("git-upload-pack", 2, &[], &body)?;
    let lines = packets(&answer.body)?.into_iter().flatten();
    Ok(lines.map(|line| String::from_utf8_lossy(&line).into_owned()).collect())
}

/// The address of the bundle and its token, if there is one.
fn bundle(server: &Server) -> Result<Option<(String, u64)>> {
    let lines = asked(server, "alice", REPOSITORY)?;
    let value = |key: &str| lines.iter().find_map(|line| line.strip_prefix(&format!("bundle.{key}=")));
    let Some(uri) = value("default-branch.uri") else { return Ok(None) };
    ensure!(value("version") == Some("1") && value("mode") == Some("all"), "{lines:?}");
    ensure!(value("heuristic") == Some("creationToken"), "{lines:?}");
    let token = value("default-branch.creationtoken").context("no token")?;
    Ok(Some((uri.to_owned(), token.parse()?)))
}

fn first_bundle(server: &Server) -> Result<(String, u64)> {
    wait::until("a bundle", PATIENCE, || bundle(server))
}

/// What is at an address now.
fn read(uri: &str) -> Result<raw_http::Response> {
    Link::parse(&serde_json::json!({"href": uri}))?.follow("GET", &[], b"")
}

#[test]
fn a_first_clone_takes_the_bulk_from_the_bucket() -> Result<()> {
    let offer = Offer::new()?;
    let server = offer.server(&[])?;
    let source = offer.started(&server)?;
    let (uri, token) = first_bundle(&server)?;
    ensure!(offered(&server, "bob", REPOSITORY)?, "whoever may read may read it from the bucket");
    let size = offer.bundles()?.first().context("there is no bundle")?.1;
    let head = "refs/heads/main";
    let said = format!("# v2 git bundle\n{} {head}\n\nPACK", offer.git.ok(&source, &["rev-parse", head])?.trim());
    let content = read(&uri)?.body;
    ensure!(content.starts_with(said.as_bytes()) && content.len() as u64 == size, "it begins with something else");

    // Little comes after it; what others had pushed, and what comes now, the server sends.
    let work = offer.git.clone(&server.url("alice", REPOSITORY), "work")?;
    offer.git.commit(&work, "later", "later\n")?;
    offer.git.ok(&work, &["push", "--quiet", "origin", "HEAD:main", "HEAD:refs/heads/side"])?;
    ensure!(bundle(&server)?.context("it ended")?.1 == token, "a branch that goes on ends no bundle");
    let before = offer.clients.count("GET", ".bundle");
    let sent = offer.clone_by(&uri, &server, "by-bundle.git")?;
    ensure!(offer.clients.count("GET", ".bundle") == before + 1, "the bundle was not read");
    let plain = server.metric("codekeep_git_sent_bytes_total", "")?;
    offer.is_like_any_clone(&offer.git.path("by-bundle.git"), &server)?;
    let plain = server.metric("codekeep_git_sent_bytes_total", "")? - plain;
    ensure!(sent < plain / 2.0, "the server sent {sent} bytes, and {plain} to a client without a bundle of {size}");

    // Without a restart and after one the same is offered.
    let second = offer.server(&[])?;
    ensure!(bundle(&second)?.context("it was forgotten")?.1 == token);
    for log in [server.log(), second.log()] {
        ensure!(!log.contains("X-Amz-") && !log.contains("Signature"), "an address is in the log");
    }
    Ok(())
}

#[test]
fn a_bundle_is_offered_where_it_is_wanted_and_clients_reach_it() -> Result<()> {
    let offer = Offer::new()?;
    offer.manifests.encrypted_repository("team-a", "secret")?;
    offer
        .wish("refused", "{bundleURI: {}, encryption: {envelope: {secretKeyRef: {name: secret-keys, key: \"1\"}}}}")?;
    offer.wish("large", "{bundleURI: {minSize: 1G}}")?;
    let server = offer.server(&[])?;
    ensure!(server.log().contains("lie in one bucket as clients read them"), "{}", server.log());
    let source = offer.started(&server)?;
    for name in ["other", "secret", "large"] {
        offer.git.ok(&source, &["push", "--quiet", "--mirror", &server.url("alice", &format!("team-a/{name}"))])?;
    }
    first_bundle(&server)?;
    std::thread::sleep(Duration::from_secs(3));
    ensure!(offer.bundles()?.len() == 1, "{:?}", offer.bundles()?);
    for name in ["other", "secret", "large"] {
        ensure!(!offered(&server, "alice", &format!("team-a/{name}"))?, "{name} is offered");
    }
    let said = asked(&server, "alice", "team-a/other")?;
    ensure!(said.len() == 1 && said[0].contains("bundle-uri is not supported"), "{said:?}");
    ensure!(asked(&server, "alice", "team-a/large")?.is_empty());
    // Who may not read is not told anything, and old versions of the protocol have no word for it.
    ensure!(client(&server, "carol", REPOSITORY).advertisement("git-upload-pack", 2)?.status == 404);
    for version in [0, 1] {
        let answer = client(&server, "alice", REPOSITORY).advertisement("git-upload-pack", version)?;
        ensure!(answer.status == 200 && !answer.text().contains("bundle-uri"), "version {version}");
    }

    // A store whose clients do not reach it.
    let proxying = Server::start(offer.options(""))?;
    ensure!(!offered(&proxying, "alice", REPOSITORY)? && asked(&proxying, "alice", REPOSITORY)?.is_empty());
    wait::until("the warning", PATIENCE, || Ok(proxying.log().contains("spec.bundleURI has no effect").then_some(())))
}

#[test]
fn what_was_rewound_is_in_no_bundle_any_more() -> Result<()> {
    let offer = Offer::new()?;
    let server = offer.server(&["--deletion-grace", "3s"])?;
    offer.started(&server)?;
    first_bundle(&server)?;
    let work = offer.git.clone(&server.url("alice", REPOSITORY), "work")?;
    let innocent = offer.git.head(&work)?;
    let secret = offer.git.commit(&work, "secret", &"a password\n".repeat(1_000))?;
    // The next bundle is to have the secret, too: so little more would not be worth one.
    offer.wish("hello", "{}")?;
    wait::until("the bundle to be given up", PATIENCE, || Ok(offer.bundles()?.is_empty().then_some(())))?;
    offer.git.ok(&work, &["push", "--quiet", "origin", "HEAD:main"])?;
    offer.wish("hello", "{bundleURI: {minSize: 10k}}")?;
    let (uri, token) = first_bundle(&server)?;
    let holds = |uri: &str, commit: &str| -> Result<bool> {
        Ok(String::from_utf8_lossy(&read(uri)?.body).starts_with(&format!("# v2 git bundle\n{commit} ")))
    };
    ensure!(holds(&uri, &secret)?, "the bundle does not have the secret");

    offer.git.ok(&work, &["push", "--quiet", "--force", "origin", &format!("{innocent}:main")])?;
    let at_once = bundle(&server)?;
    ensure!(at_once.is_none_or(|(_, newer)| newer > token), "a rewound branch is still offered");
    let newer = first_bundle(&server)?;
    ensure!(newer.1 > token && holds(&newer.0, &innocent)?, "the next bundle is not of what the branch is");
    wait::until("the secret to leave the bucket", PATIENCE, || Ok((offer.bundles()?.len() == 1).then_some(())))?;
    ensure!((400..500).contains(&read(&uri)?.status), "the old address still leads to something");
    offer.clone_by(&bundle(&server)?.context("there is none")?.0, &server, "clone.git")?;
    offer.is_like_any_clone(&offer.git.path("clone.git"), &server)?;
    ensure!(!offer.git.run(&offer.git.path("clone.git"), &["cat-file", "-e", &secret])?.ok, "the secret came along");
    ensure!(!server.log().contains("maintenance failed"), "{}", server.log());
    Ok(())
}

#[test]
fn a_bundle_that_is_lost_or_cut_off_costs_time_and_nothing_else() -> Result<()> {
    let offer = Offer::new()?;
    let server = offer.server(&[])?;
    offer.started(&server)?;
    let (uri, _) = first_bundle(&server)?;
    offer.clients.set([Rule::new("GET", ".bundle", Fault::Truncated(100_000)).times(1)]);
    offer.clone_by(&uri, &server, "cut.git")?;
    ensure!(offer.clients.faults() == 1, "it was not cut off");
    offer.is_like_any_clone(&offer.git.path("cut.git"), &server)?;

    offer.lose_bundles()?;
    offer.clone_by(&uri, &server, "lost.git")?;
    offer.is_like_any_clone(&offer.git.path("lost.git"), &server)?;
    Ok(())
}

#[test]
fn a_bundle_is_offered_over_ssh_too() -> Result<()> {
    let offer = Offer::new()?;
    let doors = Doors::new(&offer)?;
    let server = doors.server(&offer)?;
    offer.started(&server)?;
    first_bundle(&server)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let trace = doors.run(&offer, &path, &["ls-remote", &doors.url()])?;
    ensure!(trace.contains("bundle-uri") && trace.contains("refs/heads/main"), "{trace}");
    Ok(())
}

/// A way in over SSH.
pub(super) struct Doors {
    ssh: Ssh,
    host_keys: TempDir,
    address: SocketAddr,
}

impl Doors {
    pub(super) fn new(offer: &Offer) -> Result<Self> {
        let (ssh, host_keys, address) = (Ssh::new()?, TempDir::new()?, server::free_address()?);
        offer.manifests.ssh_key("team-a", "alice", "alice-laptop", &ssh.key("alice", &["-t", "ed25519"])?)?;
        Ok(Self { ssh, host_keys, address })
    }

    pub(super) fn server(&self, offer: &Offer) -> Result<Server> {
        let (listen, folder) = (self.address.to_string(), self.host_keys.path().display().to_string());
        let server = offer.server(&["--ssh-listen", &listen, "--ssh-host-keys", &folder])?;
        self.ssh.know(self.address, self.host_keys.path())?;
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("ssh://git@{}/{REPOSITORY}", self.address)
    }

    /// Runs a git, which has to succeed; gives what it says of packets and programs.
    pub(super) fn run(&self, offer: &Offer, path: &OsStr, arguments: &[&str]) -> Result<String> {
        let mut command = offer.git.command(&offer.git.path(""), arguments);
        command.env("PATH", path).env("GIT_SSH_COMMAND", self.ssh.command_line("alice"));
        command.env("GIT_TRACE_PACKET", "1").env("GIT_TRACE", "1");
        let output = command.output().context("failed to start git")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}");
        Ok(said)
    }
}
