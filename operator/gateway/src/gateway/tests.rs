use model::clock::SystemRandom;

use super::*;

fn path(number: usize) -> RepositoryPath {
    format!("team-a/r{number}").parse().unwrap()
}

fn paths(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<RepositoryPath> {
    numbers.into_iter().map(path).collect()
}

#[test]
fn pushes_are_told_once_to_whoever_asks_on() {
    let mut pushes = Pushes::new(&SystemRandom);
    let begin = pushes.since(0);
    assert!(begin.missed, "who never asked cannot know what it missed");
    let quiet = RecentPushes { next: begin.next, missed: false, paths: BTreeSet::new() };
    assert_eq!(pushes.since(begin.next), quiet);
    for number in [1, 2, 1] {
        pushes.add(&path(number));
    }
    let told = pushes.since(begin.next);
    assert_eq!((told.missed, told.paths), (false, paths([1, 2])));
    assert_eq!(pushes.since(told.next).paths, BTreeSet::new());
    pushes.add(&path(3));
    assert_eq!(pushes.since(told.next).paths, paths([3]));
}

#[test]
fn forgotten_pushes_and_numbers_of_another_life_are_told_as_missed_with_all_that_is_known() {
    let mut pushes = Pushes::new(&SystemRandom);
    let begin = pushes.next;
    for number in 0..=MAX_PUSHES {
        pushes.add(&path(number));
    }
    assert_eq!(pushes.paths.len(), MAX_PUSHES);
    assert!(!pushes.since(begin + 1).missed);
    for after in [0, begin, pushes.next + 1, u64::MAX] {
        let told = pushes.since(after);
        assert!(told.missed, "{after}");
        assert_eq!((told.next, told.paths), (pushes.next, paths(1..=MAX_PUSHES)));
    }
}

#[test]
fn two_lives_of_a_server_count_from_different_numbers() {
    let (one, other) = (Pushes::new(&SystemRandom), Pushes::new(&SystemRandom));
    assert_ne!(one.next, other.next);
    assert!(one.next > 0 && one.next < 1 << 48);
}
