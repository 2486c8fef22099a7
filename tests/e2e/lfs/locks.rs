//! Locks of LFS: one holder, seen everywhere, heeded by a push, removed by force only by whom a policy lets.

use anyhow::Result;
use tests::manifests::PASSWORD;
use tests::raw_http::{Response, basic, send};
use tests::{Git, Server};

use super::{Bed, REPOSITORY, bed, random, tracked};

const POLICIES: &str = r#"apiVersion: codekeep.dev/v1alpha1
kind: AccessPolicy
metadata: {name: lockers, namespace: team-a}
spec:
  subjects: [{kind: LocalUser, name: erin}, {kind: LocalUser, name: olivia}]
  statements:
    - sid: work
      effect: Allow
      actions: ["codecommit:GitPull", "codecommit:GitPush"]
      repositories: {names: ["*"]}
---
apiVersion: codekeep.dev/v1alpha1
kind: AccessPolicy
metadata: {name: lock-breakers, namespace: team-a}
spec:
  subjects: [{kind: LocalUser, name: olivia}]
  statements:
    - sid: break
      effect: Allow
      actions: ["codecommit:OverrideLfsLocks"]
      repositories: {names: ["*"]}
"#;

/// Alice, Erin and Olivia may push, Bob may read; Olivia may break locks.
fn team() -> Result<Bed> {
    let bed = bed()?;
    bed.manifests.user("team-a", "erin")?;
    bed.manifests.user("team-a", "olivia")?;
    bed.manifests.write("lockers.yaml", POLICIES)?;
    let server = &bed.server;
    tests::wait::until("the new users", std::time::Duration::from_secs(5), || {
        Ok((call(server, "olivia", "GET", "locks", "")?.status == 200).then_some(()))
    })?;
    Ok(bed)
}

fn call(server: &Server, user: &str, method: &str, suffix: &str, body: &str) -> Result<Response> {
    let target = format!("/{REPOSITORY}.git/info/lfs/{suffix}");
    let authorization = basic(user, PASSWORD);
    let headers =
        [("Authorization", authorization.as_str()), ("Content-Type", "application/vnd.git-lfs+json; charset=utf-8")];
    send(server.address(), method, &target, &headers, body.as_bytes())
}

fn clone(git: &Git, server: &Server, user: &str) -> Result<std::path::PathBuf> {
    let clone = git.clone(&server.url(user, REPOSITORY), user)?;
    git.ok(&clone, &["config", "lfs.locksverify", "true"])?;
    Ok(clone)
}

#[test]
fn a_locked_file_stops_the_push_of_others_through_any_server_until_it_is_unlocked() -> Result<()> {
    let bed = team()?;
    let second = Server::start(bed.options())?;
    let work = tracked(&bed.git, &bed.url(), "work", &[("a.bin", &random(1, 10)), ("b c.bin", &random(2, 10))])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    let (alice, erin) = (clone(&bed.git, &bed.server, "alice")?, clone(&bed.git, &second, "erin")?);
    bed.git.ok(&alice, &["lfs", "lock", "a.bin"])?;
    bed.git.ok(&erin, &["lfs", "lock", "b c.bin"])?;
    let listed = bed.git.ok(&erin, &["lfs", "locks"])?;
    assert!(listed.contains("alice") && listed.contains("b c.bin"), "{listed}");
    let refusal = bed.git.run(&erin, &["lfs", "lock", "a.bin"])?.refused()?;
    assert!(refusal.contains("locked by alice"), "{refusal}");

    bed.git.commit(&erin, "a.bin", "erin's\n")?;
    let refused = bed.git.run(&erin, &["push", "origin", "main"])?;
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(!refused.ok && said.contains("Cannot update locked files"), "{said}");
    assert!(said.contains("a.bin") && said.contains("alice"), "{said}");
    bed.git.ok(&alice, &["lfs", "unlock", "a.bin"])?;
    bed.git.ok(&erin, &["push", "--quiet", "origin", "main"])?;

    // A killed server and an empty cache change nothing.
    let second = second.restarted()?;
    let listed = call(&second, "bob", "GET", "locks", "")?.text();
    assert!(listed.contains("b c.bin") && !listed.contains("a.bin"), "{listed}");
    Ok(())
}

