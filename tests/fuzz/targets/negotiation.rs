//! Fetches from a small repository, to the end: what both have is found out, shallow ends and filters are worked out, a pack is sent. The
//! first byte chooses the protocol. Whatever a client says, an answer is short.
#![cfg_attr(feature = "libfuzzer", no_main)]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;

use git::client::Client;
use git::existing::Nothing;
use git::ingest::{Context, Quarantine, ingest};
use git::odb::{PackParts, Packs};
use git::upload_pack::{self, Command, object_info};
use git::view::{ReferencesView, RepositoryView};
use model::limits::Limits;
use model::{ObjectFormat, ObjectId, RefName, RefValue};

/// Bytes of an answer: every object of the repository, the lines about each of them and an error take a fraction.
const MAX_ANSWER: usize = 256 << 10;

/// Four commits with a merge, two branches and a tag; the seed for packs that is called `history`.
struct Repository {
    packs: Packs,
    references: BTreeMap<RefName, RefValue>,
    head: RefName,
    _quarantine: Quarantine,
}

static REPOSITORY: LazyLock<Repository> = LazyLock::new(|| {
    let mut pack = [b"PACK\0\0\0\x02", include_bytes!("../seeds/ingest/history").as_slice()].concat();
    let mut hasher = gix::hash::hasher(ObjectFormat::Sha1);
    hasher.update(&pack);
    pack.extend_from_slice(hasher.try_finalize().expect("no collision").as_slice());
    let mut quarantine = Quarantine::new(&std::env::temp_dir());
    let (format, limits, interrupt) = (ObjectFormat::Sha1, &Limits::default(), &AtomicBool::new(false));
    let context = Context { format, limits, existing: &Nothing, interrupt };
    let taken = ingest(&mut pack.as_slice(), &mut quarantine, &context, &mut |_| {});
    let taken = taken.expect("the seed is a pack");
    let parts = PackParts { pack: taken.pack, index: taken.index, exact: false, arriving: None };
    let packs = Packs::open(&[parts]).expect("it opens");
    let references = include_str!("negotiation/references.txt").lines().map(|line| {
        let mut words = line.split(' ');
        let mut id = || words.next().map(|word| ObjectId::from_hex(word.as_bytes()).expect("an id"));
        let (id, name) = (id().expect("a line has an id"), words.next().expect("and a name"));
        let peeled = words.next().map(|word| ObjectId::from_hex(word.as_bytes()).expect("an id"));
        (RefName::try_from(name).expect("a name"), RefValue { id, peeled })
    });
    let references = references.collect();
    Repository {
        packs,
        references,
        head: RefName::try_from("refs/heads/main").expect("a name"),
        _quarantine: quarantine,
    }
});

pub(crate) fn run(bytes: &[u8]) {
    let Some((choice, mut input)) = bytes.split_first() else { return };
    let Repository { packs, references, head, .. } = &*REPOSITORY;
    let dropped = [];
    let view = RepositoryView {
        packs,
        refs: ReferencesView { all: references, head: Some(head), format: ObjectFormat::Sha1 },
        dropped_tips: &dropped,
        complete_walk_needed: choice & 4 != 0,
    };
    let (mut client, mut out, never) = (Client::default(), Vec::new(), AtomicBool::new(false));
    match choice % 3 {
        0 => {
            if let Ok(Some(request)) = upload_pack::parse_wants_v0(&mut input, ObjectFormat::Sha1, &mut client) {
                let _ = upload_pack::converse(&request, &mut input, &view, &mut out, "", &never);
            }
        }
        1 => {
            if let Ok(Some(request)) = upload_pack::parse_v0(&mut input, ObjectFormat::Sha1, &mut client) {
                upload_pack::respond(&request, &view, &mut out, "", &never).expect("nothing is wrong with the disk");
            }
        }
        _ => match upload_pack::parse_v2(&mut input, ObjectFormat::Sha1, &mut client) {
            Ok(Command::Fetch(request)) => {
                upload_pack::respond(&request, &view, &mut out, "", &never).expect("nothing is wrong with the disk");
            }
            Ok(Command::LsRefs(request)) => {
                git::ls_refs::respond(&request, &view.refs, &mut out).expect("memory takes everything");
            }
            Ok(Command::ObjectInfo(request)) => {
                object_info::respond(&request, &view, &mut out).expect("nothing is wrong with the disk");
            }
            Ok(Command::BundleUri) => out = git::bundle::list(None),
            Ok(Command::Nothing) | Err(_) => {}
        },
    }
    assert!(out.len() <= MAX_ANSWER + 8 * bytes.len(), "an answer of {} bytes", out.len());
}

#[cfg(feature = "libfuzzer")]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
