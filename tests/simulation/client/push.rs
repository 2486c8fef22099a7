//! A push: what the client does, and what the gateway does of it on the server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Content, ObjectId};
use store::{CommitError, Committed, LocalPacks, Push, PushedPack, ReceivedPack, RefEdit, Repository, Snapshot};

use super::fetch::bring_in;
use super::intent::Intent;
use super::{Client, open, reference};
use crate::git::{self, Universe, readable};
use crate::history::{Outcome, PushOperation};
use crate::refs::Refs;
use crate::server::request;
use crate::world::World;

/// Times that a client tries a push again whose outcome it does not know.
const TRIES: u32 = 3;
/// Times that the gateway checks a push.
const CHECKS: u32 = 4;

/// A push as it arrives at a server.
struct Arriving {
    actor: String,
    request_id: String,
    intent: Intent,
    pack: Option<Bytes>,
    /// How long the client takes to send its pack.
    upload: Duration,
}

/// Why a push was not committed.
enum Refusal {
    /// The client should have sent more.
    Missing,
    /// The store failed before the commit.
    Before,
    Commit(CommitError),
}

/// What a server told: the tips that the push drops, and the outcome.
type Told = (Vec<ObjectId>, Result<Committed, Refusal>);

impl Client {
    pub(super) async fn push(&mut self) {
        let mut base = self.seen.clone();
        if !self.dice.chance(self.habits.stale) {
            let Some(refs) = self.look().await else { return };
            base = refs;
        }
        let Some(mut intent) = self.intent(&base) else { return };
        for _ in 0..TRIES {
            if self.send(&intent, &base).await || !self.dice.chance(700) {
                return;
            }
            // Nobody knows what became of it: look, and push what is not there.
            let Some(refs) = self.look().await else { return };
            if intent.edits.iter().all(|edit| refs.get(&edit.name) == edit.new) {
                return;
            }
            self.world.count("push again");
            for edit in &mut intent.edits {
                edit.old = refs.get(&edit.name);
            }
            base = refs;
        }
    }

    /// Sends a push; false when its outcome is not known.
    async fn send(&mut self, intent: &Intent, base: &Refs) -> bool {
        self.requests += 1;
        let request_id = format!("{}-{}", self.name, self.requests);
        let pack = (!intent.objects.is_empty()).then(|| self.universe.pack(&intent.objects, intent.bulky));
        let (longest, often) = self.habits.upload;
        let most = if self.dice.chance(often) { longest } else { Duration::from_millis(40) };
        let upload = self.dice.time(Duration::ZERO, most);
        let server = self.server().await;
        let changes: Vec<String> = intent.edits.iter().map(|edit| describe(edit, base)).collect();
        self.world.trace(format_args!("{request_id} to {}: {}", server.name, changes.join(", ")));
        let place = self.history.begin(PushOperation {
            repository: self.path.to_string(),
            request_id: request_id.clone(),
            atomic: intent.atomic,
            edits: intent.edits.clone(),
            dropped: None,
            invoked: self.world.now(),
            responded: Duration::MAX,
            outcome: Outcome::Unknown,
        });
        let arriving = Arriving { actor: self.name.clone(), request_id, intent: intent.clone(), pack, upload };
        let (path, universe, world) = (self.path.clone(), Arc::clone(&self.universe), Arc::clone(&self.world));
        let answer = server.serve(|repositories| async move {
            match open(&repositories, &path).await {
                Ok(repository) => receive(&repository, &universe, &world, arriving).await,
                Err(_) => (vec![], Err(Refusal::Before)),
            }
        });
        let answer = answer.await;
        self.settle(place, answer)
    }

    fn settle(&self, place: usize, answer: Option<Told>) -> bool {
        let (dropped, told) = answer.unzip();
        let (word, outcome) = match told {
            None => ("connection lost", Outcome::Unknown),
            Some(Ok(committed)) => ("committed", Outcome::Committed(committed)),
            Some(Err(Refusal::Missing)) => ("refused, objects are missing", Outcome::Nothing),
            Some(Err(Refusal::Before)) => ("failed before the commit", Outcome::Nothing),
            Some(Err(Refusal::Commit(error))) => match error {
                CommitError::Moved(moved) => ("moved", Outcome::Moved(moved)),
                CommitError::Pruned(_) => ("pruned", Outcome::Nothing),
                CommitError::Contended => ("contended", Outcome::Nothing),
                CommitError::Failed(_) | CommitError::Impossible(_) => ("failed", Outcome::Nothing),
                CommitError::Unknown(_) => ("unknown", Outcome::Unknown),
            },
        };
        self.world.count(&format!("push {word}"));
        let known = !matches!(outcome, Outcome::Unknown);
        self.world.trace(format_args!("{}-{} {word}", self.name, self.requests));
        self.history.settle(place, self.world.now(), dropped, outcome);
        known
    }
}

