//! go-git, with SSH and HTTP/2 of Go.

use std::process::Command;

use tests::binary;

use super::program::{Feature, Program};
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "go-git",
    version: "5.19.3",
    pinned_in: "tests/clients/go-git/go.mod",
    command: || Command::new(binary::tool("go-git-client")),
    password_in_url: false,
    cannot: &[Feature::EmptyClone, Feature::Deepen, Feature::Filter],
};

stories_over!(http, Way::Http);
stories_over!(https, Way::Https);
stories_over!(ssh, Way::Ssh);
