//! What every client goes through. Stock git looks after each step at what the client made, and at what the server has.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tests::random::Sequence;

use super::program::{Feature, Program};
use super::running::{Place, Reply, Way, text};
use crate::bed::REPOSITORY;

const EMPTY: &str = "team-a/other";
const LARGE: usize = 20 << 20;
/// What people read who push to a closed branch.
const DENIED: &str = "denied by AccessPolicy developers, statement releases-are-closed";

pub(super) fn clones_fetches_and_pushes(place: &mut Place) -> Result<()> {
    let work = place.bed().started()?;
    let url = place.url(REPOSITORY);
    if place.program.can(Feature::List) {
        let mut listed: Vec<String> = pairs(&place.done(&["refs", &url])?);
        listed.retain(|line| line.contains(" refs/") && !line.ends_with("^{}"));
        let mut expected: Vec<String> = refs(place, REPOSITORY)?.lines().map(str::to_owned).collect();
        listed.sort();
        expected.sort();
        ensure!(listed == expected, "it lists {listed:?}");
    } else {
        let reply = place.ask(&["refs", &url])?;
        ensure!(matches!(reply, Reply::Cannot), "the table is old: {reply:?}");
    }

    let folder = place.cloned(REPOSITORY, "clone")?;
    let git = place.git();
    ensure!(git.head(&folder)? == git.head(&work)?, "another commit");
    ensure!(git.ok(&folder, &["status", "--porcelain"])?.is_empty(), "another work tree");
    ensure!(git.ok(&folder, &["cat-file", "-t", "refs/tags/v1"])?.trim() == "tag", "v1 is not an annotated tag");
    git.fsck(&folder)?;

    // Somebody pushes; the second fetch has nothing to get.
    let theirs = git.commit(&work, "theirs", "by git\n")?;
    git.ok(&work, &["tag", "--annotate", "--message", "Release v2", "v2"])?;
    git.ok(&work, &["push", "--quiet", "--follow-tags"])?;
    for _ in 0..2 {
        place.done(&["fetch", text(&folder)?, "0"])?;
        let git = place.git();
        ensure!(git.ok(&folder, &["rev-parse", "origin/main"])?.trim() == theirs, "it has not fetched {theirs}");
        ensure!(git.ok(&folder, &["rev-parse", "v2^{commit}"])?.trim() == theirs, "it has not fetched v2");
        git.fsck(&folder)?;
    }
    if place.program.can(Feature::Push) {
        return pushes(place, &folder);
    }
    let reply = place.ask(&["push", text(&folder)?, "HEAD:refs/heads/new"])?;
    ensure!(matches!(reply, Reply::Cannot), "the table is old: {reply:?}");
    Ok(())
}

/// A new branch, a fast-forward of it, an annotated tag, and the end of the branch.
fn pushes(place: &mut Place, folder: &Path) -> Result<()> {
    let path = text(folder)?;
    for content in ["first\n", "second\n"] {
        let id = place.committed(folder, "ours", content.as_bytes())?;
        place.done(&["push", path, "HEAD:refs/heads/topic/new"])?;
        ensure!(refs(place, REPOSITORY)?.contains(&format!("{id} refs/heads/topic/new")), "{id} was not pushed");
    }
    if place.program.can(Feature::Tags) {
        let tag = place.done(&["tag", path, "v3"])?;
        place.done(&["push", path, "refs/tags/v3:refs/tags/v3"])?;
        ensure!(refs(place, REPOSITORY)?.contains(&format!("{tag} refs/tags/v3")), "the tag {tag} was not pushed");
    } else {
        let reply = place.ask(&["tag", path, "v3"])?;
        ensure!(matches!(reply, Reply::Cannot), "the table is old: {reply:?}");
    }
    place.done(&["push", path, ":refs/heads/topic/new"])?;
    ensure!(!refs(place, REPOSITORY)?.contains("topic/new"), "the branch was not deleted");
    if place.program.can(Feature::SeveralRefs) {
        place.done(&["push", path, "HEAD:refs/heads/one", "HEAD:refs/heads/two"])?;
        let refs = refs(place, REPOSITORY)?;
        ensure!(refs.contains("refs/heads/one") && refs.contains("refs/heads/two"), "not both were pushed: {refs}");
    } else {
        let reply = place.ask(&["push", path, "HEAD:refs/heads/one", "HEAD:refs/heads/two"])?;
        ensure!(matches!(reply, Reply::Cannot), "the table is old: {reply:?}");
    }
    place.git().fsck(folder)?;
    place.bed().clone_is_sound("mirror")
}

pub(super) fn fetches_a_part_of_the_history(place: &mut Place) -> Result<()> {
    place.bed().started()?;
    partial(place)?;
    let (url, folder) = (place.url(REPOSITORY), place.path("shallow"));
    let path = text(&folder)?;
    if !place.program.can(Feature::Depth) {
        let reply = place.ask(&["clone", &url, path, "1", ""])?;
        ensure!(matches!(reply, Reply::Cannot), "the table is old: {reply:?}");
        return Ok(());
    }
    place.done(&["clone", &url, path, "1", ""])?;
    let commits = |place: &Place, what: &str| count(place, &folder, what);
    ensure!(commits(place, "HEAD")? == 1, "{} commits instead of one", commits(place, "HEAD")?);
    place.git().fsck(&folder)?;
    if place.program.can(Feature::Push) {
        place.committed(&folder, "ours", b"from a shallow clone\n")?;
        place.done(&["push", path, "HEAD:refs/heads/from-shallow"])?;
        place.bed().clone_is_sound("whole")?;
        let whole = place.git().ok(&place.path("whole"), &["rev-list", "--count", "from-shallow"])?;
        ensure!(whole.trim() == "13", "{} commits hang on the one that was pushed", whole.trim());
    }
    place.done(&["fetch", path, "4"])?;
    let after = commits(place, "origin/main")?;
    place.done(&["fetch", path, "2147483647"])?;
    let found = (after, commits(place, "origin/main")?);
    let expected = if place.program.can(Feature::Deepen) { (4, 12) } else { (1, 1) };
    ensure!(found == expected, "{found:?} commits after the two fetches instead of {expected:?}");
    place.git().fsck(&folder)
}

