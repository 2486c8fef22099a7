//! The LFS API by hand: batches, and what they say is to be done.

use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::manifests::PASSWORD;
use crate::raw_http::{Response, basic, send};

/// The content type of requests.
pub const JSON: &str = "application/vnd.git-lfs+json";
/// Where the API of the repository is that most stories happen in.
pub const LFS: &str = "/team-a/hello/info/lfs";

/// The name of an object.
#[must_use]
pub fn oid(content: &[u8]) -> String {
    digest(&SHA256, content).as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A call with a body, as somebody.
pub fn post(server: SocketAddr, user: &str, suffix: &str, body: &Value) -> Result<Response> {
    let authorization = basic(user, PASSWORD);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", JSON)];
    send(server, "POST", &format!("{LFS}/{suffix}"), &headers, body.to_string().as_bytes())
}

/// What a batch says to alice about one object.
pub fn batch(server: SocketAddr, operation: &str, oid: &str, size: usize) -> Result<Value> {
    let body = json!({"operation": operation, "objects": [{"oid": oid, "size": size}]});
    let answer = post(server, "alice", "objects/batch", &body)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let answer: Value = serde_json::from_slice(&answer.body)?;
    Ok(answer["objects"][0].clone())
}

/// What an action of an object leads to.
#[derive(Debug, Clone)]
pub struct Link {
    /// Who is asked.
    pub address: SocketAddr,
    /// For what.
    pub target: String,
    /// With these headers, but for the length of a body.
    pub headers: Vec<(String, String)>,
}

impl Link {
    /// Reads an action.
    pub fn parse(action: &Value) -> Result<Self> {
        let href = action["href"].as_str().context("no address")?;
        let (host, target) = href.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("no path")?;
        let given = action["header"].as_object().into_iter().flatten();
        let given = given.filter(|(name, _)| *name != "content-length");
        let mut headers: Vec<(String, String)> =
            given.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        headers.push(("Host".to_owned(), host.to_owned()));
        Ok(Self { address: host.parse()?, target: format!("/{target}"), headers })
    }

    /// Follows it.
    pub fn follow(&self, method: &str, more: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        send(self.address, method, &self.target, &self.with(more), body)
    }

    /// Its headers and more.
    #[must_use]
    pub fn with<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.chain(more.iter().copied()).collect()
    }
}
