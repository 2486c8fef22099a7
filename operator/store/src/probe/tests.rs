use async_trait::async_trait;
use bytes::Bytes;
use model::clock::SystemRandom;

use super::*;
use crate::object::ObjectMeta;
use crate::testing::MemoryStore;

/// How a store may be wrong.
#[derive(Clone, Copy)]
enum Flaw {
    IgnoresCondition,
    WritesAllTheSame,
    ForbidsMissing,
    LosesRaces,
    DamagesFiles,
}

struct Flawed(MemoryStore, Flaw);

#[async_trait]
impl ObjectStore for Flawed {
    async fn create(&self, key: &str, body: Bytes) -> Result<Create, StoreError> {
        match self.1 {
            Flaw::IgnoresCondition => self.0.put(key, body).await.map(|()| Create::Created),
            Flaw::WritesAllTheSame => {
                let answer = self.0.create(key, body.clone()).await?;
                self.0.put(key, body).await?;
                Ok(answer)
            }
            Flaw::LosesRaces => {
                let found = self.0.get(key).await?;
                tokio::task::yield_now().await;
                if found.is_some() {
                    return Ok(Create::Exists);
                }
                self.0.put(key, body).await.map(|()| Create::Created)
            }
            _ => self.0.create(key, body).await,
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<(), StoreError> {
        self.0.put(key, body).await
    }

    async fn upload(&self, key: &str, file: &std::path::Path) -> Result<(), StoreError> {
        self.0.upload(key, file).await?;
        if matches!(self.1, Flaw::DamagesFiles) {
            self.0.tamper(key, |bytes| bytes[9] ^= 1);
        }
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match (self.1, self.0.get(key).await?) {
            (Flaw::ForbidsMissing, None) => Err(StoreError::Refused {
                operation: "get",
                key: key.to_owned(),
                reason: "403 AccessDenied".to_owned(),
            }),
            (_, found) => Ok(found),
        }
    }

    async fn download(&self, key: &str, file: &std::path::Path, size: u64) -> Result<bool, StoreError> {
        self.0.download(key, file, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        self.0.list(prefix, start_after, limit).await
    }
}

#[tokio::test]
async fn a_good_store_passes_and_is_left_clean() {
    let store = MemoryStore::default();
    prove(&store, &SystemRandom).await.unwrap();
    assert!(store.keys().is_empty());
}

#[tokio::test]
async fn each_flaw_is_refused_in_its_own_words() {
    for (flaw, words) in [
        (Flaw::IgnoresCondition, "ignores If-None-Match"),
        (Flaw::WritesAllTheSame, "writes all the same"),
        (Flaw::ForbidsMissing, "s3:ListBucket"),
        (Flaw::LosesRaces, "simultaneous creates"),
        (Flaw::DamagesFiles, "other bytes"),
    ] {
        let refusal = prove(&Flawed(MemoryStore::default(), flaw), &SystemRandom).await.unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
}
