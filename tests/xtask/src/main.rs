//! Developer commands: `cargo xtask test|demo|bench`.
fn main() {}
