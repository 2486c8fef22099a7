//! What a client reads on a channel.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use prometheus::IntCounter;
use russh::ChannelWriteHalf;
use russh::server::Msg;
use tokio_util::sync::CancellationToken;

use crate::pipe;
use crate::service::{Answer, write};

/// Bytes that must get through in [`Output::patience`].
const PIECE: usize = 32 << 10;
/// Chunks between the thread that works and the channel. Many: a thread that reads from the client must not wait for a connection
/// that waits for it.
const CHUNKS: usize = 128;
/// How long a channel stays open for a client that has its answer but has not said yet that it sends no more: some (go-git) take it for a
/// failure when the channel closes first.
const LINGER: Duration = Duration::from_secs(1);

/// The writing end of a channel.
pub(super) struct Output {
    pub(super) channel: ChannelWriteHalf<Msg>,
    /// Cancelled when the client has gone, or is given up because it does not read.
    pub(super) gone: CancellationToken,
    /// Cancelled when the client has said that it sends no more.
    pub(super) finished: CancellationToken,
    /// How long a client may take nothing.
    pub(super) patience: Duration,
    pub(super) sent: IntCounter,
}

/// The client does not listen any more.
pub(super) struct Gone;

impl Output {
    /// Sends an answer.
    pub(super) async fn answer(&self, answer: Answer) -> Result<(), Gone> {
        match answer {
            Answer::Whole(bytes) => {
                self.sent.inc_by(bytes.len() as u64);
                self.send(bytes).await
            }
            Answer::Parts(first, second) => {
                self.sent.inc_by((first.len() + second.len()) as u64);
                self.send(first).await?;
                self.send(second).await
            }
            Answer::Written(writing) => {
                let interrupt = Arc::new(AtomicBool::new(false));
                let (writer, mut chunks) = pipe::channel(Arc::clone(&interrupt), CHUNKS, self.sent.clone());
                tokio::task::spawn_blocking(move || write(writing, writer, &interrupt));
                while let Some(chunk) = self.gone.run_until_cancelled(chunks.next()).await.ok_or(Gone)? {
                    self.send(chunk).await?;
                }
                Ok(())
            }
        }
    }

    /// Sends bytes.
    pub(super) async fn send(&self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.within(self.channel.data_bytes(piece)).await?;
        }
        Ok(())
    }

    /// Says something to the person at the client.
    pub(super) async fn say(&self, line: &str) -> Result<(), Gone> {
        self.within(self.channel.extended_data_bytes(1, Bytes::from(format!("codekeep: {line}\n")))).await
    }

    /// Ends the command.
    pub(super) async fn end(&self, status: u32) -> Result<(), Gone> {
        self.within(async {
            self.channel.exit_status(status).await?;
            self.channel.eof().await
        })
        .await?;
        let _ = tokio::time::timeout(LINGER, self.gone.run_until_cancelled(self.finished.cancelled())).await;
        self.within(self.channel.close()).await
    }

    async fn within(&self, sending: impl Future<Output = Result<(), russh::Error>>) -> Result<(), Gone> {
        let sending = tokio::time::timeout(self.patience, sending);
        if matches!(self.gone.run_until_cancelled(sending).await, Some(Ok(Ok(())))) {
            return Ok(());
        }
        self.gone.cancel();
        Err(Gone)
    }
}
