//! The implementation in Java, with Apache MINA's SSH.

use std::process::Command;

use tests::binary;

use super::program::Program;
use super::stories_over;

pub(super) static PROGRAM: Program = Program {
    name: "JGit",
    version: "7.8.1",
    pinned_in: "tests/clients/jgit/pom.xml",
    command: || {
        let tools = binary::tools().join("jgit-client");
        let folder = tools.display().to_string();
        let mut command = Command::new("java");
        // It starts sooner so; its home is said here, the environment's is not looked at.
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Duser.home=.", "-classpath"]);
        command.arg(format!("{folder}:{folder}/*")).arg("Client");
        // What it measures of the disk for three seconds, once, and keeps.
        command.env("XDG_CONFIG_HOME", tools.join("measured"));
        command
    },
    password_in_url: false,
    cannot: &[],
};

stories_over!(http, Way::Http);
stories_over!(ssh, Way::Ssh);
