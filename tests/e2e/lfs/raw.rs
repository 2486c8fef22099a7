//! LFS by hand: what git-lfs would not send, and parts of objects.

use anyhow::Result;
use serde_json::{Value, json};
use tests::lfs::{JSON, LFS, oid};
use tests::manifests::PASSWORD;
use tests::raw_http::{Response, basic, send};

use super::{Bed, random, stored};

fn call(bed: &Bed, user: &str, method: &str, target: &str, body: &[u8]) -> Result<Response> {
    let authorization = basic(user, PASSWORD);
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", JSON)];
    send(bed.server.address(), method, target, &headers, body)
}

fn batch(bed: &Bed, operation: &str, objects: &Value) -> Result<Value> {
    let body = json!({"operation": operation, "transfers": ["basic"], "objects": objects}).to_string();
    let response = call(bed, "alice", "POST", &format!("{LFS}/objects/batch"), body.as_bytes())?;
    anyhow::ensure!(response.status == 200, "{} {}", response.status, response.text());
    assert_eq!(response.header("content-type"), Some(JSON));
    Ok(serde_json::from_slice(&response.body)?)
}

/// Where a batch says that the object is to be sent, as a path.
fn upload_target(bed: &Bed, oid: &str, size: usize) -> Result<String> {
    let answer = batch(bed, "upload", &json!([{"oid": oid, "size": size}]))?;
    let href = answer["objects"][0]["actions"]["upload"]["href"].as_str().unwrap_or_default().to_owned();
    // The raw client names the host 127.0.0.1, without a port.
    let path = href.strip_prefix("http://127.0.0.1");
    Ok(path.ok_or_else(|| anyhow::anyhow!("{answer}"))?.to_owned())
}

#[test]
fn what_is_not_what_it_says_is_refused_and_invisible() -> Result<()> {
    let bed = Bed::new()?;
    let (content, other) = (random(1, 3_000_000), random(2, 3_000_000));
    let id = oid(&content);
    let target = upload_target(&bed, &id, content.len())?;
    let refused = call(&bed, "alice", "PUT", &target, &other)?;
    assert!(refused.status == 422 && refused.text().contains(&oid(&other)), "{}", refused.text());
    let error: Value = serde_json::from_slice(&refused.body)?;
    assert!(error["request_id"].as_str().is_some_and(|id| Some(id) == refused.header("x-request-id")), "{error}");
    // Another size than the batch announced, more and less.
    for size in [content.len() - 1, content.len() + 1] {
        let target = format!("{LFS}/objects/{id}?size={size}");
        assert_eq!(call(&bed, "alice", "PUT", &target, &content)?.status, 422);
    }
    let missing = batch(&bed, "download", &json!([{"oid": id, "size": content.len()}]))?;
    assert_eq!(missing["objects"][0]["error"]["code"], 404, "{missing}");
    let verify = json!({"oid": id, "size": content.len()}).to_string();
    assert_eq!(call(&bed, "alice", "POST", &format!("{LFS}/verify"), verify.as_bytes())?.status, 404);
    assert_eq!(call(&bed, "alice", "GET", &format!("{LFS}/objects/{id}"), b"")?.status, 404);
    assert!(stored(bed.store.path())?.is_empty());

    assert_eq!(call(&bed, "alice", "PUT", &target, &content)?.status, 200);
    assert_eq!(call(&bed, "alice", "POST", &format!("{LFS}/verify"), verify.as_bytes())?.status, 200);
    let there = batch(&bed, "upload", &json!([{"oid": id, "size": content.len()}]))?;
    assert_eq!(there["objects"][0].get("actions"), None, "{there}");
    let wrong = batch(&bed, "download", &json!([{"oid": id, "size": 1}, {"oid": "x", "size": 1}]))?;
    assert_eq!(
        (&wrong["objects"][0]["error"]["code"], &wrong["objects"][1]["error"]["code"]),
        (&json!(422), &json!(422))
    );
    Ok(())
}

