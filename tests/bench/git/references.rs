//! B4: what a client hears first, and lists of references.

use anyhow::{Result, ensure};
use tests::protocol::parse_refs;

use super::Bed;
use super::sides::{HISTORY, REFS, Samples, Sides, by_turns, timed};
use crate::figures::{Figures, ms, spread};
use crate::side::Side;

/// Times of each in a round: it is over in a moment.
const TIMES: usize = 10;

pub(super) fn run(bed: &Bed<'_>, sides: &Sides, figures: &mut Figures) -> Result<()> {
    let all = sides.all();
    let advertisement = by_turns(bed, &all, TIMES, |side| {
        let client = side.raw(HISTORY);
        timed(|| {
            ensure!(client.advertisement("git-upload-pack", 2)?.status == 200, "no advertisement");
            Ok(())
        })
    })?;
    let list = |prefixes: &[&str], at_least: usize| {
        by_turns(bed, &all, TIMES, |side: &Side<'_>| {
            let client = side.raw(REFS);
            let mut answer = Vec::new();
            // Until the last byte is there: what a client makes of it costs the same whoever sent it.
            let took = timed(|| {
                answer = client.ls_refs_answer(prefixes)?;
                Ok(())
            })?;
            ensure!(parse_refs(&answer)?.len() >= at_least, "fewer refs than there are");
            Ok(took)
        })
    };
    let prefix = list(&["refs/heads/branch/42/"], 1)?;
    let full = list(&[], bed.options.refs)?;
    let rows: Vec<_> = [("advertisement", &advertisement), ("ls-refs, one prefix", &prefix), ("ls-refs, all", &full)]
        .into_iter()
        .map(|(what, samples)| row(what, samples))
        .collect();
    figures.table(&["p50 / p99", "Codekeep", "JGit", "http-backend", "our CPU"], &rows);
    for (what, samples, bar) in [
        ("advertisement, of JGit's", &advertisement, 0.5),
        ("ls-refs of one prefix, of JGit's", &prefix, 0.5),
        ("ls-refs of all, of JGit's", &full, 1.0 / 6.0),
    ] {
        figures.at_most("B4", what, samples[0].median(), samples[1].median(), bar);
    }
    Ok(())
}

pub(super) fn row(what: &str, samples: &[Samples; 3]) -> Vec<String> {
    let times = samples.iter().map(|samples| spread(&samples.times));
    std::iter::once(what.to_owned()).chain(times).chain([ms(samples[0].cpu_each())]).collect()
}
