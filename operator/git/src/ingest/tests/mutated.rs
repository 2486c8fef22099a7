//! Random damage: an error or a good pack, never a panic, never much memory.

use proptest::prelude::*;

use super::*;

fn fixture() -> &'static [u8] {
    static PACK: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    PACK.get_or_init(|| {
        let dir = repository();
        import(dir.path(), &history(12, 4, 7));
        pack_all(dir.path(), &["--delta-base-offset"])
    })
}

fn limits() -> Limits {
    Limits { object_bytes: 1 << 20, inflated_bytes: 1 << 22, ..Limits::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_pack_never_panics(
        flips in proptest::collection::vec((0_usize..1 << 20, 0_u8..8), 0..6),
        cut in proptest::option::of(0_usize..1 << 20),
        reseal in any::<bool>(),
    ) {
        let mut pack = fixture().to_vec();
        for (at, bit) in &flips {
            let at = at % pack.len();
            pack[at] ^= 1 << bit;
        }
        if let Some(cut) = cut {
            pack.truncate(cut % pack.len());
        }
        let trailer = format().len_in_bytes();
        if reseal && pack.len() > trailer {
            pack.truncate(pack.len() - trailer);
            pack = pack_writer::sealed(pack);
        }
        let damaged = pack != fixture();
        let result = take_with(&pack, &limits(), &Nothing);
        prop_assert!(damaged || result.is_ok());
        if let Ok((done, _dir)) = result {
            prop_assert_eq!(done.bytes, pack.len() as u64);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), count in 0_u32..4) {
        let mut pack = b"PACK\0\0\0\x02".to_vec();
        pack.extend(count.to_be_bytes());
        pack.extend(bytes);
        let _ = take_with(&pack_writer::sealed(pack), &limits(), &Nothing);
    }

    #[test]
    fn arbitrary_deltas_never_panic(
        base in proptest::collection::vec(any::<u8>(), 0..300),
        delta in proptest::collection::vec(any::<u8>(), 0..80),
        sizes in any::<bool>(),
    ) {
        let delta = if sizes { [pack_writer::varint(base.len() as u64), delta].concat() } else { delta };
        if let Ok(sizes) = super::super::delta::sizes(&delta)
            && sizes.result < 1 << 20
        {
            let mut out = Vec::new();
            let _ = super::super::delta::apply(&base, &delta, &sizes, &mut out);
        }
    }
}
