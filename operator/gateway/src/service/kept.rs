//! Answers kept as they were sent, long lists of references and small packs: most requests for them come while nothing has changed,
//! many at the same time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use git::advertise::{Service, Version};
use git::view::ReferencesView;
use git::{advertise, ls_refs, upload_pack};
use gix::ObjectId;
use gix::bstr::BString;
use model::RefName;
use model::desired::RepositoryConfig;
use store::Snapshot;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::refs;

/// Repositories with fewer references are listed faster than they are looked up here.
const MIN_REFERENCES: usize = 1_000;
/// Lists of more are written piece by piece: they would take too much memory as a whole.
pub(crate) const MAX_REFERENCES: usize = 100_000;
/// Shorter lists, such as those of one prefix, are not kept.
const MIN_LIST: usize = 64 << 10;
/// Bytes that are kept.
const MAX_BYTES: usize = 64 << 20;
/// Answers that are kept; short ones count as something.
const MAX_ANSWERS: usize = 1_024;
/// Bytes of the longest pack that is kept. It is not sent before it is complete, or known to be longer.
pub(crate) const MAX_PACK: usize = 8 << 20;
/// Bytes of the longest question that is kept: a client may name hundreds of thousands of commits.
const MAX_QUESTION: usize = 16 << 10;
/// How long an answer is kept that nobody wants.
const KEPT: Duration = Duration::from_mins(5);
/// Lists that are made at once; who waits for their turn may find that it was made meanwhile.
const MAKERS: usize = 4;
/// Packs that are made in memory at once, each for all who want the same.
const PACKS: usize = 8;

/// A list of references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum List {
    LsRefs(ls_refs::Request),
    Advertisement(Service, Version),
    Greeting(Service, Version),
}

impl List {
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

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    List(List),
    Pack(Box<upload_pack::Request>),
}

impl List {
    fn is_short(&self) -> bool {
        let Self::LsRefs(request) = self else { return true };
        bytes(&request.prefixes) <= MAX_QUESTION
    }
}

fn is_short(request: &upload_pack::Request) -> bool {
    let ids = request.wants.len() + request.haves.len() + request.shallow.len();
    let patterns = request.filter.iter().flat_map(|filter| &filter.sparse);
    let names = bytes(request.want_refs.iter().chain(&request.deepen.not).chain(patterns));
    ids * size_of::<ObjectId>() + names <= MAX_QUESTION
}

/// What names take, each for itself as well.
fn bytes<'a>(names: impl IntoIterator<Item = &'a BString>) -> usize {
    names.into_iter().map(|name| size_of::<BString>() + name.len()).sum()
}

/// A question whose answer never changes: what is asked, about this state of the log, with this `HEAD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    digest: [u8; 32],
    head: RefName,
    asked: Asked,
}

impl Question {
    /// About a list; `None` when the answer is not worth keeping.
    pub(crate) fn list(snapshot: &Snapshot, config: &RepositoryConfig, list: &List) -> Option<Self> {
        let is_long = (MIN_REFERENCES..=MAX_REFERENCES).contains(&snapshot.refs.len());
        (is_long && list.is_short()).then(|| Self::new(snapshot, config, Asked::List(list.clone())))
    }

    /// About a pack; `None` when it is not worth keeping: a clone of everything is sent as it lies, and negotiation has no pack.
    pub(crate) fn pack(snapshot: &Snapshot, config: &RepositoryConfig, request: &upload_pack::Request) -> Option<Self> {
        let is_a_part = !request.haves.is_empty() || !request.is_plain();
        (request.done && is_a_part && is_short(request))
            .then(|| Self::new(snapshot, config, Asked::Pack(Box::new(request.clone()))))
    }

    fn new(snapshot: &Snapshot, config: &RepositoryConfig, asked: Asked) -> Self {
        Self { digest: snapshot.digest, head: refs::head(snapshot, config), asked }
    }
}

/// An answer, and when it was last wanted.
struct Kept {
    question: Question,
    /// `None`: it is too long to be kept.
    answer: Option<Bytes>,
    wanted: Instant,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.answer.as_ref().map_or(0, Bytes::len)
    }
}

/// What is known and what is being found out.
#[derive(Default)]
struct Inner {
    /// The one that was wanted last at the end.
    kept: VecDeque<Kept>,
    /// Packs that somebody makes; the channel ends with the work.
    making: Vec<(Question, watch::Receiver<()>)>,
}

/// The answers.
pub(crate) struct Answers {
    inner: Mutex<Inner>,
    makers: Semaphore,
}

impl Default for Answers {
    fn default() -> Self {
        Self { inner: Mutex::default(), makers: Semaphore::new(MAKERS) }
    }
}