/// As the gateway does: works on what the server knows, asks the bucket when that may be too old, checks again when objects went.
async fn receive(repository: &Arc<Repository>, universe: &Universe, world: &World, arriving: Arriving) -> Told {
    let nothing = |refusal| (vec![], Err(refusal));
    let Ok(folder) = tempfile::tempdir_in(repository.incoming()) else { return nothing(Refusal::Before) };
    let mut pack = match &arriving.pack {
        // As they arrive, small packs are in memory.
        Some(bytes) if !arriving.intent.bulky => {
            let (pack, index) = (Content::Memory(bytes.clone()), Content::Memory(git::index_of(bytes)));
            let (objects, exact) = (arriving.intent.objects.len() as u64, arriving.intent.exact);
            Some(PushedPack::Received(ReceivedPack { pack, index, objects, exact }))
        }
        Some(bytes) => match git::write(folder.path(), bytes, arriving.intent.objects.len(), arriving.intent.exact) {
            Ok(received) => Some(PushedPack::Received(received)),
            Err(_) => return nothing(Refusal::Before),
        },
        None => None,
    };
    let known = repository.known();
    let agrees = arriving.intent.edits.iter().all(|edit| known.refs.get(&edit.name) == edit.old);
    let mut base = if agrees { Some(known) } else { None };
    let mut pruned = false;
    for check in 1.. {
        let (snapshot, fresh) = match base.take() {
            Some(known) => (known, false),
            None => match request(repository.snapshot()).await {
                Ok(snapshot) => (snapshot, true),
                Err(_) => return nothing(Refusal::Before),
            },
        };
        let packs = match bring_in(repository, &snapshot).await {
            Ok(Some(packs)) => packs,
            Ok(None) if check < CHECKS => {
                world.count("pack gone from under a push");
                continue;
            }
            _ => return nothing(Refusal::Before),
        };
        if check == 1 {
            tokio::time::sleep(arriving.upload).await;
        }
        match connect(universe, &snapshot, &packs, &arriving.intent) {
            true => {}
            false if fresh => {
                world.count(if pruned { "push refused after a prune" } else { "push refused" });
                return nothing(Refusal::Missing);
            }
            false => {
                world.count("push checked again in a fresh state");
                continue;
            }
        }
        let push = push(universe, &snapshot, &arriving, pack.take());
        let dropped = push.dropped.clone();
        match request(repository.commit(push)).await {
            Err(CommitError::Pruned(push)) if check < CHECKS => {
                world.count("push checked again after a prune");
                (pack, pruned) = (push.pack, true);
            }
            outcome => return (dropped, outcome.map_err(Refusal::Commit)),
        }
    }
    nothing(Refusal::Before)
}

fn push(universe: &Universe, snapshot: &Snapshot, arriving: &Arriving, pack: Option<PushedPack>) -> Push {
    let Intent { atomic, edits, .. } = &arriving.intent;
    let creates = |edit: &&RefEdit| edit.new.is_some() && edit.name.is_branch();
    let has_default = snapshot.refs.get(&reference("refs/heads/main")).is_some();
    let first = edits.iter().find(creates).map(|edit| edit.name.clone());
    Push {
        actor: arriving.actor.clone(),
        request_id: arriving.request_id.clone(),
        options: vec![],
        certificate: None,
        atomic: *atomic,
        edits: edits.clone(),
        pack,
        checked_at: snapshot.generation,
        dropped: dropped(universe, snapshot, edits),
        default_branch: if has_default { None } else { first },
    }
}

/// Whether all that the new values need came with the push or is visible, and all bases of its deltas are there.
fn connect(universe: &Universe, snapshot: &Snapshot, packs: &LocalPacks, intent: &Intent) -> bool {
    let visible = universe.reachable(snapshot.refs.iter().map(|found| found.id), &BTreeSet::new());
    let packs = universe.read(&packs.packs).expect("because what the store brings in is verified");
    let mut held = readable(packs.iter().map(|pack| &**pack));
    let visible: BTreeSet<ObjectId> = visible.intersection(&held).copied().collect();
    git::extend_readable(&mut held, &intent.objects);
    let wanted = universe.reachable(intent.edits.iter().filter_map(|edit| edit.new), &visible);
    // An object that can be read from elsewhere does not make up for a delta without a base.
    let resolved = intent.objects.values().flatten().all(|base| held.contains(base));
    resolved
        && wanted.iter().all(|id| intent.objects.contains_key(id))
        && intent.objects.keys().all(|id| held.contains(id))
}

/// Old values that nothing leads to afterwards.
fn dropped(universe: &Universe, snapshot: &Snapshot, edits: &[RefEdit]) -> Vec<ObjectId> {
    let survives = |old: ObjectId, edit: &RefEdit| {
        let heir = edit.new.or_else(|| snapshot.refs.get(&reference("refs/heads/main")));
        universe.reachable(heir, &BTreeSet::new()).contains(&old)
    };
    edits.iter().filter_map(|edit| edit.old.filter(|old| !survives(*old, edit))).collect()
}

fn describe(edit: &RefEdit, base: &Refs) -> String {
    let value = |id: Option<ObjectId>| id.map_or_else(|| "none".to_owned(), |id| id.to_hex_with_len(6).to_string());
    let stale = if base.get(&edit.name) == edit.old { "" } else { " (stale)" };
    format!("{} {}..{}{stale}", edit.name, value(edit.old), value(edit.new))
}
