//! Takes a pushed pack in: one streaming pass to disk, then the deltas, then the index.
//!
//! The pack is stored as it came, thin or not: bases outside of it are looked up in the repository and not
//! appended. Every object is hashed with collision detection and checked ([`crate::object_check`]); what the new
//! objects link to outside of the pack is collected for [`crate::connectivity`].
//! Not here: whether those links exist, references, and what the pack is called in the bucket.
//!
//! Invariant: memory grows with the number of objects received and with the largest object, never with a number
//! that the client merely claims.

mod arena;
mod delta;
mod entry;
mod error;
mod inflate;
mod inspect;
mod links;
mod quarantine;
mod resolve;
mod scan;
mod source;
mod special;
mod table;

use std::{io::BufRead, sync::atomic::AtomicBool};

use gix::{ObjectId, objs::Kind};
use model::{Content, ObjectFormat, limits::Limits};

pub use error::IngestError;
pub use quarantine::Quarantine;
pub(crate) use quarantine::copy_at;

use crate::existing::Existing;
use crate::pack_index::{self, IndexEntry};

/// A pack that lies in quarantine with its index.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// The pack as the client sent it, possibly thin.
    pub pack: Content,
    /// Its index, version 2.
    pub index: Content,
    /// Its checksum, which is its name.
    pub id: ObjectId,
    /// Bytes of the pack.
    pub bytes: u64,
    /// Objects in it. None is usual: a branch created at a commit that is already here.
    pub objects: u64,
    /// Objects outside of the pack that objects in it link to, with what kind they have to be. Sorted.
    pub links_out: Vec<(ObjectId, Kind)>,
    /// Objects of the pack that no other object in it links to. Every object of the pack is reachable from these,
    /// because links cannot form a cycle. Sorted.
    pub unreferenced: Vec<ObjectId>,
    /// Whether deltas in the pack have bases outside of it.
    pub thin: bool,
}

/// What a pack is taken in for.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// What names objects.
    pub format: ObjectFormat,
    /// What it may cost.
    pub limits: &'a Limits,
    /// The objects that are here already.
    pub existing: &'a dyn Existing,
    /// Set when it is to be given up.
    pub interrupt: &'a AtomicBool,
}

/// Reads a pack from `input` into `quarantine`, indexes and checks it.
///
/// Reads no byte beyond the pack's trailer unless it came with the same read. `progress` gets lines as git shows
/// them, ending in `\r` or `\n`.
///
/// # Errors
/// When the pack is damaged, breaks a limit, holds an object that git would refuse, or cannot be read or written.
pub fn ingest(
    input: &mut dyn BufRead,
    quarantine: &mut Quarantine,
    context: &Context<'_>,
    progress: &mut dyn FnMut(&str),
) -> Result<Ingested, IngestError> {
    let mut inspector = inspect::Inspector::new(context.format);
    let scanned = scan::scan(input, quarantine, context, &mut inspector)?;
    let mut table = scanned.table;
    let mut resolved = resolve::resolve(&mut table, quarantine, context, inspector, progress)?;
    let order = table.sorted_by_id()?;
    resolved.prefer_inside(&table, &order)?;
    special::check(&table, &order, quarantine, context, &resolved)?;
    let links = resolved.links.settle(&table, &order)?;
    let entry = |at: &u32| {
        let at = *at as usize;
        IndexEntry { id: table.ids[at], offset: table.offsets[at], crc32: table.crc32s[at] }
    };
    let mut entries: Vec<IndexEntry> = order.iter().map(entry).collect();
    let sealed = quarantine.seal(&mut |out| pack_index::write(&mut entries, &scanned.checksum, out).map(drop));
    let (pack, index) = sealed.map_err(IngestError::Write)?;

    Ok(Ingested {
        pack,
        index,
        id: scanned.checksum,
        bytes: scanned.bytes,
        objects: table.len() as u64,
        links_out: links.out,
        unreferenced: links.unreferenced,
        thin: resolved.is_thin(),
    })
}

#[cfg(test)]
mod tests;
