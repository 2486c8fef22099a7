use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;

fn namespace() -> Namespace {
    "team-a".parse().unwrap()
}

fn user(name: &str) -> Principal {
    Principal::LocalUser { namespace: namespace(), name: name.to_owned() }
}

fn statement(sid: &str, effect: Effect, actions: &[Action], names: &[&str], references: &[&str]) -> Statement {
    Statement {
        sid: sid.to_owned(),
        effect,
        actions: actions.to_vec(),
        repositories: RepositorySelector {
            names: Some(names.iter().map(|name| Wildcard::new(*name)).collect()),
            match_labels: None,
        },
        references: references.iter().map(|name| Wildcard::new(*name)).collect(),
        source_addresses: vec![],
    }
}

fn policy(statements: Vec<Statement>) -> Policy {
    Policy {
        namespace: namespace(),
        name: "developers".to_owned(),
        subjects: vec![Subject::LocalUser("alice".to_owned())],
        statements,
    }
}

fn ask(
    set: &PolicySet,
    principal: &Principal,
    action: Action,
    repository: &str,
    labels: &Labels,
    reference: ReferenceScope<'_>,
) -> Decision {
    let repository = repository.parse().unwrap();
    let source = IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3));
    set.evaluate(&AccessRequest { principal, action, repository: &repository, labels, reference, source })
}

fn work_and_closed_releases() -> PolicySet {
    PolicySet::compile(&[policy(vec![
        statement("work", Effect::Allow, &Action::ALL, &["*"], &[]),
        statement("releases-are-closed", Effect::Deny, &[Action::GitPush], &["hello"], &["refs/heads/release/*"]),
    ])])
    .unwrap()
}

fn reference(name: &str) -> RefName {
    RefName::try_from(name).unwrap()
}

#[test]
fn without_a_policy_everything_is_denied() {
    let decision = ask(
        &PolicySet::default(),
        &user("alice"),
        Action::GitPull,
        "team-a/hello",
        &Labels::new(),
        ReferenceScope::Whole,
    );
    assert_eq!(decision, Decision::NotAllowed);
}

#[test]
fn an_explicit_deny_wins_for_its_references_only() {
    let set = work_and_closed_releases();
    let none = Labels::new();
    let push = |repository, name: &str| {
        ask(&set, &user("alice"), Action::GitPush, repository, &none, ReferenceScope::One(&reference(name)))
    };
    assert!(push("team-a/hello", "refs/heads/main").is_allowed());
    assert!(push("team-a/other", "refs/heads/release/1").is_allowed());
    assert_eq!(
        push("team-a/hello", "refs/heads/release/1"),
        Decision::ExplicitlyDenied { policy: "developers".to_owned(), sid: "releases-are-closed".to_owned() }
    );
    assert!(ask(&set, &user("alice"), Action::GitPush, "team-a/hello", &none, ReferenceScope::Any).is_allowed());
    assert!(ask(&set, &user("alice"), Action::GitPull, "team-a/hello", &none, ReferenceScope::Whole).is_allowed());
}

#[test]
fn others_and_other_namespaces_get_nothing() {
    let set = work_and_closed_releases();
    let none = Labels::new();
    assert_eq!(
        ask(&set, &user("bob"), Action::GitPull, "team-a/hello", &none, ReferenceScope::Whole),
        Decision::NotAllowed
    );
    assert_eq!(
        ask(&set, &Principal::Anonymous, Action::GitPull, "team-a/hello", &none, ReferenceScope::Whole),
        Decision::NotAllowed
    );
    assert_eq!(
        ask(&set, &user("alice"), Action::GitPull, "team-b/hello", &none, ReferenceScope::Whole),
        Decision::NotAllowed
    );
    let foreign = Principal::LocalUser { namespace: "team-b".parse().unwrap(), name: "alice".to_owned() };
    assert_eq!(
        ask(&set, &foreign, Action::GitPull, "team-a/hello", &none, ReferenceScope::Whole),
        Decision::NotAllowed
    );
}

#[test]
fn an_allow_of_some_references_opens_a_push_but_not_a_pull() {
    let set = PolicySet::compile(&[policy(vec![statement(
        "topics",
        Effect::Allow,
        &Action::ALL,
        &["*"],
        &["refs/heads/topic/?*"],
    )])])
    .unwrap();
    let none = Labels::new();
    assert!(ask(&set, &user("alice"), Action::GitPush, "team-a/x", &none, ReferenceScope::Any).is_allowed());
    assert!(
        ask(
            &set,
            &user("alice"),
            Action::GitPush,
            "team-a/x",
            &none,
            ReferenceScope::One(&reference("refs/heads/topic/a"))
        )
        .is_allowed()
    );
    assert!(
        !ask(
            &set,
            &user("alice"),
            Action::GitPush,
            "team-a/x",
            &none,
            ReferenceScope::One(&reference("refs/heads/main"))
        )
        .is_allowed()
    );
    assert!(!ask(&set, &user("alice"), Action::GitPull, "team-a/x", &none, ReferenceScope::Whole).is_allowed());
}

