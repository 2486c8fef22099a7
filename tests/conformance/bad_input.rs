//! Garbage, bombs, tricks: one line for the client, a line with the request id in the log, never a 5xx, never a panic.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tests::fixture;
use tests::manifests::PASSWORD;
use tests::protocol::{FLUSH, line};
use tests::raw_http::{Connection, Response, basic, send};

use crate::git_http::Bed;

const ZERO: &str = "0000000000000000000000000000000000000000";

/// The server is well and says so, whatever was sent before.
fn unharmed(bed: &Bed) -> Result<()> {
    let log = bed.server.log();
    assert!(!log.contains("panicked"), "{log}");
    bed.git.ok(&bed.git.path(""), &["ls-remote", &bed.server.url("alice", "team-a/hello")])?;
    Ok(())
}

fn told(response: &Response, what: &str) {
    assert!(response.status < 500, "{what}: {} {}", response.status, response.text());
    assert!(!response.body.is_empty(), "{what}: {} without a word", response.status);
    let id = response.header("x-request-id").unwrap_or_default();
    assert!(id.len() >= 8, "{what}: no request id");
}

#[test]
fn garbage_in_place_of_pkt_lines_is_refused() -> Result<()> {
    let bed = Bed::filled(1)?;
    let long = [b"fff0".to_vec(), vec![b'x'; 65_516]].concat();
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"0".to_vec(),
        b"zzzz".to_vec(),
        b"0003".to_vec(),
        b"ffff".to_vec(),
        b"0010command=no".to_vec(),
        line("command=nonsense\n"),
        [line("command=fetch"), b"0001".to_vec(), line("want nonsense\n"), FLUSH.to_vec()].concat(),
        [line("want 123\n"), FLUSH.to_vec()].concat(),
        long,
        vec![0; 4096],
        vec![0xff; 4096],
    ];
    for (number, body) in bodies.iter().enumerate() {
        for (service, version) in [("git-upload-pack", 2), ("git-upload-pack", 0), ("git-receive-pack", 0)] {
            let response = bed.raw("alice").post(service, version, &[], body)?;
            assert!(
                response.status < 500,
                "body {number} {service} v{version}: {} {}",
                response.status,
                response.text()
            );
        }
    }
    unharmed(&bed)
}

