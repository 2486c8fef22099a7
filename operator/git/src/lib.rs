//! The Git protocol and packs: bytes in, bytes out

pub mod advertise;
pub mod archive;
pub mod bundle;
pub mod client;
pub mod connectivity;
pub mod deep_check;
pub mod existing;
pub mod fold;
pub mod ingest;
pub mod lfs_pointers;
pub mod ls_refs;
pub mod object_check;
pub mod odb;
pub mod pack_index;
pub mod pack_writer;
pub mod peel;
pub mod pktline;
pub mod prune;
pub mod reach;
pub mod receive_pack;
pub mod refs;
pub mod sideband;
#[cfg(test)]
mod testing;
pub mod upload_pack;
pub mod view;
