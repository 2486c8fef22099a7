//! What a run is made of: a mixture of habits and weather that its seed decides.

use std::time::Duration;

use store::Policy;

use crate::bucket::weather::{Weather, ZOMBIE};
use crate::dice::Dice;
use crate::server::LONGEST_PAUSE;
use crate::{client, server};

/// The make-up of a run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    pub(crate) repositories: usize,
    /// So many servers do maintenance; the others know of the log what their clients make them read.
    pub(crate) maintaining: usize,
    pub(crate) weather: Weather,
    pub(crate) server: server::Habits,
    pub(crate) client: client::Habits,
}

/// What a run is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    /// Seconds: many pushes at once.
    Race,
    /// Minutes: references come and go while packs are being sent, and what nothing leads to goes soon.
    Churn,
    /// Days: maintenance does all that it does, and what a request saw has to stay while it lives.
    Long,
}

impl Plan {
    /// `encrypted` is drawn apart, so that the rest of a run is the same with and without.
    pub(crate) fn of(dice: &mut Dice, encrypted: bool) -> Self {
        let theme = [Theme::Race, Theme::Churn, Theme::Long][dice.weighed(&[40, 30, 30])];
        let (servers, clients) = (2 + dice.below(2), 2 + dice.below(7));
        let policy = policy(dice, theme);
        Self {
            servers,
            maintaining: 1 + dice.below(servers),
            clients,
            repositories: if dice.chance(150) { 2 } else { 1 },
            weather: if dice.chance(150) { Weather::default() } else { Weather::of(dice) },
            server: server::Habits { encrypted, ..server_habits(dice, policy, theme) },
            client: client_habits(dice, policy, theme),
        }
        .of_bounded_length()
    }

    /// Many clients do less each.
    fn of_bounded_length(mut self) -> Self {
        self.client.operations = 8 + self.client.operations / self.clients;
        self
    }
}

/// One of several.
fn one<T: Copy>(dice: &mut Dice, of: [T; 3]) -> T {
    of[dice.below(3)]
}

fn rate(dice: &mut Dice, most: u64) -> u32 {
    u32::try_from(dice.between(0, most)).unwrap_or(0)
}

fn policy(dice: &mut Dice, theme: Theme) -> Policy {
    let mut minutes = |low, high| Duration::from_mins(dice.between(low, high));
    let (grace, unreachable_retention, log_retention) = match theme {
        Theme::Race => (minutes(5, 30), minutes(1, 60), minutes(1, 60)),
        Theme::Churn => (minutes(3, 10), Duration::from_secs(10), minutes(1, 20)),
        Theme::Long => (minutes(400, 900), minutes(10, 2_000), minutes(1, 2_000)),
    };
    Policy {
        grace,
        unreachable_retention,
        lfs_retention: unreachable_retention,
        log_retention,
        scrub_interval: minutes(60, 1_000),
        scrub_rate: 32 << 20,
        fold_packs: 2 + dice.below(12),
        table_objects: dice.between(1, 20),
        checkpoint_entries: dice.between(2, 16),
        base_changes: 2 + dice.below(20),
    }
}

fn server_habits(dice: &mut Dice, policy: Policy, theme: Theme) -> server::Habits {
    let maintenance = match theme {
        Theme::Race => dice.between(5, 600),
        Theme::Churn => dice.between(10, 60),
        Theme::Long => dice.between(600, 7_200),
    };
    server::Habits {
        crash: if dice.chance(300) { 0 } else { 700 },
        kills: rate(dice, 3),
        pauses: rate(dice, 3),
        cache: if dice.chance(400) { 4_000 } else { 1 << 30 },
        same_folds: dice.chance(500),
        encrypted: false,
        clock_error_ms: if dice.chance(500) { 0 } else { 5_000 },
        maintenance: Duration::from_secs(maintenance),
        policy,
    }
}

fn client_habits(dice: &mut Dice, policy: Policy, theme: Theme) -> client::Habits {
    let soon = Duration::from_secs(2);
    let (churn, think_ms, upload) = match theme {
        Theme::Race => (one(dice, [2, 8, 20]), one(dice, [1, 30, 300]), (soon, 100)),
        Theme::Churn => (40, one(dice, [2_000, 5_000, 10_000]), (Duration::from_mins(2), 500)),
        Theme::Long => (one(dice, [2, 8, 20]), one(dice, [50, 1_000, 20_000]), (Duration::from_mins(2), 100)),
    };
    client::Habits {
        operations: 50,
        drawn: if dice.chance(400) { 850 } else { 0 },
        fetch: 30,
        events: 6,
        push: 70,
        flip: one(dice, [0, 10, 200]),
        churn,
        stale: one(dice, [50, 150, 500]),
        upload,
        bulky: if dice.chance(300) { 500 } else { rate(dice, 150) },
        junk: rate(dice, 60),
        // An entry may be on its way for as long as its server stands still, and says when it began.
        request_life: policy.grace.saturating_sub(LONGEST_PAUSE + 2 * ZOMBIE),
        think_ms,
        long: match theme {
            Theme::Race | Theme::Churn => 0,
            Theme::Long => 80,
        },
    }
}
