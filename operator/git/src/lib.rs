//! The Git protocol and packs: bytes in, bytes out

pub mod odb;
pub mod pack_index;
pub mod pktline;
pub mod sideband;
