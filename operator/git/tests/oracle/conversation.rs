//! Conversations of versions 0 and 1 on a stream, against what `git upload-pack` answers to the same lines.

use std::{fmt::Write as _, sync::atomic::AtomicBool};

use git::{
    client::Client,
    pktline::push,
    upload_pack::{self, Error, Outcome},
};
use gix::ObjectId;

use super::{
    fetch::{client, expected, split, take},
    fixture::{Dice, Fixture, format, git_in, nobody},
};

const DETAILED: &str = "multi_ack_detailed side-band-64k thin-pack ofs-delta agent=git/2";

/// What a client sends: wants, then these lines; an empty one ends a round.
fn wire(wants: &[ObjectId], capabilities: &str, lines: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for (number, id) in wants.iter().enumerate() {
        let words = if number == 0 { format!(" {capabilities} object-format={}", format()) } else { String::new() };
        push(&mut wire, &[format!("want {id}{words}\n").as_bytes()]);
    }
    wire.extend_from_slice(b"0000");
    for line in lines.lines() {
        if line.is_empty() { wire.extend_from_slice(b"0000") } else { push(&mut wire, &[line.as_bytes(), b"\n"]) }
    }
    wire
}

fn ours(fixture: &Fixture, wire: &[u8]) -> (Result<Outcome, Error>, Vec<u8>) {
    let (mut input, mut out) = (wire, Vec::new());
    let request = upload_pack::parse_wants_v0(&mut input, format(), &mut Client::default()).unwrap().unwrap();
    let never = AtomicBool::new(false);
    let outcome = upload_pack::converse(&request, &mut input, &fixture.view(), &mut out, "(request 1)", &never);
    (outcome, out)
}

/// The lines that come before the pack.
fn acknowledgements(answer: &[u8]) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), answer);
    while rest.len() > 8 && matches!(&rest[4..8], b"ACK " | b"NAK\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..4]).unwrap(), 16).unwrap();
        lines.push(String::from_utf8_lossy(&rest[4..length]).trim_end().to_owned());
        rest = &rest[length..];
    }
    lines
}

/// What git answers, without its advertisement.
fn gits(fixture: &Fixture, wire: &[u8]) -> Vec<String> {
    let answer = git_in(&fixture.origin(), &["upload-pack", "--strict", "."], wire);
    let begin = answer.windows(5).position(|five| five == b"\n0000").unwrap() + 5;
    acknowledgements(&answer[begin..])
}

#[test]
fn conversations_are_acknowledged_as_by_git_and_end_with_the_pack() {
    let fixture = Fixture::new(13, 60, 3, true);
    let tip = fixture.refs[&fixture.head].id;
    let mut dice = Dice(7);
    let mut readies = 0;
    for round in 0..40 {
        let mut lines = String::new();
        let mut haves = Vec::new();
        for _ in 0..dice.roll(4) {
            for _ in 0..dice.roll(3) {
                let id = fixture.commits[dice.roll(fixture.commits.len())];
                // Clients do not repeat themselves on a stream, and what git then says of it is an accident.
                if haves.contains(&id) {
                    continue;
                }
                let _ = writeln!(lines, "have {id}");
                haves.push(id);
            }
            lines.push('\n');
        }
        lines += "done\n";
        for capabilities in [DETAILED, "side-band-64k ofs-delta"] {
            let wire = wire(&[tip], capabilities, &lines);
            let (outcome, answer) = ours(&fixture, &wire);
            assert!(outcome.unwrap().objects < 1_000_000);
            let heard = acknowledgements(&answer);
            // git also stops asking when a parent of what is common is reached; nothing is lost by asking on.
            let settled = |lines: &[String]| -> Vec<String> {
                lines.iter().filter(|line| !line.ends_with(" ready")).cloned().collect()
            };
            let theirs = gits(&fixture, &wire);
            assert_eq!(settled(&heard), settled(&theirs), "{capabilities}:\n{lines}");
            let ready = |lines: &[String]| lines.iter().filter(|line| line.ends_with(" ready")).count();
            assert!(ready(&heard) <= ready(&theirs), "{heard:?} {theirs:?}");
            readies += ready(&heard);
            if round % 8 == 0 && capabilities == DETAILED {
                let length: usize = heard.iter().map(|line| line.len() + 5).sum();
                let (_, pack) = split(&answer[length..], true);
                let client = client(&fixture, &format!("client-{round}"), &haves);
                assert!(take(&client, &pack, &[tip]).is_superset(&expected(&fixture, &[tip], &haves)));
            }
        }
    }
    assert!(readies > 0, "some conversations end early");
}

