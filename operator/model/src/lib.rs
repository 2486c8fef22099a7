//! Names and rules of Codekeep: pure, no I/O
