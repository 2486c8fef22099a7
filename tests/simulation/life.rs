//! The life of one incarnation of a server: it stands still now and then, and ends when the run's dice say so.
//!
//! Nothing of a dead incarnation can act any more: all its ways to the bucket and to clients wait for ever. What it had sent
//! before may still arrive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::bucket::{Class, Kind, Operation};
use crate::dice::Dice;
use crate::world::World;

/// A server that stands still for longer gets no new requests.
const NOTICED: Duration = Duration::from_secs(20);

/// Where in a request a server may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is about to send.
    Before,
    /// The request is on its way.
    Sent,
    /// The answer is on its way.
    Answered,
}

pub(crate) const PHASES: [Phase; 3] = [Phase::Before, Phase::Sent, Phase::Answered];

/// Requests in which a server may be made to die, and how often that is tried: some come seldom.
pub(crate) const CLASSES: [(Operation, Kind, u32); 23] = [
    (Operation::Create, Kind::Catalog, 1),
    (Operation::Create, Kind::Log, 4),
    (Operation::Create, Kind::Checkpoint, 1),
    (Operation::Create, Kind::References, 2),
    (Operation::Put, Kind::Hint, 1),
    (Operation::Put, Kind::Log, 9),
    (Operation::Upload, Kind::Pack, 1),
    (Operation::Upload, Kind::Index, 1),
    (Operation::Upload, Kind::Table, 2),
    (Operation::Get, Kind::Catalog, 1),
    (Operation::Get, Kind::Hint, 1),
    (Operation::Get, Kind::Log, 1),
    (Operation::Get, Kind::Checkpoint, 2),
    (Operation::Get, Kind::References, 2),
    (Operation::Download, Kind::Pack, 1),
    (Operation::Download, Kind::Index, 1),
    (Operation::Download, Kind::Table, 2),
    (Operation::Delete, Kind::Checkpoint, 9),
    (Operation::Delete, Kind::Pack, 3),
    (Operation::Delete, Kind::Index, 3),
    (Operation::Delete, Kind::Table, 3),
    (Operation::List, Kind::Checkpoint, 1),
    (Operation::List, Kind::Pack, 1),
];

/// A request in which a server dies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CrashPoint {
    class: Class,
    phase: Phase,
    /// So many of them are survived.
    spared: u64,
}

impl CrashPoint {
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let (operation, kind, _) = CLASSES[dice.weighed(&CLASSES.map(|(_, _, weight)| weight))];
        let phase = dice.pick(&PHASES).copied().unwrap_or(Phase::Sent);
        let often = kind == Kind::Log && operation != Operation::Put;
        let spared = dice.between(0, if often { 12 } else { 2 });
        Self { class: Class { operation, kind }, phase, spared }
    }
}

/// One incarnation.
pub(crate) struct Life {
    /// Server and incarnation: `s1.3`.
    pub(crate) name: String,
    world: Arc<World>,
    state: Mutex<State>,
    ended: Notify,
}

struct State {
    dead: bool,
    /// It has found a stub where it looked for the next entry: it may look for a checkpoint.
    lost_track: bool,
    /// Since when, and until when.
    asleep: Option<(Instant, Instant)>,
    /// It dies in the first of these that it comes to: most runs never come to some of them.
    crashes: Vec<CrashPoint>,
}

impl Life {
    pub(crate) fn new(world: Arc<World>, name: String, crashes: Vec<CrashPoint>) -> Self {
        let state = Mutex::new(State { dead: false, lost_track: false, asleep: None, crashes });
        Self { name, world, state, ended: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether it is alive and has not been standing still for long.
    pub(crate) fn is_well(&self) -> bool {
        let state = self.state();
        let stuck = state.asleep.is_some_and(|(since, until)| since.elapsed() > NOTICED && until > Instant::now());
        !state.dead && !stuck
    }

    /// It reads what stands at a number of the log.
    pub(crate) fn reads(&self, entry: &[u8]) {
        self.state().lost_track |= entry.starts_with(b"CKSTUB");
    }

    /// Whether it may list what is in the bucket although a client waits.
    pub(crate) fn may_list(&self) -> bool {
        self.state().lost_track
    }

    /// Ends it.
    pub(crate) fn end(&self) {
        self.state().dead = true;
        self.ended.notify_one();
    }

    /// Returns when it has ended. For one waiter.
    pub(crate) async fn ended(&self) {
        if !self.is_dead() {
            self.ended.notified().await;
        }
    }

    /// It stands still for a time.
    pub(crate) fn sleep(&self, time: Duration) {
        let now = Instant::now();
        self.state().asleep = Some((now, now + time));
    }

    /// From now on nothing ends it.
    pub(crate) fn spare(&self) {
        let mut state = self.state();
        state.crashes.clear();
        state.asleep = None;
    }

    /// Returns when it does not stand still; never, once it is dead.
    pub(crate) async fn awake(&self) {
        loop {
            let (dead, until) = {
                let state = self.state();
                (state.dead, state.asleep.map(|(_, until)| until).filter(|until| *until > Instant::now()))
            };
            match (dead, until) {
                (true, _) => return std::future::pending().await,
                (false, Some(until)) => tokio::time::sleep_until(until).await,
                (false, None) => return,
            }
        }
    }

    /// Dies here, if it is to.
    pub(crate) async fn may_crash(&self, class: Class, phase: Phase) {
        let mut here = false;
        for point in self.state().crashes.iter_mut().filter(|point| point.class == class && point.phase == phase) {
            here |= point.spared == 0;
            point.spared = point.spared.saturating_sub(1);
        }
        if here {
            self.world.trace(format_args!("{} dies: {class} {phase:?}", self.name));
            self.world.count(&format!("crash {class} {phase:?}"));
            self.end();
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }
}
