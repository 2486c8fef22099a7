//! `sparse:oid` against what `git upload-pack` leaves out by the same patterns.

#![expect(clippy::format_push_string, reason = "a stream for git is easier to read in one piece")]

use gix::ObjectId;
use model::{RefName, RefValue};

use super::{
    fixture::{Dice, Fixture, git_in},
    partial::{gits, objects, ours, request, sorted, want},
    tabled::{ALL, retabled},
};

/// What people write, and what nobody should.
const LISTS: [&str; 16] = [
    "/*\n!/*/\n/d0/\n",
    "/*\n!/*/\n/d0/\n!/d0/*/\n/d0/e1/\n",
    "d1/\n",
    "/d*/f1\n",
    "f1\n!/d2/\n",
    "d0\n!e0/\n*3\n",
    "*\n!/x/\n/x/**/f1\n",
    "*/\n",
    "/\n!f*\n",
    "**/e1/**\n",
    "*\n!*\n",
    "\u{feff}# comment\r\n/f[1-3]\r\nd0/f1   \r\n",
    "d0/e?/f\\1\n\\!x\n",
    "/x/d0/\n!/x/d0/again/\n",
    "   \n!d1\n",
    "",
];

/// A repository that also has the same folders at several places, and lists of patterns in a branch of their own.
fn fixture(lists: &[String]) -> Fixture {
    let mut fixture = Fixture::new(79, 150, 5, true);
    let tip = fixture.refs[&fixture.head].id;
    let mut stream = String::new();
    for (number, (branch, change)) in [
        ("copies", "C d0 x/d0\nC d1 x/d0/again\nC d0/e0 y\n"),
        ("copies", "R x z\nC d1 x\nM 100644 inline d0/new\ndata 4\nnew\n"),
        ("copies", "C d0 x/d0\nD d0\n"),
    ]
    .into_iter()
    .enumerate()
    {
        stream +=
            &format!("commit refs/heads/{branch}\ncommitter C <c@example.com> {} +0000\n", 1_700_000_000 + number);
        stream += "data 2\nm\n";
        if number == 0 {
            stream += &format!("from {tip}\n");
        }
        stream += change;
    }
    stream += "commit refs/heads/lists\ncommitter C <c@example.com> 1700000100 +0000\ndata 2\nm\n";
    for (number, list) in lists.iter().enumerate() {
        stream += &format!("M 100644 inline lists/{number}\ndata {}\n{list}\n", list.len());
    }
    git_in(&fixture.origin(), &["fast-import", "--quiet"], stream.as_bytes());
    for name in ["refs/heads/copies", "refs/heads/lists"] {
        let id = String::from_utf8(git_in(&fixture.origin(), &["rev-parse", name], b"")).unwrap();
        let id = ObjectId::from_hex(id.trim().as_bytes()).unwrap();
        fixture.refs.insert(RefName::try_from(name).unwrap(), RefValue { id, peeled: None });
    }
    let revisions = "refs/heads/copies\nrefs/heads/lists\n--not\n".to_owned() + &tip.to_string() + "\n";
    let pack = git_in(&fixture.origin(), &["pack-objects", "-q", "--revs", "--stdout"], revisions.as_bytes());
    fixture.receive(&pack);
    fixture
}

/// A list of patterns that somebody rolled.
fn rolled(dice: &mut Dice) -> String {
    let words = ["*", "d0", "d?", "e0", "e1", "f1", "f*", "[f-x]*", "x", "again", "**", "*0", "new"];
    let mut list = String::new();
    for _ in 0..=dice.roll(5) {
        list += ["", "", "!"][dice.roll(3)];
        list += ["", "/"][dice.roll(2)];
        let parts: Vec<&str> = (0..=dice.roll(3)).map(|_| words[dice.roll(words.len())]).collect();
        list += &parts.join("/");
        list += ["", "", "/"][dice.roll(3)];
        list += "\n";
    }
    list
}

fn lists() -> Vec<String> {
    let mut dice = Dice(20_261_126);
    let rolled = (0..16).map(|_| rolled(&mut dice));
    LISTS.iter().map(|list| (*list).to_owned()).chain(rolled).collect()
}

#[test]
fn sparse_filters_leave_out_what_git_leaves_out() {
    let lists = lists();
    let mut different = std::collections::BTreeSet::new();
    for tables in [false, true] {
        let mut fixture = fixture(&lists);
        if tables {
            retabled(&mut fixture, ALL);
        }
        let tip = fixture.refs[&RefName::try_from("refs/heads/copies").unwrap()].id;
        let old = fixture.commits[20];
        for (number, list) in lists.iter().enumerate().step_by(if tables { 4 } else { 1 }) {
            let filter = format!("filter sparse:oid=lists:lists/{number}");
            for more in [vec![], vec!["deepen 2".to_owned()], vec![format!("have {old}")]] {
                let lines = request([want(&tip), filter.clone()].into_iter().chain(more.clone()));
                let (told, pack) = ours(&fixture.view(), &lines);
                let (theirs, their_pack) = gits(&fixture, &lines);
                assert_eq!(sorted(told), sorted(theirs), "{list:?}");
                let sent = objects(&fixture, &pack, "ours");
                let needed = objects(&fixture, &their_pack, "theirs");
                let (missing, mut extra) = (needed.difference(&sent).count(), sent.difference(&needed).count());
                if more.iter().any(|line| line.starts_with("have ")) {
                    // What moved to another place may come once more.
                    extra = extra.saturating_sub(sent.len() / 10);
                }
                assert_eq!((missing, extra), (0, 0), "{list:?}, {more:?}, tables: {tables}, of {}", sent.len());
                different.insert(sent);
            }
        }
    }
    assert!(different.len() > 30, "the lists are too much alike: {}", different.len());
}

