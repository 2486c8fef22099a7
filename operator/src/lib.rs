//! Composition root: the codekeep binary
