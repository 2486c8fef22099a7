//! Requests of the wire protocol by hand, and what has to come back.

use anyhow::Result;
use tests::protocol::{DELIMITER, FLUSH, line, packets};

use crate::git_http::Bed;

fn texts(body: &[u8]) -> Result<Vec<String>> {
    let texts =
        packets(body)?.into_iter().flatten().map(|packet| String::from_utf8_lossy(&packet).trim_end().to_owned());
    Ok(texts.collect())
}

#[test]
fn version_two_announces_what_it_does_and_nothing_else() -> Result<()> {
    let bed = Bed::filled(2)?;
    let lines = texts(&bed.raw("alice").advertisement("git-upload-pack", 2)?.body)?;
    assert!(lines.contains(&"version 2".to_owned()), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("agent=codekeep/")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("ls-refs")), "{lines:?}");
    assert!(lines.contains(&"object-format=sha1".to_owned()), "{lines:?}");
    let fetch = lines.iter().find(|line| *line == "fetch" || line.starts_with("fetch=")).cloned().unwrap_or_default();
    assert_eq!(fetch, "fetch=shallow wait-for-done filter ref-in-want sideband-all");
    Ok(())
}

#[test]
fn version_zero_announces_head_and_peeled_tags() -> Result<()> {
    let bed = Bed::filled(2)?;
    let lines = texts(&bed.raw("alice").advertisement("git-upload-pack", 0)?.body)?;
    assert!(lines.iter().any(|line| line.contains("symref=HEAD:refs/heads/main")), "{lines:?}");
    assert!(lines.iter().any(|line| line.ends_with("refs/tags/v1^{}")), "{lines:?}");
    Ok(())
}

#[test]
fn receive_pack_announces_what_pushes_may_use() -> Result<()> {
    let bed = Bed::filled(1)?;
    let text = bed.raw("alice").advertisement("git-receive-pack", 0)?.text();
    for capability in [
        "report-status",
        "report-status-v2",
        "delete-refs",
        "atomic",
        "ofs-delta",
        "side-band-64k",
        "quiet",
        "push-options",
        "object-format=sha1",
    ] {
        assert!(text.contains(capability), "{capability} is missing in {text}");
    }
    Ok(())
}

#[test]
fn ls_refs_gives_only_the_prefixes_that_were_asked_for() -> Result<()> {
    let bed = Bed::filled(2)?;
    let all = bed.raw("alice").ls_refs(&[])?;
    assert!(all.iter().any(|(_, name)| name == "HEAD"), "{all:?}");
    let tags = bed.raw("alice").ls_refs(&["refs/tags/"])?;
    assert_eq!(tags.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["refs/tags/v1"]);
    Ok(())
}

#[test]
fn a_raw_fetch_of_all_tips_brings_a_pack_and_a_second_one_brings_little() -> Result<()> {
    let bed = Bed::filled(50)?;
    let tip = bed.raw("alice").ls_refs(&["refs/heads/main"])?.remove(0).0;
    let full = bed.raw("alice").fetch(std::slice::from_ref(&tip), &[])?;
    assert!(full.objects >= 150, "{full:?}");
    let nothing = bed.raw("alice").fetch(std::slice::from_ref(&tip), std::slice::from_ref(&tip))?;
    assert!(nothing.objects < 2, "{nothing:?}");
    Ok(())
}

#[test]
fn limits_that_make_no_sense_are_refused_in_words() -> Result<()> {
    let bed = Bed::filled(3)?;
    let tip = bed.raw("alice").ls_refs(&["refs/heads/main"])?.remove(0).0;
    for options in [
        &["deepen 0"][..],
        &["deepen 2", "deepen-since 1700000000"],
        &["deepen-since 4000000000"],
        &["deepen-not refs/heads/none"],
        &["filter bogus"],
        &["filter sparse:oid=main"],
        &["want-ref refs/heads/none"],
    ] {
        let head = [line("command=fetch"), DELIMITER.to_vec(), line(format!("want {tip}\n"))].concat();
        let options_sent = options.iter().flat_map(|option| line(format!("{option}\n"))).collect();
        let body = [head, options_sent, line("done\n"), FLUSH.to_vec()].concat();
        let response = bed.raw("alice").post("git-upload-pack", 2, &[], &body)?;
        let text = response.text();
        assert!(response.status < 500 && text.contains("ERR "), "{options:?}: {} {text}", response.status);
    }
    Ok(())
}

#[test]
fn sizes_of_objects_are_told() -> Result<()> {
    let bed = Bed::filled(3)?;
    let tip = bed.raw("alice").ls_refs(&["refs/heads/main"])?.remove(0).0;
    let nobody = "0123456789012345678901234567890123456789";
    let lines = [line("size\n"), line(format!("oid {tip}\n")), line(format!("oid {nobody}\n"))].concat();
    let body = [line("command=object-info"), DELIMITER.to_vec(), lines, FLUSH.to_vec()].concat();
    let answer = texts(&bed.raw("alice").post("git-upload-pack", 2, &[], &body)?.body)?;
    assert_eq!((answer[0].as_str(), answer[2].as_str()), ("size", nobody), "{answer:?}");
    let size = answer[1].strip_prefix(&format!("{tip} ")).and_then(|size| size.parse::<u64>().ok());
    assert!(size.is_some_and(|size| size > 100), "{answer:?}");
    Ok(())
}

#[test]
fn a_want_that_nobody_has_is_refused_and_names_the_object() -> Result<()> {
    let bed = Bed::filled(2)?;
    let want = "0123456789012345678901234567890123456789".to_owned();
    let refusal = bed.raw("alice").fetch(std::slice::from_ref(&want), &[]).expect_err("nobody has it").to_string();
    assert!(refusal.contains(&want), "{refusal}");
    Ok(())
}
