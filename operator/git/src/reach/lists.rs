//! Reading lists: pieces of the file at once, greater ones while the reader goes straight on.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _};

use super::{
    format,
    table::{Source, Table},
};
use crate::{ingest::copy_at, odb::Error};

/// How much is read at first, and at most unless one list is greater.
const FIRST_WINDOW: usize = 4 << 10;
const MAX_WINDOW: usize = 256 << 10;

impl Source {
    /// Reads exactly these bytes, `offset` bytes after where the lists begin.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file, start) => file.read_exact_at(buffer, start + offset),
            Self::Memory(bytes) => copy_at(bytes, buffer, offset),
        }
    }

    /// Reads the bytes before the lists.
    pub(super) fn read_head(&self, buffer: &mut [u8]) -> io::Result<()> {
        let Self::File(file, _) = self else { return Ok(()) };
        File::read_exact_at(file, buffer, 0)
    }
}

/// What a commit introduces: sorted codes, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduced {
    /// Trees.
    pub trees: Vec<u32>,
    /// Blobs.
    pub blobs: Vec<u32>,
}

impl Introduced {
    pub(super) fn clear(&mut self) {
        self.trees.clear();
        self.blobs.clear();
    }

    pub(super) fn sort(&mut self) {
        for codes in [&mut self.trees, &mut self.blobs] {
            codes.sort_unstable();
            codes.dedup();
        }
    }

    /// All of them: trees, then blobs.
    pub fn codes(&self) -> impl Iterator<Item = u32> + '_ {
        self.trees.iter().chain(&self.blobs).copied()
    }
}

/// Reads lists of one table, best in the order of the numbers of commits.
pub struct Lists<'a> {
    table: &'a Table,
    window: Vec<u8>,
    /// Where among the lists the window begins.
    start: u64,
    /// How much is read next.
    next: usize,
}

impl<'a> Lists<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self { table, window: Vec::new(), start: 0, next: FIRST_WINDOW }
    }

    /// Reads what the commit with this number introduces, which must be below the number of commits.
    ///
    /// # Errors
    /// When it cannot be read or is not a list.
    pub fn read(&mut self, number: u32, into: &mut Introduced) -> Result<(), Error> {
        into.clear();
        let (table, codes) = (self.table, self.table.codes());
        let mut bytes = self.bytes(table.list(number))?;
        let trees = format::take_codes(&mut bytes, codes, &mut into.trees);
        let blobs = trees.and_then(|()| format::take_codes(&mut bytes, codes, &mut into.blobs));
        match blobs.filter(|()| bytes.is_empty()) {
            Some(()) => Ok(()),
            None => Err(Error::damaged(table.path(), format!("the list of commit {number} cannot be read"))),
        }
    }

    fn bytes(&mut self, range: Range<u64>) -> Result<&[u8], Error> {
        let damaged = || Error::damaged(self.table.path(), "a list is longer than the memory");
        let length = usize::try_from(range.end - range.start).map_err(|_| damaged())?;
        if let Source::Memory(bytes) = self.table.source() {
            let start = usize::try_from(range.start).map_err(|_| damaged())?;
            return Ok(bytes.get(start..).and_then(|bytes| bytes.get(..length)).unwrap_or(&[]));
        }
        let end = self.start + self.window.len() as u64;
        if range.start < self.start || range.end > end {
            // Who goes on where the window ends, or close to it, will go on.
            let onwards = range.start >= self.start && range.start <= end + self.next as u64;
            self.next = if onwards { (self.next * 2).min(MAX_WINDOW) } else { FIRST_WINDOW };
            let left = usize::try_from(self.table.list_bytes() - range.start).map_err(|_| damaged())?;
            self.window.resize(self.next.max(length).min(left), 0);
            self.start = range.start;
            let read = self.table.source().read(&mut self.window, range.start);
            if let Err(source) = read {
                self.window.clear();
                return Err(Error::Read { path: self.table.path().to_owned(), source });
            }
        }
        let start = usize::try_from(range.start - self.start).map_err(|_| damaged())?;
        Ok(self.window.get(start..start + length).unwrap_or(&[]))
    }
}
