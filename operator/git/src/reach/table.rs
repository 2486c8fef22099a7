//! An open table: the commits in memory, the lists read when they are asked for.

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bytes::Bytes;
use gix::ObjectId;
use model::Content;

use super::{
    format::{self, Header, MAX_HEADER, PAIR, PARENT, RECORD},
    lists::{Introduced, Lists},
};
use crate::odb::{Error, Pack};

/// What a code stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The object at this position of the pack's index.
    Own(u32),
    /// An object that is not in the pack.
    Foreign(ObjectId),
}

/// The reachability table of a pack. Shared by all who read the pack.
pub struct Table {
    path: PathBuf,
    header: Header,
    /// Everything before the lists.
    head: Bytes,
    lists: Source,
    /// For each parent its number, as [`NOBODY`] if it is not in the table; made when it is asked for.
    parents: OnceLock<Vec<u32>>,
    /// For each object of the pack the first commit that introduces it, or [`NOBODY`]; made when it is asked for.
    introducers: OnceLock<Vec<u32>>,
}

/// No commit of the table.
const NOBODY: u32 = u32::MAX;

/// Where the lists are.
pub(super) enum Source {
    /// In this file, from this offset on.
    File(File, u64),
    /// Here.
    Memory(Bytes),
}

impl Table {
    /// Opens the table of `pack`. Its lists stay in the file, if it is one, and are looked at when they are read.
    ///
    /// # Errors
    /// When it cannot be read, belongs to another pack, or its parts do not fit each other.
    pub fn open(content: &Content, pack: &Pack) -> Result<Self, Error> {
        let path = content.name();
        let damaged = |what: &str| Error::damaged(path, what);
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let (source, length) = match content {
            Content::File(path) => {
                let file = File::open(path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                (Source::File(file, 0), length)
            }
            Content::Memory(bytes) => (Source::Memory(bytes.clone()), bytes.len() as u64),
        };
        let mut first = [0; MAX_HEADER];
        let first = &mut first[..usize::try_from(length).unwrap_or(MAX_HEADER).min(MAX_HEADER)];
        source.read(first, 0).map_err(failed)?;
        let header = Header::parse(first).ok_or_else(|| damaged("it is no reachability table of a known version"))?;
        if header.pack != pack.trailer() || header.objects != pack.len() {
            return Err(damaged("the reachability table belongs to another pack"));
        }
        if (header.lists_at() as u64).checked_add(header.lists) != Some(length) {
            return Err(damaged("the reachability table has another length than its parts"));
        }
        let (head, lists) = match source {
            Source::File(file, _) => {
                let mut head = vec![0; header.lists_at()];
                let lists = Source::File(file, head.len() as u64);
                lists.read_head(&mut head).map_err(failed)?;
                (head.into(), lists)
            }
            Source::Memory(bytes) => {
                (bytes.slice(..header.lists_at()), Source::Memory(bytes.slice(header.lists_at()..)))
            }
        };
        let table =
            Self { path: path.to_owned(), header, head, lists, parents: OnceLock::new(), introducers: OnceLock::new() };
        table.check().map_err(damaged)?;
        Ok(table)
    }

    /// Whether the parts fit each other, so that whatever is looked up afterwards is there.
    fn check(&self) -> Result<(), &'static str> {
        let (objects, codes) = (self.header.objects, self.header.codes());
        let foreign = self.part(self.header.foreign_at(), self.header.records_at());
        if !foreign.chunks_exact(self.header.id_bytes()).is_sorted_by(|one, next| one < next) {
            return Err("the foreign ids of the reachability table are not sorted");
        }
        let (mut parents, mut list) = (0, 0);
        for number in 0..self.len() {
            let (first_parent, start) = (self.first_parent(number), self.list_start(number));
            let at_zero = number > 0 || (first_parent == 0 && start == 0);
            if self.position(number) >= objects || self.tree(number) >= codes {
                return Err("a commit of the reachability table names what is not there");
            }
            if !at_zero || first_parent < parents || start < list {
                return Err("a commit of the reachability table is out of order");
            }
            (parents, list) = (first_parent, start);
        }
        if parents > self.header.parents || list > self.header.lists {
            return Err("a commit of the reachability table is out of order");
        }
        let mut all = self.part(self.header.parents_at(), self.header.pairs_at()).chunks_exact(PARENT);
        if !all.all(|parent| format::u32_at(parent, 0).is_some_and(|code| code < codes)) {
            return Err("a parent in the reachability table is not there");
        }
        let pairs = || (0..self.len()).map(|at| self.pair(at));
        let belongs = |(position, number): (u32, u32)| number < self.len() && self.position(number) == position;
        if !pairs().all(belongs) || !pairs().is_sorted_by(|one, next| one.0 < next.0) {
            return Err("the commits of the reachability table cannot be looked up");
        }
        Ok(())
    }

    /// The file of the table, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all lists.
    pub(super) fn list_bytes(&self) -> u64 {
        self.header.lists
    }

    pub(super) fn source(&self) -> &Source {
        &self.lists
    }

