//! Names, trees and objects that are meant to harm somebody: the server that takes them, or whoever clones them.

use anyhow::{Context as _, Result, ensure};
use tests::manifests::PASSWORD;
use tests::raw_http::{basic, send};

use super::pack::{BLOB, Pack, TREE, tree_entry};
use super::{Call, WAYS, Way, new_reference, say, shared, unharmed};
use crate::ssh::SshBed;

/// Where a repository's name should be; of none of them is there one, nor may it be an option, a file or a command.
const PATHS: [&str; 24] = [
    "--upload-pack=id/hello",
    "team-a/--upload-pack=id",
    "-oProxyCommand=id/hello",
    "team-a/-c",
    "team-a/hello --exec=id",
    "team-a/hello%20--exec=id",
    "team-a/../team-b/theirs",
    "team-a/%2e%2e/team-b/theirs",
    "team-a/hello/../other",
    "../../etc/passwd",
    "/etc/passwd",
    "~/hello",
    "~alice/hello",
    "team-a/hello\\..\\other",
    "team-a\\hello",
    "team-a/hello%00",
    "team-a/hello%2f..%2fother",
    "team-a/./hello",
    "team-a/HELLO",
    "team-a/.git",
    "team-a/hello.git/hooks",
    "team-a/hello.git/config",
    "team-a/$(id)",
    "team-a/`id`",
];

#[test]
fn paths_that_are_options_or_lead_elsewhere_name_nothing() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let authorization = basic("alice", PASSWORD);
    for path in PATHS {
        for service in ["git-upload-pack", "git-receive-pack"] {
            // A space would end the request's target.
            let target = format!("/{}/info/refs?service={service}", path.replace(' ', "%20"));
            let answer = send(bed.bed.server.address(), "GET", &target, &[("Authorization", &authorization)], b"")?;
            ensure!((400..500).contains(&answer.status), "{target}: {} {}", answer.status, answer.text());
            let output = shared(&bed, "alice", &format!("{service} '{path}'"))?.wait_with_output()?;
            ensure!(output.status.code() == Some(128) && output.stdout.is_empty(), "{service} {path}: {output:?}");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(told.lines().count() == 1 && told.starts_with("codekeep: "), "{service} {path}: {told}");
        }
    }
    unharmed(&bed)
}

/// Names of references that would be an option, a file beside the references, another repository's, or two lines.
const REFERENCES: [&str; 18] = [
    "--exec=id",
    "-d",
    "refs/heads/-x",
    "refs/heads/../../hooks/post-receive",
    "refs/heads/../config",
    "refs/heads/..",
    "refs/heads/a..b",
    "refs/heads//x",
    "/refs/heads/x",
    "refs/heads/x.lock",
    "refs/heads/.x",
    "refs/heads/x\\y",
    "refs/heads/x\ty",
    "refs/heads/x\ny",
    "refs/heads/x\x7f",
    "hooks/post-receive",
    "config",
    "HEAD",
];

#[test]
fn references_that_are_options_or_files_are_refused() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let tip = bed.bed.git.head(&work)?;
    let before = bed.bed.git.remote_refs(&bed.bed.url())?;
    for name in REFERENCES {
        for way in WAYS {
            let told = say(&bed, way, Call::push("team-a/hello"), &new_reference(name, &tip, &Pack::new().finish()))?;
            let told = String::from_utf8_lossy(&told).into_owned();
            ensure!(!told.contains(&format!("ok {name}")), "{way:?} {name:?}: {told}");
            ensure!(
                told.contains("ng ") || told.contains("ERR ") || told.contains("unpack "),
                "{way:?} {name:?}: {told}"
            );
        }
    }
    ensure!(bed.bed.git.remote_refs(&bed.bed.url())? == before, "a hostile name is there");
    unharmed(&bed)
}

/// What git's check calls it, and the tree.
fn bad_trees() -> Vec<(&'static str, Vec<u8>, String)> {
    let mut made = Vec::new();
    let mut add = |rule: &'static str, mode: &str, name: &str, content: &[u8]| {
        let mut pack = Pack::new();
        let blob = pack.object(BLOB, content);
        let tree = pack.object(TREE, &tree_entry(mode, name, &blob));
        let tip = pack.commit(&tree);
        made.push((rule, pack.finish(), tip));
    };
    add("hasDotgit", "100644", ".git", b"x");
    add("hasDotgit", "100644", ".GIT", b"x");
    add("hasDotgit", "100644", "git~1", b"x");
    add("hasDotgit", "100644", ".g\u{200c}it", b"x");
    add("hasDotdot", "100644", "..", b"x");
    add("fullPathname", "100644", "../.ssh/authorized_keys", b"x");
    add("fullPathname", "100755", "hooks/post-checkout", b"#!/bin/sh\nid\n");
    add("gitmodulesSymlink", "120000", ".gitmodules", b"../../config");
    add(
        "gitmodulesName",
        "100644",
        ".gitmodules",
        b"[submodule \"../x\"]\n\tpath = x\n\turl = https://example.com/x\n",
    );
    add("gitmodulesUrl", "100644", ".gitmodules", b"[submodule \"x\"]\n\tpath = x\n\turl = -u./run\n");
    add("gitmodulesPath", "100644", ".gitmodules", b"[submodule \"x\"]\n\tpath = -x\n\turl = https://example.com/x\n");
    add("gitmodulesUpdate", "100644", ".gitmodules", b"[submodule \"x\"]\n\tpath = x\n\turl = ./x\n\tupdate = !id\n");
    made
}

