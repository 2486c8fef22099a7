//! HTTP/1.1 by hand: what no well-behaved client would send can be sent, and the answer read byte for byte.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

const TIMEOUT: Duration = Duration::from_mins(2);

/// An answer, read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body, chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A GET without headers.
pub fn get(address: SocketAddr, target: &str) -> Result<Response> {
    send(address, "GET", target, &[], b"")
}

/// Reads what is at a path and drops it; gives its length.
pub fn drain(address: SocketAddr, target: &str) -> Result<u64> {
    let mut connection = Connection::open(address)?;
    connection.send("GET", target, &[], b"")?;
    let mut response = connection.response()?;
    anyhow::ensure!(response.status == 200, "{target} was answered with {}", response.status);
    Ok(std::io::copy(&mut response.body, &mut std::io::sink())?)
}

/// Sends a request with exactly this target and these headers, and reads the answer.
pub fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Response> {
    let mut connection = Connection::open(address)?;
    connection.send(method, target, headers, body)?;
    let mut response = connection.response()?;
    let mut bytes = Vec::new();
    response.body.read_to_end(&mut bytes).context("failed to read the answer's body")?;
    Ok(Response { status: response.status, headers: response.headers, body: bytes })
}

/// The value of an `Authorization` header.
#[must_use]
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

/// Bytes in base64.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            text.push(if place <= group.len() { char::from(ALPHABET[digit as usize]) } else { '=' });
        }
    }
    text
}

/// A connection that is used for one request.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

/// The head of an answer, and its body to read.
pub struct Incoming {
    /// Status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Box<dyn Read>,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).context("failed to connect")?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream })
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("failed to send")
    }

    /// Sends a whole request with a `Content-Length` when it has a body.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut head = format!("{method} {target} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str("Host: 127.0.0.1\r\n");
        }
        head.push_str("Connection: close\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let chunked = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
        if !chunked && (!body.is_empty() || method == "POST") {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        self.write(head.as_bytes())?;
        // A server may answer and close before it has read a body that it does not want.
        let _ = self.stream.write_all(body);
        Ok(())
    }

    /// Reads the head of the answer.
    pub fn response(self) -> Result<Incoming> {
        let mut reader = BufReader::with_capacity(1 << 17, self.stream);
        let status_line = line(&mut reader)?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("not an HTTP answer: {status_line:?}"))?;
        let mut headers = Vec::new();
        loop {
            let text = line(&mut reader)?;
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(':').context("a header line without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let find = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let body: Box<dyn Read> = if find("transfer-encoding").is_some_and(|value| value == "chunked") {
            Box::new(Chunks { reader, left: 0, ended: false })
        } else if let Some(length) = find("content-length") {
            Box::new(reader.take(length.parse().context("a bad Content-Length")?))
        } else {
            Box::new(reader)
        };
        Ok(Incoming { status, headers, body })
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Result<String> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes).context("failed to read the answer's head")? == 0 {
        bail!("the server closed the connection without an answer");
    }
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

struct Chunks {
    reader: BufReader<TcpStream>,
    left: u64,
    ended: bool,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let invalid = |text: &str| std::io::Error::new(std::io::ErrorKind::UnexpectedEof, text.to_owned());
        if self.left == 0 && !self.ended {
            let mut text = String::new();
            self.reader.read_line(&mut text)?;
            if text.trim().is_empty() {
                // The line end of the chunk before.
                text.clear();
                self.reader.read_line(&mut text)?;
            }
            self.left =
                u64::from_str_radix(text.trim(), 16).map_err(|_| invalid("the body was cut off between chunks"))?;
            self.ended = self.left == 0;
        }
        if self.ended {
            return Ok(0);
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(invalid("the body was cut off inside a chunk"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
