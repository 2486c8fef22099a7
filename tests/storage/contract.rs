//! The contract of [`ObjectStore`].

use anyhow::{Result, ensure};
use bytes::Bytes;
use store::{Create, ObjectStore, StoreError};
use tempfile::TempDir;
use tests::s3::S3Kind;

use crate::fixture::{Proxied, folder, on_each_server};

on_each_server!(a_bucket_keeps_the_contract);

#[tokio::test]
async fn a_folder_keeps_the_contract() -> Result<()> {
    let (_folder, store) = folder().await?;
    keeps_the_contract(&store, 1_000_000).await
}

async fn a_bucket_keeps_the_contract(kind: S3Kind) -> Result<()> {
    let bucket = Proxied::start(kind).await?;
    // Large enough for several parts up and ranges down.
    keeps_the_contract(&bucket.store, 70_000_000).await
}

async fn keeps_the_contract(store: &dyn ObjectStore, large: usize) -> Result<()> {
    creates_once(store).await?;
    replaces_and_deletes(store).await?;
    lists_in_order(store).await?;
    let folder = TempDir::new()?;
    for size in [0, 1, large] {
        moves_a_file(store, &folder, size).await?;
    }
    let missing = folder.path().join("missing");
    ensure!(
        !store.download("packs/missing", &missing, 10).await? && !missing.exists(),
        "a missing object leaves no file"
    );
    ensure!(store.get("log/missing").await?.is_none(), "a missing object is missing");
    Ok(())
}

async fn creates_once(store: &dyn ObjectStore) -> Result<()> {
    for key in ["log/1", "catalog/team/a%2Fb", "catalog/team/.dotted"] {
        ensure!(store.create(key, Bytes::from_static(b"first")).await? == Create::Created, "{key} is new");
        ensure!(store.create(key, Bytes::from_static(b"second")).await? == Create::Exists, "{key} exists");
        ensure!(store.get(key).await?.as_deref() == Some(&b"first"[..]), "{key} holds what was created");
    }
    Ok(())
}

async fn replaces_and_deletes(store: &dyn ObjectStore) -> Result<()> {
    for body in ["one", "two", ""] {
        store.put("hint", Bytes::from(body)).await?;
        ensure!(store.get("hint").await?.as_deref() == Some(body.as_bytes()), "the last write is read");
    }
    store.delete("hint").await?;
    store.delete("hint").await?;
    ensure!(store.get("hint").await?.is_none(), "what is deleted is gone");
    ensure!(store.create("hint", Bytes::from_static(b"new")).await? == Create::Created, "a deleted key is free");
    Ok(())
}

async fn lists_in_order(store: &dyn ObjectStore) -> Result<()> {
    let keys: Vec<String> = (0..25).map(|number| format!("list/{number:020}")).collect();
    for key in &keys {
        store.create(key, Bytes::from(key.clone())).await?;
    }
    let listed = |prefix: &'static str, after: Option<String>, limit: usize| async move {
        let objects = store.list(prefix, after.as_deref(), limit).await?;
        anyhow::Ok(objects.into_iter().map(|object| (object.key, object.size)).collect::<Vec<_>>())
    };
    let wanted: Vec<(String, u64)> = keys.iter().map(|key| (key.clone(), 25)).collect();
    ensure!(listed("list/", None, 100).await? == wanted, "all of a prefix, in order, with sizes");
    ensure!(listed("list/", None, 7).await? == wanted[..7], "no more than asked for");
    ensure!(listed("list/", Some(keys[9].clone()), 100).await? == wanted[10..], "those behind a key");
    ensure!(listed("list/0000000000000000001", None, 100).await? == wanted[10..20], "a prefix may end inside a name");
    ensure!(listed("nothing/", None, 100).await?.is_empty(), "nothing is not an error");
    Ok(())
}

async fn moves_a_file(store: &dyn ObjectStore, folder: &TempDir, size: usize) -> Result<()> {
    let content = tests::random::Sequence::new(7).bytes(size);
    let (up, down) = (folder.path().join("up"), folder.path().join(format!("down-{size}")));
    std::fs::write(&up, &content)?;
    let key = format!("packs/{size}.pack");
    store.upload(&key, &up).await?;
    store.upload(&key, &up).await?;
    ensure!(store.download(&key, &down, content.len() as u64).await?, "{key} is there");
    ensure!(std::fs::read(&down)? == content, "{key} comes back as it went");
    // Some stores answer for a range of nothing in ways of their own.
    for other in [size + 1, size.saturating_sub(1)].into_iter().filter(|_| size > 0) {
        let answer = store.download(&key, &down, other as u64).await;
        ensure!(
            matches!(answer, Err(StoreError::Damaged { .. })),
            "{key} has {size} bytes and not {other}: {answer:?}"
        );
    }
    Ok(())
}
