//! `sparse:oid`: blobs are left out by where they are, as the patterns in a blob of the repository say ([git-sparse-checkout]).
//!
//! Patterns are those of `.gitignore`, and what they match is sent. The last one that matches a path decides; where none does, what
//! was decided about the folder counts. Commits and trees are always sent. The patterns are looked up among what the client may read.
//!
//! [git-sparse-checkout]: https://git-scm.com/docs/git-sparse-checkout#_internalsfull_pattern_set

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _},
    hashtable::HashSet,
    objs::{Kind, TreeRefIter},
};

use super::{visible, wants};
use crate::{
    client::printable,
    odb::{Error, ReadCache},
    peel::peel,
    view::RepositoryView,
};

mod patterns;
mod sieve;

use patterns::Patterns;
pub(super) use sieve::{At, Sieve};

/// Largest blob of patterns.
const MAX_BYTES: u64 = 1 << 20;

/// Patterns of one request.
const MAX_PATTERNS: usize = 4_096;

/// The patterns of a filter.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// What all of them match is sent. There are at most 32 of them.
    lists: Vec<Patterns>,
}

/// For each list of patterns one bit: whether it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Matched(u32);

impl Sparse {
    /// Reads the patterns that a filter names; the inner error is the refusal that the client reads.
    pub(super) fn read(
        names: &[BString],
        view: &RepositoryView<'_>,
        cache: &mut ReadCache,
    ) -> Result<Result<Self, String>, Error> {
        let (mut lists, mut buffer) = (Vec::with_capacity(names.len()), Vec::new());
        let mut left = MAX_PATTERNS;
        for name in names {
            let shown = printable(name, 100);
            let Some(id) = find(name.as_bstr(), view, cache)? else {
                return Ok(Err(format!("upload-pack: unable to access sparse blob in '{shown}'")));
            };
            if view.packs.header(&id, cache)?.is_none_or(|(_, size)| size > MAX_BYTES) {
                return Ok(Err(format!("upload-pack: the sparse blob '{shown}' is larger than {MAX_BYTES} bytes")));
            }
            let blob = view.packs.get(&id, &mut buffer, cache)?;
            match Patterns::parse(blob.data, left) {
                Ok(list) => {
                    left -= list.len();
                    lists.push(list);
                }
                Err(reason) => return Ok(Err(format!("upload-pack: the sparse blob '{shown}' {reason}"))),
            }
        }
        Ok(Ok(Self { lists }))
    }

    /// Whether a root tree is matched, which its content takes over.
    fn root(&self) -> Matched {
        self.each(|_, list| list.of_root().unwrap_or(false))
    }

    /// Whether an object is matched that is in a folder of which `above` is known.
    fn of(&self, path: &BStr, is_folder: bool, above: Matched) -> Matched {
        self.each(|bit, list| list.of(path, is_folder).unwrap_or(above.0 & bit != 0))
    }

    fn each(&self, decide: impl Fn(u32, &Patterns) -> bool) -> Matched {
        let bits = self.lists.iter().enumerate().map(|(at, list)| {
            let bit = 1 << at;
            if decide(bit, list) { bit } else { 0 }
        });
        Matched(bits.sum())
    }

    /// Whether a blob of which this is known is sent.
    fn sends(&self, matched: Matched) -> bool {
        matched.0.count_ones() as usize == self.lists.len()
    }

    /// How many patterns there are.
    fn len(&self) -> usize {
        self.lists.iter().map(Patterns::len).sum()
    }
}

/// The blob that is meant by `<id>`, `<reference>`, or one of these with `:<path>` behind it, if the client may read it.
fn find(name: &BStr, view: &RepositoryView<'_>, cache: &mut ReadCache) -> Result<Option<ObjectId>, Error> {
    let (start, path) = match name.split_once_str(":") {
        Some((start, path)) => (start, Some(path)),
        None => (name.as_bytes(), None),
    };
    let Some(start) = visible(start, view, cache)? else { return Ok(None) };
    let Some(path) = path else { return only_blob(start, view, cache) };
    let target = peel(view.packs, &start, cache)?.map_or(start, |peeled| peeled.target);
    let mut at = match view.packs.kind(&target, cache)? {
        Some(Kind::Commit) => view.packs.commit(&target, None, &mut Vec::new(), cache)?.tree,
        Some(Kind::Tree) => target,
        _ => return Ok(None),
    };
    let mut names = path.split_str("/").peekable();
    while let Some(name) = names.next() {
        match entry(at, name.as_bstr(), view, cache)? {
            Some((id, is_tree)) if is_tree == names.peek().is_some() => at = id,
            _ => return Ok(None),
        }
    }
    only_blob(at, view, cache)
}

fn only_blob(id: ObjectId, view: &RepositoryView<'_>, cache: &mut ReadCache) -> Result<Option<ObjectId>, Error> {
    let kind = view.packs.kind(&id, cache)?;
    Ok(Some(id).filter(|_| kind == Some(Kind::Blob)))
}

/// What is called so in a tree, and whether it is a tree.
fn entry(
    tree: ObjectId,
    name: &BStr,
    view: &RepositoryView<'_>,
    cache: &mut ReadCache,
) -> Result<Option<(ObjectId, bool)>, Error> {
    let mut buffer = Vec::new();
    let object = view.packs.get(&tree, &mut buffer, cache)?;
    let mut entries = TreeRefIter::from_bytes(object.data, tree.kind()).flatten();
    let found = entries.find(|entry| entry.filename == name && !entry.mode.is_commit());
    Ok(found.map(|entry| (entry.oid.to_owned(), entry.mode.is_tree())))
}

/// The object that is meant by an id or the name of a reference, if the client may see it.
fn visible(name: &[u8], view: &RepositoryView<'_>, cache: &mut ReadCache) -> Result<Option<ObjectId>, Error> {
    let Ok(id) = ObjectId::from_hex(name) else {
        let named = || view.refs.named(name).map(|(id, _)| id);
        return Ok(if name == b"HEAD" { view.refs.head_id() } else { named() });
    };
    let is_visible = match view.packs.kind(&id, cache)? {
        None => false,
        Some(Kind::Commit) => wants::are_visible(view, &[id], cache)?,
        Some(_) => visible::hidden(view, &HashSet::from_iter([id]), cache)?.is_empty(),
    };
    Ok(Some(id).filter(|_| is_visible))
}
