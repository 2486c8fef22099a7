//! A repository as a numbered log in an object store (ADR 0001).
//!
//! Knows objects, logs and pack files; knows neither HTTP nor the Git protocol. The seam to buckets is [`ObjectStore`]; the
//! entrance for servers is [`Repositories`].

/// Whether a test asked for this deliberate fault, a `testing::Sabotage`; the constant `false` in what is shipped.
#[cfg(feature = "testing")]
macro_rules! sabotaged {
    ($fault:ident) => {
        crate::testing::asked(crate::testing::Sabotage::$fault)
    };
}

#[cfg(not(feature = "testing"))]
macro_rules! sabotaged {
    ($fault:ident) => {
        false
    };
}

mod blocking;
mod cache;
mod checkpoint;
mod claim;
mod connect;
mod cursor;
mod digest;
mod direct;
pub mod entry;
mod envelope;
mod error;
mod file;
mod keys;
mod lfs;
mod metrics;
mod mirror;
mod object;
mod pack_tools;
pub mod probe;
mod refs;
mod replicated;
mod repositories;
mod repository;
mod s3;
mod sealed;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod url;

pub use cache::Cache;
pub use claim::{ClaimError, claim};
pub use connect::connect;
pub use cursor::{Cursor, CursorRecord};
pub use direct::Direct;
pub use envelope::{EncryptionInUse, KeyError, KeyService, KeySources, Manifests, NoManifests};
pub use error::{CommitError, Error};
pub use file::FileStore;
pub use lfs::{Adopted, LfsObject, LfsObjects, LfsReceived, ReceiveError, UploadLink};
pub use metrics::StoreMetrics;
pub use mirror::{Mirror, MirrorError, Mirrored};
pub use object::{Create, ObjectBytes, ObjectMeta, ObjectStore, StoreError};
pub use pack_tools::PackTools;
pub use refs::Refs;
pub use replicated::{Loss, MemberStatus, Peers, PromoteError, Promotion, ReplicationProblem, ReplicationStatus};
pub use repositories::Repositories;
pub use repository::{
    BundleLink, BundleWish, Change, CheckReport, Committed, Context, EditResult, Events, LocalPack, LocalPacks,
    LockActor, LockRefusal, Maintained, Moment, Past, PastError, Policy, Push, PushCertificate, PushedPack,
    ReceivedPack, Repository, StagedPack, StoreReport, Surplus, Verified,
};
pub use s3::{DirectLink, S3Store, folder_credentials};
pub use state::{
    DroppedTips, Lease, Lock, Locks, PackId, RefEdit, RetiredUpload, Scrub, Snapshot, StoredPack, Upkeep, Upload,
};
pub use url::{ClientEndpoint, S3Url, StoreUrl, StoreUrlError};
