//! The second pass: every delta is applied once, base before delta, by walking the trees that bases and deltas form.
//!
//! Memory: children with few descendants go first and the one with most goes last, when its base is not needed any
//! more; so at most a logarithm of the tree's size many bases are held, and a budget in bytes on top drops the oldest
//! of them, to be made again.

mod family;
mod rebuild;
mod worker;

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use gix::{ObjectId, objs::Kind};

use self::{family::Family, rebuild::Rebuild, worker::Worker};
use super::{
    Context, IngestError, Quarantine,
    inflate::Inflate,
    inspect::Inspector,
    links::Links,
    table::{BY_NAME, Table, WHOLE},
};

/// Below this number of deltas a second thread costs more than it brings.
const TWO_THREADS_FROM: usize = 4_096;

/// Deltas may make this many times the bytes of the pack: real histories make 100, bombs millions.
const BYTES_MADE_PER_BYTE: u64 = 512;
/// What deltas may make however small the pack is.
const BYTES_MADE_ALWAYS: u64 = 1 << 30;

/// The base of a delta whose base is named.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base {
    /// It is in the pack.
    Entry(u32),
    /// It is in the repository.
    Outside(ObjectId),
}

/// What the second pass found.
pub(super) struct Resolved {
    pub(super) links: Links,
    pub(super) gitmodules: HashSet<ObjectId>,
    pub(super) gitattributes: HashSet<ObjectId>,
    /// Bases of the deltas that name theirs.
    pub(super) bases: HashMap<u32, Base>,
}

impl Resolved {
    /// Whether bases lie outside of the pack.
    pub(super) fn is_thin(&self) -> bool {
        self.bases.values().any(|base| matches!(base, Base::Outside(_)))
    }

    /// Takes bases from the pack itself where it has them, as readers of the pack will, and refuses the circles that
    /// this may close: a delta against an object of the repository that the pack brings again, as a delta against
    /// that delta.
    pub(super) fn prefer_inside(&mut self, table: &Table, order: &[u32]) -> Result<(), IngestError> {
        let mut moved = false;
        for base in self.bases.values_mut() {
            if let Base::Outside(id) = base
                && let Some(position) = table.position(order, id)
            {
                *base = Base::Entry(order[position]);
                moved = true;
            }
        }
        if moved { self.refuse_circles(table) } else { Ok(()) }
    }

    fn refuse_circles(&self, table: &Table) -> Result<(), IngestError> {
        // Walks from each delta towards its root; each entry belongs to the first walk that came by.
        let mut walks = vec![0_u32; table.len()];
        for (&start, walk) in self.bases.keys().zip(1_u32..) {
            let mut at = start;
            while walks[at as usize] == 0 {
                walks[at as usize] = walk;
                match self.base_in_pack(table, at) {
                    Some(base) if walks[base as usize] == walk => {
                        let offset = table.offsets[at as usize];
                        return Err(IngestError::Malformed { offset, what: "deltas build on each other in a circle" });
                    }
                    Some(base) => at = base,
                    None => break,
                }
            }
        }
        Ok(())
    }

    fn base_in_pack(&self, table: &Table, entry: u32) -> Option<u32> {
        match table.parents[entry as usize] {
            WHOLE => None,
            BY_NAME => match self.bases.get(&entry) {
                Some(Base::Entry(base)) => Some(*base),
                Some(Base::Outside(_)) | None => None,
            },
            parent => Some(parent),
        }
    }
}

/// What all threads see.
struct Shared<'a> {
    table: &'a Table,
    family: &'a Family,
    quarantine: &'a Quarantine,
    context: &'a Context<'a>,
    made_bytes_max: u64,
    made_bytes: AtomicU64,
    resolved_len: AtomicUsize,
    next_root: AtomicUsize,
    stop: AtomicBool,
}

/// What one thread made.
struct Made {
    inspector: Inspector,
    objects: Vec<(u32, Kind, ObjectId)>,
    bases: HashMap<u32, Base>,
}

