//! B13: a push of the whole history into an empty repository, and `git index-pack` on the same pack.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tests::manifests::PASSWORD;
use tests::report::megabytes;
use tests::session::{Pushed, Session, push_body};
use tests::{Manifests, Server, ServerOptions, process};

use super::Bed;
use super::sides::Sides;
use crate::figures::{Figures, ms};

/// Most resident memory that it may take.
const MEMORY: u64 = 300_000_000;

pub(super) fn run(bed: &Bed<'_>, _: &Sides, figures: &mut Figures) -> Result<()> {
    let pack = pack(bed)?;
    let main = bed.id(&bed.branch)?;
    let body = push_body(None, &main, "refs/heads/main", &pack);
    let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0);
    for round in 0..3 {
        let manifests = Manifests::standard()?;
        let store = format!("file:{}", bed.folder.path().join(format!("ingest-{round}")).display());
        let server = Server::start(ServerOptions::new(manifests.path(), store).with(&["--log-level", "warn"]))?;
        let before = process::cpu_time(server.pid())?;
        match Session::new(server.address(), Some(("alice", PASSWORD))).push("team-a/hello", &body)? {
            Pushed::Accepted => {}
            Pushed::Refused(line) => anyhow::bail!("the push was refused: {line}"),
        }
        ours.push(process::cpu_time(server.pid())?.saturating_sub(before));
        memory = memory.max(server.peak_memory()?);
        theirs.push(index_pack(bed, &pack, round)?);
    }
    ours.sort();
    theirs.sort();
    let row = vec![megabytes(pack.len() as u64), ms(ours[1]), ms(theirs[1]), megabytes(memory)];
    figures.table(&["pack", "CPU of the push", "CPU of `git index-pack`", "peak memory of the server"], &[row]);
    figures.at_most("B13", "CPU of a push, of `git index-pack`'s", ours[1], theirs[1], 1.0 / 3.0);
    figures.bar("B13", "peak memory", &megabytes(memory), "≤ 300 MB", memory <= MEMORY);
    Ok(())
}

/// What the branch reaches, as a client would send it.
fn pack(bed: &Bed<'_>) -> Result<Vec<u8>> {
    let mut command =
        bed.git.command(&bed.history, &["pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    std::io::Write::write_all(&mut input, format!("{}\n", bed.id(&bed.branch)?).as_bytes())?;
    drop(input);
    let packed = child.wait_with_output()?;
    ensure!(packed.status.success(), "git pack-objects failed");
    Ok(packed.stdout)
}

/// CPU time of stock git for the same: it runs as a child of this process, which waits for it.
fn index_pack(bed: &Bed<'_>, pack: &[u8], round: usize) -> Result<std::time::Duration> {
    let name = format!("ingest-{round}.git");
    bed.git.ok(&bed.git.path(""), &["init", "--quiet", "--bare", &name])?;
    let folder = bed.git.path(&name);
    std::fs::write(folder.join("input.pack"), pack)?;
    let mut command = bed.git.command(&folder, &["index-pack", "--stdin", "--strict"]);
    command.stdin(std::fs::File::open(folder.join("input.pack"))?).stdout(Stdio::null()).stderr(Stdio::null());
    let before = process::cpu_time_of_children()?;
    ensure!(command.status()?.success(), "git index-pack failed");
    Ok(process::cpu_time_of_children()?.saturating_sub(before))
}
