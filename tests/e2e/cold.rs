//! A server that knows nothing of a repository: how often it asks the bucket before it answers.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::fault_proxy::{Fault, FaultProxy, Rule};
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::s3::SeaweedFs;
use tests::{Git, Manifests, Server, ServerOptions, fixture, wait};

use crate::bed::REPOSITORY;

/// A bucket behind a proxy that counts.
struct Counted {
    manifests: Manifests,
    proxy: FaultProxy,
    _s3: SeaweedFs,
}

impl Counted {
    fn start() -> Result<Self> {
        let s3 = SeaweedFs::start()?;
        s3.bucket("cold")?;
        let proxy = FaultProxy::start(([127, 0, 0, 1], s3.port()).into())?;
        Ok(Self { manifests: Manifests::standard()?, proxy, _s3: s3 })
    }

    fn server(&self) -> Result<Server> {
        let address = self.proxy.address();
        let url = format!("s3://cold?region=us-east-1&endpoint=http://{address}&path-style=true");
        let mut options = ServerOptions::new(self.manifests.path(), url);
        options.environment = SeaweedFs::credentials();
        Server::start(options)
    }

    /// Fills the repository by a server that is gone afterwards.
    fn filled(&self, git: &Git, source: &std::path::Path) -> Result<()> {
        let server = self.server()?;
        git.ok(source, &["push", "--quiet", "--mirror", &server.url("alice", REPOSITORY)])?;
        wait::until("a hint", Duration::from_secs(20), || Ok((self.proxy.count("PUT", "/hint") > 0).then_some(())))
    }

    /// Fills the repository with so many bytes that cannot be compressed; gives the commit.
    fn filled_with_noise(&self, git: &Git, bytes: usize) -> Result<String> {
        let noise = tests::random::Sequence::new(5).bytes(bytes);
        let source = fixture::import(git, "source.git", |stream| {
            let files: &[(&str, &[u8])] = &[("noise", &noise)];
            stream.commit(fixture::Commit { branch: "main", parents: &[], message: "First", files }).map(drop)
        })?;
        self.filled(git, &source)?;
        Ok(git.ok(&source, &["rev-parse", "main"])?.trim().to_owned())
    }

    /// Waits until a server that has just started asks for nothing by itself any more.
    fn is_quiet(&self) -> Result<()> {
        let mut before = usize::MAX;
        wait::until("the bucket to be left alone", Duration::from_secs(30), || {
            let now = self.proxy.total();
            let quiet = (std::mem::replace(&mut before, now) == now).then_some(());
            std::thread::sleep(Duration::from_millis(500));
            Ok(quiet)
        })
    }

    /// Requests of a new server for what `ask` asks of it.
    fn requests(&self, ask: impl FnOnce(&RawClient) -> Result<()>) -> Result<usize> {
        let server = self.server()?;
        let client = RawClient::new(server.address(), REPOSITORY, Some(("alice", PASSWORD)));
        self.is_quiet()?;
        let lists = self.proxy.count("GET", "list-type");
        let before = self.proxy.total();
        ask(&client)?;
        let requests = self.proxy.total() - before;
        ensure!(self.proxy.count("GET", "list-type") == lists, "a request made the server list the bucket");
        ensure!(self.proxy.count("HEAD", "/packs/") == 0, "the log knows the sizes of packs");
        Ok(requests)
    }
}

#[test]
fn a_cold_server_asks_twice_for_references_and_once_more_for_a_small_pack() -> Result<()> {
    let (git, bed) = (Git::new()?, Counted::start()?);
    let source = fixture::linear(&git, "source.git", 12)?;
    bed.filled(&git, &source)?;
    let mut tip = String::new();
    let listing = bed.requests(|client| {
        let refs = client.ls_refs(&["refs/heads/", "refs/tags/"])?;
        ensure!(refs.len() == 2, "{refs:?}");
        tip.clone_from(&refs[0].0);
        Ok(())
    })?;
    assert_eq!(listing, 2, "the hint, and the entry that is not there");
    let fetching = bed.requests(|client| {
        ensure!(client.fetch(&[tip.clone()], &[])?.objects > 0, "no objects came");
        Ok(())
    })?;
    assert_eq!(fetching, 3, "these, and the entry with the pack");
    Ok(())
}

#[test]
fn a_large_pack_and_its_index_come_in_one_round() -> Result<()> {
    let (git, bed) = (Git::new()?, Counted::start()?);
    let tip = bed.filled_with_noise(&git, 400 << 10)?;
    let fetching = bed.requests(|client| {
        ensure!(client.fetch(std::slice::from_ref(&tip), &[])?.pack_bytes > 400 << 10, "no pack came");
        Ok(())
    })?;
    assert_eq!(fetching, 4, "the hint; the entry that is not there; the pack with its index");
    Ok(())
}

#[test]
fn a_clone_begins_before_the_pack_is_downloaded() -> Result<()> {
    let (git, bed) = (Git::new()?, Counted::start()?);
    let tip = bed.filled_with_noise(&git, 30 << 20)?;
    let late = Duration::from_secs(6);
    bed.proxy.set([Rule::new("GET", ".pack", Fault::Delay(late)).after(1)]);
    let server = bed.server()?;
    let client = RawClient::new(server.address(), REPOSITORY, Some(("alice", PASSWORD)));
    let fetched = client.fetch(std::slice::from_ref(&tip), &[])?;
    ensure!(fetched.pack_bytes > 30 << 20 && fetched.objects == 3, "{fetched:?}");
    ensure!(fetched.total >= late, "no chunk was late: {fetched:?}");
    ensure!(fetched.first_byte < late, "the client waited for the late chunks: {fetched:?}");
    // From the cache, whole.
    let again = bed.proxy.count("GET", ".pack");
    ensure!(client.fetch(&[tip], &[])?.objects == 3, "the same objects again");
    ensure!(bed.proxy.count("GET", ".pack") == again, "the pack is in the cache");
    Ok(())
}

#[test]
fn a_clone_whose_pack_cannot_be_downloaded_to_its_end_says_so_and_the_next_one_works() -> Result<()> {
    let (git, bed) = (Git::new()?, Counted::start()?);
    bed.filled_with_noise(&git, 45 << 20)?;
    let server = bed.server()?;
    // The first chunk comes, and with it the index.
    bed.proxy.set([Rule::new("GET", ".pack", Fault::Status(403, "AccessDenied")).after(3)]);
    let url = server.url("alice", REPOSITORY);
    let broken = git.run(&git.path(""), &["clone", "--quiet", "--mirror", &url, "broken.git"])?;
    ensure!(!broken.ok && broken.stderr.contains("upload-pack: the server failed (request "), "{broken:?}");
    bed.proxy.set([]);
    git.ok(&git.path(""), &["clone", "--quiet", "--mirror", &url, "whole.git"])?;
    git.ok(&git.path("whole.git"), &["fsck", "--full"])?;
    Ok(())
}