/// Resolves all deltas of `table`, filling in their names and kinds.
pub(super) fn resolve(
    table: &mut Table,
    quarantine: &Quarantine,
    context: &Context<'_>,
    inspector: Inspector,
    progress: &mut dyn FnMut(&str),
) -> Result<Resolved, IngestError> {
    table.by_name.sort_unstable_by_key(|delta| (delta.base, delta.entry));
    let mut all = Made { inspector, objects: Vec::new(), bases: HashMap::new() };
    if table.deltas_len > 0 {
        let family = Family::new(table);
        let shared = Shared {
            table,
            family: &family,
            quarantine,
            context,
            made_bytes_max: table
                .end
                .saturating_mul(BYTES_MADE_PER_BYTE)
                .max(BYTES_MADE_ALWAYS)
                .min(context.limits.inflated_bytes),
            made_bytes: AtomicU64::new(0),
            resolved_len: AtomicUsize::new(0),
            next_root: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        };
        all = shared.run(all.inspector, progress)?;
    }
    for (entry, kind, id) in all.objects {
        table.kinds[entry as usize] = kind;
        table.ids[entry as usize] = id;
    }
    table.forget_kept();
    let Inspector { links, gitmodules, gitattributes, .. } = all.inspector;
    Ok(Resolved { links, gitmodules, gitattributes, bases: all.bases })
}

impl Shared<'_> {
    fn run(&self, inspector: Inspector, progress: &mut dyn FnMut(&str)) -> Result<Made, IngestError> {
        let mut report = Report { progress, total: self.table.deltas_len, percent: 0 };
        let mut worker = Worker::new(self, inspector);
        let two = self.table.deltas_len >= TWO_THREADS_FROM;
        let (mine, other) = std::thread::scope(|scope| {
            let helper = two.then(|| scope.spawn(|| self.help()));
            let mine = self.or_stop(worker.inner_roots(&mut |len| report.show(len)));
            let other = helper.map(|helper| helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            (mine, other.transpose())
        });
        // A thread that was made to stop says "interrupted"; the other one knows why.
        let (mine, other) = match (mine, other) {
            (Err(IngestError::Interrupted), Err(reason)) => (Err(reason), Ok(None)),
            both => both,
        };
        match (mine, other) {
            (Ok(()), Ok(other)) => {
                worker.outer_roots(&mut |len| report.show(len))?;
                self.nothing_left()?;
                report.done();
                let mut made = worker.finish();
                if let Some(other) = other {
                    made.inspector.merge(other.inspector);
                    made.objects.extend(other.objects);
                    made.bases.extend(other.bases);
                }
                Ok(made)
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    fn help(&self) -> Result<Made, IngestError> {
        let mut worker = Worker::new(self, Inspector::new(self.context.format));
        self.or_stop(worker.inner_roots(&mut |_| {}))?;
        Ok(worker.finish())
    }

    fn or_stop(&self, result: Result<(), IngestError>) -> Result<(), IngestError> {
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn nothing_left(&self) -> Result<(), IngestError> {
        let mut left = self.family.unclaimed(self.table);
        match left.next() {
            None => Ok(()),
            Some(delta) => Err(IngestError::Unresolved { count: 1 + left.count(), base: delta.base }),
        }
    }

    fn interrupted(&self) -> Result<(), IngestError> {
        if self.stop.load(Ordering::Relaxed) || self.context.interrupt.load(Ordering::Relaxed) {
            return Err(IngestError::Interrupted);
        }
        Ok(())
    }

    /// Accounts for an object that a delta is about to make.
    fn charge(&self, bytes: u64) -> Result<(), IngestError> {
        let limit = self.context.limits.object_bytes;
        if bytes > limit {
            return Err(IngestError::Limit { what: "bytes of an object", limit });
        }
        if self.made_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > self.made_bytes_max {
            return Err(IngestError::Limit { what: "bytes that deltas make", limit: self.made_bytes_max });
        }
        Ok(())
    }
}

/// Reads an object of the pack again after all deltas were resolved.
pub(super) fn read_object(
    table: &Table,
    quarantine: &Quarantine,
    context: &Context<'_>,
    resolved: &Resolved,
    entry: u32,
) -> Result<Vec<u8>, IngestError> {
    let mut inflate = Inflate::default();
    let mut scratch = Vec::new();
    Rebuild { table, quarantine, context, bases: &resolved.bases, inflate: &mut inflate, scratch: &mut scratch }.object(
        entry,
        &|_| None,
        &mut |_| Ok(()),
    )
}

/// Progress as git shows it, once per percent.
struct Report<'a> {
    progress: &'a mut dyn FnMut(&str),
    total: usize,
    percent: usize,
}

impl Report<'_> {
    fn show(&mut self, len: usize) {
        let percent = len * 100 / self.total.max(1);
        if percent > self.percent {
            self.percent = percent;
            (self.progress)(&format!("Resolving deltas: {percent:3}% ({len}/{})\r", self.total));
        }
    }

    fn done(&mut self) {
        let total = self.total;
        (self.progress)(&format!("Resolving deltas: 100% ({total}/{total}), done.\n"));
    }
}
