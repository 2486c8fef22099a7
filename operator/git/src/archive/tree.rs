//! The files of a tree in git's order, without what `export-ignore` leaves out and what nobody asked for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use gix::ObjectId;
use gix::bstr::{BStr, BString, ByteSlice as _};
use gix::objs::tree::{EntryKind, EntryMode};
use gix::objs::{Kind, TreeRefIter};
use gix_attributes::search::{MetadataCollection, Outcome};
use gix_glob::pattern::Case;
use gix_glob::wildmatch::Mode;

use super::Error;
use crate::odb::{Packs, ReadCache};

/// The attribute of what is not exported.
const IGNORE: [&str; 1] = ["export-ignore"];
/// Largest `.gitattributes`, as in git.
const MAX_ATTRIBUTES: u64 = 100 << 20;
/// Deepest folder.
const MAX_DEPTH: usize = 4_096;

/// An entry of a tree.
pub(super) struct Entry {
    pub(super) name: BString,
    pub(super) kind: EntryMode,
    pub(super) id: ObjectId,
}

/// The entries of a tree, in its order.
pub(super) fn entries(packs: &Packs, tree: &ObjectId, cache: &mut ReadCache) -> Result<Vec<Entry>, Error> {
    let mut buffer = Vec::new();
    let object = packs.get(tree, &mut buffer, cache)?;
    let damaged = || Error::Refused(format!("the tree {tree} cannot be read"));
    if object.kind != Kind::Tree {
        return Err(damaged());
    }
    TreeRefIter::from_bytes(object.data, tree.kind())
        .map(|entry| {
            let entry = entry.map_err(|_| damaged())?;
            Ok(Entry { name: entry.filename.to_owned(), kind: entry.mode, id: entry.oid.to_owned() })
        })
        .collect()
}

/// The paths that are wanted; all, when none is named.
pub(super) struct Selection<'a> {
    paths: &'a [BString],
    found: Vec<bool>,
}

impl<'a> Selection<'a> {
    pub(super) fn new(paths: &'a [BString]) -> Self {
        Self { paths, found: vec![false; paths.len()] }
    }

    /// Whether each path is that of something.
    pub(super) fn all_found(&self) -> Result<(), Error> {
        match self.found.iter().position(|found| !found) {
            None => Ok(()),
            Some(at) => Err(Error::Refused(format!("pathspec '{}' did not match any files", self.paths[at]))),
        }
    }

    /// Whether what is at a path is wanted.
    fn takes(&mut self, path: &BStr) -> bool {
        let mut taken = self.paths.is_empty();
        for (wanted, found) in self.paths.iter().zip(&mut self.found) {
            let folder = wanted.trim_end_with(|character| character == '/').as_bstr();
            let is_below =
                |folder: &BStr| path.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
            if folder == "."
                || path == folder
                || is_below(folder)
                || gix_glob::wildmatch(wanted.as_bstr(), path, Mode::empty())
            {
                (taken, *found) = (true, true);
            }
        }
        taken
    }

    /// Whether something below a folder may be wanted.
    fn enters(&self, folder: &BStr) -> bool {
        let may_match = |wanted: &BString| {
            let is_above = wanted.strip_prefix(folder.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
            is_above || wanted.find_byteset(b"*?[\\").is_some()
        };
        self.paths.is_empty() || self.paths.iter().any(may_match)
    }
}

/// The attributes of the folders on the way.
struct Attributes {
    search: gix_attributes::Search,
    known: MetadataCollection,
    outcome: Outcome,
}

impl Attributes {
    fn new() -> Self {
        Self {
            search: gix_attributes::Search::default(),
            known: MetadataCollection::default(),
            outcome: Outcome::default(),
        }
    }

    /// Adds those of a folder; an empty list where there are none, so that each folder has one.
    fn enter(&mut self, folder: &BStr, text: &[u8]) {
        let source = PathBuf::from(OsStr::from_bytes(folder)).join(".gitattributes");
        // It reads bytes only: there is nothing to fail.
        let _ = self.search.add_patterns_buffer(text, source, Some(Path::new("")), &mut self.known, folder.is_empty());
        self.outcome.initialize_with_selection(&self.known, IGNORE);
    }

    fn leave(&mut self) {
        self.search.pop_pattern_list();
    }

    fn leaves_out(&mut self, path: &BStr, is_folder: bool) -> bool {
        self.outcome.reset();
        self.search.pattern_matching_relative_path(path, Case::Sensitive, Some(is_folder), &mut self.outcome);
        self.outcome.iter_selected().any(|found| found.assignment.state.is_set())
    }
}

/// A folder that is being walked through.
struct Level {
    path: BString,
    entries: std::vec::IntoIter<Entry>,
}

type Each<'a> = &'a mut dyn FnMut(&BStr, EntryKind, &ObjectId) -> Result<(), Error>;

/// Shows every wanted file, and every folder that has one before it.
pub(super) fn walk(
    packs: &Packs,
    tree: ObjectId,
    selection: &mut Selection<'_>,
    cache: &mut ReadCache,
    interrupt: &AtomicBool,
    each: Each<'_>,
) -> Result<(), Error> {
    let mut attributes = Attributes::new();
    let mut levels = vec![enter(packs, &tree, BString::default(), &mut attributes, cache)?];
    // Folders that were entered and not shown yet.
    let mut pending: Vec<(BString, ObjectId)> = Vec::new();
    while let Some(level) = levels.last_mut() {
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let Some(entry) = level.entries.next() else {
            let left = levels.pop().map(|level| level.path).unwrap_or_default();
            pending.pop_if(|(path, _)| *path == left);
            attributes.leave();
            continue;
        };
        let mut path = level.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&entry.name);
        let is_folder = entry.kind.is_tree();
        if attributes.leaves_out(path.as_bstr(), is_folder) {
            continue;
        }
        let is_wanted = selection.takes(path.as_bstr());
        if is_folder {
            if !is_wanted && !selection.enters(path.as_bstr()) {
                continue;
            }
            if levels.len() == MAX_DEPTH {
                return Err(Error::Refused(format!("folders are more than {MAX_DEPTH} deep")));
            }
            levels.push(enter(packs, &entry.id, path.clone(), &mut attributes, cache)?);
            pending.push((path, entry.id));
        } else if is_wanted {
            for (folder, id) in pending.drain(..) {
                each(folder.as_bstr(), EntryKind::Tree, &id)?;
            }
            each(path.as_bstr(), entry.kind.kind(), &entry.id)?;
        }
    }
    Ok(())
}

fn enter(
    packs: &Packs,
    tree: &ObjectId,
    path: BString,
    attributes: &mut Attributes,
    cache: &mut ReadCache,
) -> Result<Level, Error> {
    let entries = entries(packs, tree, cache)?;
    let (mut buffer, mut text) = (Vec::new(), &[][..]);
    if let Some(file) = entries.iter().find(|entry| entry.name == ".gitattributes" && entry.kind.is_blob())
        && packs.header(&file.id, cache)?.is_some_and(|(_, size)| size <= MAX_ATTRIBUTES)
    {
        text = packs.get(&file.id, &mut buffer, cache)?.data;
    }
    attributes.enter(path.as_bstr(), text);
    Ok(Level { path, entries: entries.into_iter() })
}