#[test]
fn a_download_is_resumed_where_it_broke_off() -> Result<()> {
    let bed = Bed::new()?;
    let content = random(1, 2_500_000);
    let id = oid(&content);
    let target = upload_target(&bed, &id, content.len())?;
    assert_eq!(call(&bed, "alice", "PUT", &target, &content)?.status, 200);
    let authorization = basic("bob", PASSWORD);
    let get = |method: &str, more: &[(&str, &str)]| {
        let headers = [&[("Authorization", authorization.as_str())], more].concat();
        send(bed.server.address(), method, &format!("{LFS}/objects/{id}"), &headers, b"")
    };
    let whole = get("GET", &[])?;
    assert!(whole.status == 200 && whole.body == content);
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    let rest = get("GET", &[("Range", "bytes=1200001-")])?;
    assert_eq!((rest.status, rest.header("content-range")), (206, Some("bytes 1200001-2499999/2500000")));
    assert!([&content[..1_200_001], &rest.body].concat() == content, "the rest does not fit");
    assert!(get("GET", &[("Range", "bytes=1048575-1048576")])?.body == content[1_048_575..1_048_577]);
    let beyond = get("GET", &[("Range", "bytes=2500000-")])?;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */2500000")));
    let changed = get("GET", &[("Range", "bytes=5-"), ("If-Range", "\"another\"")])?;
    assert!(changed.status == 200 && changed.body == content);
    let head = get("HEAD", &[])?;
    assert_eq!((head.status, head.header("content-length")), (200, Some("2500000")));
    Ok(())
}

#[test]
fn a_changed_byte_in_the_store_ends_the_download_and_is_never_sent() -> Result<()> {
    let bed = Bed::new()?;
    let content = random(1, 2_500_000);
    let id = oid(&content);
    let target = upload_target(&bed, &id, content.len())?;
    assert_eq!(call(&bed, "alice", "PUT", &target, &content)?.status, 200);
    for repository in std::fs::read_dir(bed.store.path())? {
        let file = repository?.path().join("lfs").join(&id);
        if file.exists() {
            let mut bytes = std::fs::read(&file)?;
            bytes[2_000_000] ^= 1;
            std::fs::write(&file, bytes)?;
        }
    }
    let answer = call(&bed, "alice", "GET", &format!("{LFS}/objects/{id}"), b"")?;
    assert_eq!(answer.header("content-length"), Some("2500000"));
    assert!(answer.body.len() <= 1 << 20, "{} bytes of a damaged object were sent", answer.body.len());
    assert!(content.starts_with(&answer.body));
    assert!(bed.server.log().contains("lfs download failed"), "{}", bed.server.log());
    Ok(())
}

#[test]
fn strangers_learn_nothing_and_others_what_they_may() -> Result<()> {
    let bed = Bed::new()?;
    let calls = [
        ("POST", "objects/batch"),
        ("GET", "locks"),
        ("POST", "verify"),
        ("GET", "objects/abc"),
        ("PUT", "objects/abc"),
    ];
    for (method, suffix) in calls {
        let ask = |repository: &str| {
            let target = format!("/{repository}/info/lfs/{suffix}");
            send(
                bed.server.address(),
                method,
                &target,
                &[("Content-Type", JSON), ("X-Request-Id", "the-same-id")],
                b"{}",
            )
        };
        let (there, missing) = (ask("team-a/hello")?, ask("team-a/missing")?);
        assert_eq!((there.status, &there.body), (401, &missing.body), "{method} {suffix}");
        assert_eq!(there.header("content-type"), Some(JSON));
        assert!(there.header("lfs-authenticate").is_some_and(|how| how.starts_with("Basic")));
        let hidden = call(&bed, "carol", method, &format!("{LFS}/{suffix}"), b"{}")?;
        assert_eq!(hidden.status, 404, "{method} {suffix}: {}", hidden.text());
    }
    let wrong = |suffix: &str, method: &str, body: &[u8]| call(&bed, "alice", method, &format!("{LFS}/{suffix}"), body);
    assert_eq!(wrong("objects/batch", "POST", b"{")?.status, 422);
    assert_eq!(wrong("objects/batch", "GET", b"")?.status, 405);
    assert_eq!(wrong("objects/abc", "PUT", b"x")?.status, 422);
    assert_eq!(wrong("something", "GET", b"")?.status, 404);
    let large = vec![b' '; (1 << 20) + 1];
    assert_eq!(wrong("objects/batch", "POST", &large)?.status, 413);
    let plain = [("Authorization", basic("alice", PASSWORD)), ("Content-Type", "text/plain".to_owned())];
    let plain: Vec<(&str, &str)> = plain.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = send(bed.server.address(), "POST", &format!("{LFS}/objects/batch"), &plain, b"{}")?;
    assert_eq!(refused.status, 415);
    Ok(())
}
