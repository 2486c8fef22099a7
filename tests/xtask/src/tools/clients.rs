//! The Git clients that are not git, from `tests/clients/`: built once, and anew when one of their files changed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{bin, built, folder, go, once, text};
use crate::command::{cargo, must, program, workspace};

/// Installs those that are missing. dulwich and libgit2 are Python packages, which are installed with the others.
pub(super) fn install_all() -> Result<()> {
    client("go-git", &["go.mod", "go.sum", "main.go"], go_git)?;
    client("isomorphic-git", &["package.json", "package-lock.json"], isomorphic_git)?;
    client("jgit", &["pom.xml", "Client.java"], jgit)?;
    client("gix", &["Cargo.toml", "Cargo.lock", "src/main.rs"], gix)
}

/// Its version is all that decides what is built.
fn client(name: &str, files: &[&str], install: fn(&Path) -> Result<()>) -> Result<()> {
    let source = workspace().join("tests/clients").join(name);
    let mut version = String::new();
    for file in files {
        let path = source.join(file);
        version += &std::fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    }
    once(&format!("{name}-client"), &version, || install(&source))
}

/// A folder of `target/tools`, empty.
fn emptied(name: &str) -> Result<PathBuf> {
    let folder = folder()?.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn go_git(source: &Path) -> Result<()> {
    let mut build = go(&["build", "-mod=readonly", "-ldflags=-s -w", "-o"])?;
    build.arg(bin()?.join("go-git-client")).arg(".").current_dir(source);
    must("go-git-client", build).context("Go 1.26 or newer is needed, as `go` on the path")
}

fn isomorphic_git(source: &Path) -> Result<()> {
    let folder = emptied("isomorphic-git-client")?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), folder.join(file))?;
    }
    let mut install = program("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    install.current_dir(folder);
    must("isomorphic-git-client", install).context("node and npm are needed (Debian: apt-get install nodejs npm)")
}

fn jgit(source: &Path) -> Result<()> {
    let folder = text(emptied("jgit-client")?)?;
    let output = format!("-DoutputDirectory={folder}");
    let mut jars = program("mvn", &["--batch-mode", "--quiet", "dependency:copy-dependencies", &output]);
    jars.args(["-DincludeScope=runtime", "--file"]).arg(source.join("pom.xml"));
    must("jgit-client-jars", jars).context("Maven is needed (Debian: apt-get install maven)")?;
    let mut compile = program("javac", &["-classpath", &format!("{folder}/*"), "-d", &folder]);
    compile.arg(source.join("Client.java"));
    must("jgit-client", compile).context("a JDK is needed (Debian: apt-get install openjdk-17-jdk-headless)")
}

fn gix(source: &Path) -> Result<()> {
    let (root, source) = (text(folder()?)?, text(source.to_path_buf())?);
    let install = ["install", "--locked", "--debug", "--force", "--no-track", "--root", &root, "--path", &source];
    let mut install = cargo(&install);
    install.env("CARGO_TARGET_DIR", built()?).env("CARGO_INCREMENTAL", "0");
    must("gix-client", install).context("OpenSSL's headers are needed (Debian: apt-get install libssl-dev pkg-config)")
}
