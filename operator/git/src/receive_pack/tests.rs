//! Requests as git writes them, and as it does not.

use gix::ObjectId;
use model::{ObjectFormat, limits::Limits};
use proptest::prelude::*;

use super::*;
use crate::pktline;

const ZERO: &str = "0000000000000000000000000000000000000000";
const ONE: &str = "1111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222";

/// Lines with a flush packet after them.
fn lines(lines: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        pktline::push(&mut out, &[line.as_bytes()]);
    }
    out.extend_from_slice(pktline::FLUSH);
    out
}

fn read(bytes: &[u8]) -> Result<Option<Request>, Refusal> {
    parse(&mut &*bytes, ObjectFormat::Sha1, &Limits::default())
}

fn good(bytes: &[u8]) -> Request {
    read(bytes).unwrap().unwrap()
}

#[test]
fn push_of_a_branch_is_read_and_the_pack_is_left() {
    let first =
        format!("{ONE} {TWO} refs/heads/main\0 report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5");
    let mut bytes = lines(&[&first]);
    bytes.extend_from_slice(b"PACK...");
    let mut input = bytes.as_slice();
    let request = parse(&mut input, ObjectFormat::Sha1, &Limits::default()).unwrap().unwrap();
    assert_eq!(input, b"PACK...");
    assert!(request.pack_follows && request.refused.is_empty());
    let [command] = request.commands.as_slice() else { panic!("one command") };
    assert_eq!(command.name.to_string(), "refs/heads/main");
    assert_eq!(command.old, ObjectId::from_hex(ONE.as_bytes()).ok());
    assert_eq!(command.new, ObjectId::from_hex(TWO.as_bytes()).ok());
    let capabilities = &request.capabilities;
    assert!(capabilities.report_status && capabilities.report_status_v2 && capabilities.sideband);
    assert!(!capabilities.atomic && !capabilities.quiet && !capabilities.push_options);
    assert_eq!(capabilities.agent.as_ref().unwrap(), "git/2.39.5");
}

#[test]
fn deletions_alone_have_no_pack() {
    let first = format!("{ONE} {ZERO} refs/heads/a\0report-status delete-refs atomic quiet\n");
    let request = good(&lines(&[&first, &format!("{ONE} {ZERO} refs/tags/b\n")]));
    assert!(!request.pack_follows && request.capabilities.atomic && request.capabilities.quiet);
    assert_eq!(request.commands.len(), 2);
    assert!(request.commands.iter().all(|command| command.new.is_none()));
    let mixed = good(&lines(&[&first, &format!("{ZERO} {TWO} refs/tags/b")]));
    assert!(mixed.pack_follows);
    assert_eq!(mixed.commands[1].old, None);
}

#[test]
fn refused_command_still_announces_its_pack() {
    let request = good(&lines(&[&format!("{ZERO} {ONE} HEAD\0report-status")]));
    assert!(request.pack_follows && request.commands.is_empty());
    assert_eq!(request.refused[0].name, "HEAD");
}

#[test]
fn nothing_wanted_is_nothing() {
    assert!(read(b"0000").unwrap().is_none(), "git asks so whether its password is good");
    assert!(read(b"").unwrap().is_none());
}

#[test]
fn options_follow_the_commands() {
    let mut bytes = lines(&[&format!("{ZERO} {ONE} refs/heads/a\0report-status push-options")]);
    bytes.extend(lines(&["ci.skip\n", "reviewer=bob"]));
    assert_eq!(good(&bytes).push_options, ["ci.skip", "reviewer=bob"]);

    let head = lines(&[&format!("{ZERO} {ONE} refs/heads/a\0push-options")]);
    for bad in [lines(&["x"; 129]), lines(&[&"x".repeat(5_000)]), lines(&["a\nb"]), b"0001".to_vec(), Vec::new()] {
        assert!(read(&[head.clone(), bad].concat()).is_err());
    }
}

const SIGNED: &str = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n";

/// A certificate for this header and these commands.
fn certificate(header: &str, commands: &str) -> String {
    format!("certificate version 0.1\n{header}\n{commands}{SIGNED}")
}

/// A signed push as git writes it, with further lines.
fn signed(text: &str, more: &[&str]) -> Vec<u8> {
    let first = "push-cert\0report-status side-band-64k push-options session-id=s1";
    let cut: Vec<&str> = text.split_inclusive('\n').collect();
    lines(&[&[first], &*cut, &["push-cert-end\n"], more].concat())
}

