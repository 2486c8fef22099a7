use model::ObjectFormat;
use proptest::prelude::*;

use super::{Acknowledge, Command, Form, RequestError, parse_v0, parse_v2, parse_wants_v0};
use crate::upload_pack::Filter;
use crate::{client::Client, pktline::push, sideband::Band};

const ID: &str = "1234567890123456789012345678901234567890";

fn wire(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        match *line {
            "0000" | "0001" | "0002" => out.extend_from_slice(line.as_bytes()),
            line => push(&mut out, &[line.as_bytes(), b"\n"]),
        }
    }
    out
}

#[test]
fn session_of_a_client_is_heard_whatever_it_asks_for() {
    let first = format!("want {ID} ofs-delta session-id=20261126T1.5Z-H1-P9 agent=git/2.39.5");
    let fetch = ["command=fetch", "session-id=20261126T1.5Z-H1-P9", "0001", "done", "0000"];
    let list = ["command=ls-refs", "session-id=20261126T1.5Z-H1-P9", "0000"];
    let (mut zero, mut stream, mut two, mut listing) = Default::default();
    parse_v0(&mut &*wire(&[&first, "0000", "done"]), ObjectFormat::Sha1, &mut zero).unwrap().unwrap();
    parse_wants_v0(&mut &*wire(&[&first, "0000"]), ObjectFormat::Sha1, &mut stream).unwrap().unwrap();
    parse_v2(&mut &*wire(&fetch), ObjectFormat::Sha1, &mut two).unwrap();
    parse_v2(&mut &*wire(&list), ObjectFormat::Sha1, &mut listing).unwrap();
    let expected = Client { session_id: Some("20261126T1.5Z-H1-P9".to_owned()), ..Client::default() };
    assert_eq!([zero, stream, two, listing], [(); 4].map(|()| expected.clone()));
    let mut silent = Client::default();
    parse_v2(&mut &*wire(&["command=ls-refs", "session-id", "0000"]), ObjectFormat::Sha1, &mut silent).unwrap();
    assert_eq!(silent, Client::default());
}

fn v2(lines: &[&str]) -> Result<Command, RequestError> {
    parse_v2(&mut &*wire(lines), ObjectFormat::Sha1, &mut Client::default())
}

