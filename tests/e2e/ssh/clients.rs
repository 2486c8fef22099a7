//! Clients that are not git, over SSH.

use anyhow::Result;
use tests::python::run;

use super::SshBed;

const DULWICH: &str = r#"
import os, sys
from dulwich import porcelain
url, folder, os.environ["GIT_SSH_COMMAND"] = sys.argv[1:4]
repo = porcelain.clone(url, folder)
open(folder + "/from-dulwich", "w").write("hello\n")
porcelain.add(repo, [folder + "/from-dulwich"])
author = b"Test User <test@example.com>"
id = porcelain.commit(repo, message=b"From dulwich", author=author, committer=author)
porcelain.push(repo, url, b"HEAD:refs/heads/from-dulwich")
porcelain.fetch(repo, url)
print(id.decode())
"#;

#[test]
fn dulwich_clones_pushes_and_fetches() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let id = run(DULWICH, &[&bed.url(), "dulwich", &bed.ssh.command_line("alice")], &bed.home())?;
    assert!(bed.bed.git.remote_refs(&bed.bed.url())?.contains(&format!("{id} refs/heads/from-dulwich")));
    bed.bed.clone_is_sound("clone")
}

const LIBGIT2: &str = r#"
import sys, pygit2
url, folder, key = sys.argv[1:4]
callbacks = pygit2.RemoteCallbacks(credentials=pygit2.Keypair("git", key + ".pub", key, ""))
callbacks.certificate_check = lambda certificate, valid, host: True
repo = pygit2.clone_repository(url, folder, callbacks=callbacks)
blob = repo.create_blob(b"hello\n")
builder = repo.TreeBuilder(repo.head.peel().tree)
builder.insert("from-libgit2", blob, pygit2.GIT_FILEMODE_BLOB)
who = pygit2.Signature("Test User", "test@example.com")
id = repo.create_commit("refs/heads/from-libgit2", who, who, "From libgit2", builder.write(), [repo.head.target])
repo.remotes["origin"].push(["refs/heads/from-libgit2"], callbacks=callbacks)
repo.remotes["origin"].fetch(callbacks=callbacks)
print(id)
"#;

#[test]
fn libgit2_with_its_own_ssh_clones_pushes_and_fetches() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let key = bed.ssh.path("alice").display().to_string();
    let id = run(LIBGIT2, &[&bed.url(), "libgit2", &key], &bed.home())?;
    assert!(bed.bed.git.remote_refs(&bed.bed.url())?.contains(&format!("{id} refs/heads/from-libgit2")));
    bed.bed.clone_is_sound("clone")
}
