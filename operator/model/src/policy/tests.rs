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

fn pull(set: &PolicySet, principal: &Principal, repository: &str) -> bool {
    ask(set, principal, Action::GitPull, repository, &Labels::new(), ReferenceScope::Whole).is_allowed()
}

fn readable_by(subject: Subject) -> PolicySet {
    let read = statement("read", Effect::Allow, &[Action::GitPull], &["*"], &[]);
    PolicySet::compile(&[Policy { subjects: vec![subject], ..policy(vec![read]) }]).unwrap()
}

fn from_token(username: &str, groups: &[&str]) -> Principal {
    Principal::authenticated(username, groups.iter().map(|group| (*group).to_owned()).collect())
}

fn builder(namespace: &str) -> Principal {
    let own = format!("system:serviceaccounts:{namespace}");
    from_token(
        &format!("system:serviceaccount:{namespace}:builder"),
        &["system:serviceaccounts", &own, "system:authenticated"],
    )
}

#[test]
fn a_service_account_is_known_by_its_short_name_in_its_own_namespace_only() {
    let set = readable_by(Subject::ServiceAccount("builder".to_owned()));
    assert!(pull(&set, &builder("team-a"), "team-a/x"));
    assert!(!pull(&set, &builder("team-b"), "team-a/x"));
    assert!(!pull(&set, &builder("team-a"), "team-b/x"), "the policy is about its own namespace");
    assert!(!pull(&set, &user("builder"), "team-a/x"), "a credential of that name is somebody else");
    assert!(!pull(&set, &from_token("builder", &[]), "team-a/x"), "and so is a user of that name");
    let local = readable_by(Subject::LocalUser("builder".to_owned()));
    assert!(!pull(&local, &builder("team-a"), "team-a/x"));
}

#[test]
fn users_and_groups_are_those_of_the_api_server() {
    let jane = from_token("jane@example.com", &["developers", "system:authenticated"]);
    assert!(pull(&readable_by(Subject::User("jane@example.com".to_owned())), &jane, "team-a/x"));
    assert!(pull(&readable_by(Subject::Group("developers".to_owned())), &jane, "team-a/x"));
    for other in ["jane", "JANE@example.com", "developers", "*", ""] {
        assert!(!pull(&readable_by(Subject::User(other.to_owned())), &jane, "team-a/x"), "{other}");
    }
    for other in ["jane@example.com", "dev", "*", ""] {
        assert!(!pull(&readable_by(Subject::Group(other.to_owned())), &jane, "team-a/x"), "{other}");
    }
    let foreign = readable_by(Subject::User("system:serviceaccount:team-b:builder".to_owned()));
    assert!(pull(&foreign, &builder("team-b"), "team-a/x"), "how a policy names an account of another namespace");
    assert!(!pull(&foreign, &builder("team-a"), "team-a/x"));
    let all_of_b = readable_by(Subject::Group("system:serviceaccounts:team-b".to_owned()));
    assert!(pull(&all_of_b, &builder("team-b"), "team-a/x"));
    assert!(!pull(&all_of_b, &builder("team-a"), "team-a/x"));
}

#[test]
fn a_subject_without_a_name_is_nobody() {
    let everybody = [Principal::Anonymous, user("alice"), builder("team-a"), from_token("jane", &["developers"])];
    for subject in [Subject::User(String::new()), Subject::Group(String::new()), Subject::ServiceAccount(String::new())]
    {
        let set = readable_by(subject.clone());
        for principal in &everybody {
            assert!(!pull(&set, principal, "team-a/x"), "{subject:?} {principal}");
        }
    }
}

#[test]
fn a_deny_of_a_group_wins_over_an_allow_of_its_member() {
    let allow = statement("a", Effect::Allow, &Action::ALL, &["*"], &[]);
    let deny = statement("d", Effect::Deny, &Action::ALL, &["*"], &[]);
    let of = |name: &str, subject, statement| Policy {
        name: name.to_owned(),
        subjects: vec![subject],
        ..policy(vec![statement])
    };
    let set = PolicySet::compile(&[
        of("in", Subject::User("jane".to_owned()), allow),
        of("out", Subject::Group("leavers".to_owned()), deny),
    ])
    .unwrap();
    assert!(pull(&set, &from_token("jane", &["developers"]), "team-a/x"));
    assert!(!pull(&set, &from_token("jane", &["developers", "leavers"]), "team-a/x"));
}

