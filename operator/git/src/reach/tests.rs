//! The bytes of tables: what is written is read, and damage is an error.

use gix::ObjectId;
use proptest::prelude::*;

use super::format::{Header, push_codes, take_codes};

fn sorted(codes: Vec<u32>) -> Vec<u32> {
    codes.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn codes_that_were_written_are_read(
        lists in proptest::collection::vec(proptest::collection::vec(0..u32::MAX, 0..60), 0..6),
        close in proptest::collection::vec(0_u32..300, 0..200),
    ) {
        let lists: Vec<Vec<u32>> = lists.into_iter().chain([close]).map(sorted).collect();
        let mut bytes = Vec::new();
        for codes in &lists {
            push_codes(codes, &mut bytes);
        }
        let (mut rest, mut read) = (bytes.as_slice(), Vec::new());
        for codes in &lists {
            prop_assert!(take_codes(&mut rest, u32::MAX, &mut read).is_some());
            prop_assert_eq!(&read, codes);
        }
        prop_assert!(rest.is_empty());
        if let Some(most) = lists[0].last() {
            prop_assert!(take_codes(&mut bytes.as_slice(), *most, &mut read).is_none(), "a code that does not exist");
        }
    }

    #[test]
    fn whatever_is_read_as_codes_is_sorted_and_in_range(
        bytes in proptest::collection::vec(any::<u8>(), 0..80),
        count in 0_u8..20,
        codes in any::<u32>(),
    ) {
        for bytes in [bytes.clone(), [vec![count], bytes].concat()] {
            let (mut rest, mut read) = (bytes.as_slice(), Vec::new());
            if take_codes(&mut rest, codes, &mut read).is_some() {
                prop_assert!(read.is_sorted_by(|one, next| one < next));
                prop_assert!(read.iter().all(|code| *code < codes));
            }
            prop_assert!(read.capacity() <= bytes.len().max(8), "no more memory than bytes");
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written(
        id in any::<[u8; 32]>(),
        long in any::<bool>(),
        fields in any::<[u32; 4]>(),
        lists in any::<u64>(),
        flip in proptest::option::of(0_usize..8 * 8),
    ) {
        let [objects, commits, parents, foreign] = fields;
        let pack = ObjectId::try_from(&id[..if long { 32 } else { 20 }]).unwrap();
        let header = Header { pack, objects, commits, parents, foreign, lists };
        let mut bytes = header.bytes();
        let fits = objects.checked_add(foreign).is_some();
        prop_assert_eq!(Header::parse(&bytes), Some(header).filter(|_| fits));
        if let Some(bit) = flip {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Header::parse(&bytes), None, "another magic or version");
        }
    }
}
