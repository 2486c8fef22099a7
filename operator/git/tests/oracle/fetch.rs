//! Fetches of every kind against what `git rev-list --objects` names.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use git::{
    client::Client,
    pktline::{Packet, ReadLimits, Reader, push},
    upload_pack::{self, Command, Outcome, Route},
};
use gix::ObjectId;
use model::ObjectFormat;

use super::fixture::{Dice, Fixture, format, git_in, ids, nobody};

/// A fetch of version 2; the answer as it comes.
pub(crate) fn fetch_raw(
    fixture: &Fixture,
    wants: &[ObjectId],
    haves: &[ObjectId],
    arguments: &[&str],
) -> (Outcome, Vec<u8>) {
    let mut wire = Vec::new();
    push(&mut wire, &[b"command=fetch\n"]);
    push(&mut wire, &[b"object-format=", format().to_string().as_bytes()]);
    wire.extend_from_slice(b"0001");
    for argument in arguments {
        push(&mut wire, &[argument.as_bytes(), b"\n"]);
    }
    for id in wants {
        push(&mut wire, &[b"want ", id.to_string().as_bytes(), b"\n"]);
    }
    for id in haves {
        push(&mut wire, &[b"have ", id.to_string().as_bytes(), b"\n"]);
    }
    wire.extend_from_slice(b"0000");
    let Command::Fetch(request) = upload_pack::parse_v2(&mut &*wire, format(), &mut Client::default()).unwrap() else {
        panic!("not a fetch")
    };
    let mut out = Vec::new();
    let outcome =
        upload_pack::respond(&request, &fixture.view(), &mut out, "(request 1)", &AtomicBool::new(false)).unwrap();
    (outcome, out)
}

/// Lines before the pack, and the pack.
pub(crate) fn split(answer: &[u8], mut banded: bool) -> (Vec<String>, Vec<u8>) {
    let (mut lines, mut pack) = (Vec::new(), Vec::new());
    let mut input = answer;
    let mut reader = Reader::new(&mut input, ReadLimits::default());
    while let Some(packet) = reader.read().unwrap() {
        match packet {
            Packet::Data([1, data @ ..]) if banded => pack.extend_from_slice(data),
            Packet::Data([2, _message @ ..]) if banded => {}
            Packet::Data([3, message @ ..]) if banded => panic!("{}", String::from_utf8_lossy(message)),
            Packet::Data(line) => {
                lines.push(String::from_utf8_lossy(line).trim_end().to_owned());
                banded |= line == b"packfile\n";
            }
            _ => lines.push("-".into()),
        }
    }
    (lines, pack)
}

pub(crate) fn fetch(
    fixture: &Fixture,
    wants: &[ObjectId],
    haves: &[ObjectId],
    arguments: &[&str],
) -> (Outcome, Vec<u8>) {
    let (outcome, answer) = fetch_raw(fixture, wants, haves, arguments);
    let (_, pack) = split(&answer, false);
    (outcome, pack)
}

/// A client that has what `haves` reach.
pub(crate) fn client(fixture: &Fixture, name: &str, haves: &[ObjectId]) -> PathBuf {
    let path = fixture.directory.path().join(name);
    std::fs::create_dir(&path).unwrap();
    git_in(&path, &["init", "-q", "--bare"], b"");
    if !haves.is_empty() {
        let revisions = haves.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let pack = git_in(&fixture.origin(), &["pack-objects", "-q", "--revs", "--stdout"], revisions.as_bytes());
        git_in(&path, &["index-pack", "--stdin"], &pack);
    }
    path
}