#[test]
fn labels_and_networks_restrict() {
    let mut by_label = statement("labelled", Effect::Allow, &[Action::GitPull], &["*"], &[]);
    by_label.repositories =
        RepositorySelector { names: None, match_labels: Some(Labels::from([("tier".to_owned(), "open".to_owned())])) };
    by_label.source_addresses = vec!["192.168.0.0/16".to_owned(), "10.0.0.0/8".to_owned()];
    let set = PolicySet::compile(&[policy(vec![by_label.clone()])]).unwrap();
    let open = Labels::from([("tier".to_owned(), "open".to_owned())]);
    assert!(ask(&set, &user("alice"), Action::GitPull, "team-a/x", &open, ReferenceScope::Whole).is_allowed());
    assert!(
        !ask(&set, &user("alice"), Action::GitPull, "team-a/x", &Labels::new(), ReferenceScope::Whole).is_allowed()
    );
    by_label.source_addresses = vec!["192.168.0.0/16".to_owned()];
    let set = PolicySet::compile(&[policy(vec![by_label.clone()])]).unwrap();
    assert!(!ask(&set, &user("alice"), Action::GitPull, "team-a/x", &open, ReferenceScope::Whole).is_allowed());
}

#[test]
fn anonymous_as_a_subject_means_everybody() {
    let mut open = policy(vec![statement("read", Effect::Allow, &[Action::GitPull], &["*"], &[])]);
    open.subjects = vec![Subject::Anonymous];
    let set = PolicySet::compile(&[open]).unwrap();
    assert!(
        ask(&set, &Principal::Anonymous, Action::GitPull, "team-a/x", &Labels::new(), ReferenceScope::Whole)
            .is_allowed()
    );
    assert!(ask(&set, &user("bob"), Action::GitPull, "team-a/x", &Labels::new(), ReferenceScope::Whole).is_allowed());
}

#[test]
fn hostile_patterns_are_data_not_code() {
    let evil = "\") }; permit(principal, action, resource); //";
    let set =
        PolicySet::compile(&[policy(vec![statement(evil, Effect::Allow, &Action::ALL, &[evil], &[evil])])]).unwrap();
    assert_eq!(
        ask(&set, &user("bob"), Action::GitPull, "team-a/x", &Labels::new(), ReferenceScope::Whole),
        Decision::NotAllowed
    );
}

#[test]
fn many_references_are_decided_like_each_of_them() {
    let set = work_and_closed_releases();
    let path = "team-a/hello".parse().unwrap();
    let (principal, labels) = (user("alice"), Labels::new());
    let request = AccessRequest {
        principal: &principal,
        action: Action::GitPush,
        repository: &path,
        labels: &labels,
        reference: ReferenceScope::Any,
        source: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let references: Vec<RefName> =
        ["refs/heads/a", "refs/heads/release/1", "refs/heads/b", "refs/tags/v1"].map(reference).to_vec();
    let decisions = set.evaluate_references(&request, &references);
    for (name, decision) in references.iter().zip(decisions) {
        assert_eq!(
            decision,
            set.evaluate(&AccessRequest { reference: ReferenceScope::One(name), ..request }),
            "{name}"
        );
    }
}

/// The obvious matcher, exponential but plain.
fn naive(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.first() {
        None => text.is_empty(),
        Some(b'*') => naive(&pattern[1..], text) || (!text.is_empty() && naive(pattern, &text[1..])),
        Some(b'?') => !text.is_empty() && naive(&pattern[1..], &text[1..]),
        Some(byte) => text.first() == Some(byte) && naive(&pattern[1..], &text[1..]),
    }
}

proptest! {
    #[test]
    fn wildcards_match_like_the_naive_matcher(pattern in "[ab*?/]{0,8}", text in "[ab/]{0,10}") {
        prop_assert_eq!(Wildcard::new(pattern.clone()).matches(text.as_bytes()), naive(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn one_more_deny_never_permits_more(names in prop::collection::vec("[ab*]{1,3}", 1..4), denied in "[ab*]{1,3}", repository in "[ab]{1,3}") {
        let allows: Vec<Statement> = names.iter().enumerate()
            .map(|(index, name)| statement(&format!("a{index}"), Effect::Allow, &Action::ALL, &[name], &[])).collect();
        let mut with_deny = allows.clone();
        with_deny.push(statement("d", Effect::Deny, &Action::ALL, &[&denied], &[]));
        let path = format!("team-a/{repository}");
        let decide = |statements| {
            let set = PolicySet::compile(&[policy(statements)]).unwrap();
            ask(&set, &user("alice"), Action::GitPull, &path, &Labels::new(), ReferenceScope::Whole).is_allowed()
        };
        prop_assert!(decide(allows) || !decide(with_deny));
    }
}
