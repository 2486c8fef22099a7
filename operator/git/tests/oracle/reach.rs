//! What tables say is reachable is what git says is reachable, commit by commit, and fetches answered with them are right.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::AtomicBool,
};

use git::{
    fold::fold,
    odb::{Pack, PackParts, Packs},
    reach::{self, Code, Introduced, Table},
};
use gix::ObjectId;
use model::Content;
use proptest::prelude::*;

use super::fixture::{Fixture, format, git_in, ids};

/// Builds the table of the pack at a position; `None` when it has no commit.
pub(crate) fn build(fixture: &Fixture, packs: &Packs, at: usize) -> Option<Content> {
    let out = fixture.directory.path().join(format!("{}.reach", packs.packs()[at].trailer()));
    drop(std::fs::remove_file(&out));
    let built = reach::build(packs, at, &out, &AtomicBool::new(false)).unwrap();
    assert_eq!(built.map(|built| built.bytes), std::fs::metadata(&out).ok().map(|found| found.len()));
    built.map(|_| Content::File(out))
}

/// Gives tables to those packs that are chosen; half of them stay in memory. How many got one.
pub(crate) fn attach(fixture: &Fixture, packs: &Packs, chosen: &dyn Fn(usize) -> bool) -> usize {
    let mut attached = 0;
    for (at, pack) in packs.packs().iter().enumerate().filter(|(at, _)| chosen(*at)) {
        let Some(mut content) = build(fixture, packs, at) else { continue };
        if let Content::File(path) = &content
            && at % 2 == 1
        {
            content = Content::Memory(std::fs::read(path).unwrap().into());
        }
        pack.attach(Table::open(&content, pack).unwrap());
        attached += 1;
    }
    attached
}

/// A commit as tables have it.
struct Listed {
    parents: Vec<ObjectId>,
    introduced: BTreeSet<ObjectId>,
}

fn named(pack: &Pack, table: &Table, code: u32) -> ObjectId {
    match table.code(code) {
        Code::Own(position) => pack.id_at(position).to_owned(),
        Code::Foreign(id) => id,
    }
}

/// All that the tables say; where two have the same commit they must agree.
fn listed(packs: &Packs) -> BTreeMap<ObjectId, Listed> {
    let mut all: BTreeMap<ObjectId, Listed> = BTreeMap::new();
    for pack in packs.packs() {
        let Some(table) = pack.table() else { continue };
        let (mut lists, mut introduced) = (table.lists(), Introduced::default());
        for number in 0..table.len() {
            lists.read(number, &mut introduced).unwrap();
            let commit = Listed {
                parents: table.parents(number).map(|code| named(pack, table, code)).collect(),
                introduced: introduced.codes().map(|code| named(pack, table, code)).collect(),
            };
            for parent in table.parents(number) {
                let found = if parent < pack.len() { table.number(parent) } else { None };
                assert!(found.is_none_or(|parent| parent < number), "parents come first");
            }
            let id = pack.id_at(table.position(number)).to_owned();
            if let Some(before) = all.get(&id) {
                assert_eq!((&before.parents, &before.introduced), (&commit.parents, &commit.introduced), "{id}");
            }
            all.insert(id, commit);
        }
    }
    all
}

fn reached(all: &BTreeMap<ObjectId, Listed>, tip: ObjectId) -> BTreeSet<ObjectId> {
    let (mut objects, mut todo) = (BTreeSet::from([tip]), vec![tip]);
    while let Some(id) = todo.pop() {
        objects.extend(&all[&id].introduced);
        for parent in &all[&id].parents {
            if objects.insert(*parent) {
                todo.push(*parent);
            }
        }
    }
    objects
}

fn says_what_git_says(fixture: &Fixture, packs: &Packs) {
    let all = listed(packs);
    for commit in &fixture.commits {
        let expected = ids(&git_in(&fixture.origin(), &["rev-list", "--objects", &commit.to_string()], b""));
        assert_eq!(reached(&all, *commit), expected, "{commit}");
    }
}

