//! One thread's walk over trees of deltas.

use std::{collections::HashMap, sync::atomic::Ordering};

use gix::{ObjectId, objs::Kind};

use super::{Base, Made, Shared, family::Children, rebuild::Rebuild};
use crate::ingest::{IngestError, inflate::Inflate, inspect::Inspector};

/// Bytes of bases that one thread holds besides the one at hand.
const HELD_BYTES: usize = 64 << 20;

/// Buffers larger than this are given back instead of being used again.
const SPARE_BYTES: usize = 1 << 20;

/// Walks trees of deltas, depth first.
pub(super) struct Worker<'a> {
    shared: &'a Shared<'a>,
    inspector: Inspector,
    inflate: Inflate,
    scratch: Vec<u8>,
    spare: Vec<Vec<u8>>,
    objects: Vec<(u32, Kind, ObjectId)>,
    bases: HashMap<u32, Base>,
}

/// An object some of whose children are still to be made.
struct Frame {
    base: Base,
    data: Option<Vec<u8>>,
    children: Children,
    depth: u32,
}

impl<'a> Worker<'a> {
    /// A worker that has done nothing.
    pub(super) fn new(shared: &'a Shared<'a>, inspector: Inspector) -> Self {
        Self {
            shared,
            inspector,
            inflate: Inflate::default(),
            scratch: Vec::new(),
            spare: Vec::new(),
            objects: Vec::new(),
            bases: HashMap::new(),
        }
    }

    /// What the worker made.
    pub(super) fn finish(self) -> Made {
        Made { inspector: self.inspector, objects: self.objects, bases: self.bases }
    }

    /// Takes trees whose root is in the pack, as long as there are any.
    pub(super) fn inner_roots(&mut self, report: &mut dyn FnMut(usize)) -> Result<(), IngestError> {
        let shared = self.shared;
        while let Some(&root) = shared.family.roots.get(shared.next_root.fetch_add(1, Ordering::Relaxed)) {
            let (kind, id) = (shared.table.kinds[root as usize], shared.table.ids[root as usize]);
            let data = self.rebuild().whole(root)?;
            let children = shared.family.children(shared.table, root, &id);
            self.tree(Frame { base: Base::Entry(root), data: Some(data), children, depth: 0 }, kind, report)?;
        }
        Ok(())
    }

    /// Takes trees whose root is in the repository.
    pub(super) fn outer_roots(&mut self, report: &mut dyn FnMut(usize)) -> Result<(), IngestError> {
        let shared = self.shared;
        let mut bases: Vec<ObjectId> = shared.family.unclaimed(shared.table).map(|delta| delta.base).collect();
        bases.dedup();
        for id in bases {
            let mut data = Vec::new();
            // A base that is not there may be a delta of this pack that another tree makes.
            let Some(kind) = shared.context.existing.read(&id, &mut data)? else { continue };
            let children = shared.family.children_of_outside(shared.table, &id);
            self.tree(Frame { base: Base::Outside(id), data: Some(data), children, depth: 0 }, kind, report)?;
        }
        Ok(())
    }

    fn tree(&mut self, root: Frame, kind: Kind, report: &mut dyn FnMut(usize)) -> Result<(), IngestError> {
        let shared = self.shared;
        let mut stack = vec![root];
        while let Some(top) = stack.last_mut() {
            shared.interrupted()?;
            let Some((child, by_name)) = shared.family.take(shared.table, &mut top.children) else {
                self.recycle(stack.pop().and_then(|frame| frame.data));
                continue;
            };
            let (base, depth) = (top.base, top.depth + 1);
            if depth > shared.context.limits.delta_depth {
                let limit = u64::from(shared.context.limits.delta_depth);
                return Err(IngestError::Limit { what: "length of a chain of deltas", limit });
            }
            if by_name {
                self.bases.insert(child, base);
            }
            self.ensure_data(&mut stack)?;
            let data = self.make(&mut stack, child)?;
            let id = self.inspector.object(kind, &data)?;
            self.objects.push((child, kind, id));
            report(shared.resolved_len.fetch_add(1, Ordering::Relaxed) + 1);
            let children = shared.family.children(shared.table, child, &id);
            if children.is_empty() {
                self.recycle(Some(data));
            } else {
                stack.push(Frame { base: Base::Entry(child), data: Some(data), children, depth });
                drop_oldest(&mut stack);
            }
        }
        Ok(())
    }

    /// Applies `child` to the top of the stack, which goes when this was its last child.
    fn make(&mut self, stack: &mut Vec<Frame>, child: u32) -> Result<Vec<u8>, IngestError> {
        let mut out = self.spare.pop().unwrap_or_default();
        let shared = self.shared;
        let base = stack.last().and_then(|top| top.data.as_deref()).unwrap_or_default();
        self.rebuild().apply(base, child, &mut out, &mut |bytes| shared.charge(bytes))?;
        if stack.last().is_some_and(|top| top.children.is_empty()) {
            self.recycle(stack.pop().and_then(|frame| frame.data));
        }
        Ok(out)
    }

    /// Makes the data of the top of the stack again if it was dropped.
    fn ensure_data(&mut self, stack: &mut [Frame]) -> Result<(), IngestError> {
        let Some((top, below)) = stack.split_last_mut() else { return Ok(()) };
        if top.data.is_some() {
            return Ok(());
        }
        let held = |entry: u32| {
            let frame = below.iter().rev().find(|frame| matches!(frame.base, Base::Entry(at) if at == entry))?;
            frame.data.clone()
        };
        let shared = self.shared;
        let data = match top.base {
            Base::Entry(entry) => self.rebuild().object(entry, &held, &mut |bytes| shared.charge(bytes))?,
            Base::Outside(id) => self.rebuild().outside(&id)?,
        };
        shared.charge(data.len() as u64)?;
        top.data = Some(data);
        Ok(())
    }

    fn rebuild(&mut self) -> Rebuild<'_> {
        Rebuild {
            table: self.shared.table,
            quarantine: self.shared.quarantine,
            context: self.shared.context,
            bases: &self.bases,
            inflate: &mut self.inflate,
            scratch: &mut self.scratch,
        }
    }

    fn recycle(&mut self, data: Option<Vec<u8>>) {
        if let Some(data) = data
            && data.capacity() <= SPARE_BYTES
            && self.spare.len() < 8
        {
            self.spare.push(data);
        }
    }
}

/// Drops data from the bottom of the stack until the budget holds; the top is in use.
fn drop_oldest(stack: &mut [Frame]) {
    let size = |frame: &Frame| frame.data.as_ref().map_or(0, Vec::len);
    let mut held: usize = stack.iter().map(size).sum();
    let below = stack.len() - 1;
    for frame in &mut stack[..below] {
        if held <= HELD_BYTES {
            return;
        }
        held -= size(frame);
        frame.data = None;
    }
}
