//! From `<reference>[:<folder>]` to a tree.

use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::bstr::{BStr, ByteSlice as _};
use gix::objs::{CommitRefIter, Kind};

use super::Error;
use super::request::Wanted;
use super::tree::{Selection, entries, walk};
use crate::odb::ReadCache;
use crate::peel::peel;
use crate::view::RepositoryView;

/// The tree that is archived.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) tree: ObjectId,
    /// The commit, when the tree is the whole of one.
    pub(super) commit: Option<ObjectId>,
    /// The time of all files, in seconds since 1970.
    pub(super) time: i64,
}

/// Finds the tree, and sees to it that each wanted path is in it.
pub(super) fn resolve(
    wanted: &Wanted,
    view: &RepositoryView<'_>,
    now: i64,
    cache: &mut ReadCache,
    interrupt: &AtomicBool,
) -> Result<Source, Error> {
    let treeish = wanted.treeish.as_bstr();
    let (name, folder) = treeish
        .split_once_str(":")
        .map_or_else(|| (treeish.as_bytes(), None), |(name, path)| (name, Some(path.as_bstr())));
    let missing = || Error::Refused(format!("no such ref: {}; only branches and tags can be archived", name.as_bstr()));
    let id = if name == b"HEAD" { view.refs.head_id() } else { view.refs.named(name).map(|(id, _)| id) };
    let id = id.ok_or_else(missing)?;
    let id = peel(view.packs, &id, cache)?.map_or(id, |peeled| peeled.target);
    let mut source = root(view, id, now, cache)?;
    if let Some(folder) = folder {
        source = Source { tree: below(view, source.tree, folder, cache)?, commit: None, time: now };
    }
    if !wanted.paths.is_empty() {
        let mut selection = Selection::new(&wanted.paths);
        walk(view.packs, source.tree, &mut selection, cache, interrupt, &mut |_, _, _| Ok(()))?;
        selection.all_found()?;
    }
    Ok(source)
}

/// The tree of a commit, or a tree itself.
fn root(view: &RepositoryView<'_>, id: ObjectId, now: i64, cache: &mut ReadCache) -> Result<Source, Error> {
    let mut buffer = Vec::new();
    let object = view.packs.get(&id, &mut buffer, cache)?;
    match object.kind {
        Kind::Tree => Ok(Source { tree: id, commit: None, time: now }),
        Kind::Commit => {
            let mut parts = CommitRefIter::from_bytes(object.data, id.kind());
            let damaged = |_| Error::Refused(format!("the commit {id} cannot be read"));
            let tree = parts.tree_id().map_err(damaged)?;
            let time = parts.committer().map_err(damaged)?.seconds();
            Ok(Source { tree, commit: Some(id), time })
        }
        Kind::Blob | Kind::Tag => Err(Error::Refused(format!("not a tree object: {id}"))),
    }
}

fn below(
    view: &RepositoryView<'_>,
    mut tree: ObjectId,
    folder: &BStr,
    cache: &mut ReadCache,
) -> Result<ObjectId, Error> {
    for name in folder.split_str("/").filter(|name| !name.is_empty()) {
        let found = entries(view.packs, &tree, cache)?.into_iter().find(|entry| entry.name == name);
        let found = found.filter(|entry| entry.kind.is_tree());
        tree = found.ok_or_else(|| Error::Refused(format!("there is no folder {folder}")))?.id;
    }
    Ok(tree)
}
