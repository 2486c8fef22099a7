//! Pushes made beforehand: chains of commits, each with the pack that brings it to a server that has the one before.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tests::Git;

/// Sets of chains made so far: git would not write again what it has.
static SETS: AtomicUsize = AtomicUsize::new(0);

/// A commit, and a pack with what it adds to the one before: itself, three trees, a blob.
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) pack: Vec<u8>,
}

/// Commits that each follow the one before; the first follows the base.
pub(crate) type Chain = Vec<Step>;

/// Makes chains upon a commit of a bare repository.
pub(crate) fn make(git: &Git, repository: &Path, base: &str, chains: usize, steps: usize) -> Result<Vec<Chain>> {
    let packs = repository.join("objects/pack");
    let before = indices(&packs)?;
    import(git, repository, base, (chains, steps))?;
    let mut made = indices(&packs)?;
    made.retain(|index| !before.contains(index));
    ensure!(made.len() == 1, "git fast-import left {} packs instead of one", made.len());
    let index = packs.join(&made[0]);
    let listing = git.ok(repository, &["verify-pack", "-v", index.to_str().context("path")?])?;
    let bytes = std::fs::read(index.with_extension("pack"))?;
    let mut steps_made = cut(&bytes, &listing)?.into_iter();
    let chains_made: Vec<Chain> = (0..chains).map(|_| steps_made.by_ref().take(steps).collect()).collect();
    ensure!(chains_made.iter().all(|chain| chain.len() == steps), "git fast-import left out commits");
    Ok(chains_made)
}

fn indices(packs: &Path) -> Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(packs)? {
        let name = entry?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "idx") {
            names.push(name);
        }
    }
    Ok(names)
}

/// All objects whole: a step's pack must not need more than the server has.
fn import(git: &Git, repository: &Path, base: &str, (chains, steps): (usize, usize)) -> Result<()> {
    let arguments = ["-c", "fastimport.unpackLimit=1", "fast-import", "--quiet", "--done", "--force", "--depth=0"];
    let mut child = git.command(repository, &arguments).stdin(Stdio::piped()).spawn().context("failed to start git")?;
    let mut out = std::io::BufWriter::new(child.stdin.take().context("git fast-import has no standard input")?);
    let set = SETS.fetch_add(1, Ordering::Relaxed);
    for chain in 0..chains {
        for step in 0..steps {
            write_commit(&mut out, base, (set, chain), step)?;
        }
    }
    std::io::Write::write_all(&mut out, b"done\n")?;
    drop(out);
    ensure!(child.wait()?.success(), "git fast-import failed");
    Ok(())
}

fn write_commit(out: &mut impl std::io::Write, base: &str, (set, chain): (usize, usize), step: usize) -> Result<()> {
    let (message, content) =
        (format!("Change {step} of writer {chain}"), format!("set {set}, writer {chain}, step {step}\n").repeat(12));
    writeln!(
        out,
        "commit refs/heads/chain-{chain}\ncommitter Test User <test@example.com> {} +0000",
        1_800_000_000 + step
    )?;
    write!(out, "data {}\n{message}\n", message.len())?;
    if step == 0 {
        writeln!(out, "from {base}")?;
    }
    Ok(write!(out, "M 100644 inline bench/writer-{chain}/file\ndata {}\n{content}\n", content.len())?)
}

/// Cuts git's pack into one for each commit. git writes a commit after its trees and blobs.
fn cut(bytes: &[u8], listing: &str) -> Result<Vec<Step>> {
    let mut objects: Vec<(usize, usize, &str, bool)> = Vec::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [id, kind @ ("commit" | "tree" | "blob"), _, size, offset] = words[..] {
            objects.push((offset.parse()?, size.parse()?, id, kind == "commit"));
        }
        ensure!(words.len() != 7, "git fast-import made a delta");
    }
    objects.sort_unstable();
    let (mut steps, mut gathered, mut count) = (Vec::new(), Vec::new(), 0_u32);
    for (offset, size, id, is_commit) in objects {
        gathered.extend_from_slice(bytes.get(offset..offset + size).context("an object outside of its pack")?);
        count += 1;
        if is_commit {
            steps.push(Step { id: id.to_owned(), pack: pack(count, &std::mem::take(&mut gathered)) });
            count = 0;
        }
    }
    Ok(steps)
}

fn pack(count: u32, objects: &[u8]) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02".to_vec();
    pack.extend_from_slice(&count.to_be_bytes());
    pack.extend_from_slice(objects);
    let checksum = digest(&SHA1_FOR_LEGACY_USE_ONLY, &pack);
    pack.extend_from_slice(checksum.as_ref());
    pack
}
