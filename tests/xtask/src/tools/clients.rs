//! The Git clients that are not git, from `tests/clients/`: built once, and anew when one of their files changed. And those that take long:
//! a newer git, and jj, which starts it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{bin, built, folder, from_crates, from_debian, go, once, text};
use crate::command::{cargo, must, program, run, say, workspace};

/// What Debian unstable had when the stories were last told with it. It keeps no older one.
const GIT: &str = "2.55.0";
const JJ: &str = "0.45.1";

/// Installs those that are missing. dulwich and libgit2 are Python packages, which are installed with the others.
pub(super) fn install_all() -> Result<()> {
    client("go-git", &["go.mod", "go.sum", "main.go"], go_git)?;
    client("isomorphic-git", &["package.json", "package-lock.json"], isomorphic_git)?;
    client("jgit", &["pom.xml", "Client.java"], jgit)?;
    client("gix", &["Cargo.toml", "Cargo.lock", "src/main.rs"], gix)
}

/// Installs those that are not part of what has to pass before a change lands.
pub(super) fn install_slow() -> Result<()> {
    once("jj", JJ, || from_crates("jj-cli", JJ, &[]))?;
    from_debian("curl-config", &["--version"], &["libcurl4-openssl-dev", "libexpat1-dev", "zlib1g-dev"])?;
    once("newer-git", GIT, newer_git)
}

/// Debian's source package of git, of whatever version unstable has, without what is not tested: translations, Perl, Python, Tk, Rust.
fn newer_git() -> Result<()> {
    let (source, prefix) = (emptied("newer-git-source")?, text(folder()?.join("newer-git"))?);
    for name in ["lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(source.join(name))?;
    }
    let list = source.join("sources.list");
    let mirror = mirror()?;
    let line = format!("deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} unstable main\n");
    std::fs::write(&list, line)?;
    let path = |name: &str| text(source.join(name));
    let options = [
        format!("Dir::Etc::SourceList={}", text(list)?),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", path("lists")?),
        format!("Dir::Cache={}", path("cache")?),
    ];
    for words in [&["update"][..], &["source", "--download-only", "git"]] {
        let mut command = program("apt-get", words);
        command.args(options.iter().flat_map(|option| ["--option", option])).current_dir(&source);
        must("newer-git-source", command).context("the source of git comes from Debian: apt-get is needed")?;
    }
    let files = std::fs::read_dir(&source)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let archive = files.into_iter().find(|name| name.ends_with(".orig.tar.xz")).context("there is no source of git")?;
    if !archive.contains(GIT) {
        say(format!(
            "Debian has {archive} now: after {GIT}, have the stories told with it, and docs/clients.md say so"
        ));
    }
    let mut unpack = program("tar", &["--extract", "--strip-components=1", "--file", &archive]);
    unpack.current_dir(&source);
    must("newer-git-unpack", unpack)?;
    let without = ["NO_GETTEXT=1", "NO_TCLTK=1", "NO_PERL=1", "NO_PYTHON=1", "NO_RUST=1", "CFLAGS=-O1"];
    let mut make = program("make", &["--jobs=2", "install", &format!("prefix={prefix}")]);
    make.args(without).current_dir(&source);
    must("newer-git", make)?;
    std::fs::remove_dir_all(source).context("failed to remove what the build left")
}

/// The mirror of Debian that this machine uses.
fn mirror() -> Result<String> {
    let format = "$(REPO_URI) $(LABEL)";
    let targets = run("apt-targets", program("apt-get", &["indextargets", "--format", format]))?.output;
    let debian = targets.lines().find_map(|line| line.strip_suffix(" Debian"));
    debian.map(str::to_owned).context("this machine installs from no mirror of Debian")
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
