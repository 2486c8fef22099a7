//! Who may, seen from the wire: what strangers learn (nothing), what denied users read, when changes take effect.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::manifests::PASSWORD;
use tests::protocol::RawClient;
use tests::raw_http::{Response, basic, send};
use tests::{Manifests, fixture};

use crate::git_http::Bed;

/// What a client sees of an answer, but for the id and the time that differ in every one.
fn visible(response: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let differs = |name: &str| matches!(name, "x-request-id" | "date");
    let headers = response.headers.iter().filter(|(name, _)| !differs(name)).cloned().collect();
    (response.status, headers, response.body.clone())
}

fn ask(bed: &Bed, user: Option<&str>, repository: &str, service: &str) -> Result<Response> {
    let client = RawClient::new(bed.server.address(), repository, user.map(|user| (user, PASSWORD)));
    client.advertisement(service, 0)
}

#[test]
fn strangers_get_the_same_answer_for_every_address() -> Result<()> {
    let bed = Bed::filled(1)?;
    let first = visible(&ask(&bed, None, "team-a/hello", "git-upload-pack")?);
    assert_eq!(first.0, 401);
    for (repository, service) in [
        ("team-a/hello", "git-receive-pack"),
        ("team-a/missing", "git-upload-pack"),
        ("team-b/theirs", "git-upload-pack"),
        ("no-such-team/x", "git-receive-pack"),
    ] {
        assert_eq!(first, visible(&ask(&bed, None, repository, service)?), "{repository} {service}");
        assert_eq!(first, visible(&ask(&bed, Some("mallory"), repository, service)?), "{repository} {service}");
    }
    Ok(())
}

#[test]
fn a_wrong_password_looks_like_an_unknown_user() -> Result<()> {
    let bed = Bed::filled(1)?;
    let with = |user: &str, password: &str| {
        let client = RawClient::new(bed.server.address(), "team-a/hello", Some((user, password)));
        client.advertisement("git-upload-pack", 2).map(|response| visible(&response))
    };
    assert_eq!(with("alice", "wrong")?, with("nobody", "wrong")?);
    assert_eq!(with("alice", "")?, with("nobody", "wrong")?);
    Ok(())
}

#[test]
fn missing_and_forbidden_repositories_answer_byte_for_byte_alike() -> Result<()> {
    let bed = Bed::filled(1)?;
    bed.manifests.repository("team-a", "secret")?;
    for service in ["git-upload-pack", "git-receive-pack"] {
        // `hello` and `absent` have names of the same kind; only one of them exists.
        let name = |response: Response, repository: &str| {
            let (status, headers, body) = visible(&response);
            let length = |(key, _): &(String, String)| key != "content-length";
            let headers: Vec<_> = headers.into_iter().filter(length).collect();
            (status, headers, String::from_utf8_lossy(&body).replace(repository, "NAME"))
        };
        let existing = name(ask(&bed, Some("carol"), "team-a/hello", service)?, "hello");
        let missing = name(ask(&bed, Some("carol"), "team-a/absent", service)?, "absent");
        assert_eq!(existing, missing);
        assert_eq!(existing.0, 404);
    }
    Ok(())
}

#[test]
fn a_user_of_one_namespace_is_nobody_in_another() -> Result<()> {
    let bed = Bed::filled(1)?;
    assert_eq!(ask(&bed, Some("dave"), "team-a/hello", "git-upload-pack")?.status, 401);
    assert_eq!(ask(&bed, Some("dave"), "team-b/theirs", "git-upload-pack")?.status, 200);
    Ok(())
}

#[test]
fn a_reader_who_pushes_reads_that_no_policy_allows_it_and_whom_to_ask() -> Result<()> {
    let bed = Bed::filled(1)?;
    let clone = bed.git.clone(&bed.server.url("bob", "team-a/hello"), "clone")?;
    bed.git.commit(&clone, "file", "text")?;
    let refusal = bed.git.run(&clone, &["push", "origin", "HEAD"])?.refused()?;
    assert!(refusal.contains("no AccessPolicy allows codecommit:GitPush"), "{refusal}");
    assert!(refusal.contains("ask the people who manage namespace team-a"), "{refusal}");
    Ok(())
}