#[test]
fn trees_that_harm_whoever_checks_them_out_are_refused() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let before = bed.bed.git.remote_refs(&bed.bed.url())?;
    for (number, (rule, pack, tip)) in bad_trees().iter().enumerate() {
        for way in WAYS {
            let name = format!("refs/heads/{way:?}-{number}");
            let told = say(&bed, way, Call::push("team-a/hello"), &new_reference(&name, tip, pack))?;
            let told = String::from_utf8_lossy(&told).into_owned();
            ensure!(told.contains(rule) && told.contains(&format!("ng {name}")), "{way:?} {rule}: {told}");
        }
    }
    ensure!(bed.bed.git.remote_refs(&bed.bed.url())? == before, "a hostile tree is there");
    unharmed(&bed)
}

/// A configuration that would run a program in a repository whose configuration it is.
const CONFIG: &[u8] = b"[core]\n\tfsmonitor = touch planted\n\tsshCommand = touch planted\n\thooksPath = hooks\n[alias]\n\tfetch = !touch planted\n";

#[test]
fn a_repository_with_hooks_and_configuration_in_it_runs_nothing() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    // A bare repository as content, as in CVE-2022-24765: to us these are bytes.
    let mut pack = Pack::new();
    let config = pack.object(BLOB, CONFIG);
    let head = pack.object(BLOB, b"ref: refs/heads/main\n");
    let hook = pack.object(BLOB, b"#!/bin/sh\ntouch planted\n");
    let hooks = pack.object(TREE, &tree_entry("100755", "post-receive", &hook));
    let entries = [
        tree_entry("100644", "HEAD", &head),
        tree_entry("100644", "config", &config),
        tree_entry("40000", "hooks", &hooks),
    ];
    let tree = pack.object(TREE, &entries.concat());
    let tip = pack.commit(&tree);
    let pack = pack.finish();
    for way in WAYS {
        let name = format!("refs/heads/buried-{way:?}");
        let told = say(&bed, way, Call::push("team-a/hello"), &new_reference(&name, &tip, &pack))?;
        ensure!(String::from_utf8_lossy(&told).contains(&format!("ok {name}")), "{}", String::from_utf8_lossy(&told));
        let answer = say(&bed, way, Call::fetch("team-a/hello"), &super::clone_of(&tip))?;
        ensure!(answer.windows(4).any(|four| four == b"PACK"), "{way:?}: no pack");
    }
    let mut files = Vec::new();
    gather(bed.bed.store.path(), &mut files)?;
    for file in files {
        let name = file.file_name().context("no name")?.to_string_lossy().into_owned();
        ensure!(!["config", "post-receive", "planted", "HEAD"].contains(&name.as_str()), "{} is there", file.display());
    }
    unharmed(&bed)
}

fn gather(folder: &std::path::Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The first 320 bytes of the two files of `SHAttered` (<https://shattered.io>), which have the same SHA-1.
const SHATTERED: [&str; 2] = [include_str!("shattered-1.hex"), include_str!("shattered-2.hex")];

#[test]
fn files_that_collide_outside_of_git_stay_two() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let [one, two] = SHATTERED.map(bytes_of);
    ensure!(one.len() == 320 && two.len() == 320 && one != two);
    for way in WAYS {
        let mut pack = Pack::new();
        let (first, second) = (pack.object(BLOB, &one), pack.object(BLOB, &two));
        let entries = [tree_entry("100644", "one", &first), tree_entry("100644", "two", &second)];
        let tree = pack.object(TREE, &entries.concat());
        let tip = pack.commit(&tree);
        let name = format!("refs/heads/shattered-{way:?}");
        let told = say(&bed, way, Call::push("team-a/hello"), &new_reference(&name, &tip, &pack.finish()))?;
        ensure!(String::from_utf8_lossy(&told).contains(&format!("ok {name}")), "{}", String::from_utf8_lossy(&told));
        let url = if way == Way::Http { bed.bed.url() } else { bed.url() };
        let setting = format!("core.sshCommand={}", bed.ssh.command_line("alice"));
        let (clone, branch) = (format!("clone-{way:?}"), format!("shattered-{way:?}"));
        bed.bed.git.ok(&bed.bed.git.path(""), &["-c", &setting, "clone", "-q", "-b", &branch, &url, &clone])?;
        let read = |file: &str| std::fs::read(bed.bed.git.path(&clone).join(file));
        ensure!(read("one")? == one && read("two")? == two, "{way:?}: they are not what was pushed");
    }
    unharmed(&bed)
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("because they are digits");
    digits.chunks(2).map(byte).collect()
}
