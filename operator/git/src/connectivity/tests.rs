//! Small histories in memory.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use bytes::Bytes;
use gix::objs::compute_hash;
use model::{Content, RefValue};

use super::*;

/// Objects in memory.
#[derive(Default, Clone)]
struct Memory {
    objects: HashMap<ObjectId, (Kind, Vec<u8>)>,
}

impl Existing for Memory {
    fn contains(&self, id: &gix::oid) -> bool {
        self.objects.contains_key(id)
    }

    fn read(&self, id: &gix::oid, buffer: &mut Vec<u8>) -> Result<Option<Kind>, ReadError> {
        buffer.clear();
        let Some((kind, data)) = self.objects.get(id) else { return Ok(None) };
        buffer.extend_from_slice(data);
        Ok(Some(*kind))
    }
}

impl Memory {
    fn add(&mut self, kind: Kind, data: &[u8]) -> ObjectId {
        let id = compute_hash(gix::hash::Kind::Sha1, kind, data).unwrap();
        self.objects.insert(id, (kind, data.to_vec()));
        id
    }

    fn tree(&mut self, entries: &[(&str, &str, ObjectId)]) -> ObjectId {
        let mut data = Vec::new();
        for (mode, name, id) in entries {
            data.extend([mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.as_slice()].concat());
        }
        self.add(Kind::Tree, &data)
    }

    fn commit(&mut self, tree: ObjectId, parents: &[ObjectId], seconds: u32) -> ObjectId {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            writeln!(text, "parent {parent}").unwrap();
        }
        write!(text, "author A <a@b> {seconds} +0000\ncommitter A <a@b> {seconds} +0000\n\nx").unwrap();
        self.add(Kind::Commit, text.as_bytes())
    }

    /// A commit with one file of this text.
    fn commit_of(&mut self, text: &str, parents: &[ObjectId], seconds: u32) -> ObjectId {
        let blob = self.add(Kind::Blob, text.as_bytes());
        let tree = self.tree(&[("100644", "file", blob)]);
        self.commit(tree, parents, seconds)
    }
}

/// References to these objects.
fn refs(ids: &[ObjectId]) -> BTreeMap<RefName, RefValue> {
    let value = |id: &ObjectId| RefValue { id: *id, peeled: None };
    ids.iter().enumerate().map(|(number, id)| (branch(&number.to_string()), value(id))).collect()
}

fn branch(name: &str) -> RefName {
    RefName::try_from(format!("refs/heads/{name}").as_str()).unwrap()
}

fn pack(links_out: &[(ObjectId, Kind)], unreferenced: &[ObjectId]) -> Ingested {
    Ingested {
        pack: Content::Memory(Bytes::new()),
        index: Content::Memory(Bytes::new()),
        id: ObjectId::null(gix::hash::Kind::Sha1),
        bytes: 0,
        objects: 1,
        links_out: links_out.to_vec(),
        unreferenced: unreferenced.to_vec(),
        thin: false,
    }
}

#[test]
fn push_on_top_is_connected_and_exact() {
    let mut before = Memory::default();
    let base = before.commit_of("one", &[], 1_000);
    let mut all = before.clone();
    let tip = all.commit_of("two", &[base], 2_000);
    let stray = all.add(Kind::Blob, b"nobody needs it");
    let ingested = pack(&[(base, Kind::Commit)], &[tip]);
    let mut question = Check {
        tips: &[(branch("main"), tip)],
        ingested: Some(&ingested),
        all: &all,
        is_received: &|_| false,
        before: &before,
        refs: &refs(&[base]),
        dropped_tips: &[],
    };
    assert_eq!(check(&question).unwrap(), Connected { exact: true, refused: vec![] });

    let ingested = pack(&[(base, Kind::Commit)], &[tip, stray]);
    question.ingested = Some(&ingested);
    assert!(!check(&question).unwrap().exact, "an object that no tip reaches");
}

#[test]
fn missing_link_is_named() {
    let before = Memory::default();
    let mut all = before.clone();
    let absent = ObjectId::from_hex(&[b'1'; 40]).unwrap();
    let tip = all.commit_of("two", &[absent], 2_000);
    let ingested = pack(&[(absent, Kind::Commit)], &[tip]);
    let question = Check {
        tips: &[(branch("main"), tip)],
        ingested: Some(&ingested),
        all: &all,
        is_received: &|_| false,
        before: &before,
        refs: &refs(&[]),
        dropped_tips: &[],
    };
    let error = check(&question).unwrap_err().to_string();
    assert!(error.contains(&absent.to_string()) && error.contains("fetch first"), "{error}");
}

#[test]
fn tips_must_be_there_and_branches_must_be_commits() {
    let mut all = Memory::default();
    let commit = all.commit_of("x", &[], 1);
    let blob = all.add(Kind::Blob, b"x");
    let absent = ObjectId::from_hex(&[b'2'; 40]).unwrap();
    let tag = RefName::try_from("refs/tags/blob").unwrap();
    let question = Check {
        tips: &[(branch("good"), commit), (branch("blob"), blob), (branch("gone"), absent), (tag, blob)],
        ingested: None,
        all: &all,
        is_received: &|_| false,
        before: &all,
        refs: &refs(&[commit]),
        dropped_tips: &[],
    };
    let refused = check(&question).unwrap().refused;
    let names: Vec<_> = refused.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["refs/heads/blob", "refs/heads/gone"]);
}