#[test]
fn a_denied_branch_names_policy_and_statement_and_the_others_go_through() -> Result<()> {
    let bed = Bed::filled(2)?;
    let clone = bed.git.clone(&bed.server.url("alice", "team-a/hello"), "clone")?;
    bed.git.commit(&clone, "file", "text")?;
    let refusal =
        bed.git.run(&clone, &["push", "origin", "HEAD:refs/heads/topic", "HEAD:refs/heads/release/1"])?.refused()?;
    assert!(refusal.contains("developers") && refusal.contains("releases-are-closed"), "{refusal}");
    assert!(refusal.contains("ask the people who manage namespace team-a"), "{refusal}");
    let refs = bed.git.remote_refs(&bed.server.url("alice", "team-a/hello"))?;
    assert!(refs.contains("refs/heads/topic") && !refs.contains("release"), "{refs}");
    let refusal = bed
        .git
        .run(&clone, &["push", "--atomic", "origin", "HEAD:refs/heads/two", "HEAD:refs/heads/release/1"])?
        .refused()?;
    assert!(refusal.contains("releases-are-closed"), "{refusal}");
    assert!(!bed.git.remote_refs(&bed.server.url("alice", "team-a/hello"))?.contains("refs/heads/two"));
    Ok(())
}

#[test]
fn a_changed_policy_takes_effect_within_two_seconds() -> Result<()> {
    let bed = Bed::filled(1)?;
    assert_eq!(ask(&bed, Some("bob"), "team-a/hello", "git-upload-pack")?.status, 200);
    bed.manifests.write("policies.yaml", &Manifests::policies().replace("name: bob", "name: carol"))?;
    let changed = Instant::now();
    while ask(&bed, Some("bob"), "team-a/hello", "git-upload-pack")?.status != 404 {
        assert!(changed.elapsed() < Duration::from_secs(3), "the old policy still holds after {:?}", changed.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask(&bed, Some("carol"), "team-a/hello", "git-upload-pack")?.status, 200);
    Ok(())
}

#[test]
fn a_removed_credential_stops_working_and_a_new_repository_is_served() -> Result<()> {
    let bed = Bed::filled(1)?;
    bed.manifests.remove("user-team-a-bob.yaml")?;
    bed.manifests.repository("team-a", "brand-new")?;
    tests::wait::until("the change of manifests", Duration::from_secs(3), || {
        let gone = ask(&bed, Some("bob"), "team-a/hello", "git-upload-pack")?.status == 401;
        let there = ask(&bed, Some("alice"), "team-a/brand-new", "git-upload-pack")?.status == 200;
        Ok((gone && there).then_some(()))
    })
}

#[test]
fn a_password_may_be_given_as_an_argon2_hash() -> Result<()> {
    let bed = Bed::filled(1)?;
    // Of `correct horse`, made by the reference implementation's command line.
    let hash = "$argon2id$v=19$m=1024,t=1,p=1$c29tZXNhbHQxMjM0NTY3OA";
    bed.manifests.write(
        "user-erin.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: erin-git, namespace: team-a}}\n\
             type: codekeep.dev/git-credential\nstringData: {{user: erin, passwordHash: '{hash}'}}\n"
        ),
    )?;
    std::thread::sleep(Duration::from_secs(2));
    // A hash without its digest is a mistake in the manifest: nobody gets in by it, and the log names the file.
    let response = send(
        bed.server.address(),
        "GET",
        "/team-a/hello/info/refs?service=git-upload-pack",
        &[("Authorization", &basic("erin", "correct horse"))],
        b"",
    )?;
    assert_eq!(response.status, 401);
    assert!(bed.server.log().contains("user-erin.yaml"), "{}", bed.server.log());
    Ok(())
}

#[test]
fn hidden_refs_are_neither_shown_nor_pushed_to() -> Result<()> {
    let bed = Bed::new()?;
    let source = fixture::linear(&bed.git, "source.git", 1)?;
    let url = bed.server.url("alice", "team-a/hello");
    let refusal = bed.git.run(&source, &["push", &url, "main:refs/codekeep/pull/1"])?.refused()?;
    assert!(refusal.contains("refs/codekeep/"), "{refusal}");
    Ok(())
}
