//! What a walk over trees knows of places: an object may be at several, and only at some of them it is left out.

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _},
    hashtable::HashSet,
};

use super::{Matched, Sparse};

/// Times that trees are looked at again because they are at another place. A history that needs more is made for that.
const MAX_AGAIN: u32 = 1_000_000;

/// Paths that are compared with patterns, multiplied by the number of patterns: some ten seconds.
const MAX_TESTS: u64 = 4_000_000_000;

/// A place in a tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct At {
    path: BString,
    matched: Matched,
}

/// The patterns of a filter, and what was seen where.
pub(crate) struct Sieve<'a> {
    sparse: &'a Sparse,
    paths: std::collections::HashMap<BString, u32>,
    visited: std::collections::HashSet<(ObjectId, u32, Matched)>,
    met: HashSet<ObjectId>,
    again: u32,
    tests: u64,
}

impl<'a> Sieve<'a> {
    pub(crate) fn new(sparse: &'a Sparse) -> Self {
        Self {
            sparse,
            paths: std::collections::HashMap::default(),
            visited: std::collections::HashSet::default(),
            met: HashSet::default(),
            again: 0,
            tests: 0,
        }
    }

    /// The root of a commit's tree.
    pub(crate) fn root(&self) -> At {
        At { path: BString::default(), matched: self.sparse.root() }
    }

    /// The place of an entry.
    pub(crate) fn below(&mut self, above: &At, name: &BStr, is_folder: bool) -> At {
        self.tests = self.tests.saturating_add(self.sparse.len() as u64);
        let mut path = above.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let matched = self.sparse.of(path.as_bstr(), is_folder, above.matched);
        At { path, matched }
    }

    /// Whether a blob at this place is sent.
    pub(crate) fn sends(&self, at: &At) -> bool {
        self.sparse.sends(at.matched)
    }

    /// Whether a tree is to be looked into: it was not yet at this place.
    pub(crate) fn enter(&mut self, tree: ObjectId, at: &At) -> bool {
        let number = u32::try_from(self.paths.len()).unwrap_or(u32::MAX);
        let path = match self.paths.get(&at.path) {
            Some(path) => *path,
            None => *self.paths.entry(at.path.clone()).or_insert(number),
        };
        let is_new = self.visited.insert((tree, path, at.matched));
        if is_new && !self.met.insert(tree) {
            self.again += 1;
        }
        is_new
    }

    /// Whether this filter asks for more work than anybody needs.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.again > MAX_AGAIN || self.tests > MAX_TESTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_looked_at_once_at_each_place_until_it_is_too_much() {
        let sparse = Sparse::default();
        let mut sieve = Sieve::new(&sparse);
        let tree = ObjectId::null(gix::hash::Kind::Sha1);
        let root = sieve.root();
        let below = sieve.below(&root, b"a".into(), true);
        assert_eq!(sieve.below(&below, b"b".into(), false).path, "a/b");
        assert!(sieve.enter(tree, &root) && !sieve.enter(tree, &root));
        assert!(sieve.enter(tree, &below) && !sieve.enter(tree, &below));
        assert_eq!(sieve.again, 1);
        sieve.again = MAX_AGAIN;
        assert!(!sieve.is_exhausted());
        let other = sieve.below(&below, b"c".into(), true);
        assert!(sieve.enter(tree, &other) && sieve.is_exhausted());
        let mut sieve = Sieve::new(&sparse);
        sieve.tests = MAX_TESTS + 1;
        assert!(sieve.is_exhausted());
    }
}
