//! In which stores a `Repository` is kept: what the resource wants, and what the git servers say of it. Pure.

use std::sync::Arc;
use std::time::Duration;

use model::desired::RepositoryConfig;
use model::replication::{Replication, ReplicationMode};

use crate::control::{PromotionAnswer, ReplicaProblemKind, ReplicaSummary, ReplicationSummary};
use crate::controller::{GitServerError, Status};
use crate::index::{Scope, UNKNOWN_STORE};
use crate::problem::{Finding, Problem};

/// Seconds below which a replica counts as being in step: copies are on their way then, and status is not written for each push.
const UNSAID: u64 = 10;

/// When a Repository is looked at again of which a replica, or a promotion, has a problem.
pub(crate) const TROUBLED: Duration = Duration::from_secs(30);
/// The same when something is being copied.
pub(crate) const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// What the resource says.
pub(crate) fn replication(spec: &crds::Replication) -> Arc<Replication> {
    let mode = match spec.mode {
        crds::ReplicationMode::Asynchronous => ReplicationMode::Asynchronous,
        crds::ReplicationMode::Synchronous => ReplicationMode::Synchronous,
    };
    Arc::new(Replication { mode, stores: spec.stores.clone(), quorum: spec.quorum, primary: spec.primary.clone() })
}

/// The same with the default of its store, and what is wrong with it. Whatever that is, the repository is served: it is a flaw of the copies.
pub(crate) fn settled(config: &RepositoryConfig, scope: &Scope) -> (Option<Arc<Replication>>, Vec<Finding>) {
    if config.own_bucket {
        return (None, vec![]);
    }
    let Some(replication) = &config.replication else {
        return (scope.replication.get(&config.store).cloned(), vec![]);
    };
    let unknown = replication.stores.iter().enumerate().filter(|(_, store)| !scope.stores.contains(store));
    let findings = unknown.map(|(index, store)| {
        let field = format!("spec.replication.stores[{index}]");
        Finding::warning(field, scope.no_such_store(store)).because(UNKNOWN_STORE)
    });
    (Some(Arc::clone(replication)), findings.collect())
}

/// What is known of the replication of one Repository.
#[derive(Debug, Default)]
pub(crate) struct Known<'a> {
    /// Whether it is wanted.
    pub(crate) is_wanted: bool,
    /// Name of the resource.
    pub(crate) resource: &'a str,
    /// What is wrong with the resource.
    pub(crate) problems: &'a [Problem],
    /// What the git servers said: nothing of it, or why they said nothing at all.
    pub(crate) summary: Option<Result<Option<&'a ReplicationSummary>, &'a GitServerError>>,
    /// Why the promotion failed that the resource asks for.
    pub(crate) failure: Option<&'a GitServerError>,
}

impl Known<'_> {
    /// The condition `Replicated`; none where there is nothing to say.
    pub(crate) fn condition(&self) -> Option<(Status, &'static str, String)> {
        if let Some(failed) = self.failed_promotion() {
            return Some(failed);
        }
        let summary = match &self.summary {
            Some(Ok(Some(summary))) => *summary,
            _ if !self.is_wanted => return None,
            Some(Err(error)) => return Some((Status::Unknown, "Unknown", error.to_string())),
            Some(Ok(None)) => {
                return Some((Status::Unknown, "Unknown", "the git servers do not know of it yet".to_owned()));
            }
            None => return Some((Status::Unknown, "Unknown", "not asked".to_owned())),
        };
        let (reason, message) = self.flaw(summary).unwrap_or_else(|| ("InStep", in_step(summary)));
        let status = if reason == "InStep" { Status::True } else { Status::False };
        Some((status, reason, message))
    }

    fn failed_promotion(&self) -> Option<(Status, &'static str, String)> {
        let error = self.failure?;
        let (annotation, name) = (crds::ACCEPT_LOSS, self.resource);
        let (reason, message) = if error.is_unsafe() {
            let way_out = format!("to give up pushes that no other store has, set the annotation {annotation}: {name}");
            ("PromotionRefused", format!("spec.replication.primary is refused: {error}; {way_out}"))
        } else if error.is_unknown_store() {
            (UNKNOWN_STORE, format!("spec.replication.primary is refused: {error}"))
        } else {
            ("ReplicaUnavailable", format!("the promotion failed and is tried again: {error}"))
        };
        Some((Status::False, reason, message))
    }

    /// The worst that is wrong.
    fn flaw(&self, summary: &ReplicationSummary) -> Option<(&'static str, String)> {
        let problems = summary.stores.iter().filter_map(|replica| Some((replica.problem.as_ref()?, &replica.name)));
        let worst = problems.min_by_key(|(problem, _)| problem.kind);
        let misspelt = self.problems.iter().find(|problem| problem.reason == UNKNOWN_STORE);
        match (
            worst.map(|(problem, name)| (problem.kind, format!("the store '{name}': {}", problem.message))),
            misspelt,
        ) {
            (Some((ReplicaProblemKind::Diverged, message)), _) => return Some(("Diverged", message)),
            (_, Some(problem)) => return Some((UNKNOWN_STORE, problem.text())),
            (Some((ReplicaProblemKind::UnknownStore, message)), _) => return Some((UNKNOWN_STORE, message)),
            (Some((ReplicaProblemKind::Unavailable, message)), _) => return Some(("ReplicaUnavailable", message)),
            (None, None) => {}
        }
        let last = summary.stores.iter().filter(|replica| replica.lag_seconds >= UNSAID);
        let last = last.max_by_key(|replica| replica.lag_seconds)?;
        let entries = if last.lag_entries == 1 { "entry" } else { "entries" };
        let message = format!(
            "the store '{}' is {} {entries} and {} behind",
            last.name,
            last.lag_entries,
            words(last.lag_seconds)
        );
        Some(("Behind", message))
    }
}

