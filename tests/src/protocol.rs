//! git's wire protocol by hand: pkt-lines, `ls-refs` and `fetch` of version 2 over smart HTTP, the pack read to nothing.

use std::io::Read;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::raw_http::{Connection, Response, basic, send};

/// One pkt-line.
#[must_use]
pub fn line(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut packet = format!("{:04x}", text.len() + 4).into_bytes();
    packet.extend_from_slice(text);
    packet
}

/// The flush packet.
pub const FLUSH: &[u8] = b"0000";
/// The delimiter packet.
pub const DELIMITER: &[u8] = b"0001";

/// A pack without objects.
const EMPTY_PACK: &[u8] =
    b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";

/// A pkt-line as read; special packets are `None`.
pub fn packets(mut bytes: &[u8]) -> Result<Vec<Option<Vec<u8>>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = length(bytes.get(..4).context("a cut pkt-line")?)?;
        if length < 4 {
            found.push(None);
            bytes = &bytes[4..];
        } else {
            found.push(Some(bytes.get(4..length).context("a cut pkt-line")?.to_vec()));
            bytes = &bytes[length..];
        }
    }
    Ok(found)
}

/// The body of an `ls-refs` with these prefixes.
#[must_use]
pub fn ls_refs_body(prefixes: &[&str]) -> Vec<u8> {
    let mut body = [line("command=ls-refs\n"), line("object-format=sha1"), DELIMITER.to_vec(), line("peel\n")].concat();
    for prefix in prefixes {
        body.extend(line(format!("ref-prefix {prefix}\n")));
    }
    body.extend_from_slice(FLUSH);
    body
}

/// The body of a `fetch` of these ids, holding those.
#[must_use]
pub fn fetch_body(wants: &[String], haves: &[String]) -> Vec<u8> {
    let mut body = [line("command=fetch"), line("object-format=sha1"), DELIMITER.to_vec()].concat();
    for option in ["thin-pack", "no-progress", "include-tag", "ofs-delta"] {
        body.extend(line(option));
    }
    for want in wants {
        body.extend(line(format!("want {want}\n")));
    }
    for have in haves {
        body.extend(line(format!("have {have}\n")));
    }
    body.extend(line("done\n"));
    body.extend_from_slice(FLUSH);
    body
}

/// Ids and names of an answer to `ls-refs`.
pub fn parse_refs(body: &[u8]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for packet in packets(body)?.into_iter().flatten() {
        let text = String::from_utf8_lossy(&packet).trim_end().to_owned();
        let mut words = text.split(' ');
        let (id, name) = (words.next().unwrap_or_default(), words.next().context("a ref without a name")?);
        found.push((id.to_owned(), name.to_owned()));
    }
    Ok(found)
}

fn length(digits: &[u8]) -> Result<usize> {
    usize::from_str_radix(std::str::from_utf8(digits)?, 16).context("a pkt-line without a length")
}

/// A user of a repository at a server.
#[derive(Debug, Clone)]
pub struct RawClient {
    address: SocketAddr,
    target: String,
    authorization: Option<String>,
}

/// What a fetch brought.
#[derive(Debug, Clone, Copy)]
pub struct Fetched {
    /// Bytes of the pack.
    pub pack_bytes: u64,
    /// Objects, as the pack's header says.
    pub objects: u32,
    /// Until the pack's first byte.
    pub first_byte: Duration,
    /// Until its last.
    pub total: Duration,
}

impl RawClient {
    /// A client of `/<repository>`; `user` is a name and a password.
    #[must_use]
    pub fn new(address: SocketAddr, repository: &str, user: Option<(&str, &str)>) -> Self {
        let authorization = user.map(|(name, password)| basic(name, password));
        Self { address, target: format!("/{repository}"), authorization }
    }

