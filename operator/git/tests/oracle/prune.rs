//! What is left after pruning is what git says is reachable, and it stands alone.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use git::{
    deep_check,
    odb::{PackParts, Packs},
    prune::{covers, prune},
};
use gix::ObjectId;

use super::fixture::{Dice, Fixture, git_in, ids};

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
        git_in(&into, &["index-pack", "--strict", "-o", "checked.idx", "folded.pack"], b"");
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
