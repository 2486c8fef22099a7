//! What the log of a repository is, as one store has it: found from the names of its objects and from what it says of epochs, without
//! the code that is tested.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Bytes of what stands where a log was closed.
const MARKER: u64 = 8;

/// The log of the only repository of a store.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Key and size of each entry that counts, by its number.
    pub(crate) entries: BTreeMap<u64, (String, u64)>,
    /// Keys of entries that do not.
    pub(crate) surplus: BTreeSet<String>,
    /// How many epochs it knows of beside the first.
    pub(crate) epochs: usize,
}

impl Log {
    /// Reads a listing; `read` gives an object.
    pub(crate) fn of(listing: &BTreeMap<String, u64>, read: impl Fn(&str) -> Result<Vec<u8>>) -> Result<Self> {
        let mut bases: Vec<u64> = Vec::new();
        let mut all: BTreeMap<(u64, usize), (String, u64)> = BTreeMap::new();
        for (key, size) in listing {
            let Some((_, rest)) = key.split_once('/') else { continue };
            let Some((folder, number)) = rest.rsplit_once('/') else { continue };
            // Further objects stand beside entries, and have longer names.
            let Some(number) = Some(number).filter(|text| text.len() == 20).and_then(|text| text.parse::<u64>().ok())
            else {
                continue;
            };
            if folder == "epoch" {
                let epoch: Value = serde_json::from_slice(&read(key)?).with_context(|| format!("{key} is no JSON"))?;
                bases.push(epoch["base"].as_u64().with_context(|| format!("{key} has no base"))?);
            } else if let Some(epoch) = if folder == "log" { Some("0") } else { folder.strip_prefix("log.") } {
                all.insert((number, epoch.parse()?), (key.clone(), *size));
            }
        }
        let mut log = Self { epochs: bases.len(), ..Self::default() };
        for number in 1.. {
            // In the log of the epoch that wrote it, or, where that was closed before it, in that of a later one.
            let holding = bases.iter().rposition(|base| *base < number).map_or(0, |at| at + 1);
            let places = (holding..=bases.len()).map_while(|epoch| all.get(&(number, epoch)));
            let Some(entry) = places.filter(|(_, size)| *size != MARKER).last() else { break };
            log.entries.insert(number, entry.clone());
        }
        let counting: BTreeSet<&String> = log.entries.values().map(|(key, _)| key).collect();
        let others = all.into_values().filter(|(key, size)| *size != MARKER && !counting.contains(key));
        log.surplus = others.map(|(key, _)| key).collect();
        Ok(log)
    }

    /// What one of two logs has and the other has not, in a line; nothing when they are the same.
    pub(crate) fn differs(&self, other: &Self) -> String {
        let sizes =
            |log: &Self| log.entries.iter().map(|(number, (_, size))| (*number, *size)).collect::<BTreeSet<_>>();
        let (one, other) = (sizes(self), sizes(other));
        let lacking = |a: &BTreeSet<_>, b: &BTreeSet<_>| {
            let missing: Vec<(u64, u64)> = a.difference(b).copied().collect();
            (missing.len(), missing.into_iter().take(3).collect::<Vec<_>>())
        };
        let ((here, what), (there, which)) = (lacking(&one, &other), lacking(&other, &one));
        if here + there == 0 {
            String::new()
        } else {
            format!("{here} only here {what:?}, {there} only there {which:?} (number, size); ")
        }
    }
}
