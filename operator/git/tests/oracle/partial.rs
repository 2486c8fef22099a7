//! Shallow and partial fetches against what `git upload-pack` sends for the same request, and what a client makes of them.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use git::{
    client::Client,
    pktline::push,
    upload_pack::{self, Command},
    view::RepositoryView,
};
use gix::ObjectId;
use model::RefName;

use super::{
    fetch::split,
    fixture::{Dice, Fixture, format, git_in, git_speaking, ids, nobody},
    tabled::{ALL, retabled},
};

/// A request of version 2.
fn wire(lines: &[String]) -> Vec<u8> {
    let mut wire = Vec::new();
    push(&mut wire, &[b"command=fetch\n"]);
    push(&mut wire, &[b"object-format=", format().to_string().as_bytes()]);
    wire.extend_from_slice(b"0001");
    for line in lines {
        push(&mut wire, &[line.as_bytes(), b"\n"]);
    }
    wire.extend_from_slice(b"0000");
    wire
}

/// What we answer: the lines before the pack, and the pack.
pub(super) fn ours(view: &RepositoryView<'_>, lines: &[String]) -> (Vec<String>, Vec<u8>) {
    let wire = wire(lines);
    let Command::Fetch(request) = upload_pack::parse_v2(&mut &*wire, format(), &mut Client::default()).unwrap() else {
        panic!("not a fetch")
    };
    let mut out = Vec::new();
    upload_pack::respond(&request, view, &mut out, "(request 1)", &AtomicBool::new(false)).unwrap();
    split(&out, false)
}

/// What git answers.
pub(super) fn gits(fixture: &Fixture, lines: &[String]) -> (Vec<String>, Vec<u8>) {
    for (key, value) in [("uploadpack.allowFilter", "true"), ("uploadpack.allowRefInWant", "true")] {
        git_in(&fixture.origin(), &["config", key, value], b"");
    }
    let (_, answer, _) = git_speaking(&fixture.origin(), 2, &["upload-pack", "--stateless-rpc", "."], &wire(lines));
    split(&answer, false)
}

/// The objects of a pack; bases that it lacks are taken from the origin.
pub(super) fn objects(fixture: &Fixture, pack: &[u8], name: &str) -> BTreeSet<ObjectId> {
    let folder = fixture.directory.path().join(name);
    std::fs::create_dir(&folder).unwrap();
    git_in(&folder, &["init", "-q", "--bare"], b"");
    std::fs::write(folder.join("objects/info/alternates"), format!("{}\n", fixture.origin().join("objects").display()))
        .unwrap();
    git_in(&folder, &["index-pack", "--fix-thin", "--stdin"], pack);
    let packs = std::fs::read_dir(folder.join("objects/pack")).unwrap();
    let index = packs.map(|entry| entry.unwrap().path()).find(|path| path.extension().unwrap() == "idx").unwrap();
    let shown = String::from_utf8(git_in(&folder, &["show-index"], &std::fs::read(index).unwrap())).unwrap();
    let all: BTreeSet<ObjectId> =
        shown.lines().map(|line| ObjectId::from_hex(line.split(' ').nth(1).unwrap().as_bytes()).unwrap()).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    all
}

pub(super) fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

pub(super) fn want(id: &ObjectId) -> String {
    format!("want {id}")
}

const WORDS: [&str; 3] = ["done", "ofs-delta", "no-progress"];

pub(super) fn request(more: impl IntoIterator<Item = String>) -> Vec<String> {
    WORDS.iter().map(|word| (*word).to_owned()).chain(more).collect()
}

