//! A large file up and down through Git LFS, and the same straight into and out of the bucket.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
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

pub(super) fn run(bed: &Bed<'_>, _: &Sides, figures: &mut Figures) -> Result<()> {
    let (s3, manifests) = (SeaweedFs::start()?, Manifests::standard()?);
    let mut options = ServerOptions::new(manifests.path(), s3.bucket("large")?).with(&["--log-level", "warn"]);
    options.environment = SeaweedFs::credentials();
    let server = Server::start(options)?;
    let idle = server.peak_memory()?;

    let file = bed.folder.path().join("large.bin");
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..=bed.options.rounds.min(3) {
        // Another content each time: what is there is not stored again.
        let content = Sequence::new(round as u64).bytes(BYTES);
        std::fs::write(&file, &content)?;
        let target = format!("/team-a/hello/info/lfs/objects/{}", oid(&file)?);
        let (bucket, ours, direct) = (s3.plain(), server.address(), format!("/buckets/large/direct-{round}"));
        let took = [
            timed(|| call(bucket, "PUT", &direct, &content).map(drop))?,
            timed(|| call(ours, "PUT", &format!("{target}?size={BYTES}"), &content).map(drop))?,
            timed(|| read(bucket, &direct))?,
            timed(|| read(ours, &target))?,
        ];
        call(bucket, "DELETE", &direct, b"")?;
        for (times, took) in times.iter_mut().zip(took).filter(|_| round > 0) {
            times.push(took);
        }
    }
    let rates = times.map(|times| rate(BYTES as u64, quantile(&times, 0.5)));
    for (what, direct, ours) in [("up", rates[0], rates[1]), ("down", rates[2], rates[3])] {
        let ratio = ours / direct.max(1e-9);
        let what = format!("1 GB {what}, of straight to and from the bucket");
        figures.bar("LFS", &what, &format!("{ratio:.2} ({ours:.0} / {direct:.0} MB/s)"), "≥ 0.8", ratio >= 0.8);
    }
    let more = server.peak_memory()?.saturating_sub(idle);
    figures.bar("LFS", "memory for it", &tests::report::megabytes(more), "≤ 40 MB", more <= 40_000_000);
    Ok(())
}

fn read(address: SocketAddr, target: &str) -> Result<()> {
    let read = io::copy(&mut call(address, "GET", target, b"")?.body, &mut io::sink())?;
    ensure!(read == BYTES as u64, "{read} bytes came");
    Ok(())
}

fn call(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Result<Incoming> {
    let mut connection = Connection::open(address)?;
    connection.send(method, target, &[("Authorization", &basic("alice", PASSWORD))], body)?;
    let mut answer = connection.response()?;
    if !(200..300).contains(&answer.status) {
        let mut text = String::new();
        answer.body.read_to_string(&mut text)?;
        bail!("{method} was answered with {}: {text}", answer.status);
    }
    Ok(answer)
}

/// The SHA-256 of a file.
fn oid(file: &Path) -> Result<String> {
    let output = std::process::Command::new("sha256sum").arg(file).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).chars().take(64).collect())
}
