use std::process::Command;

use proptest::prelude::*;

use super::RefName;

#[test]
fn hostile_names_are_refused() {
    for bad in [
        "HEAD",
        "refs",
        "refs/",
        "refs/heads/",
        "refs/heads/a..b",
        "refs/heads/a b",
        "refs/heads/-x",
        "refs/heads/a\nb",
        "refs/heads/.a",
        "refs/heads/a.lock",
        "refs/heads/@{",
        "refs//heads",
        "refs/heads/a~1",
        "refs/heads/a^",
        "refs/heads/a:b",
        "refs/heads/a?",
        "refs/heads/a*",
        "refs/heads/a[",
        "refs/heads/a\\b",
        "/refs/heads/a",
        "refs/heads/a/",
        "refs/heads/a.",
        "../refs/heads/a",
        "refs/heads/\u{7f}",
    ] {
        assert!(RefName::try_from(bad).is_err(), "{bad}");
    }
    assert!(RefName::try_from(format!("refs/heads/{}", "x".repeat(2_000)).as_str()).is_err());
}

#[test]
fn kinds_are_told_by_prefix() {
    let branch = RefName::branch("feature/x").unwrap();
    assert!(branch.is_branch() && !branch.is_tag() && !branch.is_hidden());
    assert_eq!(branch.short(), "feature/x");
    assert!(RefName::try_from("refs/codekeep/pull/1").unwrap().is_hidden());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever we accept, git accepts too; what git refuses, we refuse.
    #[test]
    fn git_accepts_what_we_accept(tail in "[a-zA-Z0-9./@{}~^:?*\\[\\\\ _-]{1,12}") {
        let name = format!("refs/heads/{tail}");
        let git = Command::new("git").args(["check-ref-format", &name]).status().unwrap().success();
        let last_starts_with_dash = name.rsplit('/').next().unwrap().starts_with('-');
        prop_assert_eq!(RefName::try_from(name.as_str()).is_ok(), git && !last_starts_with_dash, "{}", name);
    }
}