#[test]
fn shallow_clones_end_where_gits_end_and_hold_the_same() {
    let fixture = Fixture::new(71, 150, 5, true);
    let tip = fixture.refs[&fixture.head].id;
    let dates = git_in(&fixture.origin(), &["log", "--format=%ct", &tip.to_string()], b"");
    let dates: Vec<&str> = std::str::from_utf8(&dates).unwrap().lines().collect();
    let branch = fixture.refs.keys().find(|name| **name != fixture.head && !name.is_tag()).unwrap();
    let mut limits: Vec<String> =
        [1, 2, 3, 7, 1_000, 0x7fff_ffff].iter().map(|depth| format!("deepen {depth}")).collect();
    limits.push(format!("deepen-since {}", dates[dates.len() / 2]));
    limits.push(format!("deepen-not {}", branch.as_bstr()));
    for (number, limit) in limits.into_iter().enumerate() {
        let lines = request([want(&tip), limit.clone()]);
        let (told, pack) = ours(&fixture.view(), &lines);
        let (theirs, their_pack) = gits(&fixture, &lines);
        assert_eq!(sorted(told), sorted(theirs), "{limit}");
        let (sent, needed) =
            (objects(&fixture, &pack, &format!("o{number}")), objects(&fixture, &their_pack, &format!("t{number}")));
        assert_eq!(sent, needed, "{limit}");
    }
}

#[test]
fn clients_deepen_and_fetch_on_as_from_git() {
    let fixture = Fixture::new(73, 200, 6, true);
    let tip = fixture.refs[&fixture.head].id;
    let mut dice = Dice(5);
    let (mut asked, mut sent_again) = (0, 0);
    for round in 0..12 {
        // A shallow clone of something older, or of the same.
        let old = fixture.commits[dice.roll(fixture.commits.len())];
        let depth = 1 + dice.roll(4);
        let (told, first) = gits(&fixture, &request([want(&old), format!("deepen {depth}")]));
        let had = objects(&fixture, &first, &format!("h{round}"));
        let ends: Vec<String> = told.into_iter().filter(|line| line.starts_with("shallow ")).collect();
        let more = match dice.roll(5) {
            0 => vec![],
            1 => vec![format!("deepen {}", 1 + dice.roll(6))],
            2 => vec!["deepen 2".to_owned(), "deepen-relative".to_owned()],
            3 => vec!["deepen 2147483647".to_owned()],
            _ => vec![format!("deepen-not {}", fixture.refs.keys().next().unwrap().as_bstr())],
        };
        let wanted = if dice.roll(2) == 0 { old } else { tip };
        let mut lines = request([want(&wanted), format!("have {old}")]);
        lines.extend(ends.iter().cloned().chain(more.clone()));
        let (told, pack) = ours(&fixture.view(), &lines);
        let (theirs, their_pack) = gits(&fixture, &lines);
        if told[0].starts_with("ERR ") {
            assert!(their_pack.is_empty(), "{told:?}: {lines:?}");
            continue;
        }
        assert_eq!(sorted(told), sorted(theirs), "round {round}: {lines:?}");
        let sent = objects(&fixture, &pack, &format!("o{round}"));
        let needed = objects(&fixture, &their_pack, &format!("t{round}"));
        let missing = needed.iter().filter(|id| !sent.contains(*id) && !had.contains(*id)).count();
        assert_eq!(missing, 0, "round {round}: {lines:?}");
        sent_again += sent.intersection(&had).count();
        asked += sent.len();
    }
    assert!(sent_again * 5 < asked, "{sent_again} of {asked} objects were sent again");
}

