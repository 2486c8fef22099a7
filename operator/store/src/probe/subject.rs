//! What is checked, why it matters, and what to do when it fails.

use serde::Serialize;

const ANOTHER_STORE: &str =
    "use a store that honours If-None-Match: * under a lock; docs/operations.md names some that do";
const CACHES: &str = "take caches and replicas that lag behind out of the way between Codekeep and the bucket";
const NOT_S3: &str = "use a store that implements this part of S3, or a newer release of this one";

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// It answers.
    Reach,
    /// Its clock.
    Clock,
    /// A missing key is 404.
    MissingKey,
    /// A second create is refused.
    CreateIfAbsent,
    /// Eight writers on each of four keys.
    Race,
    /// Thirty-two writers on one key.
    RaceOfMany,
    /// What is written is read.
    ReadAfterWrite,
    /// Listings.
    List,
    /// Deletions.
    Delete,
    /// A streamed body.
    StreamedBody,
    /// A file in parts.
    LargeObject,
    /// Ranges.
    Ranges,
    /// Encryption by the store.
    Encryption,
    /// Reading without credentials.
    Anonymous,
    /// Reading with a wrong secret.
    WrongSecret,
    /// What clients may do with a request that was signed for them.
    DirectUpload,
    /// How long calls take.
    Latency,
    /// How fast packs move.
    Throughput,
    /// Whether anything is left.
    CleanUp,
}

impl Subject {
    /// Its name in reports and documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Clock => "clock",
            Self::MissingKey => "missing-key",
            Self::CreateIfAbsent => "create-if-absent",
            Self::Race => "race",
            Self::RaceOfMany => "race-of-many",
            Self::ReadAfterWrite => "read-after-write",
            Self::List => "list",
            Self::Delete => "delete",
            Self::StreamedBody => "streamed-body",
            Self::LargeObject => "large-object",
            Self::Ranges => "ranges",
            Self::Encryption => "encryption",
            Self::Anonymous => "anonymous",
            Self::WrongSecret => "wrong-secret",
            Self::DirectUpload => "direct-upload",
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::CleanUp => "clean-up",
        }
    }

    /// Why it matters.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Reach => "repositories are in the bucket and nowhere else",
            Self::Clock => "requests that are signed at a wrong time are refused, and records of pushes would lie",
            Self::MissingKey => "a server learns from a 404 that it is up to date; 403 tells it nothing",
            Self::CreateIfAbsent => "creating the next entry of a repository's log is the commit: it must succeed once",
            Self::Race | Self::RaceOfMany => {
                "two pushes that both win would lose one of them, though it was acknowledged"
            }
            Self::ReadAfterWrite => "a fetch after a push must see it, through every server",
            Self::List => "checkpoints, deletion and codekeep fsck find objects by listing",
            Self::Delete => "space is freed, and deleted repositories have to be gone",
            Self::StreamedBody => "packs are sent as streams",
            Self::LargeObject => "packs of more than 32 MiB go up in parts and come down in ranges",
            Self::Ranges => "parts of packs are read by range; wrong bytes would be damage",
            Self::Encryption => "who gets hold of a disk of the store reads the code on it",
            Self::Anonymous | Self::WrongSecret => "the bucket holds all of the code",
            Self::DirectUpload => "with lfs-direct, Git LFS clients send objects straight to the bucket",
            Self::Latency => "every read waits for one GET, every push for one create",
            Self::Throughput => "clones of what is not cached, and large pushes, are as fast as this",
            Self::CleanUp => "what is left costs money",
        }
    }

    /// What to do when it fails.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Reach => "check endpoint, region, bucket, credentials and network, then try again",
            Self::Clock => "synchronise both clocks by NTP",
            Self::MissingKey => "grant s3:ListBucket on the bucket",
            Self::CreateIfAbsent | Self::Race | Self::RaceOfMany => ANOTHER_STORE,
            Self::ReadAfterWrite | Self::List => CACHES,
            Self::Delete => "grant s3:DeleteObject, and take object locks off the prefix",
            Self::StreamedBody | Self::LargeObject | Self::Ranges => NOT_S3,
            Self::Encryption | Self::Anonymous | Self::WrongSecret | Self::DirectUpload => {
                "grant s3:GetObject and s3:PutObject"
            }
            Self::Latency | Self::Throughput => "look at the network and at the store's load",
            Self::CleanUp => "delete what is left below probe/ in the store's prefix",
        }
    }
}