#[test]
fn what_only_the_client_has_is_not_acknowledged() {
    let fixture = Fixture::new(13, 60, 3, true);
    let (tip, old) = (fixture.refs[&fixture.head].id, fixture.commits[0]);
    let foreign = "4".repeat(format().len_in_hex());
    for capabilities in [DETAILED, "side-band-64k ofs-delta"] {
        for lines in [
            format!("have {foreign}\n\ndone\n"),
            format!("have {foreign}\n\nhave {foreign}\n\nhave {old}\n\ndone\n"),
            "\n\n\ndone\n".to_owned(),
        ] {
            let wire = wire(&[tip], capabilities, &lines);
            assert_eq!(acknowledgements(&ours(&fixture, &wire).1), gits(&fixture, &wire), "{capabilities}:\n{lines}");
        }
    }
}

#[test]
fn without_done_the_pack_comes_when_enough_is_common() {
    let fixture = Fixture::new(13, 60, 3, true);
    let (tip, old) = (fixture.refs[&fixture.head].id, fixture.commits[0]);
    let wire = wire(&[tip], &format!("no-done {DETAILED}"), &format!("have {old}\n\n"));
    let (outcome, answer) = ours(&fixture, &wire);
    assert!(outcome.unwrap().objects > 0);
    let heard = acknowledgements(&answer);
    assert_eq!(heard, [format!("ACK {old} common"), format!("ACK {old} ready"), "NAK".into(), format!("ACK {old}")]);
}

#[test]
fn a_client_that_says_nonsense_is_told_and_one_that_goes_is_noticed() {
    let fixture = Fixture::new(13, 60, 3, true);
    let tip = fixture.refs[&fixture.head].id;
    let (outcome, answer) = ours(&fixture, &wire(&[tip], DETAILED, "have 12\ndone\n"));
    assert!(outcome.unwrap().refused.is_some());
    assert!(answer[4..].starts_with(b"ERR upload-pack: "));
    for lines in [String::new(), format!("have {}\n\n", nobody())] {
        let (outcome, _) = ours(&fixture, &wire(&[tip], DETAILED, &lines));
        assert!(matches!(outcome, Err(Error::Read(_))), "{outcome:?}");
    }
    let hidden = ObjectId::from_hex("5".repeat(format().len_in_hex()).as_bytes()).unwrap();
    let (outcome, answer) = ours(&fixture, &wire(&[hidden], DETAILED, "done\n"));
    assert!(outcome.unwrap().refused.unwrap().contains("not our ref"));
    assert!(answer[4..].starts_with(b"ERR upload-pack: not our ref"));
}

#[test]
fn no_input_makes_it_panic() {
    let fixture = Fixture::new(13, 60, 3, true);
    let (tip, old) = (fixture.refs[&fixture.head].id, fixture.commits[0]);
    let good = wire(&[tip, old], DETAILED, &format!("have {old}\n\nhave {tip}\n\ndone\n"));
    let mut dice = Dice(3);
    for _ in 0..2_000 {
        let mut bytes = good.clone();
        for _ in 0..=dice.roll(4) {
            let at = dice.roll(bytes.len());
            match dice.roll(3) {
                0 => bytes[at] = u8::try_from(dice.roll(256)).unwrap(),
                1 => bytes.truncate(at.max(8)),
                _ => drop(bytes.splice(at..at, *b"0000")),
            }
        }
        let (mut input, mut out) = (&*bytes, Vec::new());
        let Ok(Some(request)) = upload_pack::parse_wants_v0(&mut input, format(), &mut Client::default()) else {
            continue;
        };
        let never = AtomicBool::new(false);
        let _ = upload_pack::converse(&request, &mut input, &fixture.view(), &mut out, "", &never);
    }
}

/// Remembers the largest write.
struct Largest(usize);

impl std::io::Write for Largest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.max(bytes.len());
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn acknowledgements_are_not_gathered_without_bound() {
    let fixture = Fixture::new(13, 60, 3, true);
    let (tip, old) = (fixture.refs[&fixture.head].id, fixture.commits[0]);
    let wire = wire(&[tip], DETAILED, &format!("{}done\n", format!("have {old}\n").repeat(20_000)));
    let (mut input, mut out) = (&*wire, Largest(0));
    let request = upload_pack::parse_wants_v0(&mut input, format(), &mut Client::default()).unwrap().unwrap();
    let never = AtomicBool::new(false);
    upload_pack::converse(&request, &mut input, &fixture.view(), &mut out, "", &never).unwrap();
    assert!(out.0 < 300_000, "{} bytes at once", out.0);
}
