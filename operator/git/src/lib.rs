//! The Git protocol and packs: bytes in, bytes out

pub mod connectivity;
pub mod existing;
pub mod ingest;
pub mod object_check;
pub mod odb;
pub mod pack_index;
pub mod pktline;
pub mod receive_pack;
pub mod sideband;
