//! jj (Jujutsu), which starts the newer git: `cargo xtask test peers`.

use tests::binary;

use super::program::{Feature, Program};
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "jj",
    version: "0.45.1",
    pinned_in: "tests/xtask/src/tools/clients.rs",
    command: || {
        let mut command = binary::client("python3", "jj/client.py");
        command.env("PATH", binary::path_with_newer_git());
        command
    },
    password_in_url: true,
    cannot: &[Feature::List, Feature::Tags, Feature::Deepen, Feature::Filter],
};

stories_over!(http, Way::Http);
stories_over!(ssh, Way::Ssh);