    fn headers<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut headers = more.to_vec();
        headers.extend(self.authorization.as_deref().map(|value| ("Authorization", value)));
        headers
    }

    /// `GET info/refs`.
    pub fn advertisement(&self, service: &str, version: u8) -> Result<Response> {
        let version = format!("version={version}");
        let target = format!("{}/info/refs?service={service}", self.target);
        send(self.address, "GET", &target, &self.headers(&[("Git-Protocol", &version)]), b"")
    }

    /// `POST` of a body to a service.
    pub fn post(&self, service: &str, version: u8, more: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let (version, kind) = (format!("version={version}"), format!("application/x-{service}-request"));
        let mut headers = vec![("Git-Protocol", version.as_str())];
        if !more.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("Content-Type", &kind));
        }
        headers.extend_from_slice(more);
        send(self.address, "POST", &format!("{}/{service}", self.target), &self.headers(&headers), body)
    }

    /// `ls-refs` with these prefixes: ids and names.
    pub fn ls_refs(&self, prefixes: &[&str]) -> Result<Vec<(String, String)>> {
        parse_refs(&self.ls_refs_answer(prefixes)?)
    }

    /// The answer to `ls-refs`, for [`parse_refs`].
    pub fn ls_refs_answer(&self, prefixes: &[&str]) -> Result<Vec<u8>> {
        let response = self.post("git-upload-pack", 2, &[], &ls_refs_body(prefixes))?;
        let is_refused = response.body.get(4..).is_some_and(|rest| rest.starts_with(b"ERR "));
        ensure!(response.status == 200 && !is_refused, "ls-refs: {} {}", response.status, response.text());
        Ok(response.body)
    }

    /// Creates references to an object that the server has; stock git takes minutes for as many as this is made for.
    pub fn create_refs(&self, id: &str, names: &[String]) -> Result<()> {
        let mut body = Vec::new();
        for name in names {
            let capabilities = if body.is_empty() { "\0report-status" } else { "" };
            body.extend(line(format!("{} {id} {name}{capabilities}\n", "0".repeat(40))));
        }
        body.extend_from_slice(FLUSH);
        body.extend_from_slice(EMPTY_PACK);
        let response = self.post("git-receive-pack", 0, &[], &body)?;
        let refused = packets(&response.body)?.into_iter().flatten().find(|packet| !packet.starts_with(b"ok "));
        // The first line that is no "ok" has to be that of the pack.
        ensure!(refused.as_deref() == Some(b"unpack ok\n"), "{} {}", response.status, response.text());
        ensure!(!response.text().contains("ng "), "a reference was refused");
        Ok(())
    }

    /// `fetch` of these ids, holding those; the pack is read and dropped.
    pub fn fetch(&self, wants: &[String], haves: &[String]) -> Result<Fetched> {
        self.drain_pack(&fetch_body(wants, haves))
    }

    fn drain_pack(&self, body: &[u8]) -> Result<Fetched> {
        let started = Instant::now();
        let mut connection = Connection::open(self.address)?;
        let headers =
            self.headers(&[("Git-Protocol", "version=2"), ("Content-Type", "application/x-git-upload-pack-request")]);
        connection.send("POST", &format!("{}/git-upload-pack", self.target), &headers, body)?;
        let mut response = connection.response()?;
        ensure!(response.status == 200, "the fetch was answered with {}", response.status);
        let fetched = drain(&mut response.body, started)?;
        ensure!(fetched.pack_bytes > 0, "the answer holds no pack");
        Ok(fetched)
    }
}

/// Reads packets up to a flush and drops them; what they hold of a pack is counted.
pub fn drain(input: &mut dyn Read, started: Instant) -> Result<Fetched> {
    let mut fetched = Fetched { pack_bytes: 0, objects: 0, first_byte: Duration::ZERO, total: Duration::ZERO };
    let (mut digits, mut buffer, mut head) = ([0_u8; 4], vec![0_u8; 65_536], Vec::new());
    loop {
        input.read_exact(&mut digits).context("the answer ended before the flush packet")?;
        let length = length(&digits)?;
        if length == 0 {
            break;
        }
        if length < 4 {
            continue;
        }
        let packet = &mut buffer[..length - 4];
        input.read_exact(packet).context("the answer ended inside a packet")?;
        match packet.first() {
            Some(1) => {
                if fetched.pack_bytes == 0 {
                    fetched.first_byte = started.elapsed();
                }
                fetched.pack_bytes += packet.len() as u64 - 1;
                if head.len() < 12 {
                    head.extend_from_slice(&packet[1..]);
                }
            }
            Some(3) => bail!("the server says: {}", String::from_utf8_lossy(&packet[1..])),
            _ if packet.starts_with(b"ERR ") => bail!("the server says: {}", String::from_utf8_lossy(packet)),
            _ => {}
        }
    }
    if let Some(count) = head.get(8..12) {
        fetched.objects = count.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte));
    }
    fetched.total = started.elapsed();
    Ok(fetched)
}
