//! What a client sends on a channel: waited for without a thread, read by blocking code.

use std::io::{self, BufRead, Read};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use prometheus::IntCounter;
use russh::ChannelMsg;
use russh::ChannelReadHalf;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::pipe;
use crate::turn::{Lender, Turn};

/// Packets of at most 32 KiB that wait to be read.
const PACKETS: usize = 16;

/// The bytes of a channel.
pub(super) struct Input {
    packets: mpsc::Receiver<Bytes>,
    packet: Bytes,
    runtime: Handle,
    idle: Duration,
    /// Bytes that may still come.
    left: u64,
    received: IntCounter,
    turn: Lender,
    gone: CancellationToken,
    finished: CancellationToken,
}

/// Begins to read a channel. `gone` is cancelled when the client closes it, or is not there any more; when it is cancelled, reading
/// ends. Somebody always reads, for a channel that nobody reads holds up its whole connection.
pub(super) fn open(
    mut channel: ChannelReadHalf,
    gone: CancellationToken,
    idle: Duration,
    received: IntCounter,
) -> Input {
    let (sender, packets) = mpsc::channel(PACKETS);
    let ended = gone.clone();
    let finished = CancellationToken::new();
    let says_no_more = finished.clone();
    tokio::spawn(async move {
        let _gone = gone.clone().drop_guard();
        let _finished = says_no_more.clone().drop_guard();
        let mut sender = Some(sender);
        let reading = async {
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Data { data }) => sender = pass(sender, data).await,
                    Some(ChannelMsg::Eof) => {
                        sender = None;
                        says_no_more.cancel();
                    }
                    Some(ChannelMsg::Close) | None => {
                        // Before the input ends: who reads it learns that more was to come.
                        gone.cancel();
                        return;
                    }
                    Some(_) => {}
                }
            }
        };
        gone.run_until_cancelled(reading).await;
    });
    Input {
        packets,
        packet: Bytes::new(),
        runtime: Handle::current(),
        idle,
        left: 0,
        received,
        turn: Lender::default(),
        gone: ended,
        finished,
    }
}

/// Passes a packet on, as long as somebody wants it.
async fn pass(sender: Option<mpsc::Sender<Bytes>>, packet: Bytes) -> Option<mpsc::Sender<Bytes>> {
    let sender = sender?;
    sender.send(packet).await.is_ok().then_some(sender)
}

impl Input {
    /// Waits for the client to say more; false when it has said all, or says nothing for this long.
    pub(super) async fn wait(&mut self, patience: Duration) -> bool {
        while self.packet.is_empty() {
            match tokio::time::timeout(patience, self.packets.recv()).await {
                Ok(Some(packet)) => self.packet = packet,
                Ok(None) | Err(_) => return false,
            }
        }
        true
    }

    /// This input for somebody else; what stays has ended.
    pub(super) fn take(&mut self) -> Self {
        let (_, packets) = mpsc::channel(1);
        let rest = Self {
            packets,
            packet: Bytes::new(),
            runtime: self.runtime.clone(),
            idle: self.idle,
            left: 0,
            received: self.received.clone(),
            turn: self.turn.clone(),
            gone: self.gone.clone(),
            finished: self.finished.clone(),
        };
        std::mem::replace(self, rest)
    }

    /// Cancelled when the client has said that it sends no more, or has gone.
    pub(super) fn finished(&self) -> CancellationToken {
        self.finished.clone()
    }

    /// Others have this turn while the client does not send.
    pub(super) fn lend(&mut self, turn: &Turn) {
        self.turn = turn.lender();
    }

    /// Allows this many bytes to come from now on.
    pub(super) fn allow(&mut self, bytes: u64) {
        self.left = bytes;
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone")
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.packet.is_empty() {
            let next = tokio::time::timeout(self.idle, self.packets.recv());
            match self.runtime.block_on(self.turn.wait(next)).map_err(|_| pipe::silent())? {
                Some(packet) => self.packet = packet,
                None if self.gone.is_cancelled() => return Err(gone()),
                None => return Ok(&[]),
            }
        }
        Ok(&self.packet)
    }

    fn consume(&mut self, amount: usize) {
        self.packet.advance(amount);
        self.left = self.left.saturating_sub(amount as u64);
        self.received.inc_by(amount as u64);
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(pipe::too_large());
        }
        let available = self.fill_buf()?;
        let amount = available.len().min(buffer.len());
        buffer[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}
