//! What becomes of a request: how long its two legs take, and what goes wrong.

use std::time::Duration;

use super::{Class, Kind, Operation};
use crate::dice::Dice;

/// A request that its sender gave up may still be carried out within this time, not later: connections are closed by then.
pub(crate) const ZOMBIE: Duration = Duration::from_mins(10);

/// How often things go wrong, in a thousand requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Weather {
    pub(crate) request_lost: u32,
    pub(crate) answer_lost: u32,
    /// The sender gives up, the request is carried out long after.
    pub(crate) zombie: u32,
    /// A retry on the way: carried out twice, the second answer comes back.
    pub(crate) twice: u32,
    /// 409, 429 or 503: not carried out.
    pub(crate) busy: u32,
    /// 500 or 502, although carried out.
    pub(crate) failed_but_done: u32,
    /// 403: somebody changed the bucket's policy for a moment.
    pub(crate) refused: u32,
    /// The body ends early, and that is noticed.
    pub(crate) cut: u32,
    /// The body comes with other bytes or fewer, and nothing below the store notices.
    pub(crate) corrupt: u32,
    pub(crate) stale_list: u32,
    /// A leg takes seconds.
    pub(crate) slow: u32,
    /// Milliseconds that a transfer of a pack takes, at most.
    pub(crate) transfer_ms: u64,
    /// Requests of this kind are hardly ever carried out.
    pub(crate) hard: Option<Class>,
}

/// Requests of which a run may make one kind hard.
const HARD: [(Operation, Kind); 9] = [
    (Operation::Create, Kind::Log),
    (Operation::Create, Kind::Checkpoint),
    (Operation::Put, Kind::Hint),
    (Operation::Upload, Kind::Pack),
    (Operation::Upload, Kind::Index),
    (Operation::Upload, Kind::Index),
    (Operation::Get, Kind::Log),
    (Operation::Get, Kind::Hint),
    (Operation::Download, Kind::Pack),
];

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    RequestLost,
    AnswerLost,
    Zombie,
    Twice,
    Busy,
    FailedButDone,
    Refused,
    Cut,
}

impl Fate {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Done => "",
            Self::RequestLost => "request lost",
            Self::AnswerLost => "answer lost",
            Self::Zombie => "zombie",
            Self::Twice => "twice",
            Self::Busy => "busy",
            Self::FailedButDone => "failed but done",
            Self::Refused => "refused",
            Self::Cut => "cut",
        }
    }
}

impl Weather {
    /// Any weather: each run has its own mixture, and some have none.
    pub(crate) fn of(dice: &mut Dice) -> Self {
        let mut rate = |most: u64| {
            // Many runs without a given fault leave room for those that need long undisturbed work.
            if dice.chance(500) { 0 } else { u32::try_from(dice.between(1, most)).unwrap_or(0) }
        };
        Self {
            request_lost: rate(60),
            answer_lost: rate(60),
            zombie: rate(40),
            twice: rate(60),
            busy: rate(60),
            failed_but_done: rate(40),
            refused: rate(5),
            cut: rate(40),
            corrupt: rate(60),
            stale_list: rate(700),
            slow: rate(60),
            transfer_ms: if dice.chance(600) { 0 } else { dice.between(100, 30_000) },
            hard: if dice.chance(700) {
                None
            } else {
                dice.pick(&HARD).map(|(operation, kind)| Class::new(*operation, *kind))
            },
        }
    }

    /// What becomes of a request.
    pub(crate) fn fate(&self, class: Class, dice: &mut Dice) -> Fate {
        if self.hard == Some(class) && dice.chance(850) {
            return *dice.pick(&[Fate::Busy, Fate::RequestLost, Fate::FailedButDone]).unwrap_or(&Fate::Busy);
        }
        let fates = [
            (self.request_lost, Fate::RequestLost),
            (self.answer_lost, Fate::AnswerLost),
            (self.zombie, Fate::Zombie),
            (self.twice, Fate::Twice),
            (self.busy, Fate::Busy),
            (self.failed_but_done, Fate::FailedButDone),
            (self.refused, Fate::Refused),
            (self.cut, Fate::Cut),
        ];
        let mut left = u32::try_from(dice.below(1_000)).unwrap_or(0);
        for (rate, fate) in fates {
            if left < rate {
                return fate;
            }
            left -= rate;
        }
        Fate::Done
    }

    /// How long one leg takes.
    pub(crate) fn leg(&self, class: Class, dice: &mut Dice) -> Duration {
        let transfer = if let Operation::Upload | Operation::Download = class.operation { self.transfer_ms } else { 0 };
        if dice.chance(self.slow) { dice.millis(500, 20_000) } else { dice.millis(1, 25 + transfer) }
    }

    /// How old a listing may be.
    pub(crate) fn staleness(&self, dice: &mut Dice) -> Duration {
        if dice.chance(self.stale_list) { dice.millis(1_000, 120_000) } else { Duration::ZERO }
    }
}