/// How somebody gets a pack.
pub(crate) enum Pack {
    /// It is kept.
    Kept(Bytes),
    /// By making it, for others as well.
    Make(Maker),
    /// By making it alone: it is too long to be shared, or too many are being made.
    Alone,
}

impl Answers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn to make a list.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.makers.acquire().await.ok()
    }

    /// A list, if it is kept.
    pub(crate) fn list(&self, question: &Question) -> Option<Bytes> {
        self.inner().get(question).and_then(|kept| kept.answer.clone())
    }

    /// Keeps a list.
    pub(crate) fn keep_list(&self, question: Question, answer: &Bytes) {
        if (MIN_LIST..=MAX_BYTES).contains(&answer.len()) {
            self.inner().keep(question, Some(answer.clone()));
        }
    }

    /// A pack. Who asks for one that somebody else is making waits for that.
    pub(crate) async fn pack(self: &Arc<Self>, question: Question) -> Pack {
        loop {
            let mut making = {
                let mut inner = self.inner();
                match inner.get(&question).map(|kept| kept.answer.clone()) {
                    Some(Some(answer)) => return Pack::Kept(answer),
                    Some(None) => return Pack::Alone,
                    None => {}
                }
                match inner.making.iter().find(|(others, _)| *others == question) {
                    Some((_, making)) => making.clone(),
                    None if inner.making.len() >= PACKS => return Pack::Alone,
                    None => {
                        let (sender, making) = watch::channel(());
                        inner.making.push((question.clone(), making));
                        return Pack::Make(Maker { answers: Arc::clone(self), question, _made: sender });
                    }
                }
            };
            // Nothing is ever sent: it ends when the maker does, whatever came of it.
            let _ended = making.changed().await;
        }
    }

    /// Lets go what nobody wants.
    pub(crate) fn let_go(&self) {
        let mut inner = self.inner();
        inner.kept.retain(|kept| kept.wanted.elapsed() < KEPT);
        inner.kept.shrink_to_fit();
    }
}

impl Inner {
    /// What is kept; it was wanted now.
    fn get(&mut self, question: &Question) -> Option<&Kept> {
        let at = self.kept.iter().rposition(|kept| kept.question == *question)?;
        let mut found = self.kept.remove(at)?;
        found.wanted = Instant::now();
        self.kept.push_back(found);
        self.kept.back()
    }

    fn keep(&mut self, question: Question, answer: Option<Bytes>) {
        self.kept.retain(|kept| kept.question != question);
        self.kept.push_back(Kept { question, answer, wanted: Instant::now() });
        let mut bytes: usize = self.kept.iter().map(Kept::bytes).sum();
        while bytes > MAX_BYTES || self.kept.len() > MAX_ANSWERS {
            bytes -= self.kept.pop_front().map_or(bytes, |oldest| oldest.bytes());
        }
    }
}

/// Who makes a pack. Those who wait for it go on when this is dropped.
pub(crate) struct Maker {
    answers: Arc<Answers>,
    question: Question,
    _made: watch::Sender<()>,
}

impl Maker {
    /// Keeps the pack; `None`: it is too long.
    fn made(self, answer: Option<Bytes>) {
        self.answers.inner().keep(self.question.clone(), answer);
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.answers.inner().making.retain(|(question, _)| *question != self.question);
    }
}

/// Gathers a pack before it goes out, so that others get it whether or not the client that it is made for reads on; one that turns out
/// to be long goes straight on.
pub(crate) struct Gathering<'a> {
    gathered: Vec<u8>,
    maker: Option<Maker>,
    out: &'a mut dyn Write,
}

impl<'a> Gathering<'a> {
    pub(crate) fn new(maker: Option<Maker>, out: &'a mut dyn Write) -> Self {
        Self { gathered: Vec::new(), maker, out }
    }

    /// Ends the answer, which is kept if it is `whole`.
    pub(crate) fn end(mut self, whole: bool) -> io::Result<()> {
        // What is kept counts by its length.
        self.gathered.shrink_to_fit();
        let gathered = Bytes::from(std::mem::take(&mut self.gathered));
        if let Some(maker) = self.maker.take().filter(|_| whole) {
            maker.made(Some(gathered.clone()));
        }
        self.out.write_all(&gathered)
    }
}

