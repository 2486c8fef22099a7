use proptest::prelude::*;

use super::encode;
use crate::odb::delta::apply;

fn check(base: &[u8], target: &[u8]) -> Option<usize> {
    let delta = encode(base, target, usize::MAX)?;
    let mut out = Vec::new();
    apply(base, &delta, &mut out).unwrap();
    assert_eq!(out, target);
    Some(delta.len())
}

proptest! {
    #[test]
    fn a_delta_makes_its_target(
        base in prop::collection::vec(0_u8..4, 0..600),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..40, prop::collection::vec(any::<u8>(), 0..30)), 0..6),
    ) {
        let mut target = base.clone();
        for (at, drop, put) in edits {
            let at = at.index(target.len() + 1);
            let end = (at + drop).min(target.len());
            target.splice(at..end, put);
        }
        check(&base, &target);
    }

    #[test]
    fn unrelated_contents_are_fine_too(base in prop::collection::vec(any::<u8>(), 0..300), target in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&base, &target);
    }
}

#[test]
fn a_small_change_of_a_big_file_is_a_small_delta() {
    let base: Vec<u8> = (0..20_000_u32).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    let mut target = base.clone();
    target.splice(100_000..100_003, *b"changed");
    assert!(check(&base, &target).unwrap() < 100);
    assert!(check(&base, &[]).unwrap() < 10);
    assert_eq!(encode(&base, b"nothing alike at all, not even a bit", 10), None, "longer than allowed");
}
