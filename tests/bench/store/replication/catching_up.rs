//! A repository gets a replica: how long until that has everything, beside a program that reads each object and writes it there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::fixture::{self, Commit};
use tests::random::Sequence;
use tests::raw_http::{self, Response};
use tests::s3::SeaweedFs;
use tests::{Manifests, Server, wait};

use super::super::Bed;
use super::{options, repository};
use crate::figures::{Figures, ms};

/// Pushes, and bytes of each that do not compress.
const PUSHES: usize = 30;
const BYTES: usize = 10_000_000;
const NAME: &str = "caught-up";
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let (near, far, manifests) = (SeaweedFs::start()?, SeaweedFs::start()?, Manifests::standard()?);
    far.bucket("plain")?;
    manifests.repository("team-a", NAME)?;
    let mut options = options(&manifests, &[near.bucket("near")?, far.bucket("far")?]);
    options.environment = SeaweedFs::credentials();
    let server = Server::start(options)?;
    fill(bed, &server)?;
    let wanted = objects(near.plain(), "near")?;
    let bytes: u64 = wanted.values().sum();

    let started = Instant::now();
    for key in wanted.keys() {
        let read = call(near.plain(), "GET", &format!("/buckets/near/{key}"), b"")?;
        call(far.plain(), "POST", &format!("/buckets/plain/{key}"), &read.body)?;
    }
    let plain = started.elapsed();

    let asked = Instant::now();
    repository(&manifests, NAME, "{mode: Asynchronous, stores: [far]}")?;
    let mut first = None;
    wait::until("a replica with everything", PATIENCE, || {
        let found = objects(far.plain(), "far")?;
        if !found.is_empty() {
            first.get_or_insert_with(Instant::now);
        }
        Ok(wanted.iter().all(|(key, size)| found.get(key) == Some(size)).then_some(()))
    })?;
    let (begun, done) = (first.context("nothing was copied")?, Instant::now());
    let row = vec![
        tests::report::megabytes(bytes),
        wanted.len().to_string(),
        ms(plain),
        ms(done - begun),
        format!("{:.2}", (done - begun).as_secs_f64() / plain.as_secs_f64()),
        ms(begun - asked),
    ];
    let header = [
        "catching up, SeaweedFS",
        "objects",
        "plain copy, one object after the other",
        "replication",
        "of the plain copy's",
        "from the manifest to the first object",
    ];
    figures.table(&header, &[row]);
    Ok(())
}

fn fill(bed: &Bed<'_>, server: &Server) -> Result<()> {
    let mut random = Sequence::new(11);
    let source = fixture::import(&bed.git, "caught-up.git", |stream| {
        (0..PUSHES).try_for_each(|number| {
            let (branch, content) = (format!("part-{number}"), random.bytes(BYTES));
            let files: &[(&str, &[u8])] = &[("part", &content)];
            stream.commit(Commit { branch: &branch, parents: &[], message: "A part", files }).map(drop)
        })
    })?;
    let url = server.url("alice", &format!("team-a/{NAME}"));
    (0..PUSHES)
        .try_for_each(|number| bed.git.ok(&source, &["push", "--quiet", &url, &format!("part-{number}")]).map(drop))
}

/// What a repository consists of, with sizes: everything below a name that is an id, but for the hint, which is not copied.
fn objects(filer: SocketAddr, bucket: &str) -> Result<BTreeMap<String, u64>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        let target = format!("/buckets/{bucket}/{folder}?limit=10000");
        let listing: Value = match raw_http::send(filer, "GET", &target, &[("Accept", "application/json")], b"")? {
            Response { status: 404, .. } => continue,
            answer => serde_json::from_slice(&answer.body).context("the filer gives no listing")?,
        };
        for entry in listing["Entries"].as_array().map_or(&[][..], Vec::as_slice) {
            let path = entry["FullPath"].as_str().context("an entry without a path")?;
            let key = path.trim_start_matches(&format!("/buckets/{bucket}/")).to_owned();
            let is_id = key.split('/').next().is_some_and(|first| first.len() == 32);
            if is_id
                && entry["FileSize"].as_u64().is_none_or(|size| size == 0)
                && entry["Mode"].as_u64() > Some(0x8000_0000)
            {
                folders.push(format!("{key}/"));
            } else if is_id && !key.ends_with("/hint") {
                found.insert(key, entry["FileSize"].as_u64().unwrap_or(0));
            }
        }
    }
    Ok(found)
}

fn call(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Result<Response> {
    let answer = raw_http::send(address, method, target, &[], body)?;
    ensure!((200..300).contains(&answer.status), "{method} {target}: {}", answer.status);
    Ok(answer)
}