fn in_step(summary: &ReplicationSummary) -> String {
    let names: Vec<String> = summary.stores.iter().map(|replica| format!("'{}'", replica.name)).collect();
    match names.split_last() {
        None => format!("the primary is '{}', and there is no replica", summary.primary),
        Some((last, [])) => format!("the primary is '{}', and {last} holds the same", summary.primary),
        Some((last, others)) => {
            format!("the primary is '{}', and {} and {last} hold the same", summary.primary, others.join(", "))
        }
    }
}

/// Rounded down, so that it does not change with each look.
fn rounded(seconds: u64) -> u64 {
    let step = match seconds {
        0..60 => 10,
        60..3_600 => 60,
        _ => 3_600,
    };
    seconds - seconds % step
}

fn words(seconds: u64) -> String {
    match rounded(seconds) {
        short @ 0..60 => format!("{short} s"),
        medium @ 60..3_600 => format!("{} min", medium / 60),
        long => format!("{} h", long / 3_600),
    }
}

/// When to look again, if that is sooner than usual.
pub(crate) fn look_again(summary: &ReplicationSummary) -> Option<Duration> {
    let is_troubled = |replica: &ReplicaSummary| {
        // A name becomes known by a change of the pool, which asks for a look itself.
        replica.problem.as_ref().is_some_and(|problem| problem.kind != ReplicaProblemKind::UnknownStore)
    };
    if summary.stores.iter().any(is_troubled) {
        return Some(TROUBLED);
    }
    summary.stores.iter().any(|replica| replica.lag_entries > 0 && replica.problem.is_none()).then_some(ON_ITS_WAY)
}

/// What the status shows.
pub(crate) fn status(summary: &ReplicationSummary) -> crds::ReplicationStatus {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let shown = |replica: &ReplicaSummary| crds::ReplicaStatus {
        name: replica.name.clone(),
        generation: number(replica.generation),
        lag_entries: if replica.lag_seconds < UNSAID { 0 } else { number(replica.lag_entries) },
        lag_seconds: number(rounded(replica.lag_seconds)),
        message: replica.problem.as_ref().map(|problem| problem.message.chars().take(MAX_MESSAGE).collect()),
    };
    let stores: Vec<_> = summary.stores.iter().map(shown).collect();
    crds::ReplicationStatus {
        primary: summary.primary.clone(),
        epoch: number(summary.epoch),
        lag_seconds: stores.iter().map(|store| store.lag_seconds).max().unwrap_or_default(),
        stores,
    }
}

/// Longest message of a replica.
const MAX_MESSAGE: usize = 1_024;

/// What is told when the primary has changed.
pub(crate) fn promoted(primary: &str, answer: Option<&PromotionAnswer>) -> String {
    let Some(answer) = answer.filter(|answer| answer.primary == primary) else {
        return format!("'{primary}' takes pushes now");
    };
    let left = match (&answer.was, answer.left_behind) {
        (None, _) | (_, Some(0)) => "nothing was lost".to_owned(),
        (Some(was), Some(left)) => format!("{left} entries that only '{was}' holds are left there"),
        (Some(was), None) => format!("'{was}' did not answer: what only it holds is left there"),
    };
    format!("'{primary}' takes pushes now (epoch {}, after entry {}); {left}", answer.epoch, answer.generation)
}

#[cfg(test)]
mod tests;
