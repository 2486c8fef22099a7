//! B9: a server that has just started with an empty cache: what it asks of the store before it answers.

use std::io::Read as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tests::bucket::{Bucket, Delays, Seen};
use tests::manifests::PASSWORD;
use tests::protocol::{self, RawClient};
use tests::raw_http::{Connection, basic};
use tests::{Manifests, Server, ServerOptions};

use super::small_push::{names, sequential};
use super::{Bed, begin};
use crate::figures::{Figures, ms};
use crate::pushes;

const DELAYS: Delays = Delays { read: Duration::from_millis(15), write: Duration::from_millis(60) };
/// Pushes that the repository has seen.
const PUSHES: usize = 150;

/// When the first byte came that was waited for.
struct Answered {
    asked: Instant,
    first_byte: Instant,
    seen: Vec<Seen>,
}

pub(crate) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let (bucket, manifests) = (Bucket::start()?, Manifests::standard()?);
    let mut options = ServerOptions::new(manifests.path(), bucket.url()).with(&["--log-level", "warn"]);
    options.environment = Bucket::credentials();
    let tip = fill(bed, &options)?;
    let mut rows = Vec::new();
    let mut measure = |what: &str, ask: &dyn Fn(SocketAddr) -> Result<Instant>| -> Result<Answered> {
        let server = Server::start(options.clone())?;
        bucket.delay(DELAYS);
        drop(bucket.take_seen());
        let asked = Instant::now();
        let first_byte = ask(server.address())?;
        std::thread::sleep(Duration::from_millis(500));
        bucket.delay(Delays::default());
        let seen: Vec<Seen> = bucket.take_seen().into_iter().filter(|seen| seen.began <= first_byte).collect();
        let time = ms(first_byte - asked);
        rows.push(vec![what.to_owned(), seen.len().to_string(), sequential(&seen).to_string(), time, names(&seen)]);
        Ok(Answered { asked, first_byte, seen })
    };
    let listing = measure("ls-refs alone", &|address| ls_refs(address))?;
    let listing_of_git = measure("ls-refs as git asks, after the advertisement", &|address| {
        ensure!(client(address).advertisement("git-upload-pack", 2)?.status == 200, "no advertisement");
        ls_refs(address)
    })?;
    let fetched = measure("first pack byte of a fetch alone", &|address| {
        let asked = Instant::now();
        Ok(asked + client(address).fetch(std::slice::from_ref(&tip), &[])?.first_byte)
    })?;
    measure("first pack byte of a clone as git makes it", &|address| {
        ensure!(client(address).advertisement("git-upload-pack", 2)?.status == 200, "no advertisement");
        ls_refs(address)?;
        let asked = Instant::now();
        Ok(asked + client(address).fetch(std::slice::from_ref(&tip), &[])?.first_byte)
    })?;
    figures.table(&["cold server, 15 / 60 ms", "requests", "rounds", "first byte", "which"], &rows);
    for (what, found, bar) in [
        ("requests before the first byte of ls-refs alone", &listing, 2),
        ("requests before the first byte of ls-refs as git asks", &listing_of_git, 2),
        ("requests before the first pack byte of a fetch", &fetched, 3),
    ] {
        let text = format!("{} in {} rounds", found.seen.len(), sequential(&found.seen));
        figures.bar("B9", what, &text, &bar.to_string(), found.seen.len() <= bar);
        ensure!(found.first_byte >= found.asked, "the first byte came before it was asked for");
    }
    Ok(())
}

/// A repository with a history, and pushes after it; gives the tip of its main branch.
fn fill(bed: &Bed<'_>, options: &ServerOptions) -> Result<String> {
    let server = Server::start(options.clone())?;
    let url = server.url("alice", "team-a/hello");
    // Small enough for the benchmark's own bucket, which takes no uploads in parts.
    let history = tests::fixture::linear(&bed.git, "cold.git", 500)?;
    bed.git.ok(&history, &["push", "--quiet", &url, "refs/heads/main:refs/heads/main"])?;
    let base = bed.main(&history)?;
    let chain = pushes::make(&bed.git, &history, &base, 1, PUSHES)?.remove(0);
    let mut session = tests::session::Session::new(server.address(), Some(("alice", PASSWORD)));
    let (mut old, mut last) = (base.clone(), String::new());
    for step in &chain {
        let body = tests::session::push_body(Some(&old), &step.id, "refs/heads/main", &step.pack);
        match session.push("team-a/hello", &body)? {
            tests::session::Pushed::Accepted => last.clone_from(&step.id),
            tests::session::Pushed::Refused(line) => bail!("a push was refused: {line}"),
        }
        old.clone_from(&step.id);
    }
    begin(&mut session, "team-a/other", &bed.main(&bed.tiny)?, &bed.tiny_pack()?)?;
    // What is done after the last push is done then.
    std::thread::sleep(Duration::from_secs(3));
    Ok(last)
}

fn client(address: SocketAddr) -> RawClient {
    RawClient::new(address, "team-a/hello", Some(("alice", PASSWORD)))
}

/// Lists the branches; gives the moment of the first byte of the answer's body.
fn ls_refs(address: SocketAddr) -> Result<Instant> {
    let mut connection = Connection::open(address)?;
    let authorization = basic("alice", PASSWORD);
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Git-Protocol", "version=2"),
        ("Content-Type", "application/x-git-upload-pack-request"),
    ];
    let body = protocol::ls_refs_body(&["refs/heads/"]);
    connection.send("POST", "/team-a/hello/git-upload-pack", &headers, &body)?;
    let mut response = connection.response()?;
    ensure!(response.status == 200, "ls-refs was answered with {}", response.status);
    let mut first = [0];
    response.body.read_exact(&mut first)?;
    let moment = Instant::now();
    let mut rest = first.to_vec();
    response.body.read_to_end(&mut rest)?;
    let refs = protocol::parse_refs(&rest)?;
    ensure!(refs.iter().any(|(_, name)| name == "refs/heads/main"), "the main branch is not listed");
    Ok(moment)
}
