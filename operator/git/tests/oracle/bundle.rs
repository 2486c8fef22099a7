//! A bundle brings what git says that its branch leads to, and nothing else, whichever packs have tables.

use std::{collections::BTreeSet, sync::atomic::AtomicBool};

use git::bundle;
use gix::ObjectId;
use model::RefName;

use super::{
    fixture::{Dice, Fixture, git_in, ids},
    tabled::{ALL, Chosen, retabled},
};

const NONE: Chosen = ("none", |_| false);

fn reachable(fixture: &Fixture, tip: ObjectId) -> BTreeSet<ObjectId> {
    ids(&git_in(&fixture.origin(), &["rev-list", "--objects", &tip.to_string()], b""))
}

#[test]
fn a_bundle_has_exactly_what_its_branch_leads_to() {
    let never = AtomicBool::new(false);
    let branch = RefName::branch("main").unwrap();
    for (seed, pushes, thin) in [(301, 1, false), (302, 9, true)] {
        let mut fixture = Fixture::new(seed, 150, pushes, thin);
        let mut dice = Dice(seed);
        for (number, chosen) in [NONE, ALL, NONE, ALL].into_iter().enumerate() {
            retabled(&mut fixture, chosen);
            let tip = fixture.commits[dice.roll(fixture.commits.len())];
            let file = fixture.directory.path().join(format!("{seed}-{number}.bundle"));
            let bytes = bundle::write(&fixture.packs, &branch, tip, &file, &never).unwrap();
            assert_eq!(bytes, file.metadata().unwrap().len());
            assert!(bundle::write(&fixture.packs, &branch, tip, &file, &never).is_err(), "it is there already");

            let (name, clone) = (file.to_str().unwrap(), format!("{seed}-{number}.git"));
            let said =
                String::from_utf8(git_in(fixture.directory.path(), &["bundle", "list-heads", name], b"")).unwrap();
            assert_eq!(said, format!("{tip} refs/heads/main\n"));
            git_in(fixture.directory.path(), &["clone", "--quiet", "--bare", name, &clone], b"");
            let clone = fixture.directory.path().join(clone);
            git_in(&clone, &["fsck", "--full"], b"");
            let all = ["cat-file", "--batch-all-objects", "--batch-check=%(objectname)"];
            assert_eq!(ids(&git_in(&clone, &all, b"")), reachable(&fixture, tip), "{seed} {}", chosen.0);
        }
    }
}