fn refused(result: Result<Command, RequestError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_fetch_of_version_2_is_understood() {
    let want = format!("want {ID}");
    let lines = [
        "command=fetch",
        "agent=git/2.47",
        "object-format=sha1",
        "0001",
        "thin-pack",
        "ofs-delta",
        "include-tag",
        &want,
        "done",
        "0000",
    ];
    let Ok(Command::Fetch(request)) = v2(&lines) else { panic!("a fetch") };
    assert!(request.thin_pack && request.ofs_delta && request.include_tag && request.done && !request.no_progress);
    assert_eq!(request.wants.len(), 1);
    assert_eq!(request.form, Form::V2 { wait_for_done: false });
}

#[test]
fn ls_refs_without_arguments_is_understood() {
    assert!(matches!(v2(&["command=ls-refs", "0000"]), Ok(Command::LsRefs(request)) if request.prefixes.is_empty()));
    let lines =
        ["command=ls-refs", "0001", "peel", "symrefs", "unborn", "ref-prefix refs/heads/", "ref-prefix HEAD", "0000"];
    let Ok(Command::LsRefs(request)) = v2(&lines) else { panic!("ls-refs") };
    assert!(request.peel && request.symrefs && request.unborn);
    assert_eq!(request.prefixes, ["refs/heads/", "HEAD"]);
}

#[test]
fn an_empty_request_is_nothing() {
    assert_eq!(v2(&[]).unwrap(), Command::Nothing);
    assert_eq!(v2(&["0000"]).unwrap(), Command::Nothing);
    assert_eq!(parse_v0(&mut &b"0000"[..], ObjectFormat::Sha1, &mut Client::default()).unwrap(), None);
}

#[test]
fn what_is_not_offered_is_refused_in_words() {
    let ask = |line: &str| refused(v2(&["command=fetch", "0001", line, "0000"]));
    assert!(ask("filter sparse:path=main").contains("sparse"));
    assert!(ask("packfile-uris https").contains("packfile-uris"));
    assert!(ask("nonsense").contains("unexpected"));
    assert!(refused(v2(&["command=bundle-uri", "0001", "all", "0000"])).contains("all"));
    assert!(refused(v2(&["command=fetch", "object-format=sha256", "0001", "0000"])).contains("object-format"));
    assert!(refused(v2(&["command=fetch", "0001", "want 12", "0000"])).contains("unexpected"));
    assert!(refused(v2(&["command=fetch", "0001", "done"])).contains("ends in the middle"));
}

#[test]
fn where_a_bundle_is_can_be_asked() {
    for lines in [&["command=bundle-uri", "0000"][..], &["agent=git/2.55.0", "command=bundle-uri", "0001", "0000"]] {
        assert_eq!(v2(lines).unwrap(), Command::BundleUri);
    }
}

#[test]
fn what_is_left_out_of_a_history_is_understood_in_all_versions() {
    let lines = [&format!("shallow {ID}"), "deepen 3", "deepen-relative", "filter blob:none"];
    let Ok(Command::Fetch(two)) = v2(&[&["command=fetch", "0001"], &lines[..], &["0000"]].concat()) else { panic!() };
    let first = format!("want {ID} shallow filter deepen-relative");
    let zero = wire(&[&first, lines[0], lines[1], lines[3], "0000", "done"]);
    let zero = parse_v0(&mut &*zero, ObjectFormat::Sha1, &mut Client::default()).unwrap().unwrap();
    for request in [two, zero] {
        assert_eq!((request.shallow.len(), request.deepen.depth, request.deepen.relative), (1, Some(3), true));
        assert_eq!(request.filter, Filter::parse(b"blob:none").ok());
    }
    let lines =
        ["deepen-since 12", "deepen-not refs/heads/a", "deepen-not b", "want-ref refs/heads/main", "sideband-all"];
    let Ok(Command::Fetch(request)) =
        v2(&[&["command=fetch", "server-option=x", "0001"], &lines[..], &["0000"]].concat())
    else {
        panic!()
    };
    assert_eq!((request.deepen.since, request.deepen.not.len(), request.want_refs.len()), (Some(12), 2, 1));
    assert!(request.sideband_all && request.deepen.is_asked());
    let ask = format!("oid {ID}");
    let Ok(Command::ObjectInfo(request)) = v2(&["command=object-info", "0001", "size", &ask, "0000"]) else { panic!() };
    assert!(request.size && request.ids.len() == 1);
}

#[test]
fn a_request_of_version_0_is_understood() {
    let first = format!("want {ID} multi_ack_detailed no-done side-band-64k thin-pack ofs-delta agent=git/2.39");
    let lines = wire(&[&first, &format!("want {ID}"), "0000", &format!("have {ID}"), "0000", "done"]);
    let request = parse_v0(&mut &*lines, ObjectFormat::Sha1, &mut Client::default()).unwrap().unwrap();
    assert_eq!(request.form, Form::V0 { acknowledge: Acknowledge::Detailed, no_done: true });
    assert_eq!((request.band, request.done, request.haves.len(), request.wants.len()), (Band::Large, true, 1, 2));
}

proptest! {
    #[test]
    fn lines_in_any_order_never_panic(
        lines in prop::collection::vec(prop::sample::select(vec![
            "0000", "0001", "0002", "command=fetch", "command=ls-refs", "done", "thin-pack", "agent=x", "want ", "have \u{e9}",
            "want 1234567890123456789012345678901234567890", "have 1234567890123456789012345678901234567890",
            "want 1234567890123456789012345678901234567890 side-band-64k ofs-delta", "deepen 1", "deepen-since -9", "filter combine:tree:1+", "shallow x", "want-ref ", "oid ", "command=object-info",
            "ref-prefix refs/", "peel", "",
        ]), 0..12)
    ) {
        let _ = v2(&lines);
        let _ = parse_v0(&mut &*wire(&lines), ObjectFormat::Sha1, &mut Client::default());
    }

    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse_v2(&mut &*bytes, ObjectFormat::Sha1, &mut Client::default());
        let _ = parse_v0(&mut &*bytes, ObjectFormat::Sha1, &mut Client::default());
    }
}

#[test]
fn clients_of_another_object_format_are_told() {
    let (long, short) = ("a".repeat(64), "a".repeat(40));
    let ask = |format: ObjectFormat, lines: &[&str]| parse_v2(&mut &*wire(lines), format, &mut Client::default());
    let fetch = |named: &'static str, id: &str| {
        let named = format!("object-format={named}");
        ask(ObjectFormat::Sha256, &["command=fetch", &named, "0001", &format!("want {id}"), "0000"])
    };
    assert!(matches!(fetch("sha256", &long), Ok(Command::Fetch(_))));
    let silent = ask(ObjectFormat::Sha256, &["command=ls-refs", "0000"]);
    for refusal in [fetch("sha1", &short), silent] {
        let words = "upload-pack: this repository has object-format sha256, not sha1";
        assert_eq!(refusal.unwrap_err().to_string(), words);
    }
    let odd = ask(ObjectFormat::Sha1, &["command=ls-refs", "object-format=md5\n\u{1b}", "0000"]);
    assert_eq!(odd.unwrap_err().to_string(), "upload-pack: this repository has object-format sha1, not md5");
    // Git itself does not say it in version 0.
    let zero = |words: &str| {
        let lines = [&*format!("want {long}{words}"), "0000", "done"];
        parse_v0(&mut &*wire(&lines), ObjectFormat::Sha256, &mut Client::default())
    };
    assert!(zero("").unwrap().is_some() && zero(" object-format=sha256").unwrap().is_some());
    assert!(zero(" object-format=sha1").is_err());
}
