//! Whole stories with real clients against the real binary.

mod bed;
mod buckets;
mod clone_push;
mod disk;
mod faulty_bucket;
mod foreign_clients;
mod kill;
mod memory;
mod pair;
mod stopped;
mod tls;
mod two_servers;
mod webhooks;
