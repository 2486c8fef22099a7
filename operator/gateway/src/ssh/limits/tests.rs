use super::*;

fn limits() -> Arc<Limits> {
    Limits::new(Most { open: 5, unproven: 4, of_address: 3, unproven_of_address: 2 })
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn one_address_cannot_take_all_places() {
    let (limits, one) = (limits(), address("10.0.0.1"));
    let mut first = limits.enter(one).unwrap();
    let _second = limits.enter(one).unwrap();
    assert!(limits.enter(one).is_none(), "two are unproven");
    first.prove();
    first.prove();
    let mut third = limits.enter(one).unwrap();
    third.prove();
    assert!(limits.enter(one).is_none(), "three are open");
    let _other = limits.enter(address("10.0.0.2")).unwrap();
    drop(first);
    assert!(limits.enter(one).is_some());
}

#[test]
fn places_are_bounded_in_all_and_come_back() {
    let limits = limits();
    let mut places: Vec<Place> =
        (1..=4).map(|last| limits.enter(address(&format!("10.0.0.{last}"))).unwrap()).collect();
    assert!(limits.enter(address("10.0.0.9")).is_none(), "four are unproven");
    places.iter_mut().for_each(Place::prove);
    places.push(limits.enter(address("10.0.0.9")).unwrap());
    assert!(limits.enter(address("10.0.0.10")).is_none(), "five are open");
    places.clear();
    assert!(limits.counts.lock().unwrap().by_address.is_empty(), "nothing is remembered of who has gone");
    assert!(limits.enter(address("10.0.0.10")).is_some());
}

#[test]
fn addresses_of_one_network_are_one_client() {
    let limits = limits();
    let _first = limits.enter(address("2001:db8::1")).unwrap();
    let _second = limits.enter(address("2001:db8::ffff:2")).unwrap();
    assert!(limits.enter(address("2001:db8::3")).is_none());
    assert!(limits.enter(address("2001:db8:0:1::3")).is_some());
    assert_eq!(network_of(address("::ffff:10.0.0.1")), address("10.0.0.1"));
}
