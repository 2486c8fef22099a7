use jiff::{SignedDuration, Timestamp};

use super::{Authority, PkiError, new_request, not_after};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_authority_survives_being_written_down() {
    let made = Authority::generate(now(), DAY * 365).unwrap();
    let loaded = Authority::load(made.certificate_pem(), made.key_pem()).unwrap();
    assert_eq!(loaded.not_after(), now() + DAY * 365);
    let leaf = loaded.issue(&names(&["hello.team-a.svc", "*.team-a.svc.cluster.local"]), now(), DAY).unwrap();
    assert_eq!(not_after(&leaf.certificate_pem).unwrap(), now() + DAY);
}

#[test]
fn certificate_and_key_of_different_authorities_are_refused() {
    let (one, other) = (Authority::generate(now(), DAY).unwrap(), Authority::generate(now(), DAY).unwrap());
    let mixed = Authority::load(one.certificate_pem(), other.key_pem());
    assert!(matches!(mixed, Err(PkiError::WrongKey)));
    assert!(Authority::load("", one.key_pem()).is_err());
    assert!(Authority::load(one.certificate_pem(), "no key").is_err());
}

#[test]
fn a_request_gets_its_own_names_and_no_others() {
    let authority = Authority::generate(now(), DAY * 365).unwrap();
    let own = names(&["hello.team-a.svc", "hello.team-a.svc.cluster.local"]);
    let (_, request) = new_request(&own).unwrap();
    let certificate = authority.sign_request(&request, &own, now(), DAY).unwrap();
    assert_eq!(not_after(&certificate).unwrap(), now() + DAY);
    let (_, foreign) = new_request(&names(&["hello.team-a.svc", "secret.team-b.svc"])).unwrap();
    assert!(matches!(authority.sign_request(&foreign, &own, now(), DAY), Err(PkiError::ForeignName(_))));
    let (_, address) = new_request(&names(&["10.0.0.1"])).unwrap();
    assert!(matches!(authority.sign_request(&address, &own, now(), DAY), Err(PkiError::ForeignName(_))));
    let (_, nothing) = new_request(&[]).unwrap();
    assert!(matches!(authority.sign_request(&nothing, &own, now(), DAY), Err(PkiError::Names(0))));
    assert!(authority.sign_request("no request", &own, now(), DAY).is_err());
}
