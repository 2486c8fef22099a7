//! Holds what clients were told against the one order of commits that the bucket knows.
//!
//! The order is given, so each answer can be checked by itself: there must be a moment between question and answer at which the log
//! said what the answer says. That is linearizability, with the moments at which entries came to be as points.

use std::collections::BTreeMap;
use std::time::Duration;

use model::event::ReferenceChange;
use model::{ObjectId, RefName};
use store::{Committed, Events};

use crate::history::{EventsOperation, Operations, Outcome, PushOperation, ReadOperation};
use crate::ledger::{Generation, Log};
use crate::refs::Refs;

/// Checks all answers; gives what is wrong. `ids` has the id of each repository's path.
pub(crate) fn check(
    logs: &BTreeMap<String, Log>,
    ids: &BTreeMap<String, String>,
    operations: &Operations,
) -> Vec<String> {
    let mut problems = Vec::new();
    let none = Log::default();
    let log_of = |repository: &String| logs.get(repository).unwrap_or(&none);
    let places: BTreeMap<&String, Places<'_>> =
        logs.iter().map(|(id, log)| (id, Places::of(log, &mut problems))).collect();
    for push in &operations.pushes {
        let id = ids.get(&push.repository).unwrap_or(&push.repository);
        let log = log_of(id);
        let place = places.get(id).and_then(|places| places.0.get(push.request_id.as_str())).copied();
        if let Err(problem) = check_push(log, place, push) {
            problems.push(format!("push {} ({:?}): {problem}", push.request_id, push.outcome));
        }
    }
    for read in &operations.reads {
        if !ids.values().any(|id| *id == read.repository) {
            problems.push(format!("{} read {}, which is no repository's id", read.reader, read.repository));
        }
        if let Err(problem) = check_read(log_of(&read.repository), read) {
            problems.push(format!("{} read generation {}: {problem}", read.reader, read.generation));
        }
    }
    for events in &operations.events {
        if let Err(problem) = check_events(log_of(&events.repository), events) {
            problems.push(format!("events of {}: {problem}", events.generation));
        }
    }
    problems
}

/// Where pushes are in a log: entry and place within it.
struct Places<'a>(BTreeMap<&'a str, (u64, usize)>);

impl<'a> Places<'a> {
    fn of(log: &'a Log, problems: &mut Vec<String>) -> Self {
        let mut places = BTreeMap::new();
        for (number, generation) in (1..).zip(&log.generations) {
            for (index, push) in generation.entry.pushes.iter().enumerate() {
                if let Some((before, _)) = places.insert(push.request_id.as_str(), (number, index)) {
                    problems.push(format!("push {} is in entries {before} and {number}", push.request_id));
                }
            }
        }
        Self(places)
    }
}

fn check_push(log: &Log, place: Option<(u64, usize)>, push: &PushOperation) -> Result<(), String> {
    match (&push.outcome, place) {
        (Outcome::Committed(committed), Some(place)) => check_committed(log, place, push, committed),
        (Outcome::Committed(_), None) => Err("acknowledged, and in no entry".to_owned()),
        (Outcome::Moved(_) | Outcome::Nothing, Some((number, _))) => {
            Err(format!("told that nothing was changed, and in entry {number}"))
        }
        (Outcome::Moved(moved), None) => check_moved(log, push, moved),
        (Outcome::Unknown, Some((number, index))) => {
            let generation = log.generation(number).ok_or("no such entry")?;
            ensure(generation.at >= push.invoked, "committed before it was asked for")?;
            let (edits, _) = results(generation, index, push);
            let atomic = !push.atomic || edits.len() == push.edits.len();
            ensure(atomic, "half of an atomic push was committed")?;
            ensure(generation.entry.pushes[index].edits == edits, "other edits were committed than could be")
        }
        (Outcome::Nothing | Outcome::Unknown, None) => Ok(()),
    }
}

fn check_committed(
    log: &Log,
    (number, index): (u64, usize),
    push: &PushOperation,
    committed: &Committed,
) -> Result<(), String> {
    let generation = log.generation(number).ok_or("no such entry")?;
    ensure(committed.generation == number, &format!("it is in entry {number}"))?;
    let at = generation.at;
    ensure(push.invoked <= at && at <= push.responded, &format!("committed at {at:?}, not while it was asked for"))?;
    let record = &generation.entry.pushes[index];
    let (edits, results) = results(generation, index, push);
    ensure(results == committed.results, &format!("should have been told {results:?}"))?;
    ensure(record.edits == edits, "other edits are in the entry")?;
    ensure(push.dropped.as_ref() == Some(&record.dropped), "other dropped tips are in the entry")?;
    ensure(!push.atomic || edits.len() == push.edits.len(), "half of an atomic push was committed")
}

