use super::*;
use crate::entry::{PackRecord, Place};
use crate::state::{PackId, StoredPack, Upload};

fn branch(name: &str) -> RefName {
    RefName::branch(name).unwrap()
}

fn id(number: u8) -> ObjectId {
    ObjectId::Sha1([number; 20])
}

/// A repository with packs of so many bytes, whose branches have these values.
fn state(bytes: u64, branches: &[(&str, u8)]) -> Snapshot {
    let place = Place::Inlined { offset: 0 };
    let (index_id, index_bytes, objects, exact, chunks) = ([0; 32], 1, 1, true, vec![]);
    let record = PackRecord { id: PackId([0; 32]), index_id, bytes, index_bytes, objects, exact, place, chunks };
    let packs = vec![StoredPack { generation: 1, record, reach: None }];
    let mut state = Snapshot { packs: Arc::new(packs), ..Snapshot::default() };
    for (name, value) in branches {
        state.refs.set(&branch(name), Some(model::RefValue { id: id(*value), peeled: None }));
    }
    state
}

/// The same with a bundle that was made of `main` when there were so many bytes.
fn bundled(state: Snapshot, tip: u8, stored: u64) -> Snapshot {
    let upload = Upload { generation: 1, nonce: [0; 8] };
    let mut state = state;
    let made = BundleRecord { upload, bytes: 9, branch: branch("main"), tip: id(tip), stored };
    Arc::make_mut(&mut state.upkeep).bundle = Some(made);
    state
}

#[test]
fn a_bundle_is_made_when_there_is_none_and_again_when_a_quarter_has_come_or_gone() {
    let wish = BundleWish { branch: branch("main"), min_bytes: 100 };
    let main = Some((branch("main"), id(2)));
    assert_eq!(due(&state(1_000, &[("main", 2), ("side", 3)]), &wish, false), main);
    for (now, is_due) in [(1_000, false), (1_249, false), (1_250, true), (751, false), (750, true)] {
        let state = bundled(state(now, &[("main", 2)]), 1, 1_000);
        assert_eq!(due(&state, &wish, false), main.clone().filter(|_| is_due), "{now}");
    }
    let unmoved = bundled(state(9_000, &[("main", 1), ("side", 3)]), 1, 1_000);
    assert_eq!(due(&unmoved, &wish, false), None, "all that came is in other branches");
    assert_eq!(due(&unmoved, &wish, true), Some((branch("main"), id(1))), "it is lost");
}

#[test]
fn a_bundle_is_of_the_branch_that_head_names() {
    let wish = BundleWish { branch: branch("trunk"), min_bytes: 1 };
    assert_eq!(due(&state(1_000, &[("side", 3)]), &wish, false), None, "it has no default branch");
    let fallback = Snapshot { head: Some(branch("side")), ..state(1_000, &[("side", 3)]) };
    assert_eq!(due(&fallback, &wish, false), Some((branch("side"), id(3))));
    let renamed = bundled(state(1_000, &[("main", 1), ("trunk", 2)]), 1, 1_000);
    assert_eq!(due(&renamed, &wish, false), Some((branch("trunk"), id(2))));
}
