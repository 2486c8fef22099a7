use model::ObjectId;
use model::clock::SystemRandom;
use proptest::prelude::*;

use super::*;
use crate::entry::{BundleRecord, PackRecord, Place};
use crate::refs::Table;
use crate::state::upkeep::{DroppedTips, RetiredUpload, Upkeep, Upload};
use crate::state::{Lock, Locks, PackId};

fn id() -> RepositoryId {
    RepositoryId::random(&SystemRandom)
}

fn object() -> impl Strategy<Value = ObjectId> {
    any::<[u8; 20]>().prop_map(ObjectId::Sha1)
}

fn changes() -> impl Strategy<Value = Vec<(RefName, Option<RefValue>)>> {
    let value = (object(), prop::option::of(object())).prop_map(|(id, peeled)| RefValue { id, peeled });
    let name = "[a-c]{1,2}".prop_map(|short| RefName::branch(&short).unwrap());
    prop::collection::vec((name, prop::option::of(value)), 0..20)
}

prop_compose! {
    fn pack()(id in any::<[u8; 32]>(), generation in any::<u64>(), bytes in any::<u64>(), inlined in any::<bool>()) -> StoredPack {
        let place = if inlined { Place::Inlined { offset: 7 } } else { Place::Uploaded(Upload { generation, nonce: [1; 8] }) };
        let record = PackRecord { id: PackId(id), index_id: id, bytes, index_bytes: 3, objects: 4, exact: inlined, place, chunks: vec![] };
        let table = ReachRecord { id, bytes, upload: Upload { generation, nonce: [7; 8] } };
        let reach = if inlined { None } else { Some(table) };
        StoredPack { generation, record, reach }
    }
}

prop_compose! {
    fn state()(
        generation in any::<u64>(),
        digest in any::<[u8; 32]>(),
        packs in prop::collection::vec(pack(), 0..4),
        dropped in prop::collection::vec((object(), any::<u64>()), 0..4),
        retired in prop::collection::vec((any::<u64>(), any::<[u8; 8]>()), 0..4),
        pushes in any::<u64>(),
        time in prop::option::of(0_i64..4_000_000_000_000_000),
        head in any::<bool>(),
        locks in prop::collection::btree_map("[a-z]{1,3}", any::<[u8; 16]>(), 0..4),
        tip in prop::option::of(object()),
    ) -> Snapshot {
        let upload = Upload { generation, nonce: [3; 8] };
        let made = |tip| BundleRecord { upload, bytes: pushes, branch: RefName::branch("main").unwrap(), tip, stored: 7 };
        Snapshot {
            generation,
            digest,
            head: head.then(|| RefName::branch("main").unwrap()),
            packs: Arc::new(packs),
            upkeep: Arc::new(Upkeep { bundle: tip.map(made), ..upkeep(&dropped, &retired) }),
            pushes,
            last_push: time.map(|time| Timestamp::from_microsecond(time).unwrap()),
            locks: Arc::new(held(locks)),
            ..Snapshot::default()
        }
    }
}

fn held(locks: std::collections::BTreeMap<String, [u8; 16]>) -> Locks {
    let lock = |(path, id): (String, [u8; 16])| Lock {
        id: model::lfs::LockId(id),
        path: path.parse().unwrap(),
        owner: path,
        at: Timestamp::UNIX_EPOCH,
    };
    Locks::collect(locks.into_iter().map(lock).collect()).unwrap()
}

fn upkeep(dropped: &[(ObjectId, u64)], retired: &[(u64, [u8; 8])]) -> Upkeep {
    let at = Timestamp::UNIX_EPOCH;
    let retired = retired.iter().map(|(generation, nonce)| {
        let upload = Upload { generation: *generation, nonce: *nonce };
        RetiredUpload { upload, bytes: 3, at }
    });
    Upkeep {
        dropped: DroppedTips::new(dropped.iter().map(|(id, generation)| (*id, *generation, at)), 5),
        retired: retired.collect(),
        truncated: 9,
        ..Upkeep::default()
    }
}

fn base_of(refs: &Refs, generation: u64) -> Base {
    Base::new(generation, Table::open(Table::encode(refs.iter()).unwrap()).unwrap())
}

proptest! {
    #[test]
    fn a_checkpoint_on_its_base_is_the_state(state in state(), first in changes(), second in changes(), has_base in any::<bool>()) {
        let id = id();
        let old = Refs::layered(None, first);
        let base = has_base.then(|| base_of(&old, 7));
        let mut refs = if has_base { Refs::layered(base.clone(), []) } else { old };
        for (name, value) in &second {
            refs.set(name, *value);
        }
        let state = Snapshot { refs, ..state };
        let bytes = encode(&id, &state);
        let layer = decode(&bytes, &id).unwrap();
        prop_assert_eq!(layer.generation(), state.generation);
        prop_assert_eq!(layer.base, base.as_ref().map(Base::name));
        let wrong = base_of(&Refs::layered(None, [(RefName::branch("x").unwrap(), None)]), 8);
        prop_assert!(layer.clone().on(Some(wrong)).is_none(), "another base");
        prop_assert_eq!(layer.clone().on(None).is_some(), !has_base);
        let read = layer.on(base).unwrap();
        prop_assert!(read.refs.iter().eq(state.refs.iter()));
        prop_assert_eq!(read.refs.len(), state.refs.len());
        prop_assert_eq!(encode(&id, &read), bytes, "nothing else was lost");
        prop_assert!(decode(&encode(&id, &read), &self::id()).is_err(), "of another repository");
    }

    #[test]
    fn any_changed_byte_is_noticed(state in state(), at in any::<prop::sample::Index>(), change in 1_u8..) {
        let id = id();
        let mut bytes = encode(&id, &state).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(decode(&bytes, &id).is_err());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes, &id()).is_err());
        let mut sealed = MAGIC.to_vec();
        sealed.extend_from_slice(&bytes);
        sealed.extend_from_slice(&sha256(&sealed));
        let _ = decode(&sealed, &id());
    }
}
