use model::{ObjectId, RefName, RefValue};

use super::*;

fn refs(count: usize) -> Refs {
    let value = RefValue { id: ObjectId::Sha1([7; 20]), peeled: None };
    let name = |number: usize| RefName::branch(&format!("feature/branch-{number:06}")).unwrap();
    Refs::layered(None, (0..count).map(|number| (name(number), Some(value))))
}

#[test]
fn what_is_written_for_a_change_grows_with_the_square_root_at_most() {
    let value = RefValue { id: ObjectId::Sha1([8; 20]), peeled: None };
    for count in [100, 10_000, 200_000] {
        let mut refs = refs(count);
        if base_is_due(&refs, 4_096) {
            let base = Base::new(1, Table::open(Table::encode(refs.iter()).unwrap()).unwrap());
            refs = refs.rebased(base, &refs).unwrap();
            assert_eq!(refs.changed(), 0);
        }
        // Changes of single references until the next base is due: what is written for them in all?
        let (mut written, mut changes) = (0, 0);
        let names: Vec<RefName> =
            refs.iter().map(|reference| RefName::try_from(reference.name.as_ref() as &[u8]).unwrap()).collect();
        for name in names.iter().cycle().take(20_000) {
            refs.set(name, Some(value));
            changes += 1;
            written += if changes % 64 == 0 { refs.changed() } else { 0 };
            if base_is_due(&refs, 4_096) {
                written += refs.len();
                break;
            }
        }
        let per_change = written / changes;
        // Of about 60 bytes each.
        assert!(per_change <= 40 + (count / 32).isqrt(), "{per_change} references per change of {count}");
    }
}
