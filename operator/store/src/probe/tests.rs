use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use model::clock::SystemRandom;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::object::{Create, ObjectMeta};
use crate::s3::Contact;
use crate::testing::MemoryStore;

/// How a store may be wrong.
#[derive(Clone, Copy)]
enum Flaw {
    IgnoresCondition,
    WritesAllTheSame,
    ForbidsMissing,
    LosesRaces,
    DamagesFiles,
    ListsLate,
    KeepsDeleted,
    IsAway,
    IsReadOnly,
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
            Flaw::IsAway => Err(StoreError::Unknown {
                operation: "create",
                key: key.to_owned(),
                reason: "no route to host".to_owned(),
            }),
            Flaw::IsReadOnly => {
                let reason = "403 AccessDenied".to_owned();
                Err(StoreError::Refused { operation: "create", key: key.to_owned(), reason })
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

    async fn download_range(
        &self,
        key: &str,
        file: &std::path::Path,
        range: std::ops::Range<u64>,
        size: u64,
    ) -> Result<bool, StoreError> {
        self.0.download_range(key, file, range, size).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        if matches!(self.1, Flaw::KeepsDeleted) && key.ends_with("/deleted") {
            return Ok(());
        }
        self.0.delete(key).await
    }

    async fn list(&self, prefix: &str, start_after: Option<&str>, limit: usize) -> Result<Vec<ObjectMeta>, StoreError> {
        let mut listed = self.0.list(prefix, start_after, limit).await?;
        if matches!(self.1, Flaw::ListsLate) {
            listed.pop();
        }
        Ok(listed)
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
        (Flaw::ListsLate, "does not list"),
    ] {
        let refusal = prove(&Flawed(MemoryStore::default(), flaw), &SystemRandom).await.unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
}

async fn report(store: Arc<dyn ObjectStore>) -> Report {
    Examination::of(store).run(&CancellationToken::new(), &mut |_| {}).await
}

fn outcomes(report: &Report, outcome: Outcome) -> Vec<&'static str> {
    report.ended(outcome).map(|check| check.subject.name()).collect()
}

#[tokio::test]
async fn a_report_of_a_good_store_is_fit_and_leaves_nothing() {
    let store = MemoryStore::default();
    let mut told = Vec::new();
    let examination = Examination::of(Arc::new(store.clone()));
    let report = examination
        .run(&CancellationToken::new(), &mut |progress| {
            if let Progress::Ended(check) = progress {
                told.push(check.subject);
            }
        })
        .await;
    assert_eq!(report.verdict, Verdict::Fit, "{report:?}");
    assert_eq!(told, report.checks.iter().map(|check| check.subject).collect::<Vec<_>>());
    assert!(report.checks.iter().any(|check| check.measures.iter().any(|measure| measure.name == "create.p99")));
    assert!(store.keys().is_empty());
}

#[tokio::test]
async fn a_report_goes_on_behind_a_flaw_and_tells_what_to_do() {
    for (flaw, failed) in [
        (Flaw::IgnoresCondition, vec!["create-if-absent", "race", "race-of-many"]),
        (Flaw::ForbidsMissing, vec!["missing-key"]),
        (Flaw::LosesRaces, vec!["race", "race-of-many"]),
        (Flaw::DamagesFiles, vec!["streamed-body", "large-object"]),
        (Flaw::ListsLate, vec!["read-after-write", "list"]),
        (Flaw::KeepsDeleted, vec!["delete"]),
    ] {
        let report = report(Arc::new(Flawed(MemoryStore::default(), flaw))).await;
        assert_eq!(report.verdict, Verdict::Refused, "{report:?}");
        let found = outcomes(&report, Outcome::Failed);
        assert!(failed.iter().all(|name| found.contains(name)), "{found:?} should hold {failed:?}");
        assert!(report.ended(Outcome::Failed).all(|check| check.advice.is_some() && !check.why.is_empty()));
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_has_no_verdict_and_one_that_refuses_has() {
    let away = report(Arc::new(Flawed(MemoryStore::default(), Flaw::IsAway))).await;
    assert_eq!(away.verdict, Verdict::Unanswered, "{away:?}");
    assert_eq!(outcomes(&away, Outcome::Unanswered), ["create-if-absent"]);
    let refused = report(Arc::new(Flawed(MemoryStore::default(), Flaw::IsReadOnly))).await;
    assert_eq!(refused.verdict, Verdict::Refused, "{refused:?}");
    assert_eq!(outcomes(&refused, Outcome::Failed), ["create-if-absent"]);
}

#[tokio::test]
async fn a_report_that_is_stopped_has_no_verdict_and_leaves_nothing() {
    let (store, stop) = (MemoryStore::default(), CancellationToken::new());
    let examination = Examination::of(Arc::new(store.clone()));
    let report = examination
        .run(&stop, &mut |progress| {
            if matches!(progress, Progress::Begins(Subject::Delete)) {
                stop.cancel();
            }
        })
        .await;
    assert_eq!(report.verdict, Verdict::Unanswered, "{report:?}");
    assert_eq!(report.checks.last().map(|check| check.subject), Some(Subject::CleanUp));
    assert!(store.keys().is_empty());
}

fn answered(status: u16, code: &str, date: Option<&str>) -> Contact {
    Contact { status, code: code.to_owned(), date: date.map(str::to_owned), reason: format!("{status} {code}") }
}

#[test]
fn an_answer_is_one_that_goes_on() {
    for (status, code) in [(404, "NoSuchKey"), (404, ""), (403, "AccessDenied"), (200, "")] {
        assert!(contact::reached(&answered(status, code, None), "AWS").is_ok(), "{status} {code}");
    }
    for (status, code) in
        [(404, "NoSuchBucket"), (403, "SignatureDoesNotMatch"), (301, "PermanentRedirect"), (503, "SlowDown")]
    {
        assert!(contact::reached(&answered(status, code, None), "AWS").is_err(), "{status} {code}");
    }
}

#[test]
fn clocks_may_differ_a_little() {
    let date = "Tue, 06 Oct 2026 12:00:00 GMT";
    let theirs: Timestamp = "2026-10-06T12:00:00Z".parse().unwrap();
    let outcome = |minutes, date| {
        let now = theirs + SignedDuration::from_mins(minutes);
        Check::new(Subject::Clock, contact::clocks(&answered(404, "", date), now), Duration::ZERO).outcome
    };
    for (minutes, expected) in [
        (0, Outcome::Ok),
        (4, Outcome::Ok),
        (-6, Outcome::Warning),
        (14, Outcome::Warning),
        (16, Outcome::Failed),
        (-16, Outcome::Failed),
    ] {
        assert_eq!(outcome(minutes, Some(date)), expected, "{minutes}");
    }
    assert_eq!(outcome(0, None), Outcome::Ok);
}