impl Write for Gathering<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.maker.is_some() && self.gathered.len() + bytes.len() <= MAX_PACK {
            self.gathered.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        if let Some(maker) = self.maker.take() {
            maker.made(None);
            self.out.write_all(&std::mem::take(&mut self.gathered))?;
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.maker.is_some() { Ok(()) } else { self.out.flush() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(number: u8) -> Question {
        let asked = Asked::List(List::Advertisement(Service::UploadPack, Version::V0));
        Question { digest: [number; 32], head: RefName::try_from("refs/heads/main").unwrap(), asked }
    }

    #[test]
    fn what_was_wanted_last_is_kept_as_long_as_there_is_room() {
        let (answers, answer) = (Answers::default(), Bytes::from(vec![0; MAX_BYTES / 4]));
        for number in 0..4 {
            answers.keep_list(question(number), &answer);
        }
        assert!(answers.list(&question(0)).is_some());
        answers.keep_list(question(4), &answer);
        assert_eq!(answers.list(&question(1)), None, "it was not wanted for the longest time");
        assert!([0, 2, 3, 4].into_iter().all(|number| answers.list(&question(number)).is_some()));
    }

    #[test]
    fn short_lists_and_other_questions_are_not_found() {
        let answers = Answers::default();
        answers.keep_list(question(0), &Bytes::from_static(b"short"));
        assert_eq!(answers.list(&question(0)), None);
        answers.keep_list(question(0), &Bytes::from(vec![0; MIN_LIST]));
        let other = Question { asked: Asked::List(List::Greeting(Service::UploadPack, Version::V0)), ..question(0) };
        assert_eq!(answers.list(&other), None);
        let other = Question { head: RefName::try_from("refs/heads/trunk").unwrap(), ..question(0) };
        assert_eq!(answers.list(&other), None);
    }

    #[test]
    fn long_questions_are_not_kept() {
        use git::{sideband::Band, upload_pack::Form};
        let mut request = upload_pack::Request::new(Form::V2 { wait_for_done: false }, Band::Large);
        assert!(is_short(&request));
        request.haves = vec![ObjectId::null(gix::hash::Kind::Sha1); 1_000];
        assert!(!is_short(&request));
        request.haves.clear();
        request.deepen.not = vec!["r".repeat(MAX_QUESTION).into()];
        assert!(!is_short(&request));
        let list = |prefixes| List::LsRefs(ls_refs::Request { prefixes, ..ls_refs::Request::default() });
        assert!(list(vec!["refs/heads/".into()]).is_short());
        assert!(!list(vec!["r".into(); MAX_QUESTION / 8]).is_short());
    }

    /// Whoever makes the pack of this question.
    async fn maker(answers: &Arc<Answers>, number: u8) -> Maker {
        match answers.pack(question(number)).await {
            Pack::Make(maker) => maker,
            Pack::Kept(_) | Pack::Alone => panic!("somebody has to make it"),
        }
    }

    #[tokio::test]
    async fn who_wants_the_same_pack_at_the_same_time_waits_for_the_one_who_makes_it() {
        let answers = Arc::new(Answers::default());
        let maker = maker(&answers, 0).await;
        let waiting = tokio::spawn({
            let answers = Arc::clone(&answers);
            async move { answers.pack(question(0)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let mut sent = Vec::new();
        let mut gathering = Gathering::new(Some(maker), &mut sent);
        gathering.write_all(b"PACK").unwrap();
        gathering.end(true).unwrap();
        assert_eq!(sent, b"PACK");
        assert!(matches!(waiting.await.unwrap(), Pack::Kept(answer) if *answer == *b"PACK"));
    }

    #[tokio::test]
    async fn a_pack_that_fails_is_made_by_the_next() {
        let answers = Arc::new(Answers::default());
        let mut sent = Vec::new();
        let mut gathering = Gathering::new(Some(maker(&answers, 0).await), &mut sent);
        gathering.write_all(b"the server failed").unwrap();
        gathering.end(false).unwrap();
        assert_eq!(sent, b"the server failed");
        drop(maker(&answers, 0).await);
        drop(maker(&answers, 0).await);
    }

    #[tokio::test]
    async fn a_long_pack_goes_straight_on_and_others_make_their_own() {
        let answers = Arc::new(Answers::default());
        let mut sent = Vec::new();
        let mut gathering = Gathering::new(Some(maker(&answers, 0).await), &mut sent);
        let content = vec![7; MAX_PACK];
        gathering.write_all(&content).unwrap();
        gathering.write_all(b"more").unwrap();
        assert!(matches!(answers.pack(question(0)).await, Pack::Alone));
        gathering.end(true).unwrap();
        assert!(sent.starts_with(&content) && sent.ends_with(b"more"));
        assert!(matches!(answers.pack(question(0)).await, Pack::Alone));
    }

    #[tokio::test]
    async fn only_so_many_are_made_in_memory() {
        let answers = Arc::new(Answers::default());
        let mut makers = Vec::new();
        for number in 0..u8::try_from(PACKS).unwrap() {
            makers.push(maker(&answers, number).await);
        }
        assert!(matches!(answers.pack(question(100)).await, Pack::Alone));
        makers.pop();
        drop(maker(&answers, 100).await);
    }
}
