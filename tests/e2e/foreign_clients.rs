//! Clients that are not git: dulwich (Python) and libgit2 (by pygit2).

use anyhow::Result;
use tests::python::run;

use crate::bed::Bed;

const DULWICH: &str = r#"
import sys
from dulwich import porcelain
url, folder = sys.argv[1], sys.argv[2]
repo = porcelain.clone(url, folder)
open(folder + "/from-dulwich", "w").write("hello\n")
porcelain.add(repo, [folder + "/from-dulwich"])
author = b"Test User <test@example.com>"
id = porcelain.commit(repo, message=b"From dulwich", author=author, committer=author)
porcelain.push(repo, url, b"HEAD:refs/heads/from-dulwich")
porcelain.fetch(repo, url)
print(id.decode())
"#;

const LIBGIT2: &str = r#"
import sys, pygit2
url, folder, user, password = sys.argv[1:5]
callbacks = pygit2.RemoteCallbacks(credentials=pygit2.UserPass(user, password))
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
fn dulwich_clones_pushes_and_fetches() -> Result<()> {
    let bed = Bed::new()?;
    bed.started()?;
    let id = run(DULWICH, &[&bed.url(), "dulwich"], &bed.git.path(""))?;
    assert!(bed.git.remote_refs(&bed.url())?.contains(&format!("{id} refs/heads/from-dulwich")));
    bed.clone_is_sound("clone")
}

#[test]
fn libgit2_clones_pushes_and_fetches() -> Result<()> {
    let bed = Bed::new()?;
    bed.started()?;
    let url = bed.server.bare_url(crate::bed::REPOSITORY);
    let id = run(LIBGIT2, &[&url, "libgit2", "alice", tests::manifests::PASSWORD], &bed.git.path(""))?;
    assert!(bed.git.remote_refs(&bed.url())?.contains(&format!("{id} refs/heads/from-libgit2")));
    bed.clone_is_sound("clone")
}
