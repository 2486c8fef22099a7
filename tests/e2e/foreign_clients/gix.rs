//! gix (gitoxide), with curl. It fetches only, and sends a password over TLS only.

use std::process::Command;

use tests::binary;

use super::program::{Feature, Program};
use super::running::Way;
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "gix",
    version: "0.90.0",
    pinned_in: "tests/clients/gix/Cargo.toml",
    command: || Command::new(binary::tool("gix-client")),
    password_in_url: true,
    cannot: &[Feature::PlainHttp, Feature::Push, Feature::Tags, Feature::SeveralRefs, Feature::Filter],
};

stories_over!(https, Way::Https);
stories_over!(ssh, Way::Ssh);

#[test]
fn sends_no_password_without_tls() -> anyhow::Result<()> {
    super::stories::gives_up_by_itself(&PROGRAM, Way::Http, "clear text")
}