fn partial(place: &mut Place) -> Result<()> {
    let (url, folder) = (place.url(REPOSITORY), place.path("partial"));
    let reply = place.ask(&["clone", &url, text(&folder)?, "0", "blob:none"])?;
    if !place.program.can(Feature::Filter) {
        ensure!(matches!(reply, Reply::Cannot), "the table is old: {reply:?}");
        return Ok(());
    }
    ensure!(matches!(reply, Reply::Done(_)), "{reply:?}");
    let all = ["rev-list", "--objects", "--missing=print", "origin/main"];
    let missing = place.git().ok(&folder, &all)?.lines().filter(|line| line.starts_with('?')).count();
    // Every commit of the fixture has a content of its own.
    ensure!(missing == 12, "{missing} blobs were left out instead of all 12");
    ensure!(count(place, &folder, "origin/main")? == 12, "there are other commits");
    Ok(())
}

pub(super) fn fills_an_empty_repository_with_something_large(place: &mut Place) -> Result<()> {
    let (url, folder) = (place.url(EMPTY), place.path("empty"));
    let reply = place.ask(&["clone", &url, text(&folder)?, "0", ""])?;
    let cloned = matches!(reply, Reply::Done(_));
    ensure!(cloned == place.program.can(Feature::EmptyClone), "the clone of an empty repository: {reply:?}");
    let large = Sequence::new(20).bytes(LARGE);
    let folder = place.path("first");
    if place.program.can(Feature::Push) {
        place.done(&["init", &url, text(&folder)?])?;
        place.committed(&folder, "small", b"hello\n")?;
        place.done(&["push", text(&folder)?, "HEAD:refs/heads/main"])?;
        place.committed(&folder, "large", &large)?;
        place.done(&["push", text(&folder)?, "HEAD:refs/heads/main"])?;
    } else {
        let git = place.git();
        git.init("first")?;
        std::fs::write(folder.join("large"), &large)?;
        git.commit(&folder, "small", "hello\n")?;
        git.ok(&folder, &["push", "--quiet", &place.bed().server.url("alice", EMPTY), "HEAD:refs/heads/main"])?;
    }
    let head = place.git().head(&folder)?;
    ensure!(refs(place, EMPTY)? == format!("{head} refs/heads/main\n"), "there are {}", refs(place, EMPTY)?);
    let clone = place.cloned(EMPTY, "clone")?;
    let found = std::fs::read(clone.join("large")).context("failed to read what was cloned")?;
    ensure!(found == large, "the large file has another content");
    place.git().fsck(&clone)
}

pub(super) fn tells_why_something_is_refused(place: &mut Place) -> Result<()> {
    place.bed().started()?;
    let before = refs(place, REPOSITORY)?;
    if place.program.can(Feature::Push) {
        let folder = place.cloned(REPOSITORY, "clone")?;
        let path = text(&folder)?;
        place.committed(&folder, "ours", b"for a release\n")?;
        let said = place.refused(&["push", path, "HEAD:refs/heads/release/1"])?;
        ensure!(said.contains(DENIED), "{said}");
        ensure!(refs(place, REPOSITORY)? == before, "something was pushed");
        if place.program.can(Feature::SeveralRefs) {
            // One is refused, which is said; the other is not.
            let said = place.refused(&["push", path, "HEAD:refs/heads/release/1", "HEAD:refs/heads/open"])?;
            ensure!(said.contains(DENIED), "{said}");
            let refs = refs(place, REPOSITORY)?;
            ensure!(refs.contains("refs/heads/open") && !refs.contains("release"), "{refs}");
        }
    }
    let (url, folder) = (place.url("team-a/absent"), place.path("absent"));
    place.refused(&["clone", &url, text(&folder)?, "0", ""])?;
    let (url, folder) = (place.url_of_stranger(REPOSITORY), place.path("stranger"));
    let reply = place.stranger()?.ask(&["clone", &url, text(&folder)?, "0", ""])?;
    ensure!(matches!(reply, Reply::Refused(_)), "a stranger: {reply:?}");
    Ok(())
}

/// A client that has no such transport says so: nothing reaches the server.
pub(super) fn gives_up_by_itself(program: &'static Program, way: Way, said: &str) -> Result<()> {
    let mut place = Place::new(program, way)?;
    let (url, folder) = (place.url(REPOSITORY), place.path("clone"));
    let refusal = place.refused(&["clone", &url, text(&folder)?, "0", ""])?;
    ensure!(refusal.to_lowercase().contains(said), "{refusal}");
    Ok(())
}

fn refs(place: &Place, repository: &str) -> Result<String> {
    place.git().remote_refs(&place.bed().server.url("alice", repository))
}

fn count(place: &Place, folder: &Path, revision: &str) -> Result<usize> {
    Ok(place.git().ok(folder, &["rev-list", "--count", revision])?.trim().parse()?)
}

/// `id name id name …` as one text for each pair.
fn pairs(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    words.chunks_exact(2).map(|pair| pair.join(" ")).collect()
}
