//! Bytes between async transports and blocking git code, bounded in both directions.

use std::io::{self, BufReader, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use prometheus::IntCounter;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::turn::{Lender, Turn};

/// Chunks on their way to the client; with [`CHUNK_BYTES`] this bounds the memory of a slow one.
pub(crate) const CHUNKS: usize = 4;
const CHUNK_BYTES: usize = 128 << 10;

/// What a client sends as a blocking reader. A client that is silent for `idle` ends it with an error; so does one that sends more
/// than `limit` bytes after decompression.
pub(crate) fn reader(
    stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    idle: Duration,
    limit: u64,
    received: IntCounter,
    turn: Lender,
) -> Box<dyn io::BufRead + Send> {
    let stream = futures::stream::try_unfold((Box::pin(stream), 0_u64), move |(mut stream, seen)| {
        let (received, turn) = (received.clone(), turn.clone());
        async move {
            let next = turn.wait(tokio::time::timeout(idle, stream.next())).await;
            let Some(chunk) = next.map_err(|_| silent())? else { return Ok::<_, io::Error>(None) };
            let chunk = chunk?;
            let seen = seen + chunk.len() as u64;
            if seen > limit {
                return Err(too_large());
            }
            received.inc_by(chunk.len() as u64);
            Ok(Some((chunk, (stream, seen))))
        }
    });
    let bridge = SyncIoBridge::new(StreamReader::new(Box::pin(stream)));
    Box::new(BufReader::with_capacity(128 << 10, bridge))
}

pub(crate) fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client stopped sending")
}

pub(crate) fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "the request is larger than this server accepts")
}

/// Whether reading failed because of a client that is not there, and not because of what it sent.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::FileTooLarge
}

/// The writing end of an answer; for blocking code.
pub(crate) struct Writer {
    sender: mpsc::Sender<Bytes>,
    buffer: BytesMut,
    sent: IntCounter,
    turn: Lender,
}

/// A writer and what is written to it. `interrupt` is set when the latter is dropped: the client went away.
pub(crate) fn channel(interrupt: Arc<AtomicBool>, chunks: usize, sent: IntCounter) -> (Writer, Chunks) {
    let (sender, receiver) = mpsc::channel(chunks);
    // Grows with what is written: most answers are a few lines.
    (Writer { sender, buffer: BytesMut::new(), sent, turn: Lender::default() }, Chunks { receiver, interrupt })
}

impl Writer {
    /// Others have this turn while the client does not read.
    pub(crate) fn lend(&mut self, turn: &Turn) {
        self.turn = turn.lender();
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        // After a full chunk more is to be expected.
        let room = if self.buffer.len() == CHUNK_BYTES { CHUNK_BYTES } else { 0 };
        let chunk = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(room)).freeze();
        self.sent.inc_by(chunk.len() as u64);
        let is_sent = match self.sender.try_send(chunk) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(chunk)) => match Handle::try_current() {
                Ok(runtime) => runtime.block_on(self.turn.wait(self.sender.send(chunk))).is_ok(),
                Err(_) => self.sender.blocking_send(chunk).is_ok(),
            },
        };
        if is_sent { Ok(()) } else { Err(io::Error::new(io::ErrorKind::BrokenPipe, "the client has gone")) }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = CHUNK_BYTES - self.buffer.len();
        let taken = bytes.len().min(room);
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// What was written; dropped when the client goes away.
pub(crate) struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    interrupt: Arc<AtomicBool>,
}

impl Chunks {
    /// The next chunk, or `None` when the writer is gone.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.receiver.recv().await
    }
}

impl Stream for Chunks {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.interrupt.store(true, Ordering::Relaxed);
    }
}
