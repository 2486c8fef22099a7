//! Real `git` is the oracle: the packs are its own, and the index must be the one that it writes.

mod bad_packs;
mod measure;
mod mutated;
mod oracle;
mod pack_writer;

use std::{
    io::{BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
};

use gix::{ObjectId, objs::Kind};
use model::{Content, limits::Limits};

use super::{Context, IngestError, Ingested, Quarantine, ingest};
use crate::existing::{Existing, Nothing, ReadError};
use crate::testing::format;

/// Runs git in `dir` with nothing of the machine's configuration.
fn git(dir: &Path, args: &[&str], input: &[u8]) -> Vec<u8> {
    let (ok, out, err) = try_git(dir, args, input);
    assert!(ok, "git {args:?} failed: {err}");
    out
}

fn try_git(dir: &Path, args: &[&str], input: &[u8]) -> (bool, Vec<u8>, String) {
    let mut child = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (output.status.success(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--bare", "--object-format", &format().to_string(), "."], b"");
    dir
}

/// With default limits, into a repository that has nothing.
fn alone(interrupt: &AtomicBool) -> Context<'_> {
    static LIMITS: std::sync::LazyLock<Limits> = std::sync::LazyLock::new(Limits::default);
    Context { format: format(), limits: &LIMITS, existing: &Nothing, interrupt }
}

/// Ingests bytes with default limits into a repository that has nothing.
fn take(pack: &[u8]) -> Result<(Ingested, Quarantine), IngestError> {
    take_with(pack, &Limits::default(), &Nothing)
}

fn take_with(mut pack: &[u8], limits: &Limits, existing: &dyn Existing) -> Result<(Ingested, Quarantine), IngestError> {
    let mut quarantine = Quarantine::new(&std::env::temp_dir());
    let context = Context { format: format(), limits, existing, interrupt: &AtomicBool::new(false) };
    let done = ingest(&mut pack, &mut quarantine, &context, &mut |_| {})?;
    Ok((done, quarantine))
}

fn read(content: &Content) -> Vec<u8> {
    match content {
        Content::File(path) => std::fs::read(path).unwrap(),
        Content::Memory(bytes) => bytes.to_vec(),
    }
}

/// A repository on disk, read through `git cat-file`: slow and certainly right.
struct OnDisk<'a>(&'a Path);

impl Existing for OnDisk<'_> {
    fn contains(&self, id: &gix::oid) -> bool {
        try_git(self.0, &["cat-file", "-e", &id.to_string()], b"").0
    }

    fn read(&self, id: &gix::oid, buffer: &mut Vec<u8>) -> Result<Option<Kind>, ReadError> {
        buffer.clear();
        let id = id.to_string();
        let (ok, kind, _) = try_git(self.0, &["cat-file", "-t", &id], b"");
        if !ok {
            return Ok(None);
        }
        let kind = Kind::from_bytes(kind.trim_ascii()).unwrap();
        buffer.extend(git(self.0, &["cat-file", &kind.to_string(), &id], b""));
        Ok(Some(kind))
    }
}

/// A stream for `git fast-import`: `commits` commits over some hundred files that change a little each time.
fn history(commits: usize, files: usize, seed: u64) -> Vec<u8> {
    let mut random = seed | 1;
    let mut next = move |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).unwrap()
    };
    let mut texts: Vec<Vec<String>> = (0..files).map(|_| Vec::new()).collect();
    let mut out = Vec::new();
    for commit in 0..commits {
        writeln!(out, "commit refs/heads/main\ncommitter A <a@b> {} +0000\ndata 5\nhello", 1_700_000_000 + commit)
            .unwrap();
        for _ in 0..3 {
            let file = next(files);
            let text = &mut texts[file];
            let at = next(text.len() + 1);
            text.insert(at, format!("line {} of commit {commit}: {}\n", next(1000), next(1_000_000)));
            let text = text.concat();
            writeln!(out, "M 644 inline dir{}/file{file}.txt\ndata {}\n{text}", file % 7, text.len()).unwrap();
        }
        out.push(b'\n');
    }
    writeln!(out, "tag v{seed}\nfrom refs/heads/main\ntagger A <a@b> 1700000000 +0000\ndata 3\ntag").unwrap();
    out
}

fn import(dir: &Path, stream: &[u8]) {
    git(dir, &["fast-import", "--quiet", "--force"], stream);
}

fn pack_all(dir: &Path, options: &[&str]) -> Vec<u8> {
    let mut args = vec!["pack-objects", "--all", "--revs", "--stdout", "-q", "--window=10"];
    args.extend(options);
    git(dir, &args, b"")
}

/// The index that git writes for a complete pack, and ours.
fn assert_same_index(pack: &[u8]) -> Ingested {
    let (ours, _dir) = take(pack).unwrap();
    let dir = repository();
    let path = dir.path().join("oracle.pack");
    std::fs::write(&path, pack).unwrap();
    git(dir.path(), &["index-pack", "--strict", "-o", "oracle.idx", "oracle.pack"], b"");
    let theirs = std::fs::read(dir.path().join("oracle.idx")).unwrap();
    assert!(read(&ours.index) == theirs, "the index is not git's");
    assert!(read(&ours.pack) == pack, "the pack was changed");
    assert_eq!(ours.bytes, pack.len() as u64);
    ours
}

fn names(output: &[u8]) -> Vec<ObjectId> {
    let mut names: Vec<_> = output
        .split(|byte| *byte == b'\n')
        .filter(|line| line.len() >= format().len_in_hex())
        .map(|line| ObjectId::from_hex(&line[..format().len_in_hex()]).unwrap())
        .collect();
    names.sort_unstable();
    names
}

/// A reader that hands out few bytes at a time, and would block forever after the last.
struct Trickle<'a> {
    bytes: &'a [u8],
    at_a_time: usize,
}

impl std::io::Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        assert!(!self.bytes.is_empty(), "read beyond the end of the pack: an SSH client would hang");
        let len = self.at_a_time.min(out.len()).min(self.bytes.len());
        out[..len].copy_from_slice(&self.bytes[..len]);
        self.bytes = &self.bytes[len..];
        Ok(len)
    }
}

fn trickled(bytes: &[u8], at_a_time: usize) -> BufReader<Trickle<'_>> {
    BufReader::with_capacity(at_a_time, Trickle { bytes, at_a_time })
}
