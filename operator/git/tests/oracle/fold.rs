//! Folding many packs into one loses and adds nothing, says git.

use std::sync::atomic::AtomicBool;

use git::{
    deep_check,
    fold::fold,
    odb::{PackParts, Packs, ReadCache},
};

use model::Content;

use super::fixture::{Fixture, git_in};

#[test]
fn folding_keeps_every_object_whatever_is_folded() {
    let mut fixture = Fixture::new(3, 150, 30, true);
    let all = git_in(&fixture.origin(), &["pack-objects", "-q", "--all", "--delta-base-offset", "--stdout"], b"");
    fixture.receive(&all);
    let tips: Vec<_> = fixture.refs.values().map(|value| value.id).collect();
    let never = AtomicBool::new(false);
    let mut cache = ReadCache::default();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (from, to) in [(0, 31), (0, 30), (5, 31), (5, 12), (29, 31)] {
        let into = fixture.directory.path().join(format!("fold-{from}-{to}"));
        std::fs::create_dir(&into).unwrap();
        let packs = Packs::open(&fixture.parts[..to]).unwrap();
        let folded = fold(&packs, from, &into, &never).unwrap();
        let mut parts = fixture.parts[..from].to_vec();
        parts.push(PackParts { pack: folded.pack, index: folded.index, exact: true, arriving: None });
        parts.extend_from_slice(&fixture.parts[to..]);
        // From what is open already comes the same as from nothing.
        let packs = fixture.packs.replaced(&parts).unwrap();
        assert!(packs.packs().iter().map(|pack| pack.parts()).eq(&parts), "{from}..{to}");
        assert_eq!(deep_check::check(&packs, &tips, 10, &never).unwrap(), Vec::<String>::new(), "{from}..{to}");
        for pack in fixture.packs.packs() {
            for (id, _, _) in pack.iter() {
                let left = fixture.packs.get(&id, &mut before, &mut ReadCache::new(1)).unwrap();
                let right = packs.get(&id, &mut after, &mut cache).unwrap();
                assert_eq!(left, right, "{id}");
            }
        }
    }
}

#[test]
fn damage_is_found() {
    let fixture = Fixture::new(4, 30, 3, true);
    let never = AtomicBool::new(false);
    let tips: Vec<_> = fixture.refs.values().map(|value| value.id).collect();
    assert_eq!(deep_check::check(&fixture.packs, &tips, 10, &never).unwrap(), Vec::<String>::new());
    let Content::File(path) = &fixture.parts[1].pack else { panic!("it is in memory") };
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
    let packs = Packs::open(&fixture.parts).unwrap();
    let problems = deep_check::check(&packs, &tips, 100, &never).unwrap();
    assert!(problems.iter().any(|line| line.contains("checksum at its end")), "{problems:?}");
    assert!(problems.iter().any(|line| line.contains("is damaged")), "{problems:?}");
    let fewer = Packs::open(&fixture.parts[2..]).unwrap();
    let problems = deep_check::check(&fewer, &tips, 100, &never).unwrap();
    assert!(problems.iter().any(|line| line.contains("missing")), "{problems:?}");
}