    /// How many commits it has.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.header.commits
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        let lists = if let Source::Memory(bytes) = &self.lists { bytes.len() } else { 0 };
        (self.head.len() + lists) as u64
    }

    /// The first code that does not exist.
    #[must_use]
    pub fn codes(&self) -> u32 {
        self.header.codes()
    }

    /// What a code stands for; the code must be one of this table.
    #[must_use]
    pub fn code(&self, code: u32) -> Code {
        let Some(foreign) = code.checked_sub(self.header.objects) else { return Code::Own(code) };
        let length = self.header.id_bytes();
        let at = self.header.foreign_at() + foreign as usize * length;
        let id = self.head.get(at..at + length).and_then(|id| ObjectId::try_from(id).ok());
        Code::Foreign(id.unwrap_or_else(|| self.header.pack.kind().null()))
    }

    /// The number of the commit at a position of the pack's index.
    #[must_use]
    pub fn number(&self, position: u32) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, number) = self.pair(middle);
            match found.cmp(&position) {
                std::cmp::Ordering::Equal => return Some(number),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Position of a commit in the pack's index. The number must be below [`Self::len`], here and below.
    #[must_use]
    pub fn position(&self, number: u32) -> u32 {
        self.u32(self.record(number))
    }

    /// The tree of a commit.
    #[must_use]
    pub fn tree(&self, number: u32) -> u32 {
        self.u32(self.record(number) + 4)
    }

    /// When it was committed.
    #[must_use]
    pub fn date(&self, number: u32) -> i64 {
        self.u64(self.record(number) + 8).cast_signed()
    }

    /// The parents of a commit, as codes.
    pub fn parents(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        self.parents_of(number).map(|parent| self.parent(parent))
    }

    /// The parents of a commit: their numbers where they are in the table, else their codes. It is for walks over the whole
    /// table: the first one looks all numbers up.
    pub fn numbered_parents(&self, number: u32) -> impl Iterator<Item = Result<u32, u32>> + '_ {
        let numbers = self.parents.get_or_init(|| {
            let number = |code: u32| if code < self.header.objects { self.number(code) } else { None };
            (0..self.header.parents).map(|parent| number(self.parent(parent)).unwrap_or(NOBODY)).collect()
        });
        self.parents_of(number).map(|parent| match numbers.get(parent as usize) {
            Some(number) if *number != NOBODY => Ok(*number),
            _ => Err(self.parent(parent)),
        })
    }

    /// Reads what commits introduce.
    #[must_use]
    pub fn lists(&self) -> Lists<'_> {
        Lists::new(self)
    }

    /// The first commit that introduces the object at a position of the pack's index: whoever has that commit has the object.
    /// `None`: none does, or the lists cannot be read. All of them are, the first time: that takes as long as a large fetch.
    #[must_use]
    pub fn introducer(&self, position: u32) -> Option<u32> {
        let introducers = self.introducers.get_or_init(|| self.read_introducers().unwrap_or_default());
        introducers.get(position as usize).copied().filter(|number| *number != NOBODY)
    }

    fn read_introducers(&self) -> Result<Vec<u32>, Error> {
        let mut introducers = vec![NOBODY; self.header.objects as usize];
        let (mut lists, mut found) = (self.lists(), Introduced::default());
        for number in 0..self.len() {
            lists.read(number, &mut found)?;
            for code in found.codes() {
                // What is not in the pack has no place here.
                if let Some(first) = introducers.get_mut(code as usize).filter(|first| **first == NOBODY) {
                    *first = number;
                }
            }
        }
        Ok(introducers)
    }

    /// Where the list of a commit is among all lists.
    pub(super) fn list(&self, number: u32) -> std::ops::Range<u64> {
        let last = number + 1 >= self.len();
        self.list_start(number)..if last { self.header.lists } else { self.list_start(number + 1) }
    }

    /// Where the parents of a commit are among all parents.
    fn parents_of(&self, number: u32) -> std::ops::Range<u32> {
        let last = number + 1 >= self.len();
        self.first_parent(number)..if last { self.header.parents } else { self.first_parent(number + 1) }
    }

    fn parent(&self, at: u32) -> u32 {
        self.u32(self.header.parents_at() + at as usize * PARENT)
    }

    fn first_parent(&self, number: u32) -> u32 {
        self.u32(self.record(number) + 16)
    }

    fn list_start(&self, number: u32) -> u64 {
        self.u64(self.record(number) + 20)
    }

    fn pair(&self, at: u32) -> (u32, u32) {
        let at = self.header.pairs_at() + at as usize * PAIR;
        (self.u32(at), self.u32(at + 4))
    }

    fn record(&self, number: u32) -> usize {
        self.header.records_at() + number as usize * RECORD
    }

    fn part(&self, from: usize, to: usize) -> &[u8] {
        self.head.get(from..to).unwrap_or(&[])
    }

    fn u32(&self, at: usize) -> u32 {
        format::u32_at(&self.head, at).unwrap_or(0)
    }

    fn u64(&self, at: usize) -> u64 {
        format::u64_at(&self.head, at).unwrap_or(0)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Table").field("path", &self.path).field("header", &self.header).finish_non_exhaustive()
    }
}
