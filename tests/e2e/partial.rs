//! Shallow and partial clones by stock git, over every version of the protocol, with what comes after them.

use std::path::Path;

use anyhow::{Result, ensure};
use tests::history::{self, Plan};
use tests::{Git, fixture};

use crate::bed::Bed;

/// A server with some history, and the repository that it came from.
fn filled() -> Result<(Bed, std::path::PathBuf)> {
    let bed = Bed::new()?;
    let source = fixture::import(&bed.git, "source.git", |stream| history::write(Plan::of(400), stream, &mut |_| {}))?;
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    Ok((bed, source))
}

fn count(git: &Git, folder: &Path, arguments: &[&str]) -> Result<usize> {
    Ok(git.ok(folder, arguments)?.lines().count())
}

#[test]
fn shallow_clones_deepen_and_become_whole() -> Result<()> {
    let (bed, source) = filled()?;
    let (git, home) = (&bed.git, bed.git.path(""));
    let whole = count(git, &source, &["rev-list", "main"])?;
    for version in ["0", "1", "2"] {
        let protocol = format!("protocol.version={version}");
        let name = format!("shallow-{version}");
        let url = bed.url();
        let clone = ["-c", &protocol, "clone", "--quiet", "--depth", "1", "--branch", "main", &url, &name];
        git.ok(&home, &clone)?;
        let folder = git.path(&name);
        let commits = || count(git, &folder, &["rev-list", "HEAD"]);
        ensure!(commits()? == 1, "version {version}: {} commits", commits()?);
        git.fsck(&folder)?;
        git.ok(&folder, &["-c", &protocol, "fetch", "--quiet", "--depth", "5"])?;
        let expected = shallow_count(git, &source, &home, &format!("peer-{version}"))?;
        ensure!(commits()? == expected, "version {version}: {} commits instead of {expected}", commits()?);
        git.ok(&folder, &["-c", &protocol, "fetch", "--quiet", "--deepen", "3"])?;
        ensure!(commits()? > expected, "version {version}: nothing became deeper");
        git.fsck(&folder)?;
        git.ok(&folder, &["-c", &protocol, "fetch", "--quiet", "--unshallow"])?;
        ensure!(commits()? == whole, "version {version}: {} commits instead of {whole}", commits()?);
        ensure!(!folder.join(".git/shallow").exists(), "version {version}: it is still shallow");
        git.fsck(&folder)?;
    }
    Ok(())
}

/// Commits of a clone of this depth from a folder.
fn shallow_count(git: &Git, source: &Path, home: &Path, name: &str) -> Result<usize> {
    let url = format!("file://{}", source.display());
    git.ok(home, &["clone", "--quiet", "--depth", "5", "--branch", "main", &url, name])?;
    count(git, &git.path(name), &["rev-list", "HEAD"])
}

#[test]
fn shallow_clones_push_what_hangs_on_the_repository_and_nothing_else() -> Result<()> {
    let (bed, source) = filled()?;
    let (git, home) = (&bed.git, bed.git.path(""));
    git.ok(&home, &["clone", "--quiet", "--depth", "1", "--branch", "main", &bed.url(), "shallow"])?;
    let folder = git.path("shallow");
    git.commit(&folder, "new", "from a shallow clone\n")?;
    git.ok(&folder, &["push", "--quiet", "origin", "HEAD:refs/heads/from-shallow"])?;
    bed.clone_is_sound("whole")?;
    let whole = count(git, &source, &["rev-list", "main"])? + 1;
    ensure!(count(git, &git.path("whole"), &["rev-list", "from-shallow"])? == whole, "the history is not whole");
    let other = bed.server.url("alice", "team-a/other");
    let refused = git.run(&folder, &["push", &other, "HEAD:refs/heads/main"])?;
    ensure!(!refused.ok && refused.stderr.contains("git fetch --unshallow"), "{}", refused.stderr);
    ensure!(git.remote_refs(&other)?.is_empty(), "something was pushed");
    Ok(())
}

#[test]
fn histories_end_where_a_date_or_a_branch_says() -> Result<()> {
    let (bed, source) = filled()?;
    let (git, home) = (&bed.git, bed.git.path(""));
    let dates = git.ok(&source, &["log", "--format=%ct", "main"])?;
    let middle = dates.lines().nth(dates.lines().count() / 2).unwrap_or_default().to_owned();
    git.ok(&source, &["tag", "old", "main~40"])?;
    git.ok(&source, &["push", "--quiet", &bed.url(), "refs/tags/old"])?;
    let file = format!("file://{}", source.display());
    for (number, limit) in
        [format!("--shallow-since={middle}"), "--shallow-exclude=old".to_owned()].into_iter().enumerate()
    {
        let mut found = Vec::new();
        for (side, url) in [("ours", bed.url()), ("file", file.clone())] {
            let name = format!("{side}-{number}");
            git.ok(&home, &["clone", "--quiet", &limit, "--single-branch", "--branch", "main", &url, &name])?;
            git.fsck(&git.path(&name))?;
            found.push(git.ok(&git.path(&name), &["rev-list", "HEAD"])?);
        }
        ensure!(found[0] == found[1] && !found[0].is_empty(), "{limit}: {} and {}", found[0].len(), found[1].len());
    }
    Ok(())
}

