//! `codekeep export`: a repository as a git bundle, the last resort that needs nothing of ours to be read.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use model::{Content, ObjectId, RefName};
use store::{PackTools as _, Past};

use super::one::{One, say};
use crate::args::ExportArgs;
use crate::pack_tools::GitPackTools;

/// Writes the bundle.
pub(crate) async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let one = One::open(&args.one).await?;
    let mut past = one.past(&args.one).await?;
    // What clients do not see, they could not clone either.
    past.refs.retain(|name, _| !name.is_hidden());
    ensure!(!past.refs.is_empty(), "there are no references: nothing to export");
    let (packs, tips) = (one.packs().await?, past.refs.values().copied().collect::<Vec<ObjectId>>());
    let folder = tempfile::TempDir::new_in(one.repository.incoming()).context("failed to use the cache folder")?;
    let place = folder.path().to_owned();
    let pruned = tokio::task::spawn_blocking(move || GitPackTools.prune(&packs, &tips, &place)).await?;
    let Some(pack) = pruned.map_err(anyhow::Error::msg)? else { bail!("the references lead to no objects") };
    let head = one.snapshot.head.as_ref().filter(|head| past.refs.contains_key(*head));
    let (output, header) = (args.output.clone(), header(&past, head));
    tokio::task::spawn_blocking(move || write(&output, &header, &pack.pack))
        .await?
        .with_context(|| format!("failed to write {}", args.output.display()))?;
    say(&format!(
        "{} has {} references of entry {}; git clone reads it",
        args.output.display(),
        past.refs.len(),
        past.generation
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn header(past: &Past, head: Option<&RefName>) -> Vec<u8> {
    let head = head.and_then(|head| Some((*past.refs.get(head)?, &b"HEAD"[..])));
    git::bundle::header(head.into_iter().chain(past.refs.iter().map(|(name, id)| (*id, &**name.as_bstr()))))
}

fn write(output: &Path, header: &[u8], pack: &Content) -> io::Result<()> {
    // Under a name of its own until it is whole: half a bundle must not look like one.
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let mut part = tempfile::NamedTempFile::new_in(folder)?;
    let mut file = BufWriter::new(part.as_file_mut());
    file.write_all(header)?;
    match pack {
        Content::Memory(bytes) => file.write_all(bytes)?,
        Content::File(path) => drop(io::copy(&mut File::open(path)?, &mut file)?),
    }
    file.flush()?;
    drop(file);
    part.as_file().sync_all()?;
    part.persist_noclobber(output).map(drop).map_err(|error| error.error)
}