#[test]
fn tables_say_what_git_says_for_every_commit() {
    for (seed, commits, pushes, thin) in
        [(101, 120, 1, false), (102, 120, 9, true), (103, 90, 30, true), (104, 90, 4, false)]
    {
        let fixture = Fixture::new(seed, commits, pushes, thin);
        assert_eq!(attach(&fixture, &fixture.packs, &|_| true), fixture.packs.packs().len());
        says_what_git_says(&fixture, &fixture.packs);
        // From what is open already comes the same, tables included.
        let again = fixture.packs.replaced(&fixture.parts).unwrap();
        assert!(again.packs().iter().all(|pack| pack.table().is_some()));
    }
}

#[test]
fn tables_of_folded_packs_say_what_git_says() {
    let mut fixture = Fixture::new(105, 100, 12, true);
    let all = git_in(&fixture.origin(), &["pack-objects", "-q", "--all", "--delta-base-offset", "--stdout"], b"");
    fixture.receive(&all);
    for (from, to) in [(0, 13), (0, 12), (3, 13), (4, 9)] {
        let into = fixture.directory.path().join(format!("fold-{from}-{to}"));
        std::fs::create_dir(&into).unwrap();
        let folded = fold(&Packs::open(&fixture.parts[..to]).unwrap(), from, &into, &AtomicBool::new(false)).unwrap();
        let mut parts = fixture.parts[..from].to_vec();
        parts.push(PackParts { pack: folded.pack, index: folded.index, exact: true, arriving: None });
        parts.extend_from_slice(&fixture.parts[to..]);
        let packs = Packs::open(&parts).unwrap();
        attach(&fixture, &packs, &|_| true);
        says_what_git_says(&fixture, &packs);
    }
}

#[test]
fn the_same_pack_gives_the_same_table_whatever_is_beside_it() {
    let fixture = Fixture::new(106, 120, 8, true);
    let read = |content: Option<Content>| match content {
        Some(Content::File(path)) => std::fs::read(path).unwrap(),
        _ => panic!("there is a table"),
    };
    let all = git_in(&fixture.origin(), &["pack-objects", "-q", "--all", "--delta-base-offset", "--stdout"], b"");
    let mut more = Fixture::new(106, 120, 8, true);
    more.receive(&all);
    // All in one before them, so that everything of every pack is there a second time.
    let mut doubled = vec![more.parts[8].clone()];
    doubled.extend_from_slice(&fixture.parts);
    let doubled = Packs::open(&doubled).unwrap();
    for at in 0..8 {
        let alone = read(build(&fixture, &Packs::open(&fixture.parts[..=at]).unwrap(), at));
        assert_eq!(alone, read(build(&fixture, &fixture.packs, at)), "with younger packs");
        attach(&fixture, &doubled, &|pack| pack <= at);
        assert_eq!(alone, read(build(&fixture, &doubled, at + 1)), "with everything twice and tables");
    }
}

#[test]
fn junk_that_is_cut_off_from_what_it_needs_is_left_out() {
    let fixture = Fixture::new(107, 60, 1, false);
    let (root, middle, last) = (fixture.commits[0], fixture.commits[30], fixture.commits[59]);
    let whole = ids(&git_in(&fixture.origin(), &["rev-list", "--objects", &root.to_string()], b""));
    let parts = |objects: &BTreeSet<ObjectId>, name: &str| {
        let names = objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let pack = git_in(&fixture.origin(), &["pack-objects", "-q", "--stdout"], names.as_bytes());
        let path = fixture.directory.path().join(name);
        std::fs::write(path.with_extension("pack"), pack).unwrap();
        let option = format!("--object-format={}", format());
        git_in(fixture.directory.path(), &["index-pack", &option, &format!("{name}.pack")], b"");
        let [pack, index] = ["pack", "idx"].map(|end| Content::File(path.with_extension(end)));
        PackParts { pack, index, exact: false, arriving: None }
    };
    // Commits without trees, and one that is whole.
    let objects = whole.iter().copied().chain([middle, last]).collect();
    let junk = parts(&objects, "junk");
    let packs = Packs::open(std::slice::from_ref(&junk)).unwrap();
    assert_eq!(attach(&fixture, &packs, &|_| true), 1);
    assert_eq!(listed(&packs).keys().copied().collect::<Vec<_>>(), [root]);
    // Behind a pack that has what they need, nothing is missing.
    let packs = Packs::open(&[fixture.parts[0].clone(), junk]).unwrap();
    attach(&fixture, &packs, &|_| true);
    assert_eq!(packs.packs()[1].table().unwrap().len(), 3);
    says_what_git_says(&fixture, &packs);
    // A pack of nothing but cut off commits has no table.
    let packs = Packs::open(&[parts(&BTreeSet::from([last]), "lone")]).unwrap();
    assert!(build(&fixture, &packs, 0).is_none());
    let blob = ids(&git_in(&fixture.origin(), &["ls-tree", "-r", "--format=%(objectname)", &last.to_string()], b""));
    let packs = Packs::open(&[parts(&blob, "blobs")]).unwrap();
    assert!(build(&fixture, &packs, 0).is_none());
}