#[test]
fn the_lock_of_somebody_else_goes_by_force_and_with_an_action_of_its_own() -> Result<()> {
    let bed = team()?;
    let server = &bed.server;
    let taken = call(server, "alice", "POST", "locks", r#"{"path":"a.bin","ref":{"name":"refs/heads/main"}}"#)?;
    assert_eq!(taken.status, 201, "{}", taken.text());
    let taken: serde_json::Value = serde_json::from_slice(&taken.body)?;
    let unlock = format!("locks/{}/unlock", taken["lock"]["id"].as_str().unwrap_or_default());
    assert_eq!(taken["lock"]["owner"]["name"], "alice");

    let again = call(server, "erin", "POST", "locks", r#"{"path":"a.bin"}"#)?;
    assert_eq!(again.status, 409);
    let again: serde_json::Value = serde_json::from_slice(&again.body)?;
    assert_eq!(again["lock"], taken["lock"]);

    let refused = call(server, "erin", "POST", &unlock, "{}")?;
    assert!(refused.status == 403 && refused.text().contains("locked by alice"), "{}", refused.text());
    let refused = call(server, "erin", "POST", &unlock, r#"{"force":true}"#)?;
    assert!(refused.status == 403 && refused.text().contains("codecommit:OverrideLfsLocks"), "{}", refused.text());
    // A lock is a push in the eyes of policies: readers see them only.
    for (suffix, body) in
        [("locks", r#"{"path":"b.bin"}"#), ("locks/verify", "{}"), (unlock.as_str(), r#"{"force":true}"#)]
    {
        assert_eq!(call(server, "bob", "POST", suffix, body)?.status, 403, "{suffix}");
    }
    let locks = call(server, "bob", "GET", "locks?path=a.bin", "")?;
    assert!(locks.text().contains("alice"), "{}", locks.text());
    let closed = call(server, "alice", "POST", "locks", r#"{"path":"c.bin","ref":{"name":"refs/heads/release/1"}}"#)?;
    assert!(closed.status == 403 && closed.text().contains("releases-are-closed"), "{}", closed.text());

    let gone = call(server, "olivia", "POST", &unlock, r#"{"force":true}"#)?;
    assert_eq!(gone.status, 200, "{}", gone.text());
    assert_eq!(call(server, "olivia", "POST", &unlock, r#"{"force":true}"#)?.status, 404);
    assert_eq!(call(server, "bob", "GET", "locks", "")?.text(), r#"{"locks":[]}"#);
    assert!(server.log().contains("codecommit:OverrideLfsLocks"), "the decision is in the audit log");
    Ok(())
}

#[test]
fn a_long_list_comes_in_pages_and_own_locks_apart() -> Result<()> {
    let bed = team()?;
    for number in 0..7 {
        let user = if number % 3 == 0 { "erin" } else { "alice" };
        let taken = call(&bed.server, user, "POST", "locks", &format!(r#"{{"path":"folder/{number}.bin"}}"#))?;
        assert_eq!(taken.status, 201);
    }
    let (mut ours, mut theirs, mut cursor) = (0, 0, String::new());
    for _ in 0..4 {
        let page = call(&bed.server, "erin", "POST", "locks/verify", &format!(r#"{{"limit":2,"cursor":"{cursor}"}}"#))?;
        let page: serde_json::Value = serde_json::from_slice(&page.body)?;
        ours += page["ours"].as_array().map_or(0, Vec::len);
        theirs += page["theirs"].as_array().map_or(0, Vec::len);
        cursor = page["next_cursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((ours, theirs, cursor.as_str()), (3, 4, ""));
    let first = call(&bed.server, "bob", "GET", "locks?limit=3", "")?;
    let first: serde_json::Value = serde_json::from_slice(&first.body)?;
    let next = format!("locks?limit=100&cursor={}", first["next_cursor"].as_str().unwrap_or_default());
    let rest: serde_json::Value = serde_json::from_slice(&call(&bed.server, "bob", "GET", &next, "")?.body)?;
    assert_eq!(rest["locks"].as_array().map(Vec::len), Some(4));
    assert_eq!(call(&bed.server, "bob", "GET", "locks?cursor=nonsense", "")?.status, 422);
    for path in ["", "/a", "../a", "a/../b", "a//b"] {
        assert_eq!(
            call(&bed.server, "alice", "POST", "locks", &format!(r#"{{"path":"{path}"}}"#))?.status,
            422,
            "{path}"
        );
    }
    Ok(())
}
