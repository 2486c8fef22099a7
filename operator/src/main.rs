//! The codekeep binary.
fn main() {}
