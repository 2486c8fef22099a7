//! Turns resources into what the servers enforce: from a folder of manifests, or from a cluster.
//!
//! [`Folder`] reads manifests, checks them against the schemas of `crds` and publishes a [`model::desired::DesiredState`]. What
//! a kind means is decided in one place per kind (`repository`, `access_policy`, `notification_rule`, `credential`) and what
//! resources mean together in `index`; neither does any I/O.

mod access_policy;
mod authority;
mod cluster;
pub mod control;
pub mod controller;
mod credential;
mod deletion;
mod folder;
mod host_keys;
mod index;
mod manifest;
mod notification_rule;
mod pool;
mod pool_client;
mod problem;
mod repository;
mod schema;
mod secret;
mod service_address;
mod token_review;
mod watch;
mod workload;
mod yaml;

pub use cluster::{Cluster, ClusterConfig, Feeder, ObjectKey, Observed, View};
pub use folder::{Folder, FolderError, Loaded};
pub use pool::{PoolConfig, PoolError, ServiceConfig, StoreConfig};
pub use pool_client::{PoolClient, PoolClientError};
pub use problem::{Problem, Severity};
pub use repository::workload_name;
pub use service_address::cluster_ip;
pub use token_review::review_token;
pub use watch::Watched;