#[test]
fn who_is_a_service_account_is_read_strictly_and_shown_in_one_line() {
    let shown = |name: &str| {
        let principal = from_token(name, &[]);
        (principal.namespace().map(ToString::to_string), principal.to_string())
    };
    let account = "system:serviceaccount:team-a:builder";
    assert_eq!(shown(account), (Some("team-a".to_owned()), account.to_owned()));
    for name in
        ["system:serviceaccount:Team A:x", "system:serviceaccount:team-a", "system:serviceaccount:team-a:", "jane"]
    {
        assert_eq!(shown(name), (None, name.to_owned()));
    }
    assert_eq!(shown("jane\nX-Audit: allow\u{1b}[31m").1, "jane\\nX-Audit: allow\\u{1b}[31m");
    assert!(!from_token("a\u{202e}b", &[]).to_string().contains('\u{202e}'), "text that runs backwards");
}

/// The obvious meaning of a subject of a policy in `team-a`.
fn is_meant(subject: &Subject, principal: &Principal) -> bool {
    let here = principal.namespace().is_some_and(|namespace| *namespace == self::namespace());
    match (subject, principal) {
        (Subject::Anonymous, _) => true,
        (Subject::LocalUser(wanted), Principal::LocalUser { name, .. })
        | (Subject::ServiceAccount(wanted), Principal::ServiceAccount { name, .. }) => here && wanted == name,
        (Subject::User(wanted), Principal::ServiceAccount { namespace, name, .. }) => {
            *wanted == format!("system:serviceaccount:{namespace}:{name}")
        }
        (Subject::User(wanted), Principal::User { name, .. }) => wanted == name,
        (Subject::Group(wanted), Principal::ServiceAccount { groups, .. } | Principal::User { groups, .. }) => {
            groups.contains(wanted)
        }
        _ => false,
    }
}

/// Few names, so that they meet.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ab]",
        Just("system:serviceaccount:team-a:a".to_owned()),
        Just("system:serviceaccount:team-b:a".to_owned())
    ]
}

fn any_subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        1 => Just(Subject::Anonymous),
        4 => any_name().prop_map(Subject::LocalUser),
        4 => any_name().prop_map(Subject::ServiceAccount),
        4 => any_name().prop_map(Subject::User),
        4 => any_name().prop_map(Subject::Group),
    ]
}

fn any_principal() -> impl Strategy<Value = Principal> {
    let namespace = || "team-[ab]".prop_map(|text| text.parse::<Namespace>().unwrap());
    prop_oneof![
        Just(Principal::Anonymous),
        (namespace(), "[ab]").prop_map(|(namespace, name)| Principal::LocalUser { namespace, name }),
        (any_name(), prop::collection::vec(any_name(), 0..3))
            .prop_map(|(name, groups)| Principal::authenticated(&name, groups)),
    ]
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

    #[test]
    fn a_policy_allows_whom_it_means_and_nobody_else(subjects in prop::collection::vec(any_subject(), 1..4), principal in any_principal()) {
        let read = statement("read", Effect::Allow, &[Action::GitPull], &["*"], &[]);
        let set = PolicySet::compile(&[Policy { subjects: subjects.clone(), ..policy(vec![read]) }]).unwrap();
        let meant = subjects.iter().any(|subject| is_meant(subject, &principal));
        prop_assert_eq!(pull(&set, &principal, "team-a/x"), meant);
        prop_assert!(!pull(&set, &principal, "team-b/x"));
    }

    #[test]
    fn nobody_is_shown_in_more_than_one_line(name in "\\PC{0,20}[\\x00-\\x20]{0,5}\\PC{0,20}") {
        let shown = Principal::authenticated(&name, vec![]).to_string();
        prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}
