//! Requests and answers of S3 on a kept connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

/// A request, read whole.
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) bucket: String,
    pub(super) key: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// A parameter of the query.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }

    /// A header; `name` in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn lists(&self) -> bool {
        self.method == "GET" && self.key.is_empty()
    }

    pub(super) fn is_write(&self) -> bool {
        matches!(self.method.as_str(), "PUT" | "POST" | "DELETE")
    }
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: String,
    body: Arc<[u8]>,
    part: Range<usize>,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: "ETag: \"1\"\r\n".to_owned(), body: Arc::default(), part: 0..0 }
    }

    pub(super) fn xml(status: u16, text: String) -> Self {
        let body: Arc<[u8]> = text.into_bytes().into();
        let part = 0..body.len();
        Self { status, headers: "Content-Type: application/xml\r\n".to_owned(), body, part }
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        Self::xml(status, format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>"))
    }

    /// An object, or the range of it that is asked for.
    pub(super) fn object(body: &Arc<[u8]>, range: Option<&str>) -> Self {
        let whole = 0..body.len();
        let Some(range) = range else {
            return Self { status: 200, headers: String::new(), body: Arc::clone(body), part: whole };
        };
        let Some(part) = parse_range(range, body.len()) else { return Self::error(416, "InvalidRange") };
        let last = part.end.saturating_sub(1);
        let headers = format!("Content-Range: bytes {}-{last}/{}\r\n", part.start, body.len());
        Self { status: 206, headers, body: Arc::clone(body), part }
    }
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-count`.
fn parse_range(text: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<usize>().ok(), last.parse::<usize>().ok()) {
        (Some(first), Some(last)) => first..(last + 1).min(length),
        (Some(first), None) => first..length,
        (None, Some(count)) => length.saturating_sub(count)..length,
        (None, None) => return None,
    };
    (range.start < range.end).then_some(range)
}

/// A client's connection.
pub(super) struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Connection {
    pub(super) fn new(client: TcpStream) -> Result<Self> {
        client.set_nodelay(true)?;
        Ok(Self { writer: client.try_clone()?, reader: BufReader::with_capacity(1 << 16, client) })
    }

    /// The next request; `None` when the client has closed.
    pub(super) fn next(&mut self) -> Result<Option<Asked>> {
        let Some(first) = self.line()? else { return Ok(None) };
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().context("a request without a target")?.to_owned();
        let mut headers = Vec::new();
        loop {
            let line = self.line()?.context("the client closed in the middle of a request")?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header line without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect();
        let mut asked = Asked { method, bucket: bucket.to_owned(), key: decode(key), query, headers, body: vec![] };
        if asked.header("expect").is_some() {
            self.writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        ensure!(asked.header("transfer-encoding").is_none(), "a body in chunks");
        ensure!(asked.header("content-encoding").is_none(), "a body in a coding of its own");
        let length = asked.header("content-length").map_or(Ok(0), str::parse::<u64>)?;
        (&mut self.reader).take(length).read_to_end(&mut asked.body)?;
        Ok(Some(asked))
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = self.reader.read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }

    pub(super) fn answer(&mut self, asked: &Asked, answer: &Answer) -> Result<()> {
        let Answer { status, headers, body, part } = answer;
        let head = format!("HTTP/1.1 {status} Answer\r\n{headers}Content-Length: {}\r\n\r\n", part.len());
        let mut bytes = head.into_bytes();
        if asked.method != "HEAD" && *status != 204 {
            bytes.extend_from_slice(&body[part.clone()]);
        }
        Ok(self.writer.write_all(&bytes)?)
    }
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
