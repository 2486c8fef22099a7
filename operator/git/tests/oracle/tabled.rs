//! Fetches answered from reachability tables bring what git would bring, whichever packs have tables.

#![expect(clippy::format_push_string, reason = "a stream for git is easier to read in one piece")]

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use git::{
    odb::Packs,
    reach,
    sideband::Band,
    upload_pack::{self, Form, Outcome, Request, Route},
    view::RepositoryView,
};
use gix::ObjectId;
use model::{RefName, RefValue};

use super::{
    fetch::{brings_what_git_would_bring, client, expected, fetch, objects_in, split, take},
    fixture::{Fixture, git_in},
    reach::attach,
};

/// Which packs have tables.
pub(crate) type Chosen = (&'static str, fn(usize) -> bool);

pub(crate) const ALL: Chosen = ("all", |_| true);
const FIRST: Chosen = ("the first", |at| at == 0);
const LATER: Chosen = ("all but the first", |at| at > 0);
const SOME: Chosen = ("every other", |at| at % 2 == 0);

/// The fixture with tables for those packs that are chosen and no others; how many got one.
pub(crate) fn retabled(fixture: &mut Fixture, chosen: Chosen) -> usize {
    fixture.packs = Packs::open(&fixture.parts).unwrap();
    attach(fixture, &fixture.packs, &chosen.1)
}

#[test]
fn random_fetches_with_tables_bring_what_git_would_bring() {
    for (seed, pushes, thin) in [(201, 1, false), (202, 7, true), (203, 25, true)] {
        let mut fixture = Fixture::new(seed, 150, pushes, thin);
        for chosen in [ALL, FIRST, LATER, SOME] {
            let attached = retabled(&mut fixture, chosen);
            let tabled = brings_what_git_would_bring(&fixture, seed, 10, 150);
            assert!(attached == 0 || tabled > 0, "{}", chosen.0);
        }
    }
}

#[test]
fn long_fetches_with_tables_bring_what_git_would_bring() {
    for (seed, pushes, thin) in [(211, 1, false), (212, 8, true)] {
        let mut fixture = Fixture::new(seed, 900, pushes, thin);
        for chosen in [ALL, FIRST, SOME] {
            retabled(&mut fixture, chosen);
            let tabled = brings_what_git_would_bring(&fixture, seed, 9, 120);
            // With few commits in tables only clones use them.
            assert!(tabled > if chosen.0 == ALL.0 { 4 } else { 0 }, "{}: {tabled}", chosen.0);
        }
    }
}

#[test]
fn packs_with_the_same_objects_and_tables_are_sent_without_duplicates() {
    let mut fixture = Fixture::new(221, 90, 4, true);
    let pack = git_in(&fixture.origin(), &["pack-objects", "-q", "--all", "--delta-base-offset", "--stdout"], b"");
    fixture.receive(&pack);
    for (number, chosen) in [ALL, FIRST, LATER, SOME].into_iter().enumerate() {
        retabled(&mut fixture, chosen);
        let wants = [fixture.commits[80], fixture.commits[60]];
        let (outcome, pack) = fetch(&fixture, &wants, &[], &["done", "ofs-delta", "include-tag"]);
        assert_eq!(outcome.route, Route::Tabled, "{}", chosen.0);
        let client = client(&fixture, &format!("client-{number}"), &[]);
        let received = take(&client, &pack, &wants);
        assert_eq!(received.len(), objects_in(&pack));
        let tags: Vec<ObjectId> =
            fixture.refs.values().filter(|value| value.peeled.is_some()).map(|tag| tag.id).collect();
        let reached = expected(&fixture, &wants, &[]);
        let followed = |tag: &&ObjectId| received.contains(*tag);
        let mut all = reached.clone();
        all.extend(tags.iter().filter(followed));
        assert_eq!(received, all);
        for (name, value) in &fixture.refs {
            let behind = value.peeled.is_some_and(|target| reached.contains(&target));
            assert!(!behind || received.contains(&value.id), "the tag {name} follows");
        }
    }
}

/// Wants and haves of a clone or a fetch from a repository in which things are hidden.
fn ask(view: &RepositoryView<'_>, wants: &[ObjectId], haves: &[ObjectId]) -> (Outcome, Vec<u8>) {
    let request = Request {
        wants: wants.to_vec(),
        haves: haves.to_vec(),
        done: true,
        thin_pack: true,
        ofs_delta: true,
        include_tag: true,
        no_progress: true,
        ..Request::new(Form::V2 { wait_for_done: false }, Band::Large)
    };
    let mut out = Vec::new();
    let outcome = upload_pack::respond(&request, view, &mut out, "", &AtomicBool::new(false)).unwrap();
    (outcome, split(&out, false).1)
}

#[test]
fn what_is_hidden_or_dropped_is_not_sent_from_tables() {
    let mut fixture = Fixture::new(231, 900, 6, true);
    let names = ["refs/heads/b2", "refs/heads/b3"].map(|name| RefName::try_from(name).unwrap());
    let [hidden, dropped] = names.map(|name| fixture.refs.remove(&name).unwrap().id);
    fixture.refs.retain(|name, _| name.is_branch());
    fixture.refs.insert(RefName::try_from("refs/codekeep/x").unwrap(), RefValue { id: hidden, peeled: None });
    let visible = fixture.refs.iter().filter(|(name, _)| !name.is_hidden());
    let wants: Vec<_> = visible.map(|(_, value)| value.id).collect();
    // What git shows behind `hidden ^visible` is not exact: older trees of what is visible have some of it.
    let open = expected(&fixture, &wants, &[]);
    let secret: BTreeSet<_> = expected(&fixture, &[hidden, dropped], &[]).difference(&open).copied().collect();
    assert!(secret.len() > 20, "the fixture has something to hide");
    for (number, chosen) in [ALL, FIRST, LATER, SOME].into_iter().enumerate() {
        retabled(&mut fixture, chosen);
        for haves in [vec![], vec![fixture.commits[60]]] {
            let tips = [dropped];
            let view = RepositoryView { dropped_tips: &tips, ..fixture.view() };
            let (outcome, pack) = ask(&view, &wants, &haves);
            if haves.is_empty() || chosen.0 == ALL.0 {
                assert_eq!(outcome.route, Route::Tabled, "{}", chosen.0);
            }
            let client = client(&fixture, &format!("client-{number}-{}", haves.len()), &haves);
            let held = if haves.is_empty() { BTreeSet::new() } else { expected(&fixture, &haves, &[]) };
            let received = take(&client, &pack, &wants);
            assert!(received.is_superset(&open.difference(&held).copied().collect()), "all that the client lacks");
            assert!(received.is_disjoint(&secret), "{}: nothing that is only hidden", chosen.0);
            assert!(received.is_subset(&open.union(&held).copied().collect()));
        }
    }
}

/// A history that goes back and forth between two trees that have nothing in common.
fn back_and_forth(files: usize, commits: usize) -> Fixture {
    let line = |mark: usize| {
        let from = if mark == 1 { String::new() } else { format!("from :{}\n", mark - 1) };
        let date = 1_600_000_000 + mark;
        format!("commit refs/heads/b0\nmark :{mark}\ncommitter C <c@example.com> {date} +0000\ndata 2\nm\n{from}")
    };
    let mut stream = String::new();
    for mark in 1..=2 {
        stream += &(line(mark) + "deleteall\n");
        for file in 0..files {
            let body = format!("{mark} {file}\n");
            stream += &format!("M 100644 inline d{}/f{file}\ndata {}\n{body}", file % 50, body.len());
        }
    }
    let first = Fixture::of(stream.as_bytes(), 2, 1, false);
    let tree = |mark: usize| {
        let name = format!("{}^{{tree}}", first.commits[(mark - 1) % 2]);
        String::from_utf8(git_in(&first.origin(), &["rev-parse", &name], b"")).unwrap()
    };
    let trees = [tree(2), tree(1)];
    for mark in 3..=commits {
        stream += &format!("{}M 040000 {} \"\"\n", line(mark), trees[mark % 2].trim());
    }
    Fixture::of(stream.as_bytes(), commits, 1, false)
}

#[test]
fn a_history_that_goes_back_and_forth_has_a_table_of_bounded_size() {
    let (files, commits) = (3_000, 420);
    let mut fixture = back_and_forth(files, commits);
    retabled(&mut fixture, ALL);
    let pack = &fixture.packs.packs()[0];
    let table = pack.table().unwrap();
    let most = (1 << 20) + reach::MAX_CODES * u64::from(pack.len());
    assert!(files * commits > usize::try_from(most).unwrap(), "the fixture is greater than the bound");
    assert!((100..commits).contains(&(table.len() as usize)), "{} commits are in the table", table.len());
    let wants = [fixture.commits[commits - 2]];
    let (outcome, sent) = fetch(&fixture, &wants, &[], &["done", "ofs-delta"]);
    assert_eq!(outcome.route, Route::Tabled);
    let client = client(&fixture, "client", &[]);
    assert_eq!(take(&client, &sent, &wants), expected(&fixture, &wants, &[]));
}