#[test]
fn filters_leave_out_what_git_leaves_out() {
    for tables in [false, true] {
        let mut fixture = Fixture::new(79, 150, 5, true);
        if tables {
            retabled(&mut fixture, ALL);
        }
        let tip = fixture.refs[&fixture.head].id;
        for (number, filter) in [
            "blob:none",
            "blob:limit=0",
            "blob:limit=200",
            "blob:limit=1k",
            "tree:0",
            "tree:1",
            "tree:2",
            "tree:3",
            "object:type=commit",
            "object:type=tree",
            "object:type=blob",
            "object:type=tag",
            "combine:blob:none+tree:2",
            "combine:blob:limit=1k+object:type=blob",
        ]
        .into_iter()
        .enumerate()
        {
            for limit in ["", "deepen 3"] {
                let mut lines = request([want(&tip), format!("filter {filter}")]);
                lines.extend((!limit.is_empty()).then(|| limit.to_owned()));
                let (told, pack) = ours(&fixture.view(), &lines);
                let (theirs, their_pack) = gits(&fixture, &lines);
                assert_eq!(sorted(told), sorted(theirs), "{filter}");
                let sent = objects(&fixture, &pack, &format!("o{number}"));
                let needed = objects(&fixture, &their_pack, &format!("t{number}"));
                let (missing, extra) = (needed.difference(&sent).count(), sent.difference(&needed).count());
                // Where filters are combined, git forgets a tree that it has met too far below the root before.
                let most = usize::from(filter.starts_with("combine:"));
                assert!(missing == 0 && extra <= most, "{filter} {limit}, tables: {tables}: {missing}, {extra}");
            }
        }
    }
}

#[test]
fn what_was_left_out_can_be_fetched_later_unless_it_is_hidden() {
    let mut fixture = Fixture::new(83, 120, 4, true);
    let all = ids(&git_in(&fixture.origin(), &["rev-list", "--objects", "--all"], b""));
    let dropped = RefName::try_from("refs/heads/b3").unwrap();
    let tip = fixture.refs.remove(&dropped).unwrap().id;
    git_in(&fixture.origin(), &["update-ref", "-d", "refs/heads/b3"], b"");
    let left = ids(&git_in(&fixture.origin(), &["rev-list", "--objects", "--all"], b""));
    let (secret, public): (Vec<_>, Vec<_>) = all.iter().partition(|id| !left.contains(*id));
    assert!(!secret.is_empty() && secret.contains(&&tip));
    for tables in [false, true] {
        if tables {
            retabled(&mut fixture, ALL);
        }
        let (mut view, tips) = (fixture.view(), [tip]);
        view.dropped_tips = &tips;
        for id in public.iter().take(60) {
            let (_, pack) = ours(&view, &request([want(id), "filter tree:0".to_owned()]));
            assert!(!pack.is_empty(), "{id} is not given");
        }
        for id in secret.iter().take(60) {
            let (told, pack) = ours(&view, &request([want(id), "filter tree:0".to_owned()]));
            assert!(pack.is_empty() && told[0].contains("not our ref"), "{id} is given away: {told:?}");
        }
        let both = request([want(public[0]), want(secret[0])]);
        assert!(ours(&view, &both).1.is_empty());
    }
}

#[test]
fn who_knows_a_hidden_commit_does_not_get_what_is_behind_it_by_deepening() {
    let mut fixture = Fixture::new(6, 120, 4, true);
    let all = ids(&git_in(&fixture.origin(), &["rev-list", "--all"], b""));
    let dropped = RefName::try_from("refs/heads/b3").unwrap();
    let tip = fixture.refs.remove(&dropped).unwrap().id;
    git_in(&fixture.origin(), &["update-ref", "-d", "refs/heads/b3"], b"");
    let left = ids(&git_in(&fixture.origin(), &["rev-list", "--objects", "--all"], b""));
    let secret: Vec<_> = all.difference(&left).collect();
    assert!(secret.len() > 1 && secret.contains(&&tip));
    let head = fixture.refs[&fixture.head].id;
    for tables in [false, true] {
        if tables {
            retabled(&mut fixture, ALL);
        }
        let (mut view, tips) = (fixture.view(), [tip]);
        view.dropped_tips = &tips;
        for id in &secret {
            for deepen in [&["deepen 2147483647"][..], &["deepen 50", "deepen-relative"], &["deepen 1000"]] {
                let limits = deepen.iter().map(|line| (*line).to_owned());
                let (told, pack) = ours(&view, &request(limits.chain([want(&head), format!("shallow {id}")])));
                assert!(!told.contains(&format!("unshallow {id}")), "{told:?}");
                let sent = if pack.is_empty() { BTreeSet::new() } else { objects(&fixture, &pack, "hidden") };
                let given: Vec<_> = sent.difference(&left).collect();
                assert!(given.is_empty(), "{given:?} behind {id}: {deepen:?}");
            }
        }
    }
}