#[test]
fn sparse_filters_combine_and_leave_what_is_named_alone() {
    let lists = lists();
    let fixture = fixture(&lists);
    let tip = fixture.refs[&RefName::try_from("refs/heads/copies").unwrap()].id;
    let id = |name: &str| {
        let id = String::from_utf8(git_in(&fixture.origin(), &["rev-parse", name], b"")).unwrap();
        ObjectId::from_hex(id.trim().as_bytes()).unwrap()
    };
    let list = id("lists:lists/0");
    for (wanted, filter) in [
        (tip, format!("sparse:oid={list}")),
        (tip, "sparse:oid=refs/heads/lists:lists/2".to_owned()),
        (tip, format!("sparse:oid={}:lists/2", id("lists"))),
        (tip, format!("sparse:oid={}:2", id("lists:lists"))),
        (id("copies^{tree}"), format!("sparse:oid={list}")),
        (id("copies^{tree}"), "sparse:oid=lists:lists/7".to_owned()),
        (id("copies:z"), "sparse:oid=lists:lists/4".to_owned()),
        (list, format!("sparse:oid={list}")),
    ] {
        let lines = request([want(&wanted), format!("filter {filter}")]);
        let (told, pack) = ours(&fixture.view(), &lines);
        let (theirs, their_pack) = gits(&fixture, &lines);
        assert_eq!(sorted(told), sorted(theirs), "{filter}");
        let (sent, needed) = (objects(&fixture, &pack, "ours"), objects(&fixture, &their_pack, "theirs"));
        assert!(sent == needed, "{wanted}: {filter}: {} and {}", sent.len(), needed.len());
    }
    for parts in [
        vec![format!("sparse:oid={list}"), "blob:limit=1k".to_owned()],
        vec![format!("sparse:oid={list}"), "blob:none".to_owned()],
        vec!["object:type=tree".to_owned(), format!("sparse:oid={list}")],
        vec!["object:type=blob".to_owned(), format!("sparse:oid={list}")],
        vec!["sparse:oid=lists:lists/4".to_owned(), "sparse:oid=lists:lists/3".to_owned()],
        vec!["sparse:oid=lists:lists/1".to_owned(), "tree:3".to_owned(), "blob:limit=100k".to_owned()],
    ] {
        let git_sends = |filter: &str| {
            let lines = request([want(&tip), format!("filter {filter}")]);
            objects(&fixture, &gits(&fixture, &lines).1, "theirs")
        };
        let filter = format!("combine:{}", parts.join("+").replace("sparse:", "sparse%3A"));
        let lines = request([want(&tip), format!("filter {filter}")]);
        let sent = objects(&fixture, &ours(&fixture.view(), &lines).1, "ours");
        // What git met at a place where one part left it out, it forgets at another place where both would send it.
        assert_eq!(git_sends(&filter).difference(&sent).count(), 0, "{filter}");
        for part in &parts {
            assert_eq!(sent.difference(&git_sends(part)).count(), 0, "{filter}: {part}");
        }
    }
}

#[test]
fn patterns_that_cannot_be_had_are_refused_in_one_line() {
    let many = "a\n".repeat(5_000);
    let lists = ["/*\n".to_owned(), many, "#".repeat((1 << 20) + 1), "*".repeat(20)];
    let mut fixture = fixture(&lists);
    let tip = fixture.refs[&fixture.head].id;
    let hidden = String::from_utf8(git_in(&fixture.origin(), &["rev-parse", "lists:lists/0", "lists"], b"")).unwrap();
    let hidden: Vec<&str> = hidden.lines().collect();
    let refusal = |fixture: &Fixture, filter: &str| {
        let lines = request([want(&tip), format!("filter {filter}")]);
        let (told, pack) = ours(&fixture.view(), &lines);
        assert!(pack.is_empty() && told.len() == 1, "{filter}: {told:?}");
        told.into_iter().next().unwrap()
    };
    for (filter, expected) in [
        ("sparse:oid=lists:lists/1", "'lists:lists/1' has too many patterns: 4096"),
        ("sparse:oid=lists:lists/2", "is larger than 1048576 bytes"),
        ("sparse:oid=lists:lists/3", "16 asterisks"),
        ("sparse:oid=lists:lists", "unable to access sparse blob in 'lists:lists'"),
        ("sparse:oid=lists:lists/0/x", "unable to access"),
        ("sparse:oid=lists:nothing", "unable to access"),
        ("sparse:oid=lists", "unable to access"),
        ("sparse:oid=:lists", "unable to access"),
        ("sparse:oid=nobody:lists/0", "unable to access"),
        ("sparse:oid=1234567890123456789012345678901234567890", "unable to access"),
    ] {
        assert!(refusal(&fixture, filter).contains(expected), "{filter}: {}", refusal(&fixture, filter));
    }
    // Whoever may not see the branch may not use what is in it.
    let dropped = fixture.refs.remove(&RefName::try_from("refs/heads/lists").unwrap()).unwrap().id;
    fixture.refs.insert(RefName::try_from("refs/codekeep/lists").unwrap(), RefValue { id: dropped, peeled: None });
    let [blob, commit] = hidden[..] else { panic!("two ids") };
    for name in ["lists:lists/0", "refs/codekeep/lists:lists/0", blob, &format!("{commit}:lists/0")] {
        assert!(refusal(&fixture, &format!("sparse:oid={name}")).contains("unable to access"), "{name}");
    }
}