#[test]
fn a_build_that_is_given_up_leaves_no_file() {
    let fixture = Fixture::new(108, 120, 1, false);
    let out = fixture.directory.path().join("given-up.reach");
    let result = reach::build(&fixture.packs, 0, &out, &AtomicBool::new(true));
    assert!(matches!(result, Err(reach::Error::Interrupted)), "{result:?}");
    assert!(!out.exists());
    std::fs::write(&out, b"of another").unwrap();
    let result = reach::build(&fixture.packs, 0, &out, &AtomicBool::new(false));
    assert!(matches!(result, Err(reach::Error::Write { .. })), "{result:?}");
    assert_eq!(std::fs::read(&out).unwrap(), b"of another");
}

/// A table, and the pack that it is of.
fn sample() -> &'static (Fixture, Vec<u8>) {
    static SAMPLE: std::sync::OnceLock<(Fixture, Vec<u8>)> = std::sync::OnceLock::new();
    SAMPLE.get_or_init(|| {
        let fixture = Fixture::new(109, 60, 3, true);
        let Some(Content::File(path)) = build(&fixture, &fixture.packs, 2) else { panic!("there is a table") };
        let bytes = std::fs::read(path).unwrap();
        (fixture, bytes)
    })
}

/// Opens a table and reads all of it.
fn read_all(bytes: Vec<u8>, in_file: bool) -> Result<(), git::odb::Error> {
    let (fixture, _) = sample();
    let pack = &fixture.packs.packs()[2];
    let content = if in_file {
        let path = fixture.directory.path().join("mutated.reach");
        std::fs::write(&path, bytes).unwrap();
        Content::File(path)
    } else {
        Content::Memory(bytes.into())
    };
    let table = Table::open(&content, pack)?;
    let (mut lists, mut introduced) = (table.lists(), Introduced::default());
    for number in 0..table.len() {
        let id = pack.id_at(table.position(number));
        assert_eq!(pack.position(id).and_then(|position| table.number(position)), Some(number));
        named(pack, &table, table.tree(number));
        table.parents(number).for_each(|code| assert!(!named(pack, &table, code).is_null()));
    }
    for number in 0..table.len() {
        lists.read(number, &mut introduced)?;
        introduced.codes().for_each(|code| assert!(code < table.codes()));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_table_is_an_error_or_harmless(
        flips in proptest::collection::vec((0_usize..1 << 20, 0_u8..8), 0..5),
        in_header in proptest::option::of((28_usize..52, any::<u8>())),
        cut in proptest::option::of(0_usize..1 << 20),
        more in proptest::collection::vec(any::<u8>(), 0..3),
        in_file in any::<bool>(),
    ) {
        let mut bytes = sample().1.clone();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        if let Some((at, value)) = in_header {
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut % bytes.len());
        }
        bytes.extend(more);
        let whole = bytes == sample().1;
        let result = read_all(bytes, in_file);
        prop_assert!(!whole || result.is_ok(), "{:?}", result);
    }
}
