//! Takes the objects of a push in: index and check in quarantine, then connectivity.
//!
//! Works on what this server knows without asking the bucket, because the commit finds out anyway. Where that may be too old (a
//! reference has another value than the client saw, or an object is missing), it asks and looks again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use git::connectivity::{self, Check, Connected, ConnectivityError};
use git::existing::Stored;
use git::ingest::{self, IngestError, Ingested, Quarantine, ingest};
use git::odb::{self, PackParts, Packs, ReadCache};
use git::peel::peel;
use git::sideband;
use model::desired::RepositoryConfig;
use model::error::Kind;
use model::{Content, ObjectId, RefName};
use store::{PushedPack, ReceivedPack, Snapshot};

use super::super::open_packs::Opened;
use super::super::refs::StoredRefs;
use super::super::{Trouble, Work, chain};
use super::Push;
use super::plan::Plan;
use crate::pipe;

/// Commits that are looked at to find out whether an old value stays reachable; beyond, it counts as dropped.
const ANCESTRY_BUDGET: usize = 20_000;

/// What came of the pack.
pub(super) struct Received {
    /// What the push was checked against.
    pub(super) snapshot: Arc<Snapshot>,
    /// Whether the pack is good, or what the client reads.
    pub(super) unpack: Result<(), String>,
    /// References whose new value cannot be.
    pub(super) refused: Vec<(RefName, String)>,
    /// Old values that the new ones do not descend from.
    pub(super) dropped: Vec<ObjectId>,
    /// What the new values peel to that are annotated tags.
    pub(super) peeled: HashMap<ObjectId, ObjectId>,
    pack: RefCell<Option<ReceivedPack>>,
    /// Goes with its files when the pack was not taken over.
    _quarantine: Option<Quarantine>,
}

impl Received {
    pub(super) fn take_pack(&self) -> Option<ReceivedPack> {
        self.pack.take()
    }

    fn failed(snapshot: Arc<Snapshot>, line: String) -> Self {
        Self {
            snapshot,
            unpack: Err(line),
            refused: vec![],
            dropped: vec![],
            peeled: HashMap::new(),
            pack: RefCell::default(),
            _quarantine: None,
        }
    }
}

/// The repository as a push sees it.
#[derive(Clone)]
struct Base {
    snapshot: Arc<Snapshot>,
    opened: Arc<Opened>,
}

impl Push {
    pub(super) fn receive(
        &self,
        plan: &Plan,
        pack_follows: bool,
        input: &mut dyn BufRead,
        channels: &mut sideband::Writer<'_>,
        interrupt: &AtomicBool,
    ) -> Result<Received, Trouble> {
        let mut base = self.base(plan)?;
        let mut quarantine = Quarantine::new(&self.repository.incoming());
        let ingested = if pack_follows {
            match self.ingest(&mut base, input, &mut quarantine, channels, interrupt) {
                Ok(ingested) => Some(ingested),
                Err(error) if error.kind() == Kind::Invalid => {
                    tracing::info!(request.id = self.work.caller.request_id, reason = %error, "pack refused");
                    return Ok(Received::failed(base.snapshot, error.to_string()));
                }
                Err(error) => return Err(ingest_trouble(&error, &self.work)),
            }
        } else {
            None
        };
        let mut all = self.with_pack(&base.opened, ingested.as_ref())?;
        let connected = match self.connect(&mut base, &mut all, plan, ingested.as_ref())? {
            Ok(connected) => connected,
            Err(ConnectivityError::Missing(id)) => {
                return Ok(Received::failed(base.snapshot, ConnectivityError::Missing(id).to_string()));
            }
            Err(error @ ConnectivityError::Read(_)) => return Err(Trouble::internal(&error, &self.work)),
        };
        let dropped = self.dropped(&base.snapshot, &all, plan)?;
        let Connected { exact, mut refused } = connected;
        let peeled = self.peel(&all, plan, &mut refused)?;
        // An empty pack carries nothing.
        let pack = ingested.filter(|ingested| ingested.objects > 0).map(|ingested| ReceivedPack {
            pack: ingested.pack,
            index: ingested.index,
            objects: ingested.objects,
            exact,
        });
        Ok(Received {
            snapshot: base.snapshot,
            unpack: Ok(()),
            refused,
            dropped,
            peeled,
            pack: RefCell::new(pack),
            _quarantine: Some(quarantine),
        })
    }

