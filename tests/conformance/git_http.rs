//! git's smart HTTP as `gitprotocol-http` describes it: addresses, types of content, headers.

use std::time::Duration;

use anyhow::Result;
use tests::fixture;
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::raw_http::{basic, send};
use tests::{Git, Manifests, Server, ServerOptions, wait};

/// A server on a new `file:` store.
pub(crate) struct Bed {
    pub(crate) git: Git,
    pub(crate) manifests: Manifests,
    pub(crate) server: Server,
    _store: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new() -> Result<Self> {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Result<Self> {
        let (git, manifests, store) = (Git::new()?, Manifests::standard()?, tempfile::TempDir::new()?);
        let options = ServerOptions::new(manifests.path(), format!("file:{}", store.path().display())).with(arguments);
        Ok(Self { git, manifests, server: Server::start(options)?, _store: store })
    }

    /// Pushes a history of this many commits to `team-a/hello`.
    pub(crate) fn filled(commits: usize) -> Result<Self> {
        let bed = Self::new()?;
        let source = fixture::linear(&bed.git, "source.git", commits)?;
        bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.server.url("alice", "team-a/hello")])?;
        Ok(bed)
    }

    pub(crate) fn raw(&self, user: &str) -> RawClient {
        RawClient::new(self.server.address(), "team-a/hello", Some((user, PASSWORD)))
    }
}

#[test]
fn an_advertisement_has_the_type_and_the_headers_that_git_asks_for() -> Result<()> {
    let bed = Bed::filled(3)?;
    for service in ["git-upload-pack", "git-receive-pack"] {
        let response = bed.raw("alice").advertisement(service, 0)?;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("content-type"), Some(format!("application/x-{service}-advertisement").as_str()));
        assert!(response.header("cache-control").is_some_and(|value| value.contains("no-cache")));
        assert!(response.header("x-request-id").is_some());
        let announced = format!("# service={service}\n");
        assert_eq!(response.body.get(4..4 + announced.len()), Some(announced.as_bytes()));
    }
    Ok(())
}

#[test]
fn the_address_works_with_and_without_the_git_suffix_and_for_nested_names() -> Result<()> {
    let bed = Bed::filled(2)?;
    let authorization = basic("alice", PASSWORD);
    for path in ["/team-a/hello", "/team-a/hello.git", "/team-a/nested/name", "/team-a/nested/name.git"] {
        let target = format!("{path}/info/refs?service=git-upload-pack");
        let response = send(bed.server.address(), "GET", &target, &[("Authorization", &authorization)], b"")?;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
    }
    Ok(())
}

#[test]
fn codecommits_address_takes_the_namespace_from_the_credential() -> Result<()> {
    let bed = Bed::filled(2)?;
    let status = |user: &str| -> Result<u16> {
        let authorization = basic(user, PASSWORD);
        let target = "/v1/repos/hello/info/refs?service=git-upload-pack";
        Ok(send(bed.server.address(), "GET", target, &[("Authorization", &authorization)], b"")?.status)
    };
    let account = model::AccountId::of(&"team-a".parse()?);
    assert_eq!(status(&format!("alice-at-{account}"))?, 200);
    assert_eq!(status("alice-at-000000000000")?, 401);
    // A name that one namespace alone has is enough; one that two have is nobody.
    assert_eq!(status("alice")?, 200);
    bed.manifests.user("team-b", "alice")?;
    wait::until("the second alice", Duration::from_secs(3), || Ok((status("alice")? == 401).then_some(())))?;
    assert_eq!(status(&format!("alice-at-{account}"))?, 200);
    Ok(())
}

#[test]
fn codecommits_address_finds_the_namespace_in_the_host_name() -> Result<()> {
    let bed = Bed::filled(2)?;
    let authorization = basic("alice", PASSWORD);
    let headers = [("Host", "hello.team-a.svc.cluster.local"), ("Authorization", authorization.as_str())];
    let response =
        send(bed.server.address(), "GET", "/v1/repos/hello/info/refs?service=git-upload-pack", &headers, b"")?;
    assert_eq!(response.status, 200, "{}", response.text());
    Ok(())
}

#[test]
fn wrong_methods_types_and_services_are_refused_in_words() -> Result<()> {
    let bed = Bed::filled(1)?;
    let (address, authorization) = (bed.server.address(), basic("alice", PASSWORD));
    let ask = |method: &str, target: &str, kind: &str| {
        send(address, method, target, &[("Authorization", &authorization), ("Content-Type", kind)], b"0000")
    };
    let cases = [
        ("GET", "/team-a/hello/git-upload-pack", "text/plain", 405),
        ("POST", "/team-a/hello/info/refs?service=git-upload-pack", "text/plain", 405),
        ("POST", "/team-a/hello/git-upload-pack", "text/plain", 415),
        ("POST", "/team-a/hello/git-receive-pack", "application/x-git-upload-pack-request", 415),
        ("GET", "/team-a/hello/info/refs?service=git-upload-archive", "text/plain", 403),
        ("GET", "/team-a/hello/info/refs", "text/plain", 403),
        ("GET", "/team-a/hello/objects/info/packs", "text/plain", 404),
    ];
    for (method, target, kind, status) in cases {
        let response = ask(method, target, kind)?;
        let near = response.status == status || (status == 404 && response.status == 403);
        assert!(near, "{method} {target}: {} {}", response.status, response.text());
        assert!(!response.body.is_empty(), "{method} {target} was refused without a word");
    }
    Ok(())
}

#[test]
fn git_asks_for_a_password_first_and_then_gets_in() -> Result<()> {
    let bed = Bed::filled(2)?;
    let response = RawClient::new(bed.server.address(), "team-a/hello", None).advertisement("git-upload-pack", 2)?;
    assert_eq!(response.status, 401);
    assert!(response.header("www-authenticate").is_some_and(|value| value.starts_with("Basic realm=")));
    bed.git.clone(&bed.server.url("alice", "team-a/hello"), "clone")?;
    Ok(())
}

#[test]
fn requests_are_counted_by_what_became_of_them() -> Result<()> {
    let bed = Bed::filled(2)?;
    let count = |verb: &str, outcome: &str| {
        bed.server
            .metric("codekeep_git_requests_total", &format!("outcome=\"{outcome}\",transport=\"http\",verb=\"{verb}\""))
    };
    let pushed = count("push", "ok")?;
    let clone = bed.git.clone(&bed.server.url("alice", "team-a/hello"), "clone")?;
    bed.git.commit(&clone, "file", "text")?;
    bed.git.ok(&clone, &["push", "--quiet", "origin", "HEAD:refs/heads/topic"])?;
    bed.git.run(&clone, &["push", "--quiet", "origin", "HEAD:refs/heads/release/1"])?.refused()?;
    let client = RawClient::new(bed.server.address(), "team-a/hello", Some(("alice", PASSWORD)));
    client.post("git-receive-pack", 0, &[], b"0009nonsense")?;
    wait::until("the counts", Duration::from_secs(5), || {
        let counts = [count("push", "ok")? - pushed, count("push", "refused")?, count("push", "invalid")?];
        Ok((counts.map(|count| count > 0.5) == [true; 3]).then_some(()))
    })?;
    assert!(count("fetch", "ok")? > 0.5 && count("advertise-fetch", "unauthenticated")? > 0.5);
    assert!(bed.server.metric("codekeep_git_requests_in_flight", "")? < 0.5);
    assert!(bed.server.metric("process_resident_memory_bytes", "")? > 1e6, "the process's own are among them");
    Ok(())
}
