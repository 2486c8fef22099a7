//! What repositories cost that were used once and are idle since.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tests::manifests::PASSWORD;
use tests::report::{bar, megabytes, spinner};
use tests::session::Session;
use tests::{Manifests, Server, ServerOptions, process};

use super::{Bed, begin, small};
use crate::figures::Figures;

/// Repositories that are used once each.
const REPOSITORIES: usize = 10_000;
/// The same before anything is measured: what the first requests cost a server is not theirs.
const WARM: usize = 100;
/// Most bytes of memory that each may keep.
const MOST: u64 = 1_024;
/// A server lets go of what was idle for five minutes, and takes its time to look.
const LET_GO: Duration = Duration::from_mins(6);

pub(crate) fn run(bed: &Bed<'_>, figures: &mut Figures) -> Result<()> {
    let manifests = Manifests::standard()?;
    (0..WARM + REPOSITORIES).try_for_each(|number| manifests.repository("team-a", &small(number)))?;
    let cache = bed.folder.path().join("idle-cache");
    let store = format!("file:{}", bed.folder.path().join("idle-store").display());
    let arguments = ["--log-level", "warn", "--cache-retention", "1m", "--maintenance-interval", "30d"];
    let options = ServerOptions::new(manifests.path(), store).with(&arguments).with_cache(&cache);
    let server = Server::start(options)?;
    let (tip, pack) = (bed.main(&bed.tiny)?, bed.tiny_pack()?);
    let use_once = |session: &mut Session, number| -> Result<()> {
        let repository = format!("team-a/{}", small(number));
        begin(session, &repository, &tip, &pack)?;
        session.ls_refs(&repository, "refs/")?;
        Ok(())
    };
    let mut session = Session::new(server.address(), Some(("alice", PASSWORD)));
    (0..WARM).try_for_each(|number| use_once(&mut session, number))?;
    let progress = spinner("letting the first ones go");
    let before = idle(&server, &cache)?;
    progress.finish_and_clear();
    // The server has closed the connection meanwhile.
    session.close();
    let progress = bar(REPOSITORIES as u64, "using repositories once each");
    for number in WARM..WARM + REPOSITORIES {
        use_once(&mut session, number)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    let busy = anonymous(&server)?;
    let progress = spinner("letting all go");
    let after = idle(&server, &cache)?;
    progress.finish_and_clear();
    let each = after.saturating_sub(before) / REPOSITORIES as u64;
    let row = [megabytes(before), megabytes(busy), megabytes(after), format!("{each} B")];
    figures.table(&["memory before", "after 10,000 were used", "when all are idle", "for each"], &[row.to_vec()]);
    figures.bar("", "memory that an idle repository keeps, of 10,000", &format!("{each} B"), "≤ 1 KB", each <= MOST);
    Ok(())
}

/// Waits until everything is let go; gives the memory that is left in use.
fn idle(server: &Server, cache: &Path) -> Result<u64> {
    let started = Instant::now();
    while server.metric("codekeep_cache_bytes", "")? > 0.0 || started.elapsed() < LET_GO {
        ensure!(started.elapsed() < 2 * LET_GO, "the cache is not let go");
        std::thread::sleep(Duration::from_secs(2));
    }
    let left = std::fs::read_dir(cache.join("packs"))?.count();
    ensure!(left == 0, "{left} repositories are left on the disk");
    anonymous(server)
}

fn anonymous(server: &Server) -> Result<u64> {
    process::memory(server.pid(), "RssAnon")
}
