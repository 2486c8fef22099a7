//! What is left after pruning is what git says is reachable, and it stands alone.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use git::{
    deep_check,
    fold::fold,
    odb::{PackParts, Packs},
    prune::{covers, prune},
};
use gix::ObjectId;

use super::fixture::{Dice, Fixture, format, git_in, ids};

fn reachable(fixture: &Fixture, tips: &[ObjectId]) -> BTreeSet<ObjectId> {
    let tips = tips.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
    ids(&git_in(&fixture.origin(), &["rev-list", "--objects", "--stdin"], tips.as_bytes()))
}

fn objects(packs: &Packs) -> BTreeSet<ObjectId> {
    packs.packs().iter().flat_map(|pack| pack.iter().map(|(id, ..)| id).collect::<Vec<_>>()).collect()
}

#[test]
fn pruning_leaves_what_git_says_is_reachable() {
    let fixture = Fixture::new(11, 160, 24, true);
    let (never, mut dice) = (AtomicBool::new(false), Dice(5));
    let all: Vec<ObjectId> =
        fixture.refs.values().map(|value| value.id).chain(fixture.commits.iter().copied()).collect();
    for number in 0..6 {
        let tips: Vec<ObjectId> = (0..=dice.roll(3)).map(|_| all[dice.roll(all.len())]).collect();
        let into = fixture.directory.path().join(format!("prune-{number}"));
        std::fs::create_dir(&into).unwrap();
        let pruned = prune(&fixture.packs, &tips, &into, &never).unwrap().unwrap();
        let packs =
            Packs::open(&[PackParts { pack: pruned.pack.clone(), index: pruned.index, exact: true, arriving: None }])
                .unwrap();
        assert_eq!(objects(&packs), reachable(&fixture, &tips));
        assert_eq!(deep_check::check(&packs, &tips, 10, &never).unwrap(), Vec::<String>::new());
        // Git takes it without anything else.
        let option = format!("--object-format={}", format());
        git_in(&into, &["index-pack", "--strict", &option, "-o", "checked.idx", "folded.pack"], b"");
    }
    assert!(prune(&fixture.packs, &[], fixture.directory.path(), &never).unwrap().is_none());
}

#[test]
fn what_came_meanwhile_must_find_all_it_needs() {
    let fixture = Fixture::steady(20);
    let never = AtomicBool::new(false);
    let into = fixture.directory.path().join("prune");
    std::fs::create_dir(&into).unwrap();
    // The first half is pruned to a tip; the second half came meanwhile, as thin packs.
    let (half, last) = (fixture.commits[29], fixture.commits[59]);
    let pruned_to = |tip: ObjectId, into: &std::path::Path| {
        let before = Packs::open(&fixture.parts[..10]).unwrap();
        let pruned = prune(&before, &[tip], into, &never).unwrap().unwrap();
        let mut parts = vec![PackParts { pack: pruned.pack, index: pruned.index, exact: true, arriving: None }];
        parts.extend_from_slice(&fixture.parts[10..]);
        Packs::open(&parts).unwrap()
    };
    assert!(covers(&pruned_to(half, &into), true, &[last], &never).unwrap());
    // Pruned too far: what came builds on commits and on delta bases that are gone.
    let into = fixture.directory.path().join("prune-too-far");
    std::fs::create_dir(&into).unwrap();
    let too_far = pruned_to(fixture.commits[10], &into);
    assert!(!covers(&too_far, true, &[last], &never).unwrap());
    assert!(!covers(&too_far, true, &[fixture.commits[20]], &never).unwrap());
}

/// A root, and two branches from it, each with a version of a file of its own.
fn two_versions() -> Fixture {
    let commit = |(mark, branch, from, line): (usize, &str, &str, &str)| {
        let lines: Vec<String> = (0..400).map(|number| format!("{number} {}\n", number * 7_919)).collect();
        let body = if mark == 1 { line.to_owned() } else { lines.concat() + line };
        format!(
            "commit refs/heads/{branch}\nmark :{mark}\ncommitter C <c@example.com> 1600000000 +0000\ndata 2\nm\n{from}M 100644 inline f\ndata {}\n{body}\n",
            body.len()
        )
    };
    let stream =
        [(1, "root", "", "a"), (2, "dropped", "from :1\n", "b"), (3, "kept", "from :1\n", "c")].map(commit).concat();
    let mut fixture = Fixture::of(stream.as_bytes(), 3, 1, false);
    (fixture.parts, fixture.packs) = (vec![], Packs::default());
    fixture
}

#[test]
fn a_copy_without_its_base_is_not_made_good_by_another_copy() {
    let mut fixture = two_versions();
    let [root, dropped, kept] = fixture.commits[..] else { panic!("there are three commits") };
    let never = AtomicBool::new(false);
    for (arguments, revisions) in [
        (&["--revs"][..], format!("{dropped}\n")),
        // The file of one branch as a delta on that of the other (which `--shallow` looks at), then once more as a whole.
        (&["--revs", "--thin", "--shallow"], format!("{kept}\n^{dropped}\n")),
        (&["--revs", "--window=0", "--no-reuse-delta"], format!("{kept}\n^{root}\n")),
    ] {
        let all = [&["pack-objects", "-q", "--stdout"], arguments].concat();
        let pack = git_in(&fixture.origin(), &all, revisions.as_bytes());
        fixture.receive(&pack);
    }
    let into = |name: &str| {
        let path = fixture.directory.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let before = Packs::open(&fixture.parts[..1]).unwrap();
    let pruned = prune(&before, &[root], &into("prune"), &never).unwrap().unwrap();
    let mut parts = vec![PackParts { pack: pruned.pack, index: pruned.index, exact: true, arriving: None }];
    parts.extend_from_slice(&fixture.parts[1..]);
    let packs = Packs::open(&parts).unwrap();
    let problems = |packs: &Packs| deep_check::check(packs, &[kept], 10, &never).unwrap();
    // Whoever reads takes the youngest copy, which is whole; a fold keeps the oldest, whose base has gone.
    let fold = fold(&packs, 1, &into("fold"), &never).unwrap();
    parts.splice(1.., [PackParts { pack: fold.pack, index: fold.index, exact: true, arriving: None }]);
    assert_ne!(problems(&Packs::open(&parts).unwrap()), Vec::<String>::new());
    assert!(!covers(&packs, true, &[kept], &never).unwrap());
    // With the dropped branch all is well.
    assert!(covers(&fixture.packs, true, &[kept], &never).unwrap());
}
