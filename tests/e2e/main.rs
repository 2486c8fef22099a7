//! Whole stories with real clients against the real binary.

mod bed;
mod buckets;
mod classes;
mod clone_push;
mod cold;
mod disk;
mod encryption;
mod faulty_bucket;
mod foreign_clients;
mod kill;
mod lfs;
mod maintenance;
mod memory;
mod mirror;
mod pair;
mod partial;
mod restore;
mod sessions;
mod shared;
mod signed;
mod ssh;
mod stopped;
mod tables;
mod tls;
mod two_servers;
mod webhooks;
