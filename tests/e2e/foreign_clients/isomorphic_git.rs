//! isomorphic-git, in Node. It has no SSH.

use tests::binary;

use super::program::{Feature, Program};
use super::running::Way;
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "isomorphic-git",
    version: "1.44.17",
    pinned_in: "tests/clients/isomorphic-git/package.json",
    command: || {
        let mut command = binary::client("node", "isomorphic-git/client.js");
        command.env("CLIENT_MODULES", binary::tools().join("isomorphic-git-client"));
        command
    },
    password_in_url: false,
    cannot: &[Feature::Ssh, Feature::SeveralRefs, Feature::Filter],
};

stories_over!(http, Way::Http);
stories_over!(https, Way::Https);

#[test]
fn has_no_ssh() -> anyhow::Result<()> {
    super::stories::gives_up_by_itself(&PROGRAM, Way::Ssh, "ssh")
}