/// main: base → kept; dropped: base → gone. The trees of `gone` and of an old state are told apart.
fn with_dropped() -> (Memory, ObjectId, ObjectId, ObjectId) {
    let mut memory = Memory::default();
    let old = memory.commit_of("old", &[], 1_000);
    let base = memory.commit_of("base", &[old], 2_000);
    let kept = memory.commit_of("kept", &[base], 3_000);
    let gone = memory.commit_of("gone", &[base], 4_000);
    (memory, old, kept, gone)
}

fn tree_of(memory: &Memory, commit: &ObjectId) -> ObjectId {
    ancestry::read_commit(memory, commit, &mut Vec::new()).unwrap().unwrap().tree
}

#[test]
fn push_may_not_build_on_what_was_dropped() {
    let (before, old, kept, gone) = with_dropped();
    let verdict = |links: &[(ObjectId, Kind)]| {
        let mut all = before.clone();
        let tip = all.commit_of("new", &[kept], 5_000);
        let ingested = pack(links, &[tip]);
        let question = Check {
            tips: &[(branch("main"), tip)],
            ingested: Some(&ingested),
            all: &all,
            is_received: &|_| false,
            before: &before,
            refs: &refs(&[kept]),
            dropped_tips: &[gone],
        };
        check(&question).map(|connected| connected.exact).map_err(|error| error.to_string())
    };
    assert_eq!(verdict(&[(kept, Kind::Commit)]), Ok(true));
    assert!(verdict(&[(gone, Kind::Commit)]).is_err());
    assert!(verdict(&[(kept, Kind::Commit), (tree_of(&before, &gone), Kind::Tree)]).is_err());
    let old_tree = tree_of(&before, &old);
    assert_eq!(verdict(&[(kept, Kind::Commit), (old_tree, Kind::Tree)]), Ok(true), "a revert to an old state");
    assert_eq!(verdict(&[(old, Kind::Commit)]), Ok(true), "behind a reference");
    let blob = compute_hash(gix::hash::Kind::Sha1, Kind::Blob, b"gone").unwrap();
    assert!(verdict(&[(blob, Kind::Blob)]).is_err());
}

#[test]
fn reference_may_not_be_put_back_on_what_was_dropped_without_sending_it() {
    let (before, _, kept, gone) = with_dropped();
    let question = |tip: ObjectId| Check {
        tips: Box::leak(Box::new([(branch("main"), tip)])),
        ingested: None,
        all: &before,
        is_received: &|_| false,
        before: &before,
        refs: Box::leak(Box::new(refs(&[kept]))),
        dropped_tips: Box::leak(Box::new([gone])),
    };
    assert!(check(&question(gone)).is_err());
    assert!(check(&question(kept)).is_ok());
    // Sent once more, it is as good as new.
    let ingested = pack(&[], &[gone]);
    let sent = Check { ingested: Some(&ingested), is_received: &|id| *id == gone, ..question(gone) };
    assert_eq!(check(&sent).unwrap(), Connected { exact: true, refused: vec![] });
}

#[test]
fn ancestors_are_found() {
    let mut memory = Memory::default();
    let root = memory.commit_of("root", &[], 1_000_000);
    let mut line = vec![root];
    for n in 1..200_u32 {
        let parent = line[line.len() - 1];
        line.push(memory.commit_of(&n.to_string(), &[parent], 1_000_000 + n * 1_000));
    }
    let side = memory.commit_of("side", &[line[50]], 1_500_000);
    let merge = memory.commit_of("merge", &[line[199], side], 1_450_000);
    let ask = |old: &ObjectId, new: &ObjectId, budget| is_ancestor(&memory, old, new, budget).unwrap();
    assert_eq!(ask(&root, &root, 0), Some(true));
    assert_eq!(ask(&root, &line[199], 1_000), Some(true));
    assert_eq!(ask(&line[199], &root, 1_000), Some(false));
    assert_eq!(ask(&side, &line[199], 1_000), Some(false));
    assert_eq!(ask(&side, &merge, 1_000), Some(true));
    assert_eq!(ask(&line[60], &side, 1_000), Some(false));
    assert_eq!(ask(&root, &line[199], 10), None, "the budget ends first");
    let blob = memory.objects.keys().find(|id| memory.objects[*id].0 == Kind::Blob).unwrap();
    assert_eq!(ask(blob, &root, 10), Some(false));
}

#[test]
fn walk_stops_where_the_other_commit_cannot_be() {
    let mut memory = Memory::default();
    let mut tip = memory.commit_of("root", &[], 1_000_000);
    for n in 1..500_u32 {
        tip = memory.commit_of(&n.to_string(), &[tip], 1_000_000 + n * 10_000);
    }
    let recent = memory.commit_of("other", &[], 1_000_000 + 499 * 10_000);
    // Half a thousand commits, but only about a day of them is looked at.
    assert_eq!(is_ancestor(&memory, &recent, &tip, 30).unwrap(), Some(false));
}
