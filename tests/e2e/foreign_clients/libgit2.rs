//! libgit2, by pygit2; over SSH with its own, libssh2.

use tests::binary;

use super::program::{Feature, Program};
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "libgit2 (pygit2)",
    version: "1.21.0",
    pinned_in: "tests/xtask/src/tools.rs",
    command: || binary::client(binary::python(), "libgit2/client.py"),
    password_in_url: false,
    cannot: &[Feature::Filter],
};

stories_over!(http, Way::Http);
stories_over!(ssh, Way::Ssh);
