//! A connection that is kept for many requests, as a client that measures a server and not TCP needs it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::protocol::{self, packets};
use crate::raw_http::{Response, basic};

const TIMEOUT: Duration = Duration::from_mins(1);

/// A user of repositories at a server. A request that fails is not tried again; the next one connects anew.
#[derive(Debug)]
pub struct Session {
    address: SocketAddr,
    authorization: String,
    connection: Option<BufReader<TcpStream>>,
}

/// What a server said to a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// All of it is done.
    Accepted,
    /// It is not; the server's words.
    Refused(String),
}

impl Session {
    /// A client that has not connected yet; `user` is a name and a password.
    #[must_use]
    pub fn new(address: SocketAddr, user: Option<(&str, &str)>) -> Self {
        let header = |(name, password)| format!("Authorization: {}\r\n", basic(name, password));
        Self { address, authorization: user.map(header).unwrap_or_default(), connection: None }
    }

    /// Closes the connection: the next request opens one.
    pub fn close(&mut self) {
        self.connection = None;
    }

    /// `GET info/refs` of a push.
    pub fn advertisement(&mut self, repository: &str) -> Result<Response> {
        let target = format!("/{repository}/info/refs?service=git-receive-pack");
        let response = self.request(&format!("GET {target} HTTP/1.1\r\n"), b"")?;
        ensure!(response.status == 200, "the advertisement: {} {}", response.status, response.text());
        Ok(response)
    }

    /// `POST git-receive-pack` of a body of [`push_body`].
    pub fn push(&mut self, repository: &str, body: &[u8]) -> Result<Pushed> {
        let head = format!(
            "POST /{repository}/git-receive-pack HTTP/1.1\r\nContent-Type: application/x-git-receive-pack-request\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        let response = self.request(&head, body)?;
        if response.status != 200 {
            return Ok(Pushed::Refused(format!("{} {}", response.status, response.text())));
        }
        let lines = packets(&response.body)?.into_iter().flatten().collect::<Vec<_>>();
        let accepted =
            lines.len() > 1 && lines[0] == b"unpack ok\n" && lines[1..].iter().all(|l| l.starts_with(b"ok "));
        Ok(if accepted { Pushed::Accepted } else { Pushed::Refused(response.text()) })
    }

    /// `ls-refs` below a prefix: ids and names.
    pub fn ls_refs(&mut self, repository: &str, prefix: &str) -> Result<Vec<(String, String)>> {
        let body = protocol::ls_refs_body(&[prefix]);
        let head = format!(
            "POST /{repository}/git-upload-pack HTTP/1.1\r\nGit-Protocol: version=2\r\n\
             Content-Type: application/x-git-upload-pack-request\r\nContent-Length: {}\r\n",
            body.len()
        );
        let response = self.request(&head, &body)?;
        ensure!(response.status == 200, "ls-refs: {} {}", response.status, response.text());
        protocol::parse_refs(&response.body)
    }

    /// Sends a request whose head lacks what all of them have, and reads the answer.
    fn request(&mut self, head: &str, body: &[u8]) -> Result<Response> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let mut bytes = format!("{head}Host: {}\r\n{}\r\n", self.address, self.authorization).into_bytes();
        bytes.extend_from_slice(body);
        connection.get_mut().write_all(&bytes).context("failed to send a request")?;
        let response = read(&mut connection)?;
        if response.header("connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            self.connection = Some(connection);
        }
        Ok(response)
    }

    fn connect(&self) -> Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.address).context("failed to connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(BufReader::with_capacity(1 << 16, stream))
    }
}

/// A push of one reference: `old` is `None` for a new one.
#[must_use]
pub fn push_body(old: Option<&str>, new: &str, name: &str, pack: &[u8]) -> Vec<u8> {
    let zeros = "0".repeat(40);
    let mut body = protocol::line(format!("{} {new} {name}\0report-status\n", old.unwrap_or(&zeros)));
    body.extend_from_slice(protocol::FLUSH);
    body.extend_from_slice(pack);
    body
}

fn read(reader: &mut BufReader<TcpStream>) -> Result<Response> {
    let status_line = line(reader)?;
    let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("not an HTTP answer: {status_line:?}"))?;
    let mut headers = Vec::new();
    loop {
        let text = line(reader)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(':').context("a header line without a colon")?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: vec![] };
    if response.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = line(reader)?;
            let size = u64::from_str_radix(&size, 16).with_context(|| format!("a bad chunk: {size:?}"))?;
            let before = response.body.len();
            reader.take(size).read_to_end(&mut response.body)?;
            ensure!(response.body.len() as u64 == before as u64 + size, "the answer was cut off");
            line(reader)?;
            if size == 0 {
                return Ok(response);
            }
        }
    }
    let length = response.header("content-length").context("an answer without a length")?.parse::<u64>()?;
    reader.take(length).read_to_end(&mut response.body)?;
    ensure!(response.body.len() as u64 == length, "the answer was cut off");
    Ok(response)
}

fn line(reader: &mut BufReader<TcpStream>) -> Result<String> {
    let mut text = String::new();
    if reader.read_line(&mut text).context("failed to read an answer")? == 0 {
        bail!("the server closed the connection without an answer");
    }
    Ok(text.trim_end().to_owned())
}
