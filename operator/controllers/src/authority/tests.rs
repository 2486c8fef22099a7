use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

/// What the Secret would give back.
fn written(data: &AuthorityData) -> Option<AuthorityData> {
    let entries: std::collections::BTreeMap<String, String> = data.entries().into();
    AuthorityData::read(|key| entries.get(key).map(|text| text.clone().into_bytes()))
}

#[test]
fn an_authority_is_made_once() {
    let (made, is_new) = plan(None, start()).unwrap();
    assert!(is_new);
    let (kept, is_new) = plan(written(&made), start() + DAY * 300).unwrap();
    assert!(!is_new);
    assert_eq!(kept, made);
}

#[test]
fn what_signs_was_published_long_before_and_stays_published_long_after() {
    let (first, _) = plan(None, start()).unwrap();
    let (prepared, is_new) = plan(written(&first), start() + DAY * 551).unwrap();
    assert!(is_new);
    assert_eq!(prepared.current, first.current, "the old one still signs");
    let next = prepared.next.clone().unwrap();
    assert!(prepared.bundle().contains(next.0.trim()), "clients learn of the next one");
    assert!(!plan(written(&prepared), start() + DAY * 600).unwrap().1);
    let (promoted, is_new) = plan(written(&prepared), start() + DAY * 611).unwrap();
    assert!(is_new);
    assert_eq!(promoted.current, next);
    assert_eq!(promoted.previous.as_deref(), Some(first.current.0.as_str()));
    assert!(promoted.bundle().contains(first.current.0.trim()));
    assert_eq!(plan(written(&promoted), start() + DAY * 612).unwrap(), (promoted, false));
}

#[test]
fn a_secret_that_makes_no_sense_is_replaced() {
    let nonsense = AuthorityData::read(|key| Some(format!("no {key}").into_bytes()));
    assert!(nonsense.is_some());
    assert!(plan(nonsense, start()).unwrap().1);
    assert_eq!(AuthorityData::read(|_| None), None);
    assert_eq!(AuthorityData::read(|_| Some(vec![0xff])), None);
}