    /// Checks a push again from its pack: objects that it builds on may have been removed.
    pub(super) fn receive_again(
        &self,
        plan: &Plan,
        push: &store::Push,
        channels: &mut sideband::Writer<'_>,
        interrupt: &AtomicBool,
    ) -> Result<Received, Trouble> {
        let Some(PushedPack::Staged(pack)) = &push.pack else {
            return self.receive(plan, false, &mut std::io::empty(), channels, interrupt);
        };
        let mut bytes: Box<dyn BufRead> = match pack.pack() {
            Content::Memory(bytes) => Box::new(&**bytes),
            Content::File(path) => {
                let file = File::open(path).map_err(|error| Trouble::internal(&error, &self.work))?;
                Box::new(BufReader::new(file))
            }
        };
        self.receive(plan, true, &mut *bytes, channels, interrupt)
    }

    /// What this server knows, made fresh when the client has seen something else.
    fn base(&self, plan: &Plan) -> Result<Base, Trouble> {
        let known = self.repository.known();
        let agrees = plan.remaining().all(|command| known.refs.get(&command.name) == command.old);
        if agrees { self.open(known) } else { self.fresh() }
    }

    fn fresh(&self) -> Result<Base, Trouble> {
        let snapshot = self.runtime.block_on(self.repository.snapshot());
        self.open(snapshot.map_err(|error| Trouble::of_store(&error, &self.work))?)
    }

    fn open(&self, snapshot: Arc<Snapshot>) -> Result<Base, Trouble> {
        self.work.check_format(&snapshot)?;
        let open = self.work.gateway.open_packs.get(&self.repository, &snapshot, &self.work);
        let opened = self.runtime.block_on(open)?;
        Ok(Base { snapshot, opened })
    }

    /// Reads the pack; if a base is missing that another server may have, asks and reads it again from quarantine.
    fn ingest(
        &self,
        base: &mut Base,
        input: &mut dyn BufRead,
        quarantine: &mut Quarantine,
        channels: &mut sideband::Writer<'_>,
        interrupt: &AtomicBool,
    ) -> Result<Ingested, IngestError> {
        let mut progress = |line: &str| {
            let _ = channels.progress(line);
        };
        let RepositoryConfig { object_format: format, limits, .. } = &*self.work.config;
        let mut take = |opened: &Opened, input: &mut dyn BufRead, quarantine: &mut Quarantine| {
            let existing = Stored::new(&opened.packs);
            let context = ingest::Context { format: *format, limits, existing: &existing, interrupt };
            ingest(input, quarantine, &context, &mut progress)
        };
        let first = take(&base.opened, input, quarantine);
        let Err(error @ IngestError::Unresolved { .. }) = first else { return first };
        let Ok(fresh) = self.fresh() else { return Err(error) };
        if fresh.snapshot.generation == base.snapshot.generation {
            return Err(error);
        }
        *base = fresh;
        let before = std::mem::replace(quarantine, Quarantine::new(&self.repository.incoming()));
        let mut pack = before.reader().map_err(IngestError::Write)?;
        take(&base.opened, &mut *pack, quarantine)
    }

