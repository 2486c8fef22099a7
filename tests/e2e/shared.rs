//! Many clients that ask for the same: a fleet of CI runners that clones the newest commit.

use anyhow::{Context as _, Result, ensure};
use tests::Server;
use tests::fixture;
use tests::history::{self, Plan};

use crate::bed::Bed;

const RUNNERS: usize = 8;

/// Clones the newest commit alone, as CI does, and returns its tree.
fn runner(bed: &Bed, server: &Server, name: &str) -> Result<String> {
    let url = server.url("alice", crate::bed::REPOSITORY);
    bed.git.ok(&bed.git.path(""), &["clone", "--quiet", "--bare", "--depth", "1", &url, name])?;
    let clone = bed.git.path(name);
    bed.git.fsck(&clone)?;
    bed.git.ok(&clone, &["rev-parse", "HEAD", "HEAD^{tree}"])
}

/// How often packs were put together, and how often one that was kept was sent.
fn made_and_kept(log: &str) -> (usize, usize) {
    let answers = log.lines().filter(|line| line.contains("fetch answered"));
    let kept = answers.clone().filter(|line| line.contains("fetch.route=\"kept\"")).count();
    (answers.count() - kept, kept)
}

#[test]
fn runners_that_want_the_same_share_one_answer_until_something_is_pushed() -> Result<()> {
    let bed = Bed::new()?;
    let source = fixture::import(&bed.git, "source.git", |stream| history::write(Plan::of(300), stream, &mut |_| {}))?;
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    let newest = bed.git.ok(&source, &["rev-parse", "HEAD", "HEAD^{tree}"])?;

    std::thread::scope(|scope| -> Result<()> {
        let bed = &bed;
        let run = |number: usize| move || runner(bed, &bed.server, &format!("runner-{number}"));
        let runners: Vec<_> = (0..RUNNERS).map(|number| scope.spawn(run(number))).collect();
        for runner in runners {
            let got = runner.join().ok().context("a runner panicked")??;
            ensure!(got == newest, "{got} instead of {newest}");
        }
        Ok(())
    })?;
    assert_eq!(made_and_kept(&bed.server.log()), (1, RUNNERS - 1));

    let work = bed.git.clone(&bed.url(), "work")?;
    let before = made_and_kept(&bed.server.log());
    bed.git.ok(&work, &["commit", "--quiet", "--allow-empty", "--message", "Newer"])?;
    bed.git.ok(&work, &["push", "--quiet", "origin", "HEAD"])?;
    let newer = bed.git.ok(&work, &["rev-parse", "HEAD", "HEAD^{tree}"])?;
    assert_eq!(runner(&bed, &bed.server, "after")?, newer);
    assert_eq!(made_and_kept(&bed.server.log()), (before.0 + 1, before.1));
    Ok(())
}
