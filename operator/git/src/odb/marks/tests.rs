//! Bits are a set of numbers.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::Bits;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bits_are_a_set(
        added in proptest::collection::vec(0_u32..300, 0..60),
        removed in proptest::collection::vec(0_u32..300, 0..30),
        others in proptest::collection::vec(0_u32..300, 0..30),
    ) {
        let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
        for number in added {
            prop_assert_eq!(bits.insert(number, 300), set.insert(number));
        }
        for number in removed {
            bits.remove(number);
            set.remove(&number);
        }
        let mut subtrahend = Bits::default();
        for number in &others {
            subtrahend.insert(*number, 300);
        }
        prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
        bits.remove_all(&subtrahend);
        set.retain(|number| !others.contains(number));
        prop_assert_eq!(bits.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(bits.len(), set.len());
        prop_assert!((0..400).all(|number| bits.contains(number) == set.contains(&number)));
        prop_assert!(!bits.insert(330, 300), "no number beyond the size");
    }
}
