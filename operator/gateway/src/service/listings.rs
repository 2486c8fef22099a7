//! Long lists of references, kept as they are sent: most requests for them come while nothing has changed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use git::advertise::{Service, Version};
use git::view::ReferencesView;
use git::{advertise, ls_refs};
use model::RefName;
use model::desired::RepositoryConfig;
use store::Snapshot;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::refs;

/// Repositories with fewer references are listed faster than they are looked up here.
const MIN_REFERENCES: usize = 1_000;
/// Lists of more are written piece by piece: they would take too much memory as a whole.
pub(crate) const MAX_REFERENCES: usize = 100_000;
/// Shorter answers, such as those to one prefix, are not kept.
const MIN_BYTES: usize = 64 << 10;
/// Bytes that are kept.
const MAX_BYTES: usize = 64 << 20;
/// How long an answer is kept that nobody wants.
const KEPT: Duration = Duration::from_mins(5);
/// Lists that are made at once; who waits for their turn may find that it was made meanwhile.
const MAKERS: usize = 4;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    LsRefs(ls_refs::Request),
    Advertisement(Service, Version),
    Greeting(Service, Version),
}

impl Asked {
    /// The answer.
    pub(crate) fn encode(&self, view: &ReferencesView<'_>) -> Vec<u8> {
        match self {
            Self::LsRefs(request) => {
                let mut answer = Vec::new();
                ls_refs::respond(request, view, &mut answer).expect("because memory takes everything");
                answer
            }
            Self::Advertisement(service, version) => advertise::advertise(*service, *version, view),
            Self::Greeting(service, version) => advertise::greeting(*service, *version, view),
        }
    }
}

/// A question whose answer never changes: what is asked, about this state of the log, with this `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    digest: [u8; 32],
    head: RefName,
    asked: Asked,
}

impl Question {
    /// `None` when the answer is not worth keeping.
    pub(crate) fn new(snapshot: &Snapshot, config: &RepositoryConfig, asked: &Asked) -> Option<Self> {
        (MIN_REFERENCES..=MAX_REFERENCES).contains(&snapshot.refs.len()).then(|| Self {
            digest: snapshot.digest,
            head: refs::head(snapshot, config),
            asked: asked.clone(),
        })
    }
}

/// An answer, and when it was last wanted.
struct Kept {
    question: Question,
    answer: Bytes,
    wanted: Instant,
}

/// The answers, the one that was wanted last at the end.
pub(crate) struct Listings {
    kept: Mutex<VecDeque<Kept>>,
    makers: Semaphore,
}

impl Default for Listings {
    fn default() -> Self {
        Self { kept: Mutex::default(), makers: Semaphore::new(MAKERS) }
    }
}

impl Listings {
    fn kept(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn to make an answer.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.makers.acquire().await.ok()
    }

    /// The answer, if it is kept.
    pub(crate) fn get(&self, question: &Question) -> Option<Bytes> {
        let mut kept = self.kept();
        let at = kept.iter().rposition(|kept| kept.question == *question)?;
        let mut found = kept.remove(at)?;
        found.wanted = Instant::now();
        let answer = found.answer.clone();
        kept.push_back(found);
        Some(answer)
    }

    /// Keeps an answer, as long as there is room.
    pub(crate) fn keep(&self, question: Question, answer: &Bytes) {
        if !(MIN_BYTES..=MAX_BYTES).contains(&answer.len()) {
            return;
        }
        let mut kept = self.kept();
        kept.retain(|kept| kept.question != question);
        kept.push_back(Kept { question, answer: answer.clone(), wanted: Instant::now() });
        let mut bytes: usize = kept.iter().map(|kept| kept.answer.len()).sum();
        while bytes > MAX_BYTES {
            bytes -= kept.pop_front().map_or(bytes, |oldest| oldest.answer.len());
        }
    }

    /// Lets go what nobody wants.
    pub(crate) fn let_go(&self) {
        let mut kept = self.kept();
        kept.retain(|kept| kept.wanted.elapsed() < KEPT);
        kept.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: u8) -> Question {
        let asked = Asked::Advertisement(Service::UploadPack, Version::V0);
        Question { digest: [number; 32], head: RefName::try_from("refs/heads/main").unwrap(), asked }
    }

    #[test]
    fn what_was_wanted_last_is_kept_as_long_as_there_is_room() {
        let (listings, answer) = (Listings::default(), Bytes::from(vec![0; MAX_BYTES / 4]));
        for number in 0..4 {
            listings.keep(question(number), &answer);
        }
        assert!(listings.get(&question(0)).is_some());
        listings.keep(question(4), &answer);
        assert_eq!(listings.get(&question(1)), None, "it was not wanted for the longest time");
        assert!([0, 2, 3, 4].into_iter().all(|number| listings.get(&question(number)).is_some()));
    }

    #[test]
    fn short_answers_and_other_questions_are_not_found() {
        let listings = Listings::default();
        listings.keep(question(0), &Bytes::from_static(b"short"));
        assert_eq!(listings.get(&question(0)), None);
        listings.keep(question(0), &Bytes::from(vec![0; MIN_BYTES]));
        let other = Question { asked: Asked::Greeting(Service::UploadPack, Version::V0), ..question(0) };
        assert_eq!(listings.get(&other), None);
        let other = Question { head: RefName::try_from("refs/heads/trunk").unwrap(), ..question(0) };
        assert_eq!(listings.get(&other), None);
    }
}
