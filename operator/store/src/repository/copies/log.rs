//! The log in every store, from its end backwards: each entry names the one before, so what has to stand at a number is known without
//! believing any store about it.

use futures::future::join_all;

use super::kept::{SMALL, digest_of};
use super::{Copies, Kept};
use crate::entry::Numbered;
use crate::error::Error;
use crate::repository::read;

/// Numbers that are read at once.
const WINDOW: u64 = 16;

/// What a store has at a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// Nothing, or nothing that can be read.
    Nothing,
    Entry {
        digest: [u8; 32],
        previous: [u8; 32],
    },
    Stub([u8; 32]),
}

impl Stands {
    fn of(found: &Numbered) -> Self {
        match found {
            Numbered::Entry(read) => Self::Entry { digest: read.digest, previous: read.entry.previous },
            Numbered::Stub(_) => Self::Stub(digest_of(found)),
        }
    }

    fn digest(self) -> Option<[u8; 32]> {
        match self {
            Self::Nothing => None,
            Self::Entry { digest, .. } | Self::Stub(digest) => Some(digest),
        }
    }
}

/// A number of the log, and what each store has there that should have something.
type Row = (u64, Vec<(usize, Stands)>);

impl Copies {
    /// Learns which entries each store has behind this one.
    pub(in crate::repository) async fn survey(&mut self, after: u64) -> Result<(), Error> {
        for at in 0..self.views.len() {
            let view = &mut self.views[at];
            if view.away.is_some() {
                continue;
            }
            match view.member.numbers(after).await {
                Ok(numbers) => view.end = numbers.last().copied().unwrap_or(0),
                Err(error) if at == 0 => return Err(error.into()),
                Err(error) => view.is_away(&error.into()),
            }
        }
        Ok(())
    }

    /// Reads the entries up to the last one, whose digest may be known, back to the stubs, and mends what is to be mended, the oldest first.
    pub(in crate::repository) async fn examine_log(
        &mut self,
        last: u64,
        digest: Option<[u8; 32]>,
        truncated: u64,
    ) -> Result<(), Error> {
        let (mut named, mut suspects, mut next) = (digest, vec![], last);
        while next > truncated {
            let first = next.saturating_sub(WINDOW).max(truncated) + 1;
            let mut is_cut_off = false;
            for (number, stands) in self.read_entries(first, next).await? {
                // Before a stub are stubs only.
                is_cut_off = matches!(stands.first(), Some((0, Stands::Stub(_))));
                let judged = judge(named, &stands, |at| self.views[at].end <= number);
                for (at, _) in stands.iter().filter(|(_, stands)| stands.digest() == judged.truth) {
                    self.views[*at].objects += u64::from(judged.truth.is_some());
                }
                if !judged.is_sound {
                    suspects.push(Kept::Entry { number, digest: judged.truth });
                }
                named = judged.previous;
            }
            next = if is_cut_off { truncated } else { first - 1 };
        }
        for kept in suspects.into_iter().rev() {
            self.examine(&kept).await?;
        }
        Ok(())
    }

    /// What stands at these numbers, the newest first.
    async fn read_entries(&mut self, first: u64, last: u64) -> Result<Vec<Row>, Error> {
        let views = &self.views;
        let is_due = |at: usize, number: u64| views[at].away.is_none() && (at == 0 || number <= views[at].end);
        let stores = 0..views.len();
        let wanted: Vec<(u64, usize)> = (first..=last)
            .rev()
            .flat_map(|number| stores.clone().map(move |at| (number, at)))
            .filter(|(number, at)| is_due(*at, *number))
            .collect();
        let reads = wanted.iter().map(|(number, at)| read::read_number(&*views[*at].shared.store, &self.id, *number));
        let found = join_all(reads).await;
        let mut rows: Vec<Row> = (first..=last).rev().map(|number| (number, vec![])).collect();
        for ((number, at), found) in wanted.into_iter().zip(found) {
            let stands = match found {
                Ok(found) => found.as_ref().map_or(Stands::Nothing, Stands::of),
                Err(error) if error.is_damage() => Stands::Nothing,
                Err(error) if at == 0 => return Err(error),
                Err(error) => {
                    self.views[at].is_away(&error);
                    continue;
                }
            };
            if let Some((_, row)) = rows.iter_mut().find(|(of, _)| *of == number) {
                row.push((at, stands));
            }
            self.rest(SMALL).await;
        }
        Ok(rows)
    }
}

/// What is to be thought of a number.
struct Judged {
    /// The digest of what has to stand there.
    truth: Option<[u8; 32]>,
    /// That of the entry before.
    previous: Option<[u8; 32]>,
    is_sound: bool,
}

/// Without an entry behind it, what the primary store has is the truth: it decides. At the end of a replica's log (`is_end`) another
/// entry may stand which a server wrote in vain; whoever wrote behind it overrules that.
fn judge(named: Option<[u8; 32]>, stands: &[(usize, Stands)], is_end: impl Fn(usize) -> bool) -> Judged {
    let at_home = stands.iter().find(|(at, _)| *at == 0).and_then(|(_, stands)| stands.digest());
    let truth = named.or(at_home);
    let is_right = |stands: Stands| stands.digest().is_some() && stands.digest() == truth;
    let may_stand = |at: usize, stands: Stands| at > 0 && is_end(at) && stands.digest().is_some();
    let previous = stands.iter().find_map(|(_, stands)| match stands {
        Stands::Entry { previous, .. } if is_right(*stands) => Some(*previous),
        _ => None,
    });
    let is_sound = stands.iter().all(|(at, stands)| is_right(*stands) || may_stand(*at, *stands));
    Judged { truth, previous, is_sound }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(digest: u8, previous: u8) -> Stands {
        Stands::Entry { digest: [digest; 32], previous: [previous; 32] }
    }

    #[test]
    fn an_entry_is_what_the_one_behind_it_names_and_else_what_the_primary_store_has() {
        let judged = |named: Option<u8>, stands: &[(usize, Stands)], end: usize| {
            let Judged { truth, previous, is_sound } = judge(named.map(|byte| [byte; 32]), stands, |at| at == end);
            (truth.map(|digest| digest[0]), previous.map(|digest| digest[0]), is_sound)
        };
        let (good, other) = (entry(5, 4), entry(9, 4));
        assert_eq!(judged(Some(5), &[(0, good), (1, good)], 9), (Some(5), Some(4), true));
        assert_eq!(judged(None, &[(0, good), (1, good)], 9), (Some(5), Some(4), true));
        assert_eq!(judged(Some(5), &[(0, Stands::Nothing), (1, good)], 9), (Some(5), Some(4), false));
        assert_eq!(judged(Some(5), &[(0, good), (1, other)], 9), (Some(5), Some(4), false));
        assert_eq!(judged(None, &[(0, good), (1, other)], 1), (Some(5), Some(4), true), "written in vain");
        assert_eq!(judged(None, &[(0, Stands::Nothing), (1, good)], 9), (None, None, false), "nobody vouches for it");
        assert_eq!(judged(Some(5), &[(0, Stands::Stub([5; 32])), (1, good)], 9), (Some(5), Some(4), true));
    }
}
