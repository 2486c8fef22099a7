//! B3: fetches by clients that are some merges, or some pushes, behind.

use anyhow::{Context as _, Result, ensure};
use tests::session::{Pushed, push_body};

use super::Bed;
use super::references::row;
use super::sides::{HISTORY, Sides, by_turns};
use crate::figures::Figures;
use crate::pushes;

/// Fetches in a round: p99 needs some.
const TIMES: usize = 12;
/// Small pushes.
const PUSHES: usize = 12;
/// The branch that small pushes go to.
const BRANCH: &str = "refs/heads/bench/pushed";

pub(super) fn run(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    let all = sides.all();
    let main = bed.id(&bed.branch)?;
    let mut rows = Vec::new();
    for behind in [1, 10, 100, 1_000, 10_000] {
        let Ok(have) = bed.id(&format!("{}~{behind}", bed.branch)) else { continue };
        let times = if behind > 100 { 1 } else { TIMES };
        let mut clients = 0_u64;
        let samples = by_turns(bed, &all, times, |side| {
            // Each has a commit of its own, so that no answer does for two of them.
            clients += 1;
            let own = format!("{clients:040x}");
            let fetched = side.raw(HISTORY).fetch(std::slice::from_ref(&main), &[have.clone(), own])?;
            ensure!(fetched.objects > 0, "nothing was sent");
            Ok(fetched.total)
        })?;
        rows.push(row(&format!("{behind} merges behind"), &samples));
        if behind <= 100 {
            let what = format!("{behind} first-parent merges behind, of JGit's");
            figures.at_most("B3", &what, samples[0].median(), samples[1].median(), 0.5);
            let samples = by_turns(bed, &all, times, |side| {
                Ok(side.raw(HISTORY).fetch(std::slice::from_ref(&main), std::slice::from_ref(&have))?.total)
            })?;
            rows.push(row(&format!("{behind} merges behind, all clients alike"), &samples));
        }
    }
    let ids = push_some(bed, sides, &main)?;
    for behind in [1, 10] {
        let have = &ids[ids.len() - 1 - behind];
        let want = ids.last().context("nothing was pushed")?;
        let samples = by_turns(bed, &all, TIMES, |side| {
            let fetched = side.raw(HISTORY).fetch(std::slice::from_ref(want), std::slice::from_ref(have))?;
            ensure!(fetched.objects > 0, "nothing was sent");
            Ok(fetched.total)
        })?;
        rows.push(row(&format!("{behind} pushes behind"), &samples));
        let what = |who: &str| format!("{behind} pushes behind, of {who}");
        figures.at_most("B3", &what("JGit's"), samples[0].median(), samples[1].median(), 0.5);
        figures.at_most("B3", &what("http-backend's"), samples[0].median(), samples[2].median(), 1.0 / 6.0);
    }
    figures.table(&["fetch, raw, p50 / p99", "Codekeep", "JGit", "http-backend", "our CPU"], &rows);
    Ok(())
}

/// Pushes a few commits to all sides, one by one; their ids.
fn push_some(bed: &Bed<'_>, sides: &Sides, base: &str) -> Result<Vec<String>> {
    let chain = pushes::make(&bed.git, &bed.history, base, 1, PUSHES)?.remove(0);
    for side in sides.all() {
        let mut session = side.session();
        let mut old = None;
        for step in &chain {
            let body = push_body(old, &step.id, BRANCH, &step.pack);
            old = Some(step.id.as_str());
            match session.push(&side.repository(HISTORY), &body)? {
                Pushed::Accepted => {}
                Pushed::Refused(line) => anyhow::bail!("{} refused a push: {line}", side.name),
            }
        }
    }
    Ok(chain.into_iter().map(|step| step.id).collect())
}
