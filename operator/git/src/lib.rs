//! The Git protocol and packs: bytes in, bytes out
