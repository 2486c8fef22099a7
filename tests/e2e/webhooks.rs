//! Webhooks: signed, in order, at least once, whatever restarts in between.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tests::{Server, raw_http, wait};

use crate::bed::Bed;

const KEY: &str = "a-signing-key";
const PATIENCE: Duration = Duration::from_mins(1);

/// A request as it came in.
#[derive(Debug, Clone)]
struct Delivery {
    timestamp: String,
    signature: String,
    body: String,
}

/// An endpoint that remembers what it accepted, and can be told to refuse a while.
struct Receiver {
    address: SocketAddr,
    accepted: Arc<Mutex<Vec<Delivery>>>,
    refusals: Arc<AtomicUsize>,
}

impl Receiver {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Self { address: listener.local_addr()?, accepted: Arc::default(), refusals: Arc::default() };
        let (accepted, refusals) = (Arc::clone(&receiver.accepted), Arc::clone(&receiver.refusals));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::io::Result::ok) {
                let (accepted, refusals) = (Arc::clone(&accepted), Arc::clone(&refusals));
                std::thread::spawn(move || answer(stream, &accepted, &refusals));
            }
        });
        Ok(receiver)
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events accepted so far, repeats left out, in the order of their first arrival.
    fn events(&self) -> Result<Vec<Value>> {
        let (mut seen, mut events) = (HashSet::new(), Vec::new());
        for delivery in self.deliveries() {
            let event: Value = serde_json::from_str(&delivery.body)?;
            if seen.insert(event["id"].to_string()) {
                events.push(event);
            }
        }
        Ok(events)
    }

    fn commits(&self) -> Result<Vec<String>> {
        Ok(self
            .events()?
            .iter()
            .map(|event| event["data"]["commitId"].as_str().unwrap_or_default().to_owned())
            .collect())
    }
}

