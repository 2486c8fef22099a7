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
mod index;
mod inflate;
mod inspect;
mod links;
mod resolve;
mod scan;
mod source;
mod special;
mod table;

use std::{
    fs::File,
    io::BufRead,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use gix::{ObjectId, objs::Kind};
use model::limits::Limits;

pub use error::IngestError;

use crate::existing::Existing;

/// A pack that lies in quarantine with its index.
#[derive(Debug, Clone)]
pub struct Ingested {
    /// The pack as the client sent it, possibly thin.
    pub pack: PathBuf,
    /// Its index, version 2.
    pub index: PathBuf,
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

/// What every step of one ingest needs.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) existing: &'a dyn Existing,
    pub(crate) interrupt: &'a AtomicBool,
}

/// Reads a pack from `input` into a file below `dir`, indexes and checks it.
///
/// Reads no byte beyond the pack's trailer unless it came with the same read. `progress` gets lines as git shows
/// them, ending in `\r` or `\n`.
///
/// # Errors
/// When the pack is damaged, breaks a limit, holds an object that git would refuse, or cannot be read or written.
pub fn ingest(
    input: &mut dyn BufRead,
    dir: &Path,
    limits: &Limits,
    existing: &dyn Existing,
    progress: &mut dyn FnMut(&str),
    interrupt: &AtomicBool,
) -> Result<Ingested, IngestError> {
    let context = Context { limits, existing, interrupt };
    let pack = dir.join("incoming.pack");
    let index = dir.join("incoming.idx");
    let file = File::options().read(true).write(true).create_new(true).open(&pack).map_err(IngestError::Write)?;

    let mut inspector = inspect::Inspector::default();
    let scanned = scan::scan(input, &file, &context, &mut inspector)?;
    let mut table = scanned.table;
    let mut resolved = resolve::resolve(&mut table, &file, &context, inspector, progress)?;
    let order = table.sorted_by_id()?;
    resolved.prefer_inside(&table, &order)?;
    special::check(&table, &order, &file, &context, &resolved)?;
    let links = resolved.links.settle(&table, &order)?;
    index::write(&index, &table, &order, &scanned.checksum)?;

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
