//! dulwich, in Python.

use tests::binary;

use super::program::Program;
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "dulwich",
    version: "1.2.21",
    pinned_in: "tests/xtask/src/tools.rs",
    command: || binary::client(binary::python(), "dulwich/client.py"),
    password_in_url: false,
    cannot: &[],
};

stories_over!(http, Way::Http);
stories_over!(ssh, Way::Ssh);
