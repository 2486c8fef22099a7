//! Names and rules of Codekeep: pure, without I/O, runtime or clock.
//!
//! Outside text becomes one of these types once; after that nobody re-checks it.

pub mod arn;
pub mod clock;
pub mod content;
pub mod desired;
pub mod encryption;
pub mod error;
pub mod event;
pub mod lfs;
pub mod limits;
pub mod name;
pub mod notification;
pub mod policy;
pub mod quantity;
pub mod ref_name;
pub mod reference;
pub mod replication;
pub mod secret;
pub mod ssh_key;

pub use content::{Arriving, Content};
pub use gix::ObjectId;
/// What names objects: `sha1` or `sha256`, as git says it.
pub use gix::hash::Kind as ObjectFormat;
pub use name::{AccountId, Namespace, RepositoryId, RepositoryName, RepositoryPath};
pub use ref_name::RefName;
pub use reference::{RefValue, Reference};
pub use ssh_key::SshPublicKey;
