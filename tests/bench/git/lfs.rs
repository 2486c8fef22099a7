//! A large file up and down through Git LFS, by way of the server and past it, and the same straight into and out of the bucket.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tests::lfs::{self, Link, oid};
use tests::manifests::PASSWORD;
use tests::random::Sequence;
use tests::raw_http::{Connection, Incoming, basic};
use tests::s3::SeaweedFs;
use tests::{Manifests, Server, ServerOptions};

use super::Bed;
use super::clones::rate;
use super::sides::{Sides, timed};
use crate::figures::{Figures, quantile};

const BYTES: usize = 1_000_000_000;
/// The operations of a round.
const OPERATIONS: usize = 7;

pub(super) fn run(bed: &Bed<'_>, _: &Sides, figures: &mut Figures) -> Result<()> {
    let (s3, manifests) = (SeaweedFs::start()?, Manifests::standard()?);
    let store = format!("{}&lfs-direct=true", s3.bucket("large")?);
    let mut options = ServerOptions::new(manifests.path(), store).with(&["--log-level", "warn"]);
    options.environment = SeaweedFs::credentials();
    let server = Server::start(options)?;
    let idle = server.peak_memory()?;

    let mut times: [Vec<Duration>; OPERATIONS] = Default::default();
    for round in 0..=bed.options.rounds.min(3) {
        let took = round_of(&s3, &server, round as u64)?;
        for (times, took) in times.iter_mut().zip(took).filter(|_| round > 0) {
            times.push(took);
        }
    }
    let rates = times.map(|times| rate(BYTES as u64, quantile(&times, 0.5)));
    let [up, up_proxied, up_sent, up_direct, down, down_proxied, down_direct] = rates;
    for (what, straight, ours) in [
        ("up through the server, of straight into the bucket", up, up_proxied),
        ("up past the server, verified, of straight into the bucket", up, up_direct),
        ("up past the server, verified, of the same without a look at it", up_sent, up_direct),
        ("down through the server, of straight out of the bucket", down, down_proxied),
        ("down past the server, of straight out of the bucket", down, down_direct),
    ] {
        let ratio = ours / straight.max(1e-9);
        let found = format!("{ratio:.2} ({ours:.0} / {straight:.0} MB/s)");
        figures.bar("LFS", &format!("1 GB {what}"), &found, "≥ 0.8", ratio >= 0.8);
    }
    let more = server.peak_memory()?.saturating_sub(idle);
    figures.bar("LFS", "memory for it", &tests::report::megabytes(more), "≤ 40 MB", more <= 40_000_000);
    Ok(())
}

/// Each operation once, with contents that nobody has seen: what is there is not stored again.
fn round_of(s3: &SeaweedFs, server: &Server, round: u64) -> Result<[Duration; OPERATIONS]> {
    let (bucket, ours, plain) = (s3.plain(), server.address(), format!("/buckets/large/plain-{round}"));
    let content = Sequence::new(2 * round).bytes(BYTES);
    let target = format!("{}/objects/{}", lfs::LFS, oid(&content));
    let up = timed(|| call(bucket, "PUT", &plain, &content).map(drop))?;
    let up_proxied = timed(|| call(ours, "PUT", &format!("{target}?size={BYTES}"), &content).map(drop))?;
    let down = timed(|| read(call(bucket, "GET", &plain, b"")?))?;
    let down_proxied = timed(|| read(call(ours, "GET", &target, b"")?))?;
    call(bucket, "DELETE", &plain, b"")?;

    let content = Sequence::new(2 * round + 1).bytes(BYTES);
    let name = oid(&content);
    let mut up_sent = Duration::ZERO;
    let up_direct = timed(|| {
        let answer = lfs::batch(ours, "upload", &name, BYTES)?;
        let link = Link::parse(&answer["actions"]["upload"])?;
        ensure!(link.address != ours, "it is to come through the server");
        up_sent = timed(|| follow(&link, "PUT", &content).map(drop))?;
        let verified = lfs::post(ours, "alice", "verify", &serde_json::json!({"oid": name, "size": BYTES}))?;
        ensure!(verified.status == 200, "{}", verified.text());
        Ok(())
    })?;
    let down_direct = timed(|| {
        let answer = lfs::batch(ours, "download", &name, BYTES)?;
        read(follow(&Link::parse(&answer["actions"]["download"])?, "GET", b"")?)
    })?;
    Ok([up, up_proxied, up_sent, up_direct, down, down_proxied, down_direct])
}

fn read(mut answer: Incoming) -> Result<()> {
    let read = io::copy(&mut answer.body, &mut io::sink())?;
    ensure!(read == BYTES as u64, "{read} bytes came");
    Ok(())
}

fn call(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Result<Incoming> {
    send(address, method, target, &[("Authorization", &basic("alice", PASSWORD))], body)
}

fn follow(link: &Link, method: &str, body: &[u8]) -> Result<Incoming> {
    send(link.address, method, &link.target, &link.with(&[]), body)
}

fn send(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Incoming> {
    let mut connection = Connection::open(address)?;
    connection.send(method, target, headers, body)?;
    let mut answer = connection.response()?;
    if !(200..300).contains(&answer.status) {
        let mut text = String::new();
        answer.body.read_to_string(&mut text)?;
        bail!("{method} was answered with {}: {text}", answer.status);
    }
    Ok(answer)
}
