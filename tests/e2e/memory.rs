//! Memory of the server while it does the largest things.

use anyhow::Result;
use tests::fixture::{self, Commit};
use tests::random::Sequence;

use crate::bed::Bed;

const MIB: u64 = 1 << 20;

/// A repository whose pack has this many MB that do not compress.
pub(crate) fn large(bed: &Bed, megabytes: usize) -> Result<std::path::PathBuf> {
    let mut random = Sequence::new(5);
    fixture::import(&bed.git, "large.git", |stream| {
        let mut parents = Vec::new();
        for number in 0..megabytes {
            let content = random.bytes(1_000_000);
            let path = format!("blob-{number}.bin");
            let files: &[(&str, &[u8])] = &[(&path, &content)];
            parents = vec![stream.commit(Commit { branch: "main", parents: &parents, message: "More", files })?];
        }
        Ok(())
    })
}

#[test]
#[ignore = "full tier: moves 600 MB"]
fn a_push_of_300_mb_takes_at_most_400_mb_and_a_clone_64_mb_above_idle() -> Result<()> {
    let mut bed = Bed::new()?;
    let source = large(&bed, 300)?;
    bed.git.ok(&source, &["push", "--quiet", "--mirror", &bed.url()])?;
    let push = bed.server.peak_memory()?;
    assert!(push <= 400_000_000, "the push took {} MiB", push / MIB);
    bed.git.ok(&bed.git.path(""), &["ls-remote", &bed.url()])?;
    bed.server = bed.server.restarted()?;
    // The pack comes into the cache by a first clone; what is measured is serving it.
    bed.git.ok(&bed.git.path(""), &["clone", "--quiet", "--mirror", &bed.url(), "first.git"])?;
    let idle = tests::process::memory(bed.server.pid(), "RssAnon")?;
    let pid = bed.server.pid();
    let done = std::sync::atomic::AtomicBool::new(false);
    let peak = std::thread::scope(|scope| -> Result<u64> {
        let watcher = scope.spawn(|| {
            let mut peak = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                peak = peak.max(tests::process::memory(pid, "RssAnon").unwrap_or(0));
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            peak
        });
        let cloned = bed.git.ok(&bed.git.path(""), &["clone", "--quiet", "--mirror", &bed.url(), "second.git"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        cloned?;
        watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))
    })?;
    assert!(peak.saturating_sub(idle) <= 64 * MIB, "a clone took {} MiB above idle", peak.saturating_sub(idle) / MIB);
    Ok(())
}
