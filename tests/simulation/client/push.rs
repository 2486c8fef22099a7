//! A push: what the client does, and what the gateway does of it on the server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::ObjectId;
use store::{CommitError, Committed, Error, LocalPacks, Push, RefEdit, Repository, Snapshot};

use super::intent::Intent;
use super::{Client, open, reference};
use crate::git::{self, Universe};
use crate::history::{Outcome, PushOperation};
use crate::ledger::Refs;
use crate::server::request;

/// Times that a client tries a push again whose outcome it does not know.
const TRIES: u32 = 3;

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
    /// The client should have sent this object.
    Missing,
    /// The store failed before the commit.
    Before(Error),
    Commit(CommitError),
}

/// What a server told: the tips that the push drops, and the outcome.
type Told = (Vec<ObjectId>, Result<Committed, Refusal>);

impl Client {
    pub(super) async fn push(&mut self) {
        let refs = if self.dice.chance(150) {
            self.seen.clone()
        } else {
            match self.look().await {
                Some((_, refs)) => refs,
                None => return,
            }
        };
        let Some(mut intent) = self.intent(&refs).filter(|intent| !intent.edits.is_empty()) else { return };
        let mut base = refs;
        for _ in 0..TRIES {
            if self.send(&intent, &base).await || !self.dice.chance(700) {
                return;
            }
            // Nobody knows what became of it: look, and push what is not there.
            let Some((_, refs)) = self.look().await else { return };
            if intent.edits.iter().all(|edit| refs.get(&edit.name).copied() == edit.new) {
                return;
            }
            self.world.count("push again");
            for edit in &mut intent.edits {
                edit.old = refs.get(&edit.name).copied();
            }
            base = refs;
        }
    }

    /// Sends a push; false when its outcome is not known.
    async fn send(&mut self, intent: &Intent, base: &Refs) -> bool {
        self.requests += 1;
        let request_id = format!("{}-{}", self.name, self.requests);
        let pack = (!intent.objects.is_empty()).then(|| self.universe.pack(&intent.objects, intent.bulky));
        let upload = if self.dice.chance(50) { self.dice.millis(1_000, 600_000) } else { self.dice.millis(0, 40) };
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
        let (path, universe) = (self.path.clone(), Arc::clone(&self.universe));
        let answer = server.serve(|repositories| async move {
            match open(&repositories, &path).await {
                Ok(repository) => receive(&repository, &universe, arriving).await,
                Err(error) => (vec![], Err(Refusal::Before(error))),
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
            Some(Err(Refusal::Before(_))) => ("failed before the commit", Outcome::Nothing),
            Some(Err(Refusal::Commit(error))) => match error {
                CommitError::Moved(moved) => ("moved", Outcome::Moved(moved)),
                CommitError::Contended => ("contended", Outcome::Nothing),
                CommitError::Failed(_) => ("failed", Outcome::Nothing),
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

/// As the gateway does: works on what the server knows, asks the bucket when that may be too old.
async fn receive(repository: &Arc<Repository>, universe: &Universe, arriving: Arriving) -> Told {
    let known = repository.known();
    let agrees = arriving.intent.edits.iter().all(|edit| known.refs.get(&edit.name) == edit.old);
    let mut base =
        if agrees { Ok((known, false)) } else { request(repository.snapshot()).await.map(|fresh| (fresh, true)) };
    let packs = loop {
        let (snapshot, fresh) = match base {
            Ok(base) => base,
            Err(error) => return (vec![], Err(Refusal::Before(error))),
        };
        let packs = match request(repository.local_packs(&snapshot)).await {
            Ok(packs) => packs,
            Err(error) => return (vec![], Err(Refusal::Before(error))),
        };
        tokio::time::sleep(arriving.upload).await;
        match connect(universe, &snapshot, &packs, &arriving.intent) {
            None => break (snapshot, packs),
            Some(_) if fresh => return (vec![], Err(Refusal::Missing)),
            Some(_) => base = request(repository.snapshot()).await.map(|snapshot| (snapshot, true)),
        }
    };
    let (snapshot, _held) = packs;
    let dropped = dropped(universe, &snapshot, &arriving.intent.edits);
    let outcome = commit(repository, &snapshot, arriving, dropped.clone()).await;
    (dropped, outcome)
}

async fn commit(
    repository: &Arc<Repository>,
    snapshot: &Snapshot,
    arriving: Arriving,
    dropped: Vec<ObjectId>,
) -> Result<Committed, Refusal> {
    let folder = repository.incoming().map_err(Refusal::Before)?;
    let objects = arriving.intent.objects.len();
    let pack = match &arriving.pack {
        Some(bytes) => Some(
            git::write(folder.path(), bytes, objects, true)
                .map_err(|error| Refusal::Before(Error::Packs(error.to_string())))?,
        ),
        None => None,
    };
    let creates = |edit: &&RefEdit| edit.new.is_some() && edit.name.is_branch();
    let has_default = snapshot.refs.get(&reference("refs/heads/main")).is_some();
    let first = arriving.intent.edits.iter().find(creates).map(|edit| edit.name.clone());
    let push = Push {
        actor: arriving.actor,
        request_id: arriving.request_id,
        options: vec![],
        atomic: arriving.intent.atomic,
        edits: arriving.intent.edits,
        pack,
        dropped,
        default_branch: if has_default { None } else { first },
    };
    request(repository.commit(push)).await.map_err(Refusal::Commit)
}

/// The first object that the new values need, and that neither came with the push nor is visible.
fn connect(universe: &Universe, snapshot: &Snapshot, packs: &LocalPacks, intent: &Intent) -> Option<ObjectId> {
    let refs = snapshot.refs.iter().map(|(_, id)| *id);
    let visible = universe.reachable(refs, &BTreeSet::new());
    let held = universe.read(&packs.packs).expect("because what the store brings in is verified");
    let wanted = universe.reachable(intent.edits.iter().filter_map(|edit| edit.new), &BTreeSet::new());
    wanted.into_iter().find(|id| !intent.objects.contains(id) && !(visible.contains(id) && held.contains(id)))
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
    let stale = if base.get(&edit.name).copied() == edit.old { "" } else { " (stale)" };
    format!("{} {}..{}{stale}", edit.name, value(edit.old), value(edit.new))
}
