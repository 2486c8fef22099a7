//! A proxy between the server and its bucket that delays, refuses, cuts off and loses answers, as the test says.
//!
//! It forwards HTTP/1.1 byte for byte but for `Connection`, so signatures stay valid: they cover the `Host` header, which names
//! the proxy. It is not a general proxy: one request per connection, bodies with a length or in chunks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is forwarded after a while.
    Delay(Duration),
    /// It is carried out at once and answered after a while.
    AnswerLate(Duration),
    /// It is carried out; the connection closes without an answer.
    AnswerLost,
    /// It is not carried out; the connection closes.
    RequestLost,
    /// It is not carried out; this status is answered with an S3 error of this code.
    Status(u16, &'static str),
    /// It is carried out; this status is answered, with an S3 error unless the code is empty.
    DoneBut(u16, &'static str),
    /// It is carried out; the answer's body ends after this many bytes.
    Truncated(usize),
}

/// A rule: which requests, which fault, how often.
#[derive(Debug, Clone)]
pub struct Rule {
    method: &'static str,
    part: String,
    skip: usize,
    every: usize,
    times: usize,
    fault: Fault,
}

impl Rule {
    /// The fault for each request of this method whose target holds `part`.
    #[must_use]
    pub fn new(method: &'static str, part: &str, fault: Fault) -> Self {
        Self { method, part: part.to_owned(), skip: 0, every: 1, times: usize::MAX, fault }
    }

    /// Leaves the first `count` of them alone.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Takes every `count`-th of them only.
    #[must_use]
    pub fn every(mut self, count: usize) -> Self {
        (self.skip, self.every) = (count - 1, count);
        self
    }

    /// Ends after `count` faults.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }
}

impl Rule {
    /// The fault, when it is this request's turn.
    fn applied(&mut self, method: &str, target: &str) -> Option<Fault> {
        if self.times == 0 || self.method != method || !target.contains(&self.part) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.skip = self.every - 1;
        self.times -= 1;
        Some(self.fault.clone())
    }
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    seen: Vec<(String, String)>,
    faults: usize,
}

/// A running proxy; new connections are refused once it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl FaultProxy {
    /// Starts a proxy in front of `upstream`.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to listen for the fault proxy")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::downgrade(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Some(state) = shared.upgrade() else { break };
                // A failed exchange is a closed connection: the client under test says what it makes of that.
                std::thread::spawn(move || drop(exchange(client, upstream, &state)));
            }
        });
        Ok(Self { address, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the rules; the first whose turn it is decides.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        lock(&self.state).rules = rules.into_iter().collect();
    }

    /// How many requests there were.
    #[must_use]
    pub fn total(&self) -> usize {
        lock(&self.state).seen.len()
    }

    /// How many requests met a fault.
    #[must_use]
    pub fn faults(&self) -> usize {
        lock(&self.state).faults
    }

    /// How many requests of this method had `part` in their target.
    #[must_use]
    pub fn count(&self, method: &str, part: &str) -> usize {
        lock(&self.state).seen.iter().filter(|(seen, target)| seen == method && target.contains(part)).count()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        // Wakes the listener, which then finds its state gone.
        self.state = Arc::default();
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn next_fault(state: &Mutex<State>, method: &str, target: &str) -> Option<Fault> {
    let mut state = lock(state);
    state.seen.push((method.to_owned(), target.to_owned()));
    let fault = state.rules.iter_mut().find_map(|rule| rule.applied(method, target));
    state.faults += usize::from(fault.is_some());
    fault
}

/// A head's lines and the body behind it, as they came.
struct Message {
    lines: Vec<String>,
    body: Vec<u8>,
}

impl Message {
    fn read(reader: &mut BufReader<TcpStream>, has_body: bool, writer: &mut TcpStream) -> Result<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            anyhow::ensure!(reader.read_line(&mut line)? > 0, "the peer closed the connection");
            if line == "\r\n" {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let mut message = Self { lines, body: Vec::new() };
        if message.header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            message.remove("expect");
        }
        if has_body {
            message.read_body(reader)?;
        }
        Ok(message)
    }

    fn read_body(&mut self, reader: &mut BufReader<TcpStream>) -> Result<()> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            loop {
                let start = self.body.len();
                reader.read_until(b'\n', &mut self.body)?;
                let text = String::from_utf8_lossy(&self.body[start..]).trim().to_owned();
                let size =
                    u64::from_str_radix(text.split(';').next().unwrap_or_default(), 16).context("a bad chunk")?;
                reader.take(size + 2).read_to_end(&mut self.body)?;
                if size == 0 {
                    return Ok(());
                }
            }
        }
        let length = self.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        reader.take(length).read_to_end(&mut self.body)?;
        Ok(())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.lines.iter().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn remove(&mut self, name: &str) {
        self.lines.retain(|line| line.split_once(':').is_none_or(|(found, _)| !found.eq_ignore_ascii_case(name)));
    }

    /// The bytes, as the last message of their connection, with the body cut off after `limit`.
    fn bytes(mut self, limit: usize) -> Vec<u8> {
        self.remove("connection");
        let mut bytes = format!("{}\r\nConnection: close\r\n\r\n", self.lines.join("\r\n")).into_bytes();
        bytes.extend_from_slice(&self.body[..limit.min(self.body.len())]);
        bytes
    }
}

fn exchange(mut client: TcpStream, upstream: SocketAddr, state: &Mutex<State>) -> Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client.try_clone()?);
    let request = Message::read(&mut reader, true, &mut client)?;
    let mut words = request.lines.first().context("no request line")?.split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let fault = next_fault(state, &method, &target);
    match fault {
        Some(Fault::RequestLost) => return Ok(client.shutdown(Shutdown::Both)?),
        Some(Fault::Status(status, code)) => return refuse(&mut client, status, code),
        Some(Fault::Delay(delay)) => std::thread::sleep(delay),
        _ => {}
    }
    let mut server = TcpStream::connect(upstream)?;
    server.set_nodelay(true)?;
    server.write_all(&request.bytes(usize::MAX))?;
    let mut answers = BufReader::new(server.try_clone()?);
    let mut answer = Message::read(&mut answers, method != "HEAD", &mut server)?;
    while answer.lines.first().is_some_and(|line| line.contains(" 100 ")) {
        answer = Message::read(&mut answers, method != "HEAD", &mut server)?;
    }
    if let Some(Fault::AnswerLate(delay)) = fault {
        std::thread::sleep(delay);
    }
    match fault {
        Some(Fault::AnswerLost) => client.shutdown(Shutdown::Both)?,
        Some(Fault::DoneBut(status, code)) => refuse(&mut client, status, code)?,
        Some(Fault::Truncated(limit)) => client.write_all(&answer.bytes(limit))?,
        _ => client.write_all(&answer.bytes(usize::MAX))?,
    }
    Ok(())
}

fn refuse(client: &mut TcpStream, status: u16, code: &str) -> Result<()> {
    let body = if code.is_empty() {
        String::new()
    } else {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message></Error>")
    };
    let head = format!(
        "HTTP/1.1 {status} Injected\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    Ok(client.write_all(body.as_bytes())?)
}
