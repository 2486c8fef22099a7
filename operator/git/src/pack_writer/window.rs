//! A window on a pack: entries that lie next to each other are read at once.

use std::io;

use super::Error;
use crate::odb::{Location, Packs};

/// A piece of a pack in memory.
#[derive(Default)]
pub(super) struct Window {
    pack: usize,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn holds(&self, location: Location, length: u64) -> bool {
        self.pack == location.pack
            && location.offset >= self.start
            && location.offset + length <= self.start + self.bytes.len() as u64
    }

    /// The `length` bytes at `location`; if they must be read, then up to `until` at once.
    pub(super) fn take(&mut self, packs: &Packs, location: Location, length: u64, until: u64) -> Result<&[u8], Error> {
        if !self.holds(location, length) {
            let wanted = usize::try_from(until - location.offset).unwrap_or(usize::MAX);
            self.bytes.clear();
            self.bytes.try_reserve_exact(wanted).map_err(|error| Error::Write(io::Error::other(error)))?;
            self.bytes.resize(wanted, 0);
            self.pack = location.pack;
            self.start = location.offset;
            packs.pack(location.pack)?.read_exact_at(&mut self.bytes, location.offset)?;
        }
        Ok(self.current(location, length))
    }

    /// The bytes that [`Self::take`] returned.
    pub(super) fn current(&self, location: Location, length: u64) -> &[u8] {
        let start = usize::try_from(location.offset - self.start).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.bytes.get(start..).and_then(|bytes| bytes.get(..length)).unwrap_or(&[])
    }
}
