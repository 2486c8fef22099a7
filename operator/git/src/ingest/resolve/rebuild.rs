//! Makes one object of the pack from nothing: its chain of bases, then the deltas.

use std::collections::HashMap;

use super::Base;
use crate::ingest::{
    Context, IngestError, Quarantine, delta,
    inflate::Inflate,
    table::{BY_NAME, Table, WHOLE},
};

/// Everything that is needed to make objects.
pub(super) struct Rebuild<'a> {
    pub(super) table: &'a Table,
    pub(super) quarantine: &'a Quarantine,
    pub(super) context: &'a Context<'a>,
    pub(super) bases: &'a HashMap<u32, Base>,
    pub(super) inflate: &'a mut Inflate,
    pub(super) scratch: &'a mut Vec<u8>,
}

impl Rebuild<'_> {
    /// The data of `entry`. `held` may know the data of an ancestor; `charge` is asked before each application.
    pub(super) fn object(
        &mut self,
        entry: u32,
        held: &dyn Fn(u32) -> Option<Vec<u8>>,
        charge: &mut dyn FnMut(u64) -> Result<(), IngestError>,
    ) -> Result<Vec<u8>, IngestError> {
        let mut chain = Vec::new();
        let mut at = entry;
        let mut data = loop {
            if let Some(data) = held(at) {
                break data;
            }
            match self.base(at)? {
                None => break self.whole(at)?,
                Some(Base::Entry(base)) => {
                    chain.push(at);
                    at = base;
                }
                Some(Base::Outside(id)) => {
                    chain.push(at);
                    break self.outside(&id)?;
                }
            }
        };
        let mut next = Vec::new();
        for child in chain.into_iter().rev() {
            self.apply(&data, child, &mut next, charge)?;
            std::mem::swap(&mut data, &mut next);
        }
        Ok(data)
    }

    fn base(&self, entry: u32) -> Result<Option<Base>, IngestError> {
        match self.table.parents[entry as usize] {
            WHOLE => Ok(None),
            BY_NAME => match self.bases.get(&entry) {
                Some(base) => Ok(Some(*base)),
                None => Err(self.malformed(entry, "a delta has lost its base")),
            },
            parent => Ok(Some(Base::Entry(parent))),
        }
    }

    /// The data of a whole object.
    pub(super) fn whole(&mut self, entry: u32) -> Result<Vec<u8>, IngestError> {
        if let Some(data) = self.table.kept(entry) {
            return Ok(data.to_vec());
        }
        let mut data = Vec::new();
        self.inflate.again(self.quarantine, self.table.span(entry), self.table.sizes[entry as usize], &mut data)?;
        Ok(data)
    }

    /// The data of an object of the repository.
    pub(super) fn outside(&self, id: &gix::oid) -> Result<Vec<u8>, IngestError> {
        let mut data = Vec::new();
        match self.context.existing.read(id, &mut data)? {
            Some(_) => Ok(data),
            None => Err(IngestError::Unresolved { count: 1, base: id.to_owned() }),
        }
    }

    /// Applies the delta `entry` to `base`.
    pub(super) fn apply(
        &mut self,
        base: &[u8],
        entry: u32,
        out: &mut Vec<u8>,
        charge: &mut dyn FnMut(u64) -> Result<(), IngestError>,
    ) -> Result<(), IngestError> {
        let delta = if let Some(delta) = self.table.kept(entry) {
            delta
        } else {
            let size = self.table.sizes[entry as usize];
            self.inflate.again(self.quarantine, self.table.span(entry), size, self.scratch)?;
            self.scratch.as_slice()
        };
        let malformed = |what| IngestError::Malformed { offset: self.table.offsets[entry as usize], what };
        let sizes = delta::sizes(delta).map_err(malformed)?;
        charge(sizes.result)?;
        delta::apply(base, delta, &sizes, out).map_err(malformed)
    }

    fn malformed(&self, entry: u32, what: &'static str) -> IngestError {
        IngestError::Malformed { offset: self.table.offsets[entry as usize], what }
    }
}