/// What git would send.
pub(crate) fn expected(fixture: &Fixture, wants: &[ObjectId], haves: &[ObjectId]) -> BTreeSet<ObjectId> {
    let mut arguments = vec!["rev-list".to_owned(), "--objects".to_owned()];
    arguments.extend(wants.iter().map(ToString::to_string));
    arguments.extend(haves.iter().map(|id| format!("^{id}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    ids(&git_in(&fixture.origin(), &arguments, b""))
}

pub(crate) fn objects_in(pack: &[u8]) -> usize {
    usize::try_from(u32::from_be_bytes(pack[8..12].try_into().unwrap())).unwrap()
}

/// The client takes the pack; the objects of it, with the bases that were put in.
pub(crate) fn take(client: &Path, pack: &[u8], wants: &[ObjectId]) -> BTreeSet<ObjectId> {
    let name = String::from_utf8(git_in(client, &["index-pack", "--fix-thin", "--stdin"], pack)).unwrap();
    let name = name.trim().trim_start_matches("pack\t").trim_start_matches("keep\t");
    for (number, want) in wants.iter().enumerate() {
        git_in(client, &["update-ref", &format!("refs/wants/{number}"), &want.to_string()], b"");
    }
    git_in(client, &["fsck", "--full", "--strict"], b"");
    let index = std::fs::read(client.join(format!("objects/pack/pack-{name}.idx"))).unwrap();
    let shown = String::from_utf8(git_in(client, &["show-index"], &index)).unwrap();
    shown.lines().map(|line| ObjectId::from_hex(line.split(' ').nth(1).unwrap().as_bytes()).unwrap()).collect()
}

/// Fetches with random wants and haves; haves are of the oldest `oldest` commits. How many were answered from tables.
pub(crate) fn brings_what_git_would_bring(fixture: &Fixture, seed: u64, rounds: usize, oldest: usize) -> usize {
    let mut dice = Dice(seed * 977);
    let (mut sent, mut needed, mut tabled) = (0, 0, 0);
    for round in 0..rounds {
        let mut some = |most: usize, least: usize, among: usize| -> Vec<ObjectId> {
            (0..least + dice.roll(most)).map(|_| fixture.commits[dice.roll(among)]).collect()
        };
        let (wants, mut haves) = (some(3, 1, fixture.commits.len()), some(4, 0, oldest));
        if let Some(tag) = fixture.refs.iter().find(|(name, _)| name.is_tag()).filter(|_| round % 5 == 0) {
            haves.push(tag.1.id);
        }
        let mut arguments = vec!["done", "ofs-delta"];
        if round % 2 == 0 {
            arguments.push("thin-pack");
        }
        if round % 7 == 0 {
            arguments.retain(|argument| *argument != "ofs-delta");
        }
        let (outcome, pack) = fetch(fixture, &wants, &haves, &arguments);
        assert_eq!(outcome.refused, None);
        tabled += usize::from(outcome.route == Route::Tabled);
        let client = client(fixture, &format!("client-{round}"), &haves);
        let held = if haves.is_empty() { BTreeSet::new() } else { expected(fixture, &haves, &[]) };
        let expected = expected(fixture, &wants, &haves);
        let count = objects_in(&pack);
        assert_eq!(count as u64, outcome.objects);
        let received = take(&client, &pack, &wants);
        std::fs::remove_dir_all(&client).unwrap();
        // Git itself sends again what older trees of the client have.
        let lacking: BTreeSet<_> = expected.difference(&held).copied().collect();
        assert!(
            received.is_superset(&lacking),
            "seed {seed}, round {round}: everything that the client lacks is there"
        );
        assert!(received.difference(&expected).all(|id| held.contains(id)), "nothing that was not asked for");
        if !arguments.contains(&"thin-pack") {
            assert_eq!(received.len(), count, "without thin-pack the pack stands alone");
        }
        sent += count;
        needed += expected.len();
    }
    assert!(sent <= needed + needed / 50, "seed {seed}: {sent} objects were sent where git sends {needed}");
    tabled
}

#[test]
fn random_fetches_bring_what_git_would_bring() {
    for (seed, pushes, thin) in [(11, 7, true), (23, 1, false), (37, 25, true)] {
        let fixture = Fixture::new(seed, 150, pushes, thin);
        assert_eq!(brings_what_git_would_bring(&fixture, seed, 25, 150), 0);
    }
}

#[test]
fn thin_packs_are_about_as_small_as_those_of_git() {
    let fixture = Fixture::new(41, 200, 1, false);
    let (mut ours, mut theirs) = (0, 0);
    for at in (0..100).step_by(9) {
        let (old, new) = (fixture.commits[at], fixture.commits[at + 99]);
        let (_, pack) = fetch(&fixture, &[new], &[old], &["done", "ofs-delta", "thin-pack"]);
        let revisions = format!("{new}\n^{old}\n");
        let arguments = ["pack-objects", "-q", "--revs", "--thin", "--delta-base-offset", "--stdout"];
        ours += pack.len();
        theirs += git_in(&fixture.origin(), &arguments, revisions.as_bytes()).len();
    }
    assert!(ours < theirs * 2, "{ours} bytes were sent where git sends {theirs}");
}

#[test]
fn a_clone_of_everything_sends_the_packs_as_they_lie() {
    for (pushes, route) in [(1, Route::Verbatim), (9, Route::Joined), (10, Route::Whole)] {
        // Only histories in which nothing comes back have packs without duplicates.
        let fixture = if route == Route::Joined { Fixture::steady(pushes) } else { Fixture::new(5, 120, pushes, true) };
        let wants: Vec<_> = fixture.refs.values().map(|value| value.id).collect();
        for round in 0..2 {
            let (outcome, pack) = fetch(&fixture, &wants, &[], &["done", "ofs-delta", "thin-pack"]);
            assert_eq!(outcome.route, route);
            let client = client(&fixture, &format!("client-{round}"), &[]);
            assert_eq!(take(&client, &pack, &wants), expected(&fixture, &wants, &[]));
        }
        // One that wants less than everything gets what a walk finds.
        let (outcome, pack) = fetch(&fixture, &wants[..1], &[], &["done", "ofs-delta"]);
        let some = client(&fixture, "client-some", &[]);
        assert_eq!(take(&some, &pack, &wants[..1]), expected(&fixture, &wants[..1], &[]));
        assert!(wants.len() == 1 || outcome.route == Route::Walked);
        // A client that does not know distances gets every entry with a head of its own.
        let (outcome, pack) = fetch(&fixture, &wants, &[], &["done"]);
        assert_eq!(outcome.route, Route::Whole);
        let client = client(&fixture, "client-ref-delta", &[]);
        assert_eq!(take(&client, &pack, &wants), expected(&fixture, &wants, &[]));
    }
}

#[test]
fn packs_with_the_same_objects_are_sent_without_duplicates() {
    let mut fixture = Fixture::new(6, 80, 4, true);
    let pack = git_in(&fixture.origin(), &["pack-objects", "-q", "--all", "--delta-base-offset", "--stdout"], b"");
    fixture.receive(&pack);
    let wants: Vec<_> = fixture.refs.values().map(|value| value.id).collect();
    let (outcome, pack) = fetch(&fixture, &wants, &[], &["done", "ofs-delta"]);
    assert_eq!(outcome.route, Route::Whole);
    let client = client(&fixture, "client", &[]);
    let received = take(&client, &pack, &wants);
    assert_eq!(received.len(), objects_in(&pack));
    assert_eq!(received, expected(&fixture, &wants, &[]));
}

#[test]
fn what_was_dropped_is_not_sent() {
    let mut fixture = Fixture::new(8, 60, 5, true);
    let dropped = RefName::try_from("refs/heads/b3").unwrap();
    let tip = fixture.refs.remove(&dropped).unwrap().id;
    let wants: Vec<_> = fixture.refs.values().map(|value| value.id).collect();
    let mut view = fixture.view();
    let tips = [tip];
    view.dropped_tips = &tips;
    let request = upload_pack::Request {
        wants: wants.clone(),
        haves: Vec::new(),
        done: true,
        thin_pack: true,
        ofs_delta: true,
        include_tag: true,
        no_progress: true,
        ..upload_pack::Request::new(upload_pack::Form::V2 { wait_for_done: false }, git::sideband::Band::Large)
    };
    let mut out = Vec::new();
    let outcome = upload_pack::respond(&request, &view, &mut out, "", &AtomicBool::new(false)).unwrap();
    assert_eq!(outcome.route, Route::Walked);
    let (_, pack) = split(&out, false);
    let client = client(&fixture, "client", &[]);
    assert_eq!(take(&client, &pack, &wants), expected(&fixture, &wants, &[]));
}

#[test]
fn a_want_that_is_not_visible_is_refused() {
    let mut fixture = Fixture::new(9, 40, 3, false);
    let nowhere = nobody();
    let (outcome, answer) = fetch_raw(&fixture, &[nowhere], &[], &["done"]);
    assert!(outcome.refused.is_some());
    assert_eq!(split(&answer, false).0, [format!("ERR upload-pack: not our ref {nowhere}")]);
    let keep: BTreeSet<_> = expected(&fixture, &[fixture.commits[20]], &[]);
    fixture.refs.clear();
    fixture.refs.insert(fixture.head.clone(), RefValue { id: fixture.commits[20], peeled: None });
    for id in fixture.commits.clone() {
        let (outcome, _) = fetch_raw(&fixture, &[id], &[], &["done"]);
        assert_eq!(outcome.refused.is_none(), keep.contains(&id), "{id}");
    }
}

#[test]
fn rounds_of_version_2_end_with_ready() {
    let fixture = Fixture::new(10, 60, 3, true);
    let tip = fixture.refs[&fixture.head].id;
    let nowhere = nobody();
    let (_, answer) = fetch_raw(&fixture, &[tip], &[nowhere], &["thin-pack"]);
    assert_eq!(split(&answer, false).0, ["acknowledgments", "NAK", "-"]);
    let parent = ids(&git_in(&fixture.origin(), &["rev-parse", &format!("{tip}^")], b""));
    let parent = *parent.iter().next().unwrap();
    let (outcome, answer) = fetch_raw(&fixture, &[tip], &[nowhere, parent], &["thin-pack"]);
    let (lines, pack) = split(&answer, false);
    assert_eq!(
        lines,
        [
            "acknowledgments".to_owned(),
            format!("ACK {parent}"),
            "ready".into(),
            "-".into(),
            "packfile".into(),
            "-".into()
        ]
    );
    assert_eq!(objects_in(&pack) as u64, outcome.objects);
    let (_, answer) = fetch_raw(&fixture, &[tip], &[parent], &["thin-pack", "wait-for-done"]);
    assert_eq!(split(&answer, false).0, ["acknowledgments".to_owned(), format!("ACK {parent}"), "-".into()]);
}

use model::{RefName, RefValue};

#[test]
fn tags_follow_what_is_sent() {
    let fixture = Fixture::new(12, 120, 6, true);
    let tip = fixture.refs[&fixture.head].id;
    let (_, pack) = fetch(&fixture, &[tip], &[], &["done", "include-tag", "ofs-delta"]);
    let client = client(&fixture, "client", &[]);
    let received = take(&client, &pack, &[tip]);
    let mut followed = 0;
    for (name, RefValue { id, .. }) in fixture.refs.iter().filter(|(name, _)| name.short().starts_with(b"v")) {
        let target = ids(&git_in(&fixture.origin(), &["rev-parse", &format!("{name}^{{commit}}")], b""));
        assert_eq!(received.contains(id), received.is_superset(&target), "{name}");
        followed += usize::from(received.contains(id));
    }
    assert!(followed > 0, "the fixture has tags on the branch");
}

#[test]
fn ids_of_the_other_object_format_are_those_of_no_object() {
    let fixture = Fixture::new(9, 40, 3, false);
    let tip = fixture.refs[&fixture.head].id;
    let other = if format() == ObjectFormat::Sha1 { ObjectFormat::Sha256 } else { ObjectFormat::Sha1 };
    // Also one that begins like one of ours.
    let like_ours = tip.to_string().chars().cycle().take(other.len_in_hex()).collect::<String>();
    let ids = ["1".repeat(other.len_in_hex()), like_ours].map(|id| ObjectId::from_hex(id.as_bytes()).unwrap());
    for id in ids {
        let (refused, _) = fetch_raw(&fixture, &[id], &[], &["done"]);
        assert!(refused.refused.unwrap().ends_with(&format!("not our ref {id}")));
        let (whole, _) = fetch_raw(&fixture, &[tip], &[id], &["done"]);
        assert!(whole.refused.is_none() && whole.objects > 0, "{whole:?}");
        let (shallow, _) = fetch_raw(&fixture, &[tip], &[], &[&format!("shallow {id}"), "deepen 2", "done"]);
        assert!(shallow.refused.is_none() && shallow.objects > 0, "{shallow:?}");
    }
}

/// A line as it is sent.
fn packet(line: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    push(&mut wire, &[line.as_bytes(), b"\n"]);
    wire
}

#[test]
fn version_0_talks_as_git_does() {
    let fixture = Fixture::new(13, 60, 3, true);
    let tip = fixture.refs[&fixture.head].id;
    let old = fixture.commits[0];
    let ask = |capabilities: &str, haves: &str| {
        let mut wire = Vec::new();
        push(&mut wire, &[format!("want {tip} {capabilities} object-format={}\n", format()).as_bytes()]);
        wire.extend_from_slice(b"0000");
        for line in haves.lines() {
            if line.is_empty() { wire.extend_from_slice(b"0000") } else { push(&mut wire, &[line.as_bytes(), b"\n"]) }
        }
        let request = upload_pack::parse_v0(&mut &*wire, format(), &mut Client::default()).unwrap().unwrap();
        let mut out = Vec::new();
        upload_pack::respond(&request, &fixture.view(), &mut out, "", &AtomicBool::new(false)).unwrap();
        out
    };
    let all = "multi_ack_detailed no-done side-band-64k thin-pack ofs-delta agent=git/2";
    let answer = ask(all, "done\n");
    assert!(answer.starts_with(b"0008NAK\n"));
    let (_, pack) = split(&answer[8..], true);
    let new_client = client(&fixture, "clone", &[]);
    assert_eq!(take(&new_client, &pack, &[tip]), expected(&fixture, &[tip], &[]));
    let answer = ask(all, &format!("have {old}\n\n"));
    let lines = [format!("ACK {old} common"), format!("ACK {old} ready"), "NAK".to_owned(), format!("ACK {old}")];
    let begin: Vec<u8> = lines.iter().flat_map(|line| packet(line)).collect();
    assert!(answer.starts_with(&begin), "{}", String::from_utf8_lossy(&answer[..answer.len().min(200)]));
    let (_, pack) = split(&answer[begin.len()..], true);
    let other = client(&fixture, "other", &[old]);
    assert!(take(&other, &pack, &[tip]).is_superset(&expected(&fixture, &[tip], &[old])));
    let answer = ask("ofs-delta", "done\n");
    let bare = client(&fixture, "bare", &[]);
    assert_eq!(
        take(&bare, &answer[8..], &[tip]),
        expected(&fixture, &[tip], &[]),
        "without channels the pack comes bare"
    );
    assert_eq!(
        ask("multi_ack_detailed", &format!("have {old}\n\n")),
        lines[..3].iter().flat_map(|line| packet(line)).collect::<Vec<_>>()
    );
}
