//! Delivers repository events to their targets
