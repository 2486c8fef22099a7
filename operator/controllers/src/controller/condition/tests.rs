use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn once(status: &Value, word: Status, now: i64) -> Value {
    let mut conditions = Conditions::new(status, 3, at(now));
    conditions.set("Ready", word, "Serving", "x");
    json!({"conditions": conditions.into_json()})
}

#[test]
fn the_transition_time_moves_with_the_status_and_with_nothing_else() {
    let first = once(&json!({}), Status::False, 0);
    assert_eq!(first["conditions"][0]["lastTransitionTime"], "1970-01-01T00:00:00Z");
    assert_eq!(once(&first, Status::False, 60), first, "an equal status is equal, so that it is not written");
    let turned = once(&first, Status::True, 60);
    assert_eq!(turned["conditions"][0]["lastTransitionTime"], "1970-01-01T00:01:00Z");
}

#[test]
fn reconciling_and_stalled_are_there_only_when_they_are_true() {
    let kinds = |summary: &Summary| {
        let mut conditions = Conditions::new(&json!({}), 1, at(0));
        conditions.summarize(summary);
        let all = conditions.into_json();
        let kinds = all.as_array().unwrap().iter().map(|one| format!("{}={}", one["type"], one["status"]));
        kinds.collect::<Vec<_>>().join(" ").replace('"', "")
    };
    let message = String::new;
    assert_eq!(kinds(&Summary::Ready { reason: "A", message: message() }), "Ready=True");
    assert_eq!(kinds(&Summary::NotReady { reason: "A", message: message() }), "Ready=False");
    assert_eq!(kinds(&Summary::Progressing { reason: "A", message: message() }), "Ready=False Reconciling=True");
    assert_eq!(kinds(&Summary::Stalled { reason: "A", message: message() }), "Ready=False Stalled=True");
}

#[test]
fn a_message_is_cut_to_what_the_api_server_takes() {
    let mut conditions = Conditions::new(&json!({}), 1, at(0));
    conditions.set("Ready", Status::True, "A", "ü".repeat(100_000));
    let all = conditions.into_json();
    assert_eq!(all[0]["message"].as_str().unwrap().chars().count(), MAX_MESSAGE);
}
