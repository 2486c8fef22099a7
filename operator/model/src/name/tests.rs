use proptest::prelude::*;

use super::{AccountId, Namespace, RepositoryName, RepositoryPath};

#[test]
fn names_follow_codecommit_with_segments_as_an_extension() {
    for good in ["hello", "a", "A.b_c-d", "team/app", ".github", "x.git.y"] {
        assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a/-b",
        "hello.git",
        "a b",
        "a\0",
        "ä",
        "a%2e",
        "a.lock",
        &"x".repeat(101),
    ] {
        assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
    }
}

#[test]
fn namespaces_are_labels() {
    assert!("team-a".parse::<Namespace>().is_ok());
    for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"x".repeat(64)] {
        assert!(bad.parse::<Namespace>().is_err(), "{bad}");
    }
}

#[test]
fn the_account_id_of_a_namespace_never_changes() {
    let team: Namespace = "team-a".parse().unwrap();
    assert_eq!(AccountId::of(&team), AccountId::of(&team));
    assert_eq!(AccountId::of(&team).as_str(), "249981611956");
    assert!(AccountId::of(&team).as_str().parse::<AccountId>().is_ok());
}

proptest! {
    #[test]
    fn a_path_reads_back_as_it_was_written(text in "\\PC{0,80}") {
        if let Ok(path) = text.parse::<RepositoryPath>() {
            prop_assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn no_name_sorts_before_the_least_one(text in "[.\\-/_0A]{1,4}") {
        prop_assert!(RepositoryName::least().as_str().parse::<RepositoryName>().is_ok());
        if let Ok(name) = text.parse::<RepositoryName>() {
            prop_assert!(RepositoryName::least() <= name);
        }
    }
}