    /// Checks against `all`, the packs of `base` with the received one; both are made fresh when something is missing.
    fn connect(
        &self,
        base: &mut Base,
        all: &mut Packs,
        plan: &Plan,
        ingested: Option<&Ingested>,
    ) -> Result<Result<Connected, ConnectivityError>, Trouble> {
        let tips: Vec<(RefName, ObjectId)> =
            plan.remaining().filter_map(|command| Some((command.name.clone(), command.new?))).collect();
        let first = check(base, all, &tips, ingested);
        let suspicious = match &first {
            Ok(connected) => !connected.refused.is_empty(),
            Err(error) => matches!(error, ConnectivityError::Missing(_)),
        };
        if !suspicious {
            return Ok(first);
        }
        match self.fresh() {
            Ok(fresh) if fresh.snapshot.generation > base.snapshot.generation => {
                *base = fresh;
                *all = self.with_pack(&base.opened, ingested)?;
                Ok(check(base, all, &tips, ingested))
            }
            _ => Ok(first),
        }
    }

    /// The repository's packs with the received one.
    fn with_pack(&self, opened: &Opened, ingested: Option<&Ingested>) -> Result<Packs, Trouble> {
        let more = ingested.map(|Ingested { pack, index, .. }| PackParts {
            pack: pack.clone(),
            index: index.clone(),
            exact: false,
            arriving: None,
        });
        opened.packs.extended(more.as_slice()).map_err(|error| Trouble::internal(&error, &self.work))
    }

    /// What the tags of the push peel to. The log remembers it, so that listing references reads no object.
    fn peel(
        &self,
        all: &Packs,
        plan: &Plan,
        refused: &mut Vec<(RefName, String)>,
    ) -> Result<HashMap<ObjectId, ObjectId>, Trouble> {
        let (mut peeled, mut cache) = (HashMap::new(), ReadCache::new(1 << 20));
        for command in plan.remaining().filter(|command| !command.name.is_branch()) {
            let Some(new) = command.new.filter(|new| all.contains(new)) else { continue };
            match peel(all, &new, &mut cache) {
                Ok(found) => peeled.extend(found.map(|found| (new, found.target))),
                Err(error @ odb::Error::TagChain(_)) => refused.push((command.name.clone(), error.to_string())),
                Err(error) => return Err(Trouble::internal(&error, &self.work)),
            }
        }
        Ok(peeled)
    }

    /// Old values that nothing visible leads to afterwards, as far as that is cheap to know.
    fn dropped(&self, snapshot: &Snapshot, all: &Packs, plan: &Plan) -> Result<Vec<ObjectId>, Trouble> {
        let (mut dropped, all) = (Vec::new(), Stored::new(all));
        for command in plan.remaining() {
            let Some(old) = command.old else { continue };
            let heir = command.new.or_else(|| {
                let default = super::super::refs::head(snapshot, &self.work.config);
                snapshot.refs.get(&default)
            });
            let survives = match heir {
                Some(new) => connectivity::is_ancestor(&all, &old, &new, ANCESTRY_BUDGET),
                None => Ok(Some(false)),
            };
            if survives.map_err(|error| Trouble::internal(&error, &self.work))? != Some(true) {
                dropped.push(old);
            }
        }
        Ok(dropped)
    }
}

/// Whether the push leaves the repository whole; `all` are the packs of `base` with the received one.
fn check(
    base: &Base,
    all: &Packs,
    tips: &[(RefName, ObjectId)],
    ingested: Option<&Ingested>,
) -> Result<Connected, ConnectivityError> {
    let received = &all.packs()[base.opened.packs.packs().len()..];
    connectivity::check(&Check {
        tips,
        ingested,
        all: &Stored::new(all),
        is_received: &|id| received.iter().any(|pack| pack.contains(id)),
        before: &Stored::new(&base.opened.packs),
        refs: &StoredRefs(&base.snapshot.refs),
        dropped_tips: base.snapshot.upkeep.dropped.ids(),
    })
}

fn ingest_trouble(error: &IngestError, work: &Work) -> Trouble {
    match error {
        IngestError::Read(error) if !pipe::is_gone(error) => Trouble::new(Kind::Invalid, error.to_string()),
        IngestError::Read(_) | IngestError::Interrupted => {
            tracing::info!(request.id = work.caller.request_id, reason = %chain(error), "the client of a push has gone");
            Trouble::gone("the pack did not come to its end; nothing was changed, push again")
        }
        _ => Trouble::internal(error, work),
    }
}