#[test]
fn a_gzip_bomb_is_cut_off() -> Result<()> {
    let bed = Bed::filled(1)?;
    let mut gzip = std::process::Command::new("gzip").arg("-1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = gzip.stdin.take().context("gzip has no standard input")?;
    let writer = std::thread::spawn(move || -> Result<()> {
        // 1 GiB of one and the same valid line.
        let lines = line("have 0123456789012345678901234567890123456789\n").repeat(20_000);
        (0..1_000).try_for_each(|_| input.write_all(&lines))?;
        Ok(())
    });
    let bomb = gzip.wait_with_output()?.stdout;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    let memory = bed.server.peak_memory()?;
    for service in ["git-upload-pack", "git-receive-pack"] {
        let response = bed.raw("alice").post(service, 2, &[("Content-Encoding", "gzip")], &bomb)?;
        told(&response, service);
    }
    let grown = bed.server.peak_memory()?.saturating_sub(memory);
    assert!(grown < 128 << 20, "the server grew by {grown} bytes");
    unharmed(&bed)
}

#[test]
fn broken_gzip_and_unknown_encodings_are_the_clients_mistake() -> Result<()> {
    let bed = Bed::filled(1)?;
    for encoding in ["gzip", "br", "nonsense"] {
        let response =
            bed.raw("alice").post("git-upload-pack", 2, &[("Content-Encoding", encoding)], b"not compressed")?;
        assert!(
            (400..500).contains(&response.status) || response.text().contains("ERR "),
            "{encoding}: {}",
            response.status
        );
    }
    unharmed(&bed)
}

#[test]
fn a_connection_that_ends_in_the_middle_of_a_request_harms_nobody() -> Result<()> {
    let bed = Bed::filled(1)?;
    let authorization = basic("alice", PASSWORD);
    for cut in [10, 60, 200] {
        let mut connection = Connection::open(bed.server.address())?;
        let head = format!(
            "POST /team-a/hello/git-receive-pack HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\
             Content-Type: application/x-git-receive-pack-request\r\nContent-Length: 1000000\r\n\r\n0094{ZERO} "
        );
        connection.write(&head.as_bytes()[..cut.min(head.len())])?;
    }
    let mut connection = Connection::open(bed.server.address())?;
    connection.write(b"\x16\x03\x01 this is TLS to a port without it\r\n\r\n")?;
    drop(connection);
    unharmed(&bed)
}

#[test]
fn tricks_with_paths_find_nothing() -> Result<()> {
    let bed = Bed::filled(1)?;
    let authorization = basic("alice", PASSWORD);
    for path in [
        "/team-a/../team-b/theirs",
        "/team-a/%2e%2e/team-b/theirs",
        "/team-a/%2E%2E%2Fteam-b%2Ftheirs",
        "/team-a/hello%00",
        "/team-a/hello%00.git",
        "/team-a//hello",
        "/TEAM-A/hello",
        "/team-a/HELLO",
        "/team-a/hello%2f",
        "/team-a/hel%6Co/..",
        "/team-a/.git",
        "/team-a/-hello",
        "/team-a/%ff%fe",
        "/team-a/hello.git.git",
        "/catalog/team-a",
        "//team-a/hello",
    ] {
        let target = format!("{path}/info/refs?service=git-upload-pack");
        let response = send(bed.server.address(), "GET", &target, &[("Authorization", &authorization)], b"")?;
        assert!((400..500).contains(&response.status), "{path}: {} {}", response.status, response.text());
    }
    unharmed(&bed)
}

#[test]
fn hostile_ref_names_are_refused_one_by_one() -> Result<()> {
    let bed = Bed::filled(1)?;
    let tip = bed.raw("alice").ls_refs(&["refs/heads/main"])?.remove(0).0;
    for name in [
        "refs/heads/a..b",
        "refs/heads/../../etc/passwd",
        "refs/heads/.hidden",
        "refs/heads/x.lock",
        "refs/heads/with space",
        "refs/heads/new\nline",
        "refs/heads/esc\x1b[31m",
        "refs/heads/a@{b",
        "refs/heads/",
        "HEAD",
        "main",
        "refs/heads/back\\slash",
        "refs/codekeep/x",
    ] {
        let command = [format!("{ZERO} {tip} {name}").as_bytes(), b"\0report-status side-band-64k"].concat();
        let body = [line(command), FLUSH.to_vec()].concat();
        let response = bed.raw("alice").post("git-receive-pack", 0, &[], &body)?;
        told(&response, name);
        let text = response.text();
        assert!(text.contains("ng ") || text.contains("ERR ") || response.status >= 400, "{name}: {text}");
    }
    let refs = bed.raw("alice").ls_refs(&[])?;
    assert!(
        refs.iter().all(|(_, name)| matches!(name.as_str(), "HEAD" | "refs/heads/main" | "refs/tags/v1")),
        "{refs:?}"
    );
    unharmed(&bed)
}

/// A push of `pack` bytes as the new branch `refs/heads/evil` at `tip`.
fn push_pack(bed: &Bed, tip: &str, pack: &[u8]) -> Result<Response> {
    let command = [format!("{ZERO} {tip} refs/heads/evil").as_bytes(), b"\0report-status"].concat();
    let body = [line(command), FLUSH.to_vec(), pack.to_vec()].concat();
    bed.raw("alice").post("git-receive-pack", 0, &[], &body)
}

#[test]
fn corrupt_packs_are_refused_and_leave_nothing() -> Result<()> {
    let bed = Bed::filled(1)?;
    let folder = fixture::linear(&bed.git, "evil.git", 40)?;
    let tip = bed.git.ok(&folder, &["rev-parse", "main"])?.trim().to_owned();
    bed.git.ok(&folder, &["repack", "-adq"])?;
    let packs = folder.join("objects/pack");
    let path = std::fs::read_dir(packs)?.filter_map(|entry| Some(entry.ok()?.path()));
    let path = path.into_iter().find(|path| path.extension().is_some_and(|end| end == "pack")).context("no pack")?;
    let good = std::fs::read(path)?;
    let flipped = |place: usize| {
        let mut bytes = good.clone();
        bytes[place] ^= 0x40;
        bytes
    };
    let half = good.len() / 2;
    let mut many = good.clone();
    many[8..12].copy_from_slice(&u32::MAX.to_be_bytes());
    let mut cases = vec![b"PACK".to_vec(), b"JUNK and more".to_vec(), good[..half].to_vec(), many, Vec::new()];
    cases.extend([3, 5, 9, 13, 20, half, good.len() - 30, good.len() - 3].map(flipped));
    for (number, pack) in cases.iter().enumerate() {
        let response = push_pack(&bed, &tip, pack)?;
        told(&response, &format!("pack {number}"));
        assert!(!response.text().contains("ok refs/heads/evil"), "pack {number} was taken: {}", response.text());
    }
    assert!(bed.raw("alice").ls_refs(&["refs/heads/evil"])?.is_empty());
    let response = push_pack(&bed, &tip, &good)?;
    assert!(response.text().contains("ok refs/heads/evil"), "the good one is taken: {}", response.text());
    unharmed(&bed)
}

#[test]
fn a_tip_whose_history_is_missing_is_refused() -> Result<()> {
    let bed = Bed::filled(1)?;
    let folder = fixture::linear(&bed.git, "half.git", 5)?;
    let tip = bed.git.ok(&folder, &["rev-parse", "main"])?.trim().to_owned();
    let mut command = bed.git.command(&folder, &["pack-objects", "--stdout", "--quiet"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("no standard input")?.write_all(format!("{tip}\n").as_bytes())?;
    let pack = child.wait_with_output()?.stdout;
    let response = push_pack(&bed, &tip, &pack)?;
    told(&response, "a commit without its tree");
    assert!(
        response.text().contains("ng refs/heads/evil") || response.text().contains("unpack "),
        "{}",
        response.text()
    );
    assert!(bed.raw("alice").ls_refs(&["refs/heads/evil"])?.is_empty());
    unharmed(&bed)
}

#[test]
fn the_clients_error_line_and_the_log_share_a_request_id() -> Result<()> {
    let bed = Bed::filled(1)?;
    let response = bed.raw("alice").post("git-upload-pack", 2, &[("X-Request-Id", "story-of-a-mistake")], b"zzzz")?;
    assert_eq!(response.header("x-request-id"), Some("story-of-a-mistake"));
    assert!(response.text().contains("story-of-a-mistake"), "{}", response.text());
    assert!(bed.server.log().contains("story-of-a-mistake"));
    Ok(())
}