const HEADER: &str = "pusher SHA256:x 1700000000 +0000\npushee http://host/a/b\nnonce 17-ab\npush-option ci.skip\n";

#[test]
fn commands_of_a_signed_push_come_from_its_certificate() {
    let text = certificate(HEADER, &format!("{ZERO} {ONE} refs/heads/a\n{TWO} {ZERO} refs/heads/b\n"));
    let mut bytes = signed(&text, &[]);
    bytes.extend(lines(&["ci.skip\n"]));
    bytes.extend_from_slice(b"PACK");
    let mut input = bytes.as_slice();
    let request = parse(&mut input, ObjectFormat::Sha1, &Limits::default()).unwrap().unwrap();
    assert_eq!(input, b"PACK");
    let names: Vec<_> = request.commands.iter().map(|command| command.name.to_string()).collect();
    assert_eq!(names, ["refs/heads/a", "refs/heads/b"]);
    assert!(request.pack_follows && request.capabilities.report_status && !request.is_shallow);
    assert_eq!(request.capabilities.client.session_id.as_deref(), Some("s1"));
    let signed = request.certificate.unwrap();
    assert_eq!((signed.text, signed.format, &*signed.nonce), (text.into(), "ssh", "17-ab"));
    assert_eq!((signed.pusher, signed.push_options), ("SHA256:x 1700000000 +0000".into(), vec!["ci.skip".into()]));
}

#[test]
fn certificates_that_say_something_else_are_refused_in_words() {
    let command = format!("{ZERO} {ONE} refs/heads/a\n");
    let good = certificate(HEADER, &command);
    let options = lines(&["ci.skip"]);
    let refused = |bytes: Vec<u8>| read(&[bytes, options.clone()].concat()).unwrap_err().to_string();
    for (bytes, words) in [
        (signed(&good, &[&command]), "the commands differ"),
        (signed(&good, &[&format!("{ZERO} {TWO} refs/heads/a")]), "the commands differ"),
        (lines(&[&format!("{command}\0report-status"), "push-cert\n", "push-cert-end\n"]), "the commands differ"),
        (signed(&good.replace("ci.skip", "ci.run"), &[]), "the push options differ"),
        (signed(&good.replace("push-option ci.skip\n", ""), &[]), "the push options differ"),
        (signed(&good.replace("0.1", "0.2"), &[]), "version 0.1"),
        (signed(&good.replace("nonce 17-ab\n", ""), &[]), "no nonce"),
        (signed(&good.replace("nonce 17-ab", "nonce 17-ab\nnonce 18-ab"), &[]), "no nonce, or several"),
        (signed(&good.replace("pusher", "someone"), &[]), "no pusher"),
        (signed(&good.replace(SIGNED, ""), &[]), "no signature"),
        (signed(&good.replace(&command, ""), &[]), "no commands"),
        (signed("certificate version 0.1\n", &[]), "no commands"),
        (signed(&good.replace(&command, "nonsense\n"), &[]), "not a command"),
        (signed(&format!("{good}{}", "x\n".repeat(40_000)), &[]), "larger than 65536 bytes"),
        (lines(&["push-cert\0report-status", &good]), "not a command"),
    ] {
        let refusal = refused(bytes);
        assert!(refusal.contains(words), "{words}: {refusal}");
    }
    assert!(read(&[signed(&good, &[]), options].concat()).is_ok());
    for cut in [27, 60, 400] {
        let refusal = read(&signed(&good, &[])[..cut]).unwrap_err().to_string();
        assert!(refusal.contains("ends"), "{cut}: {refusal}");
    }
}