#[test]
fn references_are_wanted_by_name_and_told_behind_the_shallow_ends() {
    let fixture = Fixture::new(71, 60, 3, true);
    let (head, tip) = (fixture.head.as_bstr(), fixture.refs[&fixture.head].id);
    let (told, pack) = ours(&fixture.view(), &request([format!("want-ref {head}"), "deepen 1".to_owned()]));
    let expected =
        ["shallow-info".to_owned(), format!("shallow {tip}"), "-".to_owned(), "wanted-refs".to_owned()].to_vec();
    assert_eq!(told[..4], expected[..]);
    assert_eq!(told[4..7], [format!("{tip} {head}"), "-".to_owned(), "packfile".to_owned()]);
    assert!(!pack.is_empty());
    let (told, _) = ours(&fixture.view(), &request(["want-ref refs/heads/none".to_owned()]));
    assert!(told[0].contains("unknown ref refs/heads/none"), "{told:?}");
}

#[test]
fn everything_comes_in_channels_when_that_is_asked() {
    let fixture = Fixture::new(71, 60, 3, true);
    let tip = fixture.refs[&fixture.head].id;
    let wire = wire(&request([want(&tip), "sideband-all".to_owned(), "deepen 1".to_owned()]));
    let Command::Fetch(request) = upload_pack::parse_v2(&mut &*wire, format(), &mut Client::default()).unwrap() else {
        panic!("not a fetch")
    };
    let mut out = Vec::new();
    upload_pack::respond(&request, &fixture.view(), &mut out, "", &AtomicBool::new(false)).unwrap();
    let (lines, channelled) = split(&out, true);
    assert!(channelled.starts_with(b"shallow-info\nshallow "), "{lines:?}");
    let nobody = nobody();
    let wire = self::wire(&self::request([format!("want {nobody}"), "sideband-all".to_owned()]));
    let Command::Fetch(request) = upload_pack::parse_v2(&mut &*wire, format(), &mut Client::default()).unwrap() else {
        panic!("not a fetch")
    };
    let mut refused = Vec::new();
    upload_pack::respond(&request, &fixture.view(), &mut refused, "", &AtomicBool::new(false)).unwrap();
    assert_eq!(refused[4..], *format!("\u{3}upload-pack: not our ref {nobody}\n").as_bytes());
    assert!(channelled.windows(13).any(|part| part == b"packfile\nPACK"));
}

#[test]
fn bad_limits_are_refused_in_words() {
    let fixture = Fixture::new(71, 60, 3, true);
    let tip = fixture.refs[&fixture.head].id;
    let blob = git_in(&fixture.origin(), &["rev-parse", &format!("{tip}^{{tree}}")], b"");
    let tree = String::from_utf8(blob).unwrap().trim().to_owned();
    for (lines, expected) in [
        (vec!["deepen 2".to_owned(), "deepen-since 5".to_owned()], "cannot be used together"),
        (vec!["deepen-since 4000000000".to_owned()], "no commits selected"),
        (vec!["deepen-not refs/heads/none".to_owned()], "deepen-not is not a ref"),
        (vec![format!("shallow {tree}")], "invalid shallow object"),
    ] {
        let (told, pack) = ours(&fixture.view(), &request(lines.into_iter().chain([want(&tip)])));
        assert!(pack.is_empty() && told[0].contains(expected), "{told:?}");
    }
    for line in
        ["deepen 0", "deepen -1", "deepen x", "deepen-since x", "shallow 12", "filter bogus", "filter sparse:oid="]
    {
        let wire = wire(&request([line.to_owned()]));
        assert!(upload_pack::parse_v2(&mut &*wire, format(), &mut Client::default()).is_err(), "{line}");
    }
}
