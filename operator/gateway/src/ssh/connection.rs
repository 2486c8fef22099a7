//! One connection from its beginning to its end: who proves nothing in time, or has nothing to do, is sent away.

use std::sync::Arc;
use std::time::Duration;

use russh::Disconnect;
use russh::server::run_stream;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::State;
use super::handler::Connection;
use super::host_keys::HostKeys;
use super::limits::Place;
use crate::gateway::Gateway;
use crate::wire::Wire;

/// How long a client may take until it has proven a key.
const LOGIN: Duration = Duration::from_secs(30);
/// How long a connection without a command is kept: people let them stand open for the next one (`ControlPersist`).
const IDLE: Duration = Duration::from_mins(10);
/// How long a client may take to hear that it is sent away.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a connection needs.
pub(super) struct Begin {
    pub(super) gateway: Arc<Gateway>,
    pub(super) host_keys: HostKeys,
    pub(super) stream: TcpStream,
    pub(super) place: Place,
    /// Cancelled when connections without a command have to end.
    pub(super) drain: CancellationToken,
    /// Cancelled when all have to end.
    pub(super) abort: CancellationToken,
}

/// Serves a connection; gives what became of it, for metrics.
pub(super) async fn serve(begin: Begin) -> &'static str {
    let Begin { gateway, host_keys, stream, mut place, drain, abort } = begin;
    let Ok(peer) = stream.peer_addr() else { return "failed" };
    // Or the last packet of an answer waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let (state, mut seen) = watch::channel(State::default());
    let cut = abort.child_token();
    let _cut = cut.clone().drop_guard();
    let wire = Wire::new(stream, gateway.config.idle_timeout).cut_by(cut.clone());
    let handler = Connection::new(gateway, peer.ip().to_canonical(), state, cut.clone());
    let deadline = Instant::now() + LOGIN;
    let Ok(started) = tokio::time::timeout_at(deadline, run_stream(host_keys.config(), wire, handler)).await else {
        return "unproven";
    };
    let Ok(mut session) = started else { return "failed" };
    loop {
        let state = *seen.borrow_and_update();
        let proven = state.proven;
        if proven {
            place.prove();
        }
        let limit = match (proven, state.running) {
            (false, _) => Some(deadline),
            (true, 0) if state.is_spent() => Some(Instant::now()),
            (true, 0) => Some(Instant::now() + IDLE),
            (true, _) => None,
        };
        let late = async {
            match limit {
                Some(limit) => tokio::time::sleep_until(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = &mut session => return if proven { "served" } else { "unproven" },
            changed = seen.changed() => if changed.is_err() {
                let _ = session.await;
                return if proven { "served" } else { "unproven" };
            },
            () = late => break,
            () = drain.cancelled(), if limit.is_some() => break,
            () = abort.cancelled() => break,
        }
    }
    let proven = seen.borrow().proven;
    let farewell = session.handle();
    let told = farewell.disconnect(Disconnect::ByApplication, "this connection is not needed".into(), "en".into());
    let _ = timeout(FAREWELL, async {
        let _ = told.await;
        let _ = (&mut session).await;
    })
    .await;
    cut.cancel();
    if proven { "served" } else { "unproven" }
}