#[test]
fn names_that_are_none_are_refused_one_by_one() {
    let names = [
        "refs/heads/main",
        "HEAD",
        "refs/heads/../../etc",
        "refs/heads/-x",
        "refs/heads/a b",
        "refs/codekeep/secret",
        "refs/heads/x.lock",
        "refs/heads/a\u{7f}",
    ];
    let commands: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(n, name)| format!("{ZERO} {ONE} {name}{}", if n == 0 { "\0report-status" } else { "" }))
        .collect();
    let request = good(&lines(&commands.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(request.commands.len(), 1);
    let refused: Vec<_> = request.refused.iter().map(|refused| refused.name.to_string()).collect();
    assert_eq!(refused, names[1..]);
}

#[test]
fn reference_that_comes_twice_is_refused_both_times() {
    let first = format!("{ZERO} {ONE} refs/heads/a\0report-status");
    let request = good(&lines(&[&first, &format!("{ZERO} {TWO} refs/heads/a"), &format!("{ZERO} {TWO} refs/heads/b")]));
    assert_eq!(request.commands.len(), 1);
    assert_eq!(request.commands[0].name.to_string(), "refs/heads/b");
    assert_eq!(request.refused.len(), 2);
}

#[test]
fn what_is_not_offered_is_refused_in_words() {
    let line = format!("{ZERO} {ONE} refs/heads/a\0report-status side-band-64k");
    let sha256 = format!("{line} object-format=sha256");
    for (bytes, words) in [
        (lines(&["shallow 12", &line]), "not a command"),
        (lines(&[&sha256]), "this repository has object-format sha1, not sha256"),
        (lines(&["nonsense"]), "not a command"),
        (lines(&[&format!("{ZERO} {ONE}")]), "not a command"),
        (lines(&[&line])[..100].to_vec(), "middle"),
        (b"zzzz".to_vec(), "pkt-line"),
    ] {
        let refusal = read(&bytes).unwrap_err();
        assert!(refusal.to_string().contains(words), "{refusal}");
        let mut answer = Vec::new();
        write_refusal(&refusal, &mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let channel = if refusal.capabilities.sideband { "\u{3}" } else { "ERR " };
        assert!(answer[4..].starts_with(channel), "{answer:?}");
    }
}

#[test]
fn too_many_references_are_refused() {
    let limits = Limits { refs_per_push: 3, ..Limits::default() };
    let commands: Vec<String> = (0..4).map(|n| format!("{ZERO} {ONE} refs/heads/{n}")).collect();
    let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
    assert!(parse(&mut &*lines(&commands[..3]), ObjectFormat::Sha1, &limits).unwrap().is_some());
    let refusal = parse(&mut &*lines(&commands), ObjectFormat::Sha1, &limits).unwrap_err();
    assert!(refusal.to_string().starts_with("the push changes more than 3 references: push them in parts"));
}

#[test]
fn report_names_every_reference() {
    let first = format!("{ZERO} {ONE} refs/heads/a\0report-status");
    let request = good(&lines(&[&first, &format!("{ZERO} {ONE} refs/heads/b"), &format!("{ZERO} {ONE} HEAD")]));
    let names: Vec<_> = request.commands.iter().map(|command| command.name.clone()).collect();
    let report = Report {
        unpack: Ok(()),
        refs: vec![(names[0].clone(), Ok(())), (names[1].clone(), Err("denied\nby policy".to_owned()))],
    };
    let expected = lines(&[
        "unpack ok\n",
        "ok refs/heads/a\n",
        "ng refs/heads/b denied by policy\n",
        "ng HEAD a reference name starts with refs/ and has a name after it\n",
    ]);
    assert_eq!(String::from_utf8(report.encode(&request)), String::from_utf8(expected));

    let failed = Report::all(&request, Err("the pack ends early".to_owned()), "unpacker error");
    let text = String::from_utf8(failed.encode(&request)).unwrap();
    assert!(text.contains("unpack the pack ends early\n") && text.contains("ng refs/heads/b unpacker error\n"));

    let silent = good(&lines(&[&format!("{ZERO} {ONE} refs/heads/a")]));
    assert!(report.encode(&silent).is_empty(), "no report was asked for");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = read(&bytes);
    }

    #[test]
    fn arbitrary_lines_never_panic(
        texts in proptest::collection::vec("[0-9a-f]{39,41} ?[0-9a-f]{40} ?(refs/heads/)?.{0,20}", 0..5),
        certificate in "(certificate version 0.1\n)?(pusher x\n|nonce y\n|\n){0,5}.{0,9}\n(-----BEGIN SSH SIGNATURE-----\n)?",
        words in "(report-status|push-options|side-band-64k|object-format=sha256|agent=.{0,9}| ){0,6}",
    ) {
        let mut texts = texts;
        if let Some(first) = texts.first_mut() {
            first.push('\0');
            first.push_str(&words);
        }
        let _ = read(&signed(&certificate, &[]));
        let bytes = lines(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        if let Ok(Some(request)) = read(&bytes) {
            prop_assert_eq!(request.commands.len() + request.refused.len(), texts.len());
        }
    }
}