#[test]
fn partial_clones_get_the_rest_when_it_is_needed() -> Result<()> {
    let (bed, source) = filled()?;
    let (git, home) = (&bed.git, bed.git.path(""));
    let objects = |folder: &Path| count(git, folder, &["rev-list", "--objects", "--all", "--missing=allow-any"]);
    for (number, filter) in ["blob:none", "blob:limit=1k", "tree:0"].into_iter().enumerate() {
        let name = format!("partial-{number}");
        git.ok(&home, &["clone", "--quiet", "--bare", &format!("--filter={filter}"), &bed.url(), &name])?;
        let folder = git.path(&name);
        let packed = git.ok(&folder, &["count-objects", "-v"])?;
        let have = packed.lines().find_map(|line| line.strip_prefix("in-pack: ")?.parse::<usize>().ok()).unwrap_or(0);
        ensure!(have < objects(&source)?, "{filter}: nothing was left out");
        // Reads what was left out, object by object or many at once.
        let tree = git.ok(&folder, &["ls-tree", "-r", "main"])?;
        ensure!(tree == git.ok(&source, &["ls-tree", "-r", "main"])?, "{filter}: other files");
        let file = tree.lines().next().and_then(|line| line.split_once('\t')).map(|(_, path)| path.to_owned());
        let file = format!("main:{}", file.unwrap_or_default());
        ensure!(git.ok(&folder, &["show", &file])? == git.ok(&source, &["show", &file])?, "{filter}: another content");
        let work = format!("work-{number}");
        git.ok(&home, &["clone", "--quiet", &format!("--filter={filter}"), "--branch", "main", &bed.url(), &work])?;
        ensure!(git.ok(&git.path(&work), &["status", "--porcelain"])?.is_empty(), "{filter}: the work tree differs");
        git.commit(&git.path(&work), "new", "content\n")?;
        git.ok(&git.path(&work), &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{work}")])?;
    }
    bed.clone_is_sound("whole")
}

#[test]
fn sparse_clones_hold_what_those_from_git_hold() -> Result<()> {
    let (bed, source) = filled()?;
    let (git, home) = (&bed.git, bed.git.path(""));
    let tree = git.ok(&source, &["ls-tree", "-r", "--name-only", "main"])?;
    let file = tree.lines().find(|path| path.contains('/')).unwrap_or_default().to_owned();
    let folder = file.split('/').next().unwrap_or_default();
    let work = git.clone(&source.display().to_string(), "editor")?;
    git.ok(&work, &["checkout", "--quiet", "main"])?;
    git.commit(&work, "sparse", &format!("/*\n!/*/\n/{folder}/\n"))?;
    git.ok(&work, &["push", "--quiet", "origin", "main"])?;
    git.ok(&work, &["push", "--quiet", &bed.url(), "main"])?;
    for (key, value) in [("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")] {
        git.ok(&source, &["config", key, value])?;
    }
    let peer = format!("file://{}", source.display());
    for version in ["0", "2"] {
        let protocol = format!("protocol.version={version}");
        let mut found = Vec::new();
        for (side, url) in [("ours", bed.url()), ("peer", peer.clone())] {
            let name = format!("sparse-{side}-{version}");
            let filter = "--filter=sparse:oid=main:sparse";
            git.ok(&home, &["-c", &protocol, "clone", "--quiet", "--bare", filter, &url, &name])?;
            found.push(git.ok(&git.path(&name), &["rev-list", "--objects", "--all", "--missing=print"])?);
        }
        let missing = found[0].lines().filter(|line| line.starts_with('?')).count();
        ensure!(missing > 0, "version {version}: nothing was left out");
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        ensure!(sorted(&found[0]) == sorted(&found[1]), "version {version}: the clones differ");
        // What was left out is there when it is needed.
        let clone = git.path(&format!("sparse-ours-{version}"));
        let content = git.ok(&clone, &["show", &format!("main:{file}")])?;
        ensure!(content == git.ok(&source, &["show", &format!("main:{file}")])?, "another content");
    }
    let refused = git.run(&home, &["clone", "--filter=sparse:oid=main:nothing", &bed.url(), "refused"])?;
    ensure!(
        !refused.ok && refused.stderr.contains("unable to access sparse blob in 'main:nothing'"),
        "{}",
        refused.stderr
    );
    Ok(())
}

#[test]
fn a_shallow_partial_clone_is_the_quickest_checkout() -> Result<()> {
    let (bed, source) = filled()?;
    let (git, home) = (&bed.git, bed.git.path(""));
    let clone =
        ["clone", "--quiet", "--depth", "1", "--filter=blob:none", "--sparse", "--branch", "main", &bed.url(), "ci"];
    git.ok(&home, &clone)?;
    let folder = git.path("ci");
    git.ok(&folder, &["sparse-checkout", "disable"])?;
    ensure!(
        git.ok(&folder, &["ls-tree", "-r", "HEAD"])? == git.ok(&source, &["ls-tree", "-r", "main"])?,
        "other files"
    );
    ensure!(git.ok(&folder, &["status", "--porcelain"])?.is_empty(), "the work tree differs");
    Ok(())
}
