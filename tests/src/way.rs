//! A way to a server that can be cut, blocked or slowed, for whole connections: what networks do, below HTTP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result};

/// How soon a connection notices that its way has changed.
const STEP: Duration = Duration::from_millis(20);

/// What becomes of connections and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// They go through.
    Flowing,
    /// What clients send arrives after a while.
    Slow(Duration),
    /// Nothing arrives anywhere and nobody is told; what was sent goes on when the way flows again.
    Blocked,
    /// Connections end, new ones too.
    Cut,
}

/// A running way; new connections are refused once it is dropped.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    traffic: Arc<Mutex<Traffic>>,
}

impl Way {
    /// A way to `target`, which need not be there yet.
    pub fn to(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to listen for a way")?;
        let (address, traffic) = (listener.local_addr()?, Arc::new(Mutex::new(Traffic::Flowing)));
        let shared = Arc::downgrade(&traffic);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.strong_count() == 0 {
                    break;
                }
                let shared = Weak::clone(&shared);
                // A failed connection is a closed one: the client under test says what it makes of that.
                std::thread::spawn(move || drop(connect(&client, target, &shared)));
            }
        });
        Ok(Self { address, traffic })
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what becomes of all connections from now on.
    pub fn set(&self, traffic: Traffic) {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner) = traffic;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        // Wakes the listener, which then finds nobody who wants it.
        self.traffic = Arc::new(Mutex::new(Traffic::Cut));
        let _ = TcpStream::connect(self.address);
    }
}

fn connect(client: &TcpStream, target: SocketAddr, traffic: &Weak<Mutex<Traffic>>) -> Result<()> {
    pass(traffic, false)?;
    let server = TcpStream::connect(target)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STEP))?;
    }
    let (from, to, answers) = (server.try_clone()?, client.try_clone()?, Weak::clone(traffic));
    std::thread::spawn(move || drop(pump(&from, &to, &answers, false)));
    pump(client, &server, traffic, true)
}

/// Waits until bytes may pass; an error when they never will.
fn pass(traffic: &Weak<Mutex<Traffic>>, is_request: bool) -> Result<()> {
    loop {
        let shared = traffic.upgrade().context("the way is gone")?;
        let now = *shared.lock().unwrap_or_else(PoisonError::into_inner);
        drop(shared);
        match now {
            Traffic::Cut => anyhow::bail!("the way is cut"),
            Traffic::Blocked => std::thread::sleep(STEP),
            Traffic::Slow(time) if is_request => {
                std::thread::sleep(time);
                return Ok(());
            }
            Traffic::Slow(_) | Traffic::Flowing => return Ok(()),
        }
    }
}

/// Carries bytes one way until the connection ends or the way is cut.
fn pump(mut from: &TcpStream, mut to: &TcpStream, traffic: &Weak<Mutex<Traffic>>, is_request: bool) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let outcome = loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => break Err(error.into()),
        };
        let carried = pass(traffic, is_request && read > 0).and_then(|()| Ok(to.write_all(&buffer[..read])?));
        if carried.is_err() {
            break carried;
        }
    };
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
    outcome
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A server that answers each connection's bytes with themselves.
    fn echo() -> Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || std::io::copy(&mut &stream, &mut &stream).ok());
            }
        });
        Ok(address)
    }

    fn ask(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
        let mut answer = [0; 4];
        stream.write_all(b"echo")?;
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    #[test]
    fn bytes_flow_are_late_are_held_back_and_end() -> Result<()> {
        let way = Way::to(echo()?)?;
        let mut stream = TcpStream::connect(way.address())?;
        stream.set_read_timeout(Some(Duration::from_millis(400)))?;
        assert_eq!(&ask(&mut stream)?, b"echo");

        way.set(Traffic::Slow(Duration::from_millis(200)));
        let began = Instant::now();
        assert_eq!(&ask(&mut stream)?, b"echo");
        assert!(began.elapsed() >= Duration::from_millis(200));

        way.set(Traffic::Blocked);
        assert!(ask(&mut stream).is_err(), "bytes passed a blocked way");
        way.set(Traffic::Flowing);
        let mut late = [0; 4];
        stream.read_exact(&mut late)?;
        assert_eq!(&late, b"echo", "what was held back never came");

        way.set(Traffic::Cut);
        assert!(ask(&mut stream).is_err(), "a connection outlived its way");
        let mut refused = TcpStream::connect(way.address())?;
        assert!(ask(&mut refused).is_err(), "a cut way lets somebody through");
        way.set(Traffic::Flowing);
        assert_eq!(&ask(&mut TcpStream::connect(way.address())?)?, b"echo");
        Ok(())
    }
}
