//! What a client asks for on a connection, answered at once; the work of a command goes on beside it.
//!
//! Who it is counts only after the signature was checked, and is asked for anew by each command. Everything but commands is refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::SshPublicKey;
use russh::keys::{Algorithm, PublicKey, PublicKeyBase64 as _};
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelWriteHalf};
use russh::{ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::command::{self, Command, FAILED};
use super::input::{self, Input};
use super::{State, algorithms};
use crate::gateway::Gateway;

/// Commands of one connection at the same time.
const MAX_CHANNELS: usize = 10;
/// Longest value of `GIT_PROTOCOL`.
const MAX_PROTOCOL: usize = 256;
/// For whoever asks for something else.
const NO_SHELL: &str = "this server runs git commands only: there is no shell, no file transfer and no forwarding; use git clone, fetch or push\n";

/// A connection's side of us.
pub(super) struct Connection {
    gateway: Arc<Gateway>,
    source: IpAddr,
    state: watch::Sender<State>,
    cut: CancellationToken,
    key: Option<SshPublicKey>,
    channels: HashMap<ChannelId, Slot>,
}

/// A channel.
struct Slot {
    /// Until its command begins.
    ends: Option<(Input, ChannelWriteHalf<Msg>)>,
    /// Cancelled when the client closes it, or the command has ended.
    gone: CancellationToken,
    protocol: Option<String>,
}

impl Connection {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        source: IpAddr,
        state: watch::Sender<State>,
        cut: CancellationToken,
    ) -> Self {
        Self { gateway, source, state, cut, key: None, channels: HashMap::new() }
    }

    /// The key, if somebody has it and it may prove something in this way.
    fn known(&self, key: &PublicKey, algorithm: &Algorithm) -> Option<SshPublicKey> {
        let key = SshPublicKey::from_blob(&key.public_key_bytes()).ok()?;
        let known = self.gateway.desired().ssh_keys.users(&key).is_some();
        (known && algorithms::is_accepted(algorithm)).then_some(key)
    }

    /// Refuses what is no command, and says why.
    fn refuse(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        let unused = self.channels.get_mut(&channel).filter(|slot| slot.ends.is_some());
        let Some(slot) = unused else { return session.channel_failure(channel) };
        slot.ends = None;
        slot.gone.cancel();
        session.channel_success(channel)?;
        session.extended_data(channel, 1, NO_SHELL)?;
        session.exit_status_request(channel, FAILED)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, _user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        let known = self.known(offer.public_key, offer.algorithm).is_some();
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, _user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        self.key = self.known(key.public_key, key.algorithm);
        Ok(if self.key.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        self.state.send_modify(|state| state.proven = true);
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // A client's answer to our closing a channel is not told to anybody.
        self.channels.retain(|_, slot| !slot.gone.is_cancelled());
        if self.channels.len() >= MAX_CHANNELS || self.state.borrow().is_spent() {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.state.send_modify(|state| state.opened += 1);
        let (id, gone) = (channel.id(), self.cut.child_token());
        let (reading, writing) = channel.split();
        let received = self.gateway.metrics.received_bytes.clone();
        let input = input::open(reading, gone.clone(), self.gateway.config.idle_timeout, received);
        self.channels.insert(id, Slot { ends: Some((input, writing)), gone, protocol: None });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        if let Some(slot) = self.channels.remove(&channel) {
            slot.gone.cancel();
        }
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&channel) {
            Some(slot) if name == "GIT_PROTOCOL" && value.len() <= MAX_PROTOCOL => {
                slot.protocol = Some(value.to_owned());
                session.channel_success(channel)
            }
            _ => session.channel_failure(channel),
        }
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let slot = self.channels.get_mut(&channel);
        let ends = slot.and_then(|slot| Some((slot.ends.take()?, slot.protocol.take(), slot.gone.clone())));
        let (Some(((input, output), protocol, gone)), Some(key)) = (ends, self.key.clone()) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let running = command::Running::begin(&self.state);
        let command = Command {
            gateway: Arc::clone(&self.gateway),
            source: self.source,
            key,
            line: command.to_vec(),
            protocol,
            running,
        };
        tokio::spawn(command.run(input, output, gone, self.cut.clone()));
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.refuse(channel, session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // As if it were there: a client that is told no does not show why.
        self.refuse(channel, session)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The client has gone, and with it whoever wanted the answers.
        self.cut.cancel();
    }
}