/// What becomes of the edits of a push at its place in an entry: those that are done, and the result of each.
fn results(
    generation: &Generation,
    index: usize,
    push: &PushOperation,
) -> (Vec<store::RefEdit>, Vec<store::EditResult>) {
    let before = &generation.steps[index];
    let result = |edit: &store::RefEdit| {
        let present = before.get(&edit.name);
        if present == edit.old { Ok(()) } else { Err(present) }
    };
    let results: Vec<_> = push.edits.iter().map(result).collect();
    let done = push.edits.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(edit, _)| edit.clone());
    (done.collect(), results)
}

/// There must have been a moment at which just these references had these values.
fn check_moved(log: &Log, push: &PushOperation, told: &[(RefName, Option<ObjectId>)]) -> Result<(), String> {
    ensure(!told.is_empty(), "nothing moved")?;
    ensure(push.atomic || told.len() == push.edits.len(), "some of its edits could be done")?;
    let mut states = states_between(log, push.invoked, push.responded);
    let explained = states.any(|refs| {
        let moved = push.edits.iter().filter_map(|edit| {
            let present = refs.get(&edit.name);
            (present != edit.old).then(|| (edit.name.clone(), present))
        });
        moved.eq(told.iter().cloned())
    });
    ensure(explained, &format!("references never had these values between {:?} and {:?}", push.invoked, push.responded))
}

/// The states that the log went through in a time, those between pushes of one entry too.
fn states_between(log: &Log, from: Duration, to: Duration) -> impl Iterator<Item = &Refs> {
    static EMPTY: Refs = Refs::new();
    let before = log.generations.iter().take_while(|generation| generation.at < from).count();
    let first = before.checked_sub(1).map_or(&EMPTY, |last| &**log.generations[last].after());
    let during = log.generations[before..].iter().take_while(move |generation| generation.at <= to);
    std::iter::once(first).chain(during.flat_map(|generation| generation.steps.iter().map(|refs| &**refs)))
}

fn check_read(log: &Log, read: &ReadOperation) -> Result<(), String> {
    let refs = log.refs(read.generation).ok_or("there is no such entry")?;
    ensure(*refs == read.refs, "its references are others")?;
    ensure(log.head(read.generation) == read.head, "its default branch is another")?;
    if let Some(generation) = log.generation(read.generation) {
        ensure(generation.at <= read.responded, "before it was written")?;
    }
    match log.generation(read.generation + 1) {
        Some(next) if next.at < read.invoked => {
            Err(format!("the next was written at {:?}, before the question at {:?}", next.at, read.invoked))
        }
        _ => Ok(()),
    }
}

fn check_events(log: &Log, operation: &EventsOperation) -> Result<(), String> {
    let generation = log.generation(operation.generation);
    let (generation, events) = match (generation, &operation.events) {
        (Some(generation), Events::Of(events)) => (generation, events),
        (Some(generation), Events::NotYet) => {
            return ensure(generation.at >= operation.invoked, "not yet, although it was written");
        }
        (Some(generation), Events::Gone) => {
            let gone = generation.stub_since.is_some_and(|since| since <= operation.responded);
            return ensure(gone, "gone, although it was whole");
        }
        (None, Events::NotYet) => return Ok(()),
        (None, _) => return Err("there is no such entry".to_owned()),
    };
    let mut wanted = Vec::new();
    for (at, push) in generation.entry.pushes.iter().enumerate() {
        for (place, edit) in push.edits.iter().enumerate() {
            let Some(change) = ReferenceChange::between(edit.old, edit.new) else { continue };
            let id = format!("{}/{}/{at}/{place}", operation.repository, operation.generation);
            wanted.push((id, edit.name.clone(), change, edit.old, edit.new));
        }
    }
    let seen = events.iter().map(|event| {
        let known = (event.id.clone(), event.reference.clone(), event.change, event.old, event.new);
        (known, event.generation)
    });
    ensure(seen.eq(wanted.into_iter().map(|event| (event, operation.generation))), "not those of the entry")
}

fn ensure(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