/// Answers the requests of a connection.
fn answer(stream: TcpStream, accepted: &Mutex<Vec<Delivery>>, refusals: &AtomicUsize) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(delivery)) = read(&mut reader) {
        let refused = refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let line = if refused.is_ok() { "503 Service Unavailable" } else { "204 No Content" };
        if refused.is_err() {
            accepted.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
        }
        let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            break;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Result<Option<Delivery>> {
    let mut delivery = Delivery { timestamp: String::new(), signature: String::new(), body: String::new() };
    let (mut length, mut first) = (0, true);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() && !first {
            break;
        }
        first = false;
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse()?,
            "codekeep-timestamp" => value.trim().clone_into(&mut delivery.timestamp),
            "codekeep-signature" => value.trim().clone_into(&mut delivery.signature),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    delivery.body = String::from_utf8(body)?;
    Ok(Some(delivery))
}

fn with_rule(receiver: &Receiver, branches: &str) -> Result<Bed> {
    let bed = Bed::with(&["--webhook-allow-cidr", "127.0.0.0/8"])?;
    bed.manifests.write(
        "rule.yaml",
        &format!(
            "apiVersion: codekeep.dev/v1alpha1\nkind: NotificationRule\nmetadata: {{name: tell-ci, namespace: team-a}}\nspec:\n  \
             repositories: {{names: [hello]}}\n  eventTypes:\n    - codecommit-repository-branches-and-tags-created\n    \
             - codecommit-repository-branches-and-tags-updated\n    - codecommit-repository-branches-and-tags-deleted\n{branches}  \
             targets:\n    - name: ci\n      webhook: {{url: 'http://{}/hook', signingSecretRef: {{name: hook-key, key: key}}}}\n\
             ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: hook-key, namespace: team-a}}\ntype: Opaque\n\
             stringData: {{key: {KEY}}}\n",
            receiver.address
        ),
    )?;
    // The rule has to be known before the first push.
    std::thread::sleep(Duration::from_secs(2));
    Ok(bed)
}

fn signature(timestamp: &str, body: &str) -> Result<String> {
    let script = "import sys,hmac,hashlib;print(hmac.new(sys.argv[1].encode(),sys.stdin.buffer.read(),hashlib.sha256).hexdigest())";
    let mut child = std::process::Command::new("python3")
        .args(["-c", script, KEY])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no standard input")?.write_all(format!("{timestamp}.{body}").as_bytes())?;
    Ok(format!("sha256={}", String::from_utf8(child.wait_with_output()?.stdout)?.trim()))
}

#[test]
fn pushes_arrive_signed_and_in_order_as_cloud_events() -> Result<()> {
    let receiver = Receiver::start()?;
    let bed = with_rule(&receiver, "")?;
    let work = bed.git.init("work")?;
    let mut pushed = Vec::new();
    for number in 0..5 {
        pushed.push(bed.git.commit(&work, "file", &format!("{number}\n"))?);
        bed.git.ok(&work, &["push", "--quiet", &bed.url(), "main"])?;
    }
    wait::until("five events", PATIENCE, || Ok((receiver.commits()?.len() >= 5).then_some(())))?;
    assert_eq!(receiver.commits()?, pushed);
    let events = receiver.events()?;
    assert_eq!(events[0]["specversion"], "1.0");
    assert_eq!(events[0]["data"]["event"], "referenceCreated");
    assert_eq!(events[1]["data"]["event"], "referenceUpdated");
    assert_eq!(events[1]["data"]["oldCommitId"], Value::String(pushed[0].clone()));
    assert_eq!(events[1]["data"]["referenceFullName"], "refs/heads/main");
    for delivery in receiver.deliveries() {
        assert_eq!(delivery.signature, signature(&delivery.timestamp, &delivery.body)?);
    }
    bed.git.ok(&work, &["push", "--quiet", &bed.url(), "HEAD:gone", "HEAD:refs/tags/v1"])?;
    bed.git.ok(&work, &["push", "--quiet", &bed.url(), ":gone"])?;
    wait::until("the deletion", PATIENCE, || {
        Ok(receiver.events()?.last().filter(|event| event["data"]["event"] == "referenceDeleted").map(|_| ()))
    })?;
    assert_eq!(receiver.events()?.len(), 8);
    Ok(())
}

#[test]
fn a_receiver_that_is_down_gets_everything_later_in_order() -> Result<()> {
    let receiver = Receiver::start()?;
    let bed = with_rule(&receiver, "")?;
    receiver.refusals.store(3, Ordering::SeqCst);
    let work = bed.git.init("work")?;
    let mut pushed = Vec::new();
    for number in 0..3 {
        pushed.push(bed.git.commit(&work, "file", &format!("{number}\n"))?);
        bed.git.ok(&work, &["push", "--quiet", &bed.url(), "main"])?;
    }
    wait::until("three events", PATIENCE, || Ok((receiver.commits()?.len() >= 3).then_some(())))?;
    assert_eq!(receiver.commits()?, pushed);
    Ok(())
}

#[test]
fn a_storm_of_restarts_loses_no_event_and_changes_no_order() -> Result<()> {
    let receiver = Receiver::start()?;
    let mut bed = with_rule(&receiver, "")?;
    let work = bed.git.init("work")?;
    let mut pushed = Vec::new();
    for round in 0..8 {
        for number in 0..3 {
            pushed.push(bed.git.commit(&work, "file", &format!("{round}.{number}\n"))?);
            bed.git.ok(&work, &["push", "--quiet", &bed.url(), "main"])?;
        }
        receiver.refusals.store(round % 2, Ordering::SeqCst);
        bed.server.kill()?;
        let options = bed.options().with(&["--webhook-allow-cidr", "127.0.0.0/8"]);
        bed.server = Server::start(options)?;
    }
    // A server that was killed held a lease that the next one has to wait for.
    wait::until("all events", Duration::from_mins(4), || Ok((receiver.commits()?.len() >= pushed.len()).then_some(())))
        .with_context(|| bed.server.log())?;
    assert_eq!(receiver.commits()?, pushed);
    Ok(())
}

#[test]
fn a_webhook_to_loopback_is_refused_unless_it_is_allowed() -> Result<()> {
    let receiver = Receiver::start()?;
    let mut bed = with_rule(&receiver, "")?;
    bed.server.kill()?;
    bed.server = Server::start(bed.options())?;
    let work = bed.git.init("work")?;
    bed.git.commit(&work, "file", "text\n")?;
    bed.git.ok(&work, &["push", "--quiet", &bed.url(), "main"])?;
    std::thread::sleep(Duration::from_secs(5));
    assert!(receiver.deliveries().is_empty());
    assert!(bed.server.log().contains("tell-ci"), "the log does not say why: {}", bed.server.log());
    let status = status(&bed.server)?;
    assert!(status["consecutiveFailures"].as_u64() > Some(0) && status["lastError"].is_string(), "{status}");
    Ok(())
}

#[test]
fn two_servers_deliver_what_both_took_in_order_and_the_status_says_how_far() -> Result<()> {
    let receiver = Receiver::start()?;
    let bed = with_rule(&receiver, "")?;
    let second = Server::start(bed.options().with(&["--webhook-allow-cidr", "127.0.0.0/8"]))?;
    let work = bed.git.init("work")?;
    let mut pushed = Vec::new();
    for number in 0..8 {
        let server = if number % 2 == 0 { &bed.server } else { &second };
        pushed.push(bed.git.commit(&work, "file", &format!("{number}\n"))?);
        bed.git.ok(&work, &["push", "--quiet", &server.url("alice", crate::bed::REPOSITORY), "main"])?;
    }
    wait::until("eight events", PATIENCE, || Ok((receiver.commits()?.len() >= 8).then_some(())))?;
    assert_eq!(receiver.commits()?, pushed);
    wait::until("the status", PATIENCE, || {
        let statuses = [status(&bed.server)?, status(&second)?];
        Ok(statuses.iter().any(|status| status["delivered"] == 8 && status["lastError"].is_null()).then_some(()))
    })
}

/// What a server shows of the only target.
fn status(server: &Server) -> Result<Value> {
    let response = raw_http::get(server.admin_address(), "/status")?;
    let status: Value = serde_json::from_slice(&response.body)?;
    Ok(status["notificationTargets"][0].clone())
}
