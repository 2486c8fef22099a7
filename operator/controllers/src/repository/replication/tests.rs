use super::*;
use crate::control::ReplicaProblem;

fn replica(name: &str, lag: (u64, u64), problem: Option<(ReplicaProblemKind, &str)>) -> ReplicaSummary {
    let problem = problem.map(|(kind, message)| ReplicaProblem { kind, message: message.to_owned() });
    ReplicaSummary { name: name.to_owned(), generation: 7, lag_entries: lag.0, lag_seconds: lag.1, problem }
}

fn summary(stores: Vec<ReplicaSummary>) -> ReplicationSummary {
    ReplicationSummary { primary: "default".to_owned(), epoch: 1, stores }
}

fn said(summary: &ReplicationSummary) -> (Status, &'static str, String) {
    Known { is_wanted: true, resource: "hello", summary: Some(Ok(Some(summary))), ..Known::default() }
        .condition()
        .unwrap()
}

fn refused(status: u16) -> GitServerError {
    GitServerError::Refused { host: "git".to_owned(), status, reason: "it may hold more".to_owned() }
}

#[test]
fn copies_on_their_way_are_in_step() {
    let moments = summary(vec![replica("far", (3, 9), None), replica("third", (0, 0), None)]);
    let expected = "the primary is 'default', and 'far' and 'third' hold the same".to_owned();
    assert_eq!(said(&moments), (Status::True, "InStep", expected));
    let shown = status(&moments);
    assert_eq!((shown.lag_seconds, shown.stores[0].lag_entries, shown.stores[0].generation), (0, 0, 7));
    assert_eq!(look_again(&moments), Some(ON_ITS_WAY), "it may become one that is behind");
    assert_eq!(look_again(&summary(vec![replica("far", (0, 0), None)])), None);
}

#[test]
fn one_that_is_behind_is_named_in_steps_that_do_not_change_at_each_look() {
    let behind = |seconds| summary(vec![replica("far", (1, 12), None), replica("third", (1_200, seconds), None)]);
    let (state, reason, message) = said(&behind(7_300));
    assert_eq!((state, reason), (Status::False, "Behind"));
    assert_eq!(message, "the store 'third' is 1200 entries and 2 h behind");
    assert_eq!(said(&behind(3_601)), said(&behind(7_199)));
    assert_eq!(status(&behind(125)).lag_seconds, 120);
    assert_eq!(status(&behind(125)).stores[0].lag_seconds, 10);
    assert_eq!(said(&behind(0)).2, "the store 'far' is 1 entry and 10 s behind");
}

#[test]
fn the_worst_problem_is_the_reason() {
    let unavailable = replica("far", (5, 300), Some((ReplicaProblemKind::Unavailable, "connection refused")));
    let unknown = replica("fra", (0, 0), Some((ReplicaProblemKind::UnknownStore, "there is no such store")));
    let diverged = replica("third", (0, 0), Some((ReplicaProblemKind::Diverged, "entry 7 is another one")));
    let reason = |stores| said(&summary(stores)).1;
    assert_eq!(reason(vec![unavailable.clone()]), "ReplicaUnavailable");
    assert_eq!(reason(vec![unavailable.clone(), unknown.clone()]), "UnknownStore");
    assert_eq!(reason(vec![unavailable.clone(), unknown.clone(), diverged]), "Diverged");
    assert_eq!(said(&summary(vec![unavailable.clone()])).2, "the store 'far': connection refused");
    assert_eq!(status(&summary(vec![unavailable.clone()])).stores[0].message.as_deref(), Some("connection refused"));
    assert_eq!(look_again(&summary(vec![unavailable])), Some(TROUBLED));
    assert_eq!(look_again(&summary(vec![unknown])), None, "a change of the pool asks for it");
}

#[test]
fn a_promotion_that_could_lose_pushes_says_how_to_have_it_all_the_same() {
    let in_step = summary(vec![replica("far", (0, 0), None)]);
    let (refused, unknown, failed) = (refused(409), refused(422), refused(503));
    let known = |failure| Known {
        is_wanted: true,
        resource: "hello",
        summary: Some(Ok(Some(&in_step))),
        failure: Some(failure),
        ..Known::default()
    };
    let (state, reason, message) = known(&refused).condition().unwrap();
    assert_eq!((state, reason), (Status::False, "PromotionRefused"));
    assert!(message.contains("codekeep.dev/accept-loss: hello") && message.contains("it may hold more"), "{message}");
    assert_eq!(known(&unknown).condition().unwrap().1, "UnknownStore");
    assert_eq!(known(&failed).condition().unwrap().1, "ReplicaUnavailable");
}

#[test]
fn without_replication_there_is_no_condition_and_without_an_answer_none_that_is_false() {
    let error = refused(503);
    let of = |is_wanted, summary| Known { is_wanted, summary, ..Known::default() }.condition();
    assert_eq!(of(false, None), None);
    assert_eq!(of(false, Some(Ok(None))), None);
    assert_eq!(of(false, Some(Err(&error))), None);
    for summary in [None, Some(Ok(None)), Some(Err(&error))] {
        assert_eq!(of(true, summary).unwrap().0, Status::Unknown);
    }
}

#[test]
fn a_promotion_is_told_with_what_it_left_behind() {
    let answer = |left_behind| PromotionAnswer {
        primary: "far".to_owned(),
        epoch: 2,
        generation: 41,
        was: Some("default".to_owned()),
        is_new: true,
        left_behind,
    };
    assert_eq!(
        promoted("far", Some(&answer(Some(0)))),
        "'far' takes pushes now (epoch 2, after entry 41); nothing was lost"
    );
    assert!(promoted("far", Some(&answer(Some(3)))).ends_with("3 entries that only 'default' holds are left there"));
    assert!(promoted("far", Some(&answer(None))).contains("'default' did not answer"));
    assert_eq!(promoted("third", Some(&answer(None))), "'third' takes pushes now", "that answer was about another one");
}
