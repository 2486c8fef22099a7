//! A newer stock git than that of the system, built from source: `cargo xtask test peers`.

use tests::binary;

use super::program::Program;
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "git",
    version: "2.55.0",
    pinned_in: "tests/xtask/src/tools/clients.rs",
    command: || {
        let mut command = binary::client("python3", "git/client.py");
        command.env("PATH", binary::path_with_newer_git());
        command
    },
    password_in_url: true,
    cannot: &[],
};

stories_over!(http, Way::Http);
stories_over!(https, Way::Https);
stories_over!(ssh, Way::Ssh);
