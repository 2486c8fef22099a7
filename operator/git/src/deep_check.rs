//! Checking everything that packs hold: each byte, each object, each link. For `codekeep fsck`; takes minutes where a read takes
//! milliseconds.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use gix::{
    ObjectId,
    hashtable::HashSet,
    objs::{CommitRefIter, Kind, TagRefIter, TreeRefIter},
};

use crate::odb::{Location, Pack, Packs, ReadCache};

/// Memory for bases of deltas.
const CACHE_BYTES: usize = 96 << 20;

/// The check was given up.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Verifies the trailer of every pack, every entry against its CRC-32, every object against its id, and that every object that
/// another one or `tips` name is there. Returns one line for each problem, at most `limit`.
///
/// # Errors
/// When `interrupt` was set.
pub fn check(
    packs: &Packs,
    tips: &[ObjectId],
    limit: usize,
    interrupt: &AtomicBool,
) -> Result<Vec<String>, Interrupted> {
    let mut check = Check { packs, problems: Vec::new(), limit, missing: HashSet::default(), interrupt };
    for tip in tips {
        check.link(tip, "a reference");
    }
    for at in 0..packs.packs().len() {
        check.pack(at)?;
        if check.problems.len() >= limit {
            break;
        }
    }
    check.problems.truncate(limit);
    Ok(check.problems)
}

struct Check<'a> {
    packs: &'a Packs,
    problems: Vec<String>,
    limit: usize,
    /// Told already.
    missing: HashSet<ObjectId>,
    interrupt: &'a AtomicBool,
}

impl Check<'_> {
    fn pack(&mut self, at: usize) -> Result<(), Interrupted> {
        let packs = self.packs;
        let pack = &packs.packs()[at];
        self.trailer(pack)?;
        let mut cache = ReadCache::new(CACHE_BYTES);
        let (mut object, mut entry) = (Vec::new(), Vec::new());
        for (number, pair) in pack.offsets().windows(2).enumerate() {
            if number.is_multiple_of(1_024) && self.interrupt.load(Ordering::Relaxed) {
                return Err(Interrupted);
            }
            if self.problems.len() >= self.limit {
                break;
            }
            let offset = pair[0];
            let Some((id, crc)) = pack.object_at(offset) else { continue };
            entry.resize(usize::try_from(pair[1].saturating_sub(offset)).unwrap_or(0), 0);
            match pack.read_exact_at(&mut entry, offset) {
                Ok(()) if crc32fast::hash(&entry) == crc => {}
                Ok(()) => {
                    self.problems.push(format!("{id}: its entry in {} is damaged", pack.parts().pack.name().display()));
                }
                Err(error) => self.problems.push(format!("{id}: {error}")),
            }
            match packs.read(Location { pack: at, offset }, &mut object, &mut cache) {
                Ok(kind) => self.object(&id, kind, &object),
                Err(error) => self.problems.push(format!("{id}: {error}")),
            }
        }
        Ok(())
    }

    /// The hash of the whole pack.
    fn trailer(&mut self, pack: &Pack) -> Result<(), Interrupted> {
        let mut hasher = gix::hash::hasher(pack.format());
        let mut reader = pack.reader(0);
        let mut buffer = vec![0; 1 << 18];
        let mut left = pack.end();
        while left > 0 {
            if self.interrupt.load(Ordering::Relaxed) {
                return Err(Interrupted);
            }
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            if let Err(error) = io::Read::read_exact(&mut reader, &mut buffer[..take]) {
                self.problems.push(format!("{}: {error}", pack.parts().pack.name().display()));
                return Ok(());
            }
            hasher.update(&buffer[..take]);
            left -= take as u64;
        }
        if hasher.try_finalize().ok() != Some(pack.trailer()) {
            self.problems
                .push(format!("{}: its bytes do not have the checksum at its end", pack.parts().pack.name().display()));
        }
        Ok(())
    }

    /// One object: its id, and what it names.
    fn object(&mut self, id: &ObjectId, kind: Kind, data: &[u8]) {
        if gix::objs::compute_hash(id.kind(), kind, data).ok() != Some(*id) {
            self.problems.push(format!("{id}: its content has another id"));
            return;
        }
        let hash = id.kind();
        let unreadable = match kind {
            Kind::Blob => false,
            Kind::Tree => {
                let mut bad = false;
                for entry in TreeRefIter::from_bytes(data, hash) {
                    match entry {
                        // What a submodule points at is in another repository.
                        Ok(entry) if entry.mode.is_commit() => {}
                        Ok(entry) => self.link(&entry.oid.to_owned(), &format!("tree {id}")),
                        Err(_) => bad = true,
                    }
                }
                bad
            }
            Kind::Commit => match CommitRefIter::from_bytes(data, hash).tree_id() {
                Ok(tree) => {
                    self.link(&tree, &format!("commit {id}"));
                    for parent in CommitRefIter::from_bytes(data, hash).parent_ids() {
                        self.link(&parent, &format!("commit {id}"));
                    }
                    false
                }
                Err(_) => true,
            },
            Kind::Tag => match TagRefIter::from_bytes(data, hash).target_id() {
                Ok(target) => {
                    self.link(&target, &format!("tag {id}"));
                    false
                }
                Err(_) => true,
            },
        };
        if unreadable {
            self.problems.push(format!("{id}: it is not a {kind} that can be read"));
        }
    }

    /// Something that must be there.
    fn link(&mut self, id: &ObjectId, from: &str) {
        if !self.packs.contains(id) && self.missing.insert(*id) {
            self.problems.push(format!("{id}: missing; {from} names it"));
        }
    }
}
