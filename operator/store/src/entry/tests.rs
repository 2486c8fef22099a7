use proptest::prelude::*;

use super::*;

fn object() -> impl Strategy<Value = ObjectId> {
    any::<[u8; 20]>().prop_map(ObjectId::Sha1)
}

fn name() -> impl Strategy<Value = RefName> {
    "[a-z]{1,8}".prop_map(|short| RefName::branch(&short).unwrap())
}

fn edit() -> impl Strategy<Value = RefEdit> {
    (name(), prop::option::of(object()), prop::option::of(object()), prop::option::of(object()))
        .prop_map(|(name, old, new, peeled)| RefEdit { name, old, new, peeled })
}

fn pack() -> impl Strategy<Value = PackRecord> {
    (
        any::<[u8; 32]>(),
        any::<[u8; 32]>(),
        0_u64..50,
        0_u64..50,
        any::<u64>(),
        any::<bool>(),
        prop::option::of(upload()),
    )
        .prop_map(|(id, index_id, bytes, index_bytes, objects, exact, upload)| PackRecord {
            id: PackId(id),
            index_id,
            bytes,
            index_bytes,
            objects,
            exact,
            place: upload.map_or(Place::Inlined { offset: 0 }, Place::Uploaded),
            chunks: if exact && bytes > 0 { vec![id] } else { vec![] },
        })
}

fn upload() -> impl Strategy<Value = Upload> {
    (any::<u64>(), any::<[u8; 8]>()).prop_map(|(generation, nonce)| Upload { generation, nonce })
}

prop_compose! {
    fn upkeep()(
        lease in prop::option::of((any::<[u8; 16]>(), any::<u64>())),
        uploads_before in any::<u64>(),
        truncated in any::<u64>(),
        deleted in prop::collection::vec(upload(), 0..3),
        scrubbed in prop::option::of(prop::collection::vec("\\PC{0,9}", 0..3)),
        mended in prop::collection::vec("\\PC{0,9}", 0..3),
        reach in prop::collection::vec((any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u64>(), upload()), 0..3),
        bundle in prop::option::of(prop::option::of((upload(), any::<u64>(), name(), object(), any::<u64>()))),
    ) -> UpkeepRecord {
        let table = |(pack, id, bytes, upload)| (PackId(pack), ReachRecord { id, bytes, upload });
        let reach = reach.into_iter().map(table).collect();
        let lease = lease.map(|(holder, seconds)| Lease { holder, seconds });
        // It is news of a scrub.
        let mended = if scrubbed.is_some() { mended } else { vec![] };
        let made = |(upload, bytes, branch, tip, stored)| BundleChange::Made(BundleRecord { upload, bytes, branch, tip, stored });
        let bundle = bundle.map(|made_of| made_of.map_or(BundleChange::Withdrawn, made));
        UpkeepRecord { lease, uploads_before, truncated, deleted, scrubbed, mended, reach, bundle }
    }
}

prop_compose! {
    fn push()(
        actor in "\\PC{0,10}",
        request_id in "[a-z0-9]{0,8}",
        options in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..3),
        certificate in prop::option::of(prop::collection::vec(any::<u8>(), 0..80)),
        edits in prop::collection::vec(edit(), 0..4),
        packs in prop::collection::vec(pack(), 0..3),
        dropped in prop::collection::vec(object(), 0..3),
        default_branch in prop::option::of(name()),
    ) -> PushRecord {
        let options = options.into_iter().map(Into::into).collect();
        let certificate = certificate.map(Into::into);
        PushRecord { actor, request_id, options, certificate, edits, packs, dropped, default_branch }
    }
}

fn lock() -> impl Strategy<Value = LockRecord> {
    let taken =
        ("[a-z]{1,8}", "\\PC{0,9}").prop_map(|(path, owner)| LockChange::Taken { path: path.parse().unwrap(), owner });
    ("\\PC{0,9}", "[a-z0-9]{0,8}", any::<[u8; 16]>(), prop::option::of(taken)).prop_map(
        |(actor, request_id, id, taken)| LockRecord {
            actor,
            request_id,
            id: model::lfs::LockId(id),
            change: taken.unwrap_or(LockChange::Released),
        },
    )
}

