use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<RefName, RefValue>;

/// Few enough that changes meet: some are prefixes of others, one is hidden.
const NAMES: [&str; 6] =
    ["refs/heads/a", "refs/heads/a-b", "refs/heads/a/b", "refs/heads/b", "refs/tags/a", "refs/codekeep/x"];

fn name() -> impl Strategy<Value = RefName> {
    prop_oneof![prop::sample::select(NAMES.as_slice()).prop_map(str::to_owned), "refs/heads/[a-c]{1,2}"]
        .prop_map(|name| RefName::try_from(name.as_str()).unwrap())
}

fn id() -> impl Strategy<Value = ObjectId> {
    (0_u8..6).prop_map(|number| ObjectId::Sha1([number; 20]))
}

fn value() -> impl Strategy<Value = RefValue> {
    (id(), prop::option::weighted(0.3, id())).prop_map(|(id, peeled)| RefValue { id, peeled })
}

type Changes = Vec<(RefName, Option<RefValue>)>;

fn changes() -> impl Strategy<Value = Changes> {
    prop::collection::vec((name(), prop::option::of(value())), 0..30)
}

fn apply(refs: &mut Refs, model: &mut Model, changes: &Changes) {
    for (name, value) in changes {
        refs.set(name, *value);
        match value {
            Some(value) => model.insert(name.clone(), *value),
            None => model.remove(name),
        };
    }
}

fn base_of(refs: &Refs, generation: u64) -> Base {
    let table = Table::open(Table::encode(refs.iter()).unwrap()).unwrap();
    Base { generation, table: Arc::new(table) }
}

fn shown(reference: Reference<'_>) -> (RefName, RefValue) {
    let Reference { name, id, peeled } = reference;
    (RefName::try_from(name.as_ref() as &[u8]).unwrap(), RefValue { id, peeled })
}

fn agree(refs: &Refs, model: &Model) -> Result<(), TestCaseError> {
    let all: Vec<_> = refs.iter().map(shown).collect();
    let expected: Vec<_> = model.iter().map(|(name, value)| (name.clone(), *value)).collect();
    prop_assert_eq!(&all, &expected);
    prop_assert_eq!(refs.len(), model.len());
    for name in model.keys().chain(refs.changes().map(|(name, _)| name)) {
        prop_assert_eq!(refs.value(name), model.get(name).copied());
        // Whatever the base says already is not said again.
        let changed = refs.changes().any(|(changed, _)| changed == name);
        prop_assert_eq!(changed, refs.in_base(name.as_bstr()) != refs.value(name), "{}", name);
    }
    for prefix in ["refs/heads/a", "refs/heads/", "refs/", "refs/tags/", "x", "refs/heads/b"] {
        let found: Vec<_> = refs.range(prefix.as_bytes()).map(shown).collect();
        let expected = expected.iter().filter(|(name, _)| name.as_bstr().starts_with(prefix.as_bytes()));
        prop_assert_eq!(found, expected.cloned().collect::<Vec<_>>());
    }
    for wanted in [&[1_u8][..], &[1, 2], &[0, 1, 2, 3, 4, 5], &[9]] {
        let ids: HashSet<ObjectId> = wanted.iter().map(|number| ObjectId::Sha1([*number; 20])).collect();
        let mut found = Vec::new();
        refs.leading_to(&ids, &mut |reference| found.push(shown(reference)));
        found.sort_by(|a, b| a.0.cmp(&b.0));
        let leads =
            |value: &RefValue| ids.contains(&value.id) || value.peeled.is_some_and(|peeled| ids.contains(&peeled));
        let expected = expected.iter().filter(|(_, value)| leads(value));
        prop_assert_eq!(found, expected.cloned().collect::<Vec<_>>());
    }
    Ok(())
}

proptest! {
    #[test]
    fn layers_say_what_one_map_says(first in changes(), second in changes(), third in changes()) {
        let (mut refs, mut model) = (Refs::default(), Model::new());
        apply(&mut refs, &mut model, &first);
        agree(&refs, &model)?;
        let mut refs = refs.rebased(base_of(&refs, 1), &refs).unwrap();
        prop_assert_eq!(refs.changed(), 0);
        agree(&refs, &model)?;
        apply(&mut refs, &mut model, &second);
        agree(&refs, &model)?;
        // The next base is made in the background: changes go on meanwhile.
        let (origin, base) = (refs.clone(), base_of(&refs, 2));
        apply(&mut refs, &mut model, &third);
        let refs = refs.rebased(base, &origin).unwrap();
        agree(&refs, &model)?;
        let mut unlike = model.clone();
        unlike.retain(|name, value| origin.value(name) != Some(*value));
        let mut expected: Vec<ObjectId> = unlike.values().map(|value| value.id).collect();
        expected.sort_unstable();
        let origin_here = Refs::layered(refs.base().cloned(), []);
        let on_same_base = refs.rebased(base_of(&origin, 4), &origin_here).unwrap();
        let origin_there = Refs::layered(on_same_base.base().cloned(), []);
        for (refs, origin) in [(&refs, &origin), (&on_same_base, &origin_there)] {
            let mut found = refs.unlike(origin);
            found.sort_unstable();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(refs.is_same(origin), refs.iter().eq(origin.iter()));
        }
        prop_assert!(refs.changed() <= third.len());
        prop_assert!(refs.rebased(base_of(&refs, 3), &origin).is_none(), "another base");
    }

    #[test]
    fn any_changed_byte_of_a_table_is_noticed(changes in changes(), at in any::<prop::sample::Index>(), change in 1_u8..) {
        let (mut refs, mut model) = (Refs::default(), Model::new());
        apply(&mut refs, &mut model, &changes);
        let mut bytes = Table::encode(refs.iter()).unwrap().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert!(Table::open(bytes.into()).is_err());
    }

    #[test]
    fn a_table_of_garbage_is_refused_without_a_panic(
        counts in (0_u32..4, 0_u32..4),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = b"CKREFS\0\x01".to_vec();
        bytes.extend_from_slice(&counts.0.to_be_bytes());
        bytes.extend_from_slice(&counts.1.to_be_bytes());
        bytes.extend_from_slice(&body);
        let digest = crate::digest::sha256(&bytes);
        bytes.extend_from_slice(&digest);
        if let Ok(table) = Table::open(bytes.into()) {
            let refs = Refs::layered(Some(Base { generation: 1, table: Arc::new(table) }), []);
            prop_assert_eq!(refs.iter().count(), refs.len());
            let all = refs.iter().map(|reference| reference.id).collect();
            refs.leading_to(&all, &mut |_| ());
        }
    }
}
