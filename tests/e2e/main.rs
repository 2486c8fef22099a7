//! Whole stories with real clients against the real binary.

mod bed;
mod buckets;
mod clone_push;
mod disk;
mod foreign_clients;
mod kill;
mod maintenance;
mod memory;
mod tls;
mod two_servers;
mod webhooks;