prop_compose! {
    fn entry()(
        previous in any::<[u8; 32]>(),
        writer in any::<[u8; 16]>(),
        time in 0_i64..4_000_000_000_000_000,
        pushes in prop::collection::vec(push(), 0..4),
        compaction in prop::option::of((prop::collection::vec(pack(), 0..3), prop::collection::vec(any::<[u8; 32]>().prop_map(PackId), 0..3), any::<Option<u64>>())),
        upkeep in prop::option::of(upkeep()),
        locks in prop::collection::vec(lock(), 0..3),
    ) -> Entry {
        let compaction =
            compaction.map(|(added, retired, pruned_through)| Compaction { added, retired, pruned_through });
        Entry { previous, writer, time: Timestamp::from_microsecond(time).unwrap(), pushes, compaction, upkeep, locks }
    }
}

proptest! {
    #[test]
    fn an_entry_reads_back_as_it_was_written(entry in entry(), payload in prop::collection::vec(any::<u8>(), 100..200)) {
        let (bytes, digest) = entry.encode(&payload);
        let decoded = Entry::decode(&bytes).unwrap();
        prop_assert_eq!(decoded.entry, entry);
        prop_assert_eq!(&decoded.payload[..], &payload[..]);
        prop_assert_eq!(decoded.digest, digest);
    }

    #[test]
    fn any_changed_byte_is_noticed(entry in entry(), at in any::<prop::sample::Index>(), change in 1_u8..) {
        let mut bytes = entry.encode(&[7; 100]).0.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(Entry::decode(&bytes.into()).is_err());
    }

    #[test]
    fn a_stub_reads_back_and_any_changed_byte_of_it_is_noticed(
        writer in any::<[u8; 16]>(),
        digest in any::<[u8; 32]>(),
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        let stub = Stub { writer, digest };
        let bytes = stub.encode();
        prop_assert_eq!(Numbered::decode(&bytes).unwrap(), Numbered::Stub(stub));
        let mut bytes = bytes.to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(Numbered::decode(&bytes.into()).is_err());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Entry::decode(&bytes.clone().into()).is_err());
        // Also when frame and checksum are right, and only the header is garbage.
        let mut framed = MAGIC.to_vec();
        framed.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
        framed.extend_from_slice(&bytes);
        let digest = sha256(&framed);
        framed.extend_from_slice(&digest);
        let _ = Entry::decode(&framed.into());
    }
}

#[test]
fn a_certificate_is_an_annotation_that_old_versions_skip() {
    let signed = PushRecord {
        actor: String::new(),
        request_id: String::new(),
        options: vec![],
        certificate: Some("certificate version 0.1".into()),
        edits: vec![],
        packs: vec![],
        dropped: vec![],
        default_branch: None,
    };
    let plain = PushRecord { certificate: None, ..signed.clone() };
    let entry = |push| Entry {
        previous: [0; 32],
        writer: [0; 16],
        time: Timestamp::UNIX_EPOCH,
        pushes: vec![push],
        compaction: None,
        upkeep: None,
        locks: vec![],
    };
    assert_eq!(wire::Entry::from(&entry(signed.clone())).required_features, Vec::<String>::new());
    assert!(!Entry::decode(&entry(plain).encode(b"").0).unwrap().entry.pushes.contains(&signed));
    assert!(Entry::decode(&entry(signed.clone()).encode(b"").0).unwrap().entry.pushes.contains(&signed));
}

#[test]
fn an_unknown_feature_is_refused_by_name() {
    let header =
        wire::Entry { required_features: vec!["time-travel".to_owned()], ..wire::Entry::default() }.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&u32::try_from(header.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&header);
    let digest = sha256(&bytes);
    bytes.extend_from_slice(&digest);
    assert_eq!(Entry::decode(&bytes.into()), Err(EntryError::Feature("time-travel".to_owned())));
}
