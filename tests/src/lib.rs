//! Harness and suites that run Codekeep against real clients
