//! `codekeep restore`: references as they were, by one more entry of the log; nothing of the history is lost, so a restore can be
//! taken back by another one.

use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use model::{ObjectId, RefName, RepositoryPath};
use store::{Change, LocalPack, PackTools as _, Past, Push, RefEdit, Snapshot};

use super::one::{One, peeled, say};
use crate::args::RestoreArgs;
use crate::pack_tools::GitPackTools;

/// Moments that are listed.
const MOMENTS: usize = 50;
/// Who it was, in the log and in events.
const ACTOR: &str = "codekeep restore";

/// Restores, or lists what can be restored.
pub(crate) async fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let one = One::open(&args.one).await?;
    if args.one.at.is_none() && args.to.is_none() {
        list(&one).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let past = one.past(&args.one).await?;
    match &args.to {
        None => in_place(&one, &past, args.dry_run).await?,
        Some(to) => as_another(&one, &past, to, args.dry_run).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest moments.
async fn list(one: &One) -> anyhow::Result<()> {
    for Change { generation, time, edits } in one.repository.changes(&one.snapshot, MOMENTS).await? {
        for (actor, name, old, new) in edits {
            say(&format!("{generation} {time:.0} {actor}: {}", changed(&name, old, new)))?;
        }
    }
    say("name the last entry that is to count: --at GENERATION, or a time: --at TIME")
}

fn changed(name: &RefName, old: Option<ObjectId>, new: Option<ObjectId>) -> String {
    let short = |id: ObjectId| id.to_string()[..12].to_owned();
    match (old.map(short), new.map(short)) {
        (None, Some(new)) => format!("{name} made at {new}"),
        (Some(old), None) => format!("{name} deleted, was {old}"),
        (Some(old), Some(new)) => format!("{name} {old} -> {new}"),
        (None, None) => format!("{name} unchanged"),
    }
}

async fn in_place(one: &One, past: &Past, dry_run: bool) -> anyhow::Result<()> {
    let mut edits = edits(&one.snapshot, past);
    for edit in &edits {
        say(&changed(&edit.name, edit.old, edit.new))?;
    }
    if edits.is_empty() || dry_run {
        return say(if edits.is_empty() { "nothing to change" } else { "nothing was changed (--dry-run)" });
    }
    let packs = one.packs().await?;
    prepare(&packs, &mut edits, past).await?;
    let dropped = edits.iter().filter_map(|edit| edit.old).collect();
    let push = Push { dropped, checked_at: one.snapshot.generation, ..push(edits, past) };
    let committed = one.repository.commit(push).await.context("nothing was restored")?;
    say(&format!("restored the references of entry {} by entry {}", past.generation, committed.generation))
}

/// Edits that make the references what they were.
fn edits(now: &Snapshot, past: &Past) -> Vec<RefEdit> {
    let current = now.refs.iter().filter_map(|found| Some((RefName::try_from(&**found.name).ok()?, found.id)));
    let mut wanted = past.refs.clone();
    let mut edits: Vec<RefEdit> = current
        .filter_map(|(name, old)| {
            let new = wanted.remove(&name);
            (new != Some(old)).then_some(RefEdit { name, old: Some(old), new, peeled: None })
        })
        .collect();
    edits.extend(wanted.into_iter().map(|(name, new)| RefEdit { name, old: None, new: Some(new), peeled: None }));
    edits
}

/// Makes sure that everything is there, and says what tags peel to.
async fn prepare(packs: &[LocalPack], edits: &mut Vec<RefEdit>, past: &Past) -> anyhow::Result<()> {
    let (packs, mut taken) = (packs.to_vec(), std::mem::take(edits));
    let tips: Vec<ObjectId> = past.refs.values().copied().collect();
    *edits = tokio::task::spawn_blocking(move || {
        let covers = GitPackTools.covers(&packs, false, &tips).map_err(anyhow::Error::msg)?;
        ensure!(covers, "objects of that moment are gone: they were unreachable for longer than the retention");
        let new: Vec<ObjectId> = taken.iter().filter_map(|edit| edit.new).collect();
        let mut targets = peeled(&packs, &new)?.into_iter();
        for edit in taken.iter_mut().filter(|edit| edit.new.is_some()) {
            edit.peeled = targets.next().flatten();
        }
        Ok(taken)
    })
    .await??;
    Ok(())
}

fn push(edits: Vec<RefEdit>, past: &Past) -> Push {
    Push {
        actor: ACTOR.to_owned(),
        request_id: format!("restore-{}", past.generation),
        options: vec![],
        certificate: None,
        atomic: true,
        edits,
        pack: None,
        checked_at: 0,
        dropped: vec![],
        default_branch: None,
    }
}

/// Everything that the references of a moment lead to, in a repository of its own.
async fn as_another(one: &One, past: &Past, to: &RepositoryPath, dry_run: bool) -> anyhow::Result<()> {
    ensure!(!past.refs.is_empty(), "there were no references then: nothing to restore");
    if let Some(id) = one.store.find(to).await? {
        let other = one.store.open(&id).await?.snapshot().await?;
        ensure!(other.generation == 0, "{to} is not empty; give the name of a new repository");
    }
    for (name, id) in &past.refs {
        say(&changed(name, None, Some(*id)))?;
    }
    if dry_run {
        return say("nothing was changed (--dry-run)");
    }
    let (packs, tips) = (one.packs().await?, past.refs.values().copied().collect::<Vec<_>>());
    let folder = tempfile::TempDir::new_in(one.repository.incoming()).context("failed to use the cache folder")?;
    let new =
        past.refs.iter().map(|(name, id)| RefEdit { name: name.clone(), old: None, new: Some(*id), peeled: None });
    let mut edits: Vec<RefEdit> = new.collect();
    prepare(&packs, &mut edits, past).await?;
    let place = folder.path().to_owned();
    let pruned = tokio::task::spawn_blocking(move || GitPackTools.prune(&packs, &tips, &place)).await?;
    let Some(pack) = pruned.map_err(anyhow::Error::msg)? else { bail!("the references lead to no objects") };
    let id = one.store.find_or_create(to).await.with_context(|| format!("failed to make {to}"))?;
    let repository = one.store.open(&id).await?;
    let head = one.snapshot.head.clone().filter(|head| past.refs.contains_key(head));
    let large = one.store.lfs(one.repository.id()).copy_all(&one.store.lfs(&id)).await;
    let large = large.context("failed to copy Git LFS objects; try again")?;
    let push = Push { pack: Some(pack.into()), default_branch: head, ..push(edits, past) };
    repository.commit(push).await.with_context(|| format!("{to} stays empty"))?;
    say(&format!("{to} has the references of entry {}, and {large} Git LFS objects", past.generation))
}
