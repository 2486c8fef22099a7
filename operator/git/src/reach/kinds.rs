//! Which entries of a pack are commits, told from their heads: a delta is what its base is. Nothing is inflated.

use std::{collections::HashMap, ops::ControlFlow};

use gix::objs::Kind;

use super::{Error, Steps};
use crate::odb::{self, Entry, EntryKind, Packs, ReadCache};

/// What is known of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    No,
    Commit,
    Other,
}

impl From<Kind> for Known {
    fn from(kind: Kind) -> Self {
        if kind == Kind::Commit { Self::Commit } else { Self::Other }
    }
}

/// The commits of the pack at `at`: their ranks in the order of offsets. What builds on something that is missing is none.
pub(super) fn commits(packs: &Packs, at: usize, steps: &mut Steps<'_>) -> Result<Vec<usize>, Error> {
    let pack = packs.pack(at)?;
    let mut kinds = vec![Known::No; pack.offsets().len() - 1];
    // Deltas on what comes later in the pack: rank and rank of the base.
    let mut open = Vec::new();
    let (mut cache, mut elsewhere) = (ReadCache::default(), HashMap::new());
    pack.heads(&mut |rank, entry| {
        steps.take()?;
        kinds[rank] = match entry.kind {
            EntryKind::Whole(kind) => kind.into(),
            _ => match inner_base(packs, at, entry)? {
                Some(base) => {
                    if kinds[base] == Known::No {
                        open.push((rank, base));
                    }
                    kinds[base]
                }
                None => match packs.base_of(at, entry).and_then(|base| packs.kind_at(base, &mut elsewhere, &mut cache))
                {
                    Ok(kind) => kind.into(),
                    Err(odb::Error::MissingBase { .. }) => Known::Other,
                    Err(error) => return Err(error.into()),
                },
            },
        };
        Ok::<_, Error>(ControlFlow::Continue(()))
    })?;
    let mut way = Vec::new();
    for (rank, _) in &open {
        steps.take()?;
        let mut next = *rank;
        // As long as the way goes on there is a delta that is not settled; a circle would be longer than there are such.
        while kinds[next] == Known::No && way.len() <= open.len() {
            way.push(next);
            let Ok(found) = open.binary_search_by_key(&next, |(rank, _)| *rank) else { break };
            next = open[found].1;
        }
        if kinds[next] == Known::No {
            return Err(odb::Error::damaged(pack.parts().pack.name(), "a chain of deltas does not end").into());
        }
        for passed in way.drain(..) {
            kinds[passed] = kinds[next];
        }
    }
    Ok(kinds.iter().enumerate().filter(|(_, kind)| **kind == Known::Commit).map(|(rank, _)| rank).collect())
}

/// The rank of the base of a delta, when that is in the same pack.
fn inner_base(packs: &Packs, at: usize, entry: &Entry) -> Result<Option<usize>, Error> {
    let pack = packs.pack(at)?;
    let offset = match entry.kind {
        EntryKind::OffsetDelta(offset) => Some(offset),
        EntryKind::RefDelta(base) => pack.offset(&base),
        EntryKind::Whole(_) => None,
    };
    let Some(offset) = offset else { return Ok(None) };
    let rank = pack.rank(offset);
    let damaged = || odb::Error::damaged(pack.parts().pack.name(), "a delta builds on what is no entry");
    Ok(Some(rank.ok_or_else(damaged)?))
}
