//! Classes of faults (`docs/SECURITY.md`): that the tests named there are there, and what is HTTP's alone.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::binary::workspace;
use tests::manifests::PASSWORD;
use tests::raw_http::{basic, send};

use crate::git_http::Bed;
use crate::names::sources;

/// Those that concern a server of git; the others belong to the operator and to webhooks.
const CLASSES: [u32; 18] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 17, 18, 19, 20, 21];

#[test]
fn every_class_of_faults_names_tests_that_are_there() -> Result<()> {
    let page = std::fs::read_to_string(workspace().join("docs/SECURITY.md"))?;
    let (_, table) = page.split_once("## Classes of faults").context("there is no table of classes")?;
    let mut there = BTreeSet::new();
    for path in sources()? {
        let text = std::fs::read_to_string(&path)?;
        there.extend(text.split("fn ").filter_map(|rest| Some(rest.split_once('(')?.0.to_owned())));
    }
    let mut classes = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [number, class, _, tests] = cells[..] else { anyhow::bail!("a row with another number of cells: {row}") };
        let Ok(number) = number.parse::<u32>() else { continue };
        classes.push(number);
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        ensure!(!named.is_empty(), "class {number} ({class}) names no test");
        let missing: Vec<_> = named.into_iter().filter(|name| !there.contains(*name)).collect();
        ensure!(missing.is_empty(), "class {number} ({class}) names tests that are not there: {missing:?}");
    }
    ensure!(classes == CLASSES, "the classes are {classes:?}");
    Ok(())
}

/// Whatever is asked for.
const TARGETS: [(&str, &str); 9] = [
    ("GET", "/"),
    ("GET", "/team-a/hello"),
    ("GET", "//example.com/%2e%2e"),
    ("GET", "/team-a/<script>alert(1)</script>"),
    ("GET", "/team-a/hello/info/refs?service=<script>"),
    ("GET", "/team-a/hello/info/refs?service=git-upload-pack"),
    ("POST", "/team-a/hello/git-upload-pack"),
    ("GET", "/team-a/hello/info/lfs/objects/<script>"),
    ("GET", "/team-a/hello/raw/main/page.html"),
];

#[test]
fn no_answer_is_a_page_sets_a_cookie_or_leads_elsewhere() -> Result<()> {
    let bed = Bed::filled(1)?;
    let authorization = basic("alice", PASSWORD);
    for (method, target) in TARGETS {
        for headers in [&[][..], &[("Authorization", authorization.as_str()), ("Cookie", "session=1")]] {
            let headers = [headers, &[("Host", "evil.example.com"), ("Origin", "https://evil.example.com")]].concat();
            let answer = send(bed.server.address(), method, target, &headers, b"")?;
            let what = format!("{method} {target}: {} {:?}", answer.status, answer.headers);
            ensure!(!(300..400).contains(&answer.status), "{what}");
            for header in ["set-cookie", "location", "access-control-allow-origin"] {
                ensure!(answer.header(header).is_none(), "{what}");
            }
            let kind = answer.header("content-type").unwrap_or_default();
            let is_harmless = ["text/plain", "application/x-git-", "application/vnd.git-lfs+json"];
            ensure!(answer.body.is_empty() || is_harmless.iter().any(|start| kind.starts_with(start)), "{what}");
            ensure!(answer.body.is_empty() || answer.header("x-content-type-options") == Some("nosniff"), "{what}");
        }
    }
    Ok(())
}

/// Sends bytes and reads until the server closes, or says nothing more.
fn exchange(bed: &Bed, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(bed.server.address())?;
    stream.set_read_timeout(Some(Duration::from_millis(700)))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    // It may close while it is being sent more.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn requests_that_a_proxy_could_read_otherwise_are_refused() -> Result<()> {
    let bed = Bed::filled(1)?;
    let inner = "GET /team-a/hello/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /team-a/hello/git-upload-pack HTTP/1.1\r\nHost: x\r\n";
    for (what, request) in [
        ("two lengths", format!("{post}Content-Length: 0\r\nContent-Length: 70\r\n\r\n{inner}")),
        ("no number", format!("{post}Content-Length: +0\r\n\r\n{inner}")),
        ("another encoding", format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{inner}")),
        ("a space before the colon", format!("{post}Content-Length : 0\r\n\r\n{inner}")),
        ("a folded line", format!("{post}X: a\r\n Content-Length: 0\r\n\r\n{inner}")),
        ("a control character", format!("{post}X: a\x01\0b\r\n\r\n{inner}")),
        ("no end of header", format!("{post}{}", "X: y\r\n".repeat(100_000))),
        ("a long line", format!("{post}X: {}\r\n\r\n", "y".repeat(2_000_000))),
    ] {
        let told = exchange(&bed, request.as_bytes())?;
        let answers = told.matches("HTTP/1.1 ").count();
        ensure!(answers <= 1, "{what}: what was hidden in it was answered too: {told}");
        // 401 would be the answer to a request that was understood.
        ensure!(told.is_empty() || told.starts_with("HTTP/1.1 4") && !told.contains(" 401 "), "{what}: {told}");
    }
    // A length and chunks: what the chunks say counts, and the connection ends, so that nobody can be of another opinion.
    let both = format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}");
    let told = exchange(&bed, both.as_bytes())?;
    ensure!(told.matches("HTTP/1.1 ").count() <= 1, "a length and chunks: {told}");
    bed.git.ok(&bed.git.path(""), &["ls-remote", &bed.server.url("alice", "team-a/hello")])?;
    Ok(())
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("because it is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET / http`, of the table that both sides have.
const REQUEST: [u8; 3] = [0x82, 0x84, 0x86];

#[test]
fn floods_of_http_2_are_cut_off_in_little_memory() -> Result<()> {
    let bed = Bed::filled(1)?;
    let before = bed.server.peak_memory()?;
    let begin = [PREFACE, &frame(4, 0, 0, b"")].concat();
    let streams = |count: u32| (0..count).map(|number| number * 2 + 1);
    // CVE-2023-44487, RUSTSEC-2024-0332: streams that are reset at once; a header without end; settings and pings without end.
    let reset = |stream| [frame(1, 5, stream, &REQUEST), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
    let resets: Vec<u8> = streams(50_000).flat_map(reset).collect();
    let field = [&[0x10, 1, b'x', 0x7f, 0x81, 0x7f], &*vec![b'y'; 16_384]].concat();
    let continued = frame(9, 0, 1, &field[..16_000]).repeat(400);
    let endless = [frame(1, 1, 1, &REQUEST), continued].concat();
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 1]).repeat(200_000);
    let pings = frame(6, 0, 0, &[0; 8]).repeat(200_000);
    let empty: Vec<u8> = [frame(1, 4, 1, &REQUEST), frame(0, 0, 1, b"").repeat(200_000)].concat();
    for flood in [resets, endless, settings, pings, empty] {
        exchange(&bed, &[begin.clone(), flood].concat())?;
    }
    let grown = bed.server.peak_memory()?.saturating_sub(before);
    ensure!(grown < 64 << 20, "the server grew by {} MiB", grown >> 20);
    ensure!(!bed.server.log().contains("panicked"));
    bed.git.ok(&bed.git.path(""), &["ls-remote", &bed.server.url("alice", "team-a/hello")])?;
    Ok(())
}
