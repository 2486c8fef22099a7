//! All checks of a store, one after the other, told while they run; what they leave is removed, however they end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::clock::{Clock, Random};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::creation::{self, Race};
use super::report::{Check, Finding, Report};
use super::site::Site;
use super::{Checked, Refusal, Subject, TIMEOUT, contact, direct, files, reading, secrecy, speed};
use crate::metrics::StoreMetrics;
use crate::object::{ObjectStore, StoreError};
use crate::s3::{S3Store, Signed};
use crate::url::{S3Url, StoreUrl};

/// More addresses than this are not all tried.
const ADDRESSES: usize = 8;
/// An address that does not answer within this time takes no part.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// What is told while it runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A check begins.
    Begins(Subject),
    /// A check ended.
    Ended(&'a Check),
}

/// Who listens to it.
pub type Listener<'a> = dyn FnMut(Progress<'_>) + Send + 'a;

/// A store that is to be examined.
pub struct Examination {
    url: StoreUrl,
    store: Arc<dyn ObjectStore>,
    bucket: Option<Bucket>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// What only a bucket has.
struct Bucket {
    client: S3Store,
    url: S3Url,
    /// A client for each address of the endpoint, when it has several.
    by_address: Vec<S3Store>,
    /// The way of Git LFS clients, where they reach the bucket themselves.
    theirs: Option<S3Store>,
}

impl Examination {
    /// Connects as [`crate::connect()`] does.
    ///
    /// # Errors
    /// When the folder or the certificate authority cannot be used; a bucket is not spoken to yet.
    pub async fn open(
        url: &StoreUrl,
        credentials: Option<&Path>,
        metrics: &StoreMetrics,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, StoreError> {
        let StoreUrl::S3(s3) = url else {
            let store = crate::connect(url, credentials, metrics).await?;
            return Ok(Self { url: url.clone(), store, bucket: None, clock, random });
        };
        let client = S3Store::open(s3, credentials, metrics.clone()).await?;
        let mut by_address = Vec::new();
        let addresses = S3Store::addresses(s3).await;
        for address in addresses.iter().take(ADDRESSES).filter(|_| addresses.len() > 1) {
            by_address.push(S3Store::open_at(s3, credentials, metrics.clone(), Some(*address)).await?);
        }
        let theirs = match s3.for_clients() {
            Some(theirs) => Some(S3Store::open(&theirs, credentials, metrics.clone()).await?),
            None => None,
        };
        let store = Arc::new(client.clone());
        Ok(Self {
            url: url.clone(),
            store,
            bucket: Some(Bucket { client, url: s3.clone(), by_address, theirs }),
            clock,
            random,
        })
    }

    /// A store that has no address.
    #[cfg(test)]
    pub(super) fn of(store: Arc<dyn ObjectStore>) -> Self {
        let url = StoreUrl::File { folder: "/nowhere".into() };
        let (clock, random) = (Arc::new(model::clock::SystemClock::new()), Arc::new(model::clock::SystemRandom));
        Self { url, store, bucket: None, clock, random }
    }

    /// Makes all checks; when `stop` is cancelled, those that were made until then.
    pub async fn run(&self, stop: &CancellationToken, listener: &mut Listener<'_>) -> Report {
        let site = Site::new(&*self.store, &*self.random);
        let mut steps = Steps { checks: Vec::new(), listener };
        let whole = stop.run_until_cancelled(Box::pin(self.examine(&site, &mut steps))).await.is_some();
        if steps.checks.iter().any(|check| !matches!(check.subject, Subject::Reach | Subject::Clock)) {
            steps.make(Subject::CleanUp, TIMEOUT, self.leave(&site)).await;
        }
        Report::new(self.url.to_string(), steps.checks, whole)
    }

    async fn examine(&self, site: &Site<'_>, steps: &mut Steps<'_, '_>) {
        if let Some(bucket) = &self.bucket
            && !bucket.answers(site, steps, &*self.clock).await
        {
            return;
        }
        let bucket = self.bucket.as_ref();
        let client = bucket.map(|bucket| &bucket.client);
        steps.make(Subject::MissingKey, TIMEOUT, reading::missing(site)).await;
        // Without leave to write nothing more can be learnt.
        if !steps.make(Subject::CreateIfAbsent, TIMEOUT, creation::create_if_absent(site)).await {
            return;
        }
        let clients = self.clients(site).await;
        let clients: Vec<&dyn ObjectStore> = clients.iter().map(|client| &**client).collect();
        let (eight, many) = (Race { writers: 8, keys: 4 }, Race { writers: 32, keys: 1 });
        steps.make(Subject::Race, TIMEOUT, creation::race(site, &clients, eight)).await;
        steps.make(Subject::RaceOfMany, TIMEOUT, creation::race(site, &clients, many)).await;
        steps.make(Subject::ReadAfterWrite, TIMEOUT, reading::read_after_write(site, 10)).await;
        steps.make(Subject::List, TIMEOUT, reading::listing(site)).await;
        steps.make(Subject::Delete, TIMEOUT, reading::deletion(site)).await;
        let streamed = files::streamed(site, bucket.map(|bucket| (&bucket.client, bucket.url.checksum_always)));
        steps.make(Subject::StreamedBody, TIMEOUT, streamed).await;
        steps.make(Subject::LargeObject, 3 * TIMEOUT, files::large(site, client)).await;
        if let Some(client) = client {
            steps.make(Subject::Ranges, TIMEOUT, files::ranges(site, client)).await;
            steps.make(Subject::Encryption, TIMEOUT, secrecy::encryption(site, client)).await;
            steps.make(Subject::Anonymous, TIMEOUT, secrecy::anonymous(site, client)).await;
            steps.make(Subject::WrongSecret, TIMEOUT, secrecy::forged(site, client)).await;
            let theirs = bucket.and_then(|bucket| bucket.theirs.as_ref());
            steps.make(Subject::DirectUpload, TIMEOUT, direct::reported(site, client, theirs)).await;
        }
        steps.make(Subject::Latency, TIMEOUT, speed::latency(site)).await;
        steps.make(Subject::Throughput, 5 * TIMEOUT, speed::throughput(site)).await;
    }

    /// Clients that reach the store by different addresses; one when it has but one.
    async fn clients(&self, site: &Site<'_>) -> Vec<Arc<dyn ObjectStore>> {
        let mut clients: Vec<Arc<dyn ObjectStore>> = Vec::new();
        for client in self.bucket.iter().flat_map(|bucket| &bucket.by_address) {
            let key = site.key("missing");
            let asked = tokio::time::timeout(FIRST_ANSWER, client.contact(&key, Signed::Ours)).await;
            if asked.is_ok_and(|answer| answer.is_ok()) {
                clients.push(Arc::new(client.clone()));
            }
        }
        if clients.is_empty() {
            clients.push(Arc::clone(&self.store));
        }
        clients
    }

    async fn leave(&self, site: &Site<'_>) -> Checked {
        if let Some(bucket) = &self.bucket {
            for name in files::IN_PARTS {
                // It needs a right of its own; a bucket whose rules expire such uploads does as well.
                let _uploads = bucket.client.abandon_uploads(&site.key(name)).await;
            }
        }
        let left = site.clean_up().await;
        if let Some((key, error)) = left.first() {
            let found = format!("{} objects are left, {key} for one: {error}", left.len());
            return Ok(Finding::warning(found, Subject::CleanUp.remedy()));
        }
        if let StoreUrl::File { folder } = &self.url {
            // Folders, empty by now.
            let _folder = tokio::fs::remove_dir_all(folder.join(site.prefix())).await;
        }
        Ok(Finding::ok("nothing is left of these checks"))
    }
}

impl Bucket {
    /// Whether it answers at all; the clocks are compared first, since a wrong one may be why it does not.
    async fn answers(&self, site: &Site<'_>, steps: &mut Steps<'_, '_>, clock: &dyn Clock) -> bool {
        let place = self.url.endpoint.as_ref().map_or("AWS", |endpoint| endpoint.as_str().trim_end_matches('/'));
        let place = match self.by_address.len() {
            0 => place.to_owned(),
            addresses => format!("{place} ({addresses} addresses)"),
        };
        let mut answer = None;
        let reach = async {
            let contact = self.client.contact(&site.key("missing"), Signed::Ours).await?;
            let reached = contact::reached(&contact, &place);
            answer = Some(contact);
            reached
        };
        let reached = steps.make(Subject::Reach, TIMEOUT, reach).await;
        if let Some(contact) = answer {
            steps.make(Subject::Clock, TIMEOUT, async { contact::clocks(&contact, clock.now()) }).await;
        }
        reached
    }
}

/// The checks that were made.
struct Steps<'a, 'b> {
    checks: Vec<Check>,
    listener: &'a mut Listener<'b>,
}

impl Steps<'_, '_> {
    /// Makes a check; false when the store would not even do what was asked.
    async fn make(&mut self, subject: Subject, limit: Duration, check: impl Future<Output = Checked> + Send) -> bool {
        (self.listener)(Progress::Begins(subject));
        let start = Instant::now();
        let checked = tokio::time::timeout(limit, Box::pin(check)).await.unwrap_or(Err(Refusal::Timeout(limit)));
        let done = matches!(checked, Ok(_) | Err(Refusal::Unfit(_)));
        let check = Check::new(subject, checked, start.elapsed());
        (self.listener)(Progress::Ended(&check));
        self.checks.push(check);
        done
    }
}
