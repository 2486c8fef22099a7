//! An S3 server in memory, for benchmarks: exact conditional creates, connections that are kept, delays as stated, every request
//! recorded with its time.
//!
//! It is not a proof that Codekeep works on S3 (SeaweedFS is that, in `s3.rs`): it checks no signatures and knows no multipart
//! uploads. It is here because a real S3 server on the same two cores would measure itself.

mod exchange;
mod listing;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use exchange::{Answer, Asked};

/// Name of the only bucket.
const NAME: &str = "bench";

/// How long requests take; half of it passes before the effect, half after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Delays {
    /// GET, HEAD and LIST.
    pub read: Duration,
    /// PUT and DELETE.
    pub write: Duration,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// HTTP method; `LIST` for a GET that lists.
    pub method: String,
    /// Key, or prefix of a listing.
    pub key: String,
    /// Status of the answer.
    pub status: u16,
    /// When it had arrived whole.
    pub began: Instant,
    /// When its answer was about to leave.
    pub ended: Instant,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Arc<[u8]>>,
    delays: Delays,
    seen: Vec<Seen>,
}

/// A running server; connections end when it is dropped.
pub struct Bucket {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Bucket {
    /// Starts a server without delays.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to listen for the bucket")?;
        let (address, state) = (listener.local_addr()?, Arc::new(Mutex::new(State::default())));
        let shared = Arc::downgrade(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.strong_count() == 0 {
                    break;
                }
                let state = Weak::clone(&shared);
                // Ends with an error when the client goes, as clients do.
                std::thread::spawn(move || drop(serve(client, &state)));
            }
        });
        Ok(Self { address, state })
    }

    /// Its store URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{NAME}?region=us-east-1&endpoint=http://{}&path-style=true", self.address)
    }

    /// Credentials, any of which will do.
    #[must_use]
    pub fn credentials() -> Vec<(String, String)> {
        [("AWS_ACCESS_KEY_ID", "bench"), ("AWS_SECRET_ACCESS_KEY", "bench"), ("AWS_EC2_METADATA_DISABLED", "true")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// Sets the delays of requests that arrive from now on.
    pub fn delay(&self, delays: Delays) {
        lock(&self.state).delays = delays;
    }

    /// The requests answered since the last call, in the order of their answers.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.state).seen)
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // The listener then finds its state gone.
        self.state = Arc::default();
        let _ = TcpStream::connect(self.address);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one connection's requests until it closes or the server is dropped.
fn serve(client: TcpStream, state: &Weak<Mutex<State>>) -> Result<()> {
    let mut connection = exchange::Connection::new(client)?;
    while let Some(asked) = connection.next()? {
        let Some(state) = state.upgrade() else { break };
        let (began, delays) = (Instant::now(), lock(&state).delays);
        let delay = if asked.is_write() { delays.write } else { delays.read };
        std::thread::sleep(delay / 2);
        let answer = answer(&state, &asked);
        std::thread::sleep(delay.saturating_sub(began.elapsed()));
        let method = if asked.lists() { "LIST".to_owned() } else { asked.method.clone() };
        let key = asked.query("prefix").filter(|_| asked.lists()).unwrap_or_else(|| asked.key.clone());
        lock(&state).seen.push(Seen { method, key, status: answer.status, began, ended: Instant::now() });
        connection.answer(&asked, &answer)?;
    }
    Ok(())
}

fn answer(state: &Mutex<State>, asked: &Asked) -> Answer {
    let mut state = lock(state);
    match asked.method.as_str() {
        _ if asked.bucket != NAME => Answer::error(404, "NoSuchBucket"),
        "GET" if asked.lists() => listing::answer(&state.objects, asked),
        "GET" | "HEAD" => match state.objects.get(&asked.key) {
            Some(body) => Answer::object(body, asked.header("range")),
            None => Answer::error(404, "NoSuchKey"),
        },
        "PUT" if asked.query("partNumber").is_some() => Answer::error(501, "NotImplemented"),
        "PUT" if asked.header("if-none-match").is_some() && state.objects.contains_key(&asked.key) => {
            Answer::error(412, "PreconditionFailed")
        }
        "PUT" if asked.header("if-match").is_some() || asked.header("x-amz-copy-source").is_some() => {
            Answer::error(501, "NotImplemented")
        }
        "PUT" => {
            state.objects.insert(asked.key.clone(), asked.body.clone().into());
            Answer::empty(200)
        }
        "DELETE" => {
            state.objects.remove(&asked.key);
            Answer::empty(204)
        }
        _ => Answer::error(501, "NotImplemented"),
    }
}

#[cfg(test)]
mod tests;
