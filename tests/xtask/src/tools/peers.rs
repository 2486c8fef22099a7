//! S3 servers built from source: one that is exact, and such as must be refused. See tests/peers/README.md.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, must, program, say, target, workspace};

const MINIO: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
const S3RVER: &str = "s3rver@3.7.1";
const S3S_FS: &str = "0.14.1";
const GARAGE: &str = "2.5.0";

/// Installs those that are missing.
pub(crate) fn install_all() -> Result<()> {
    once("minio", MINIO, || must("minio", go(&["install", "-ldflags=-s -w", MINIO])?))?;
    let source = workspace().join("tests/peers/rclone");
    let module = std::fs::read_to_string(source.join("go.mod")).context("failed to read rclone's go.mod")?;
    once("rclone", &module, || {
        let output = bin()?.join("rclone");
        let mut build = go(&["build", "-mod=readonly", "-ldflags=-s -w", "-o"])?;
        build.arg(output).arg(".").current_dir(&source);
        must("rclone", build)
    })?;
    once("s3s-fs", S3S_FS, || from_crates("s3s-fs", S3S_FS, &["--features", "binary"]))?;
    once("garage", GARAGE, || from_crates("garage", GARAGE, &[]))?;
    once("s3rver", S3RVER, || {
        let prefix = text(folder()?.join("s3rver"))?;
        let arguments =
            ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", &prefix, S3RVER];
        must("s3rver", program("npm", &arguments))
            .context("node and npm are needed (Debian: apt-get install nodejs npm)")
    })
}

/// Installs a program unless this very version of it is there.
fn once(name: &str, version: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder()?.join(format!("{name}.version"));
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == version) {
        return Ok(());
    }
    say(format!("installing {name} for the tests, once …"));
    let started = std::time::Instant::now();
    install()?;
    say(format!("{name} took {} s", started.elapsed().as_secs()));
    std::fs::write(stamp, version).context("failed to note the version")
}

fn from_crates(name: &str, version: &str, more: &[&str]) -> Result<()> {
    let root = text(folder()?)?;
    let install = ["install", "--locked", "--debug", "--force", "--root", &root, "--version", version];
    let mut install = cargo(&[&install[..], more, &[name]].concat());
    install.env("CARGO_PROFILE_DEV_DEBUG", "false");
    must(name, install)
}

/// Go, as it is on this machine, for programs without C.
fn go(arguments: &[&str]) -> Result<Command> {
    let mut command = program("go", arguments);
    command.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("GOFLAGS", "-trimpath -buildvcs=false");
    command.env("GOBIN", bin()?);
    Ok(command)
}

fn folder() -> Result<PathBuf> {
    let folder = target().join("tools");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn bin() -> Result<PathBuf> {
    let bin = folder()?.join("bin");
    std::fs::create_dir_all(&bin)?;
    ensure!(bin.is_absolute(), "the target folder has no absolute path");
    Ok(bin)
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().ok().context("the target folder is not UTF-8")
}
