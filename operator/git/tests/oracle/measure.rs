//! What reachability tables save, on the packs, in the order of their names, of a bare repository that `CODEKEEP_MEASURE` names; not a test of anything.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use git::{
    odb::{PackParts, Packs},
    reach::{self, Table},
    upload_pack::{self, Form, Outcome, Request},
    view::{ReferencesView, RepositoryView},
};
use gix::ObjectId;
use model::{Content, RefName, RefValue};

use super::fixture::{format, git_in};

/// Notes when the pack begins, and counts.
struct Clock {
    started: Instant,
    writes: usize,
    planned: Option<Duration>,
}

impl io::Write for Clock {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        if self.writes == 2 {
            self.planned = Some(self.started.elapsed());
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Measured {
    parts: Vec<PackParts>,
    refs: BTreeMap<RefName, RefValue>,
    head: RefName,
}

impl Measured {
    fn of(path: &Path) -> Self {
        let lines = git_in(path, &["for-each-ref", "--format=%(refname) %(objectname) %(*objectname)"], b"");
        let id = |word: &&str| ObjectId::from_hex(word.as_bytes()).unwrap();
        let refs = String::from_utf8(lines).unwrap();
        let refs = refs.lines().map(|line| {
            let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            (RefName::try_from(words[0]).unwrap(), RefValue { id: id(&words[1]), peeled: words.get(2).map(id) })
        });
        let refs = refs.collect();
        let packs = path.join("objects/pack");
        let packs = std::fs::read_dir(packs).unwrap().map(|entry| entry.unwrap().path());
        let mut packs: Vec<_> = packs.filter(|path| path.extension().is_some_and(|end| end == "pack")).collect();
        packs.sort();
        let parts = packs.iter().map(|pack| {
            let [pack, index] = ["pack", "idx"].map(|end| Content::File(pack.with_extension(end)));
            PackParts { pack, index, exact: true, arriving: None }
        });
        let parts = parts.collect();
        Self { parts, refs, head: RefName::try_from("refs/heads/main").unwrap() }
    }

    fn ask(&self, packs: &Packs, wants: Vec<ObjectId>, haves: Vec<ObjectId>) -> (Outcome, Duration, Duration) {
        let request = Request {
            wants,
            haves,
            done: true,
            thin_pack: true,
            ofs_delta: true,
            include_tag: true,
            no_progress: true,
            ..Request::new(Form::V2 { wait_for_done: false }, git::sideband::Band::Large)
        };
        let refs = ReferencesView { all: &self.refs, head: Some(&self.head), format: format() };
        let view = RepositoryView { packs, refs, dropped_tips: &[], complete_walk_needed: false };
        let mut out = Clock { started: Instant::now(), writes: 0, planned: None };
        let outcome = upload_pack::respond(&request, &view, &mut out, "", &AtomicBool::new(false)).unwrap();
        (outcome, out.planned.unwrap_or_default(), out.started.elapsed())
    }
}

#[test]
#[ignore = "measures, and needs a big repository"]
fn what_tables_save() {
    let Some(path) = std::env::var_os("CODEKEEP_MEASURE").map(PathBuf::from) else { return };
    let mut measured = Measured::of(&path);
    let [none, big, all_packs] = [(); 3].map(|()| Packs::open(&measured.parts).unwrap());
    let directory = tempfile::tempdir().unwrap();
    for (at, pack) in all_packs.packs().iter().enumerate() {
        let out = directory.path().join(format!("{at}.reach"));
        let started = Instant::now();
        let built = reach::build(&all_packs, at, &out, &AtomicBool::new(false)).unwrap().unwrap();
        let (built_in, started) = (started.elapsed(), Instant::now());
        let table = Table::open(&Content::File(out.clone()), pack).unwrap();
        println!(
            "{} objects, {} bytes: built {built:?} in {built_in:?}; opened in {:?}, {} bytes of memory",
            pack.len(),
            pack.bytes(),
            started.elapsed(),
            table.memory()
        );
        pack.attach(table);
        if pack.bytes() > 4 << 20 {
            let pack = &big.packs()[at];
            pack.attach(Table::open(&Content::File(out), pack).unwrap());
        }
    }
    let main = measured.refs[&measured.head].id;
    let all: Vec<_> = measured.refs.values().map(|value| value.id).collect();
    let hidden = RefName::try_from("refs/codekeep/x").unwrap();
    let revision = |name: &str| {
        let id = String::from_utf8(git_in(&path, &["rev-parse", name], b"")).unwrap();
        ObjectId::from_hex(id.trim().as_bytes()).unwrap()
    };
    measured.refs.insert(hidden, RefValue { id: main, peeled: None });
    let mut asked =
        vec![("clone beside a hidden reference".to_owned(), all, vec![]), ("single branch".into(), vec![main], vec![])];
    for behind in [1, 10, 30, 100, 300, 1_000, 3_000, 10_000] {
        asked.push((format!("{behind} behind"), vec![main], vec![revision(&format!("main~{behind}"))]));
    }
    asked.push((
        "old have, all wanted".into(),
        measured.refs.values().map(|value| value.id).collect(),
        vec![revision("main~10000")],
    ));
    for (name, wants, haves) in asked {
        for (kind, packs) in [("none", &none), ("big", &big), ("all", &all_packs)] {
            // The first time warms what is warm in a server; others work on this machine as well.
            let (outcome, ..) = measured.ask(packs, wants.clone(), haves.clone());
            let times = (0..5).map(|_| measured.ask(packs, wants.clone(), haves.clone()));
            let (planned, whole) = times.map(|(_, planned, whole)| (planned, whole)).min().unwrap();
            println!(
                "{name:32} {kind:4} {:9}: planned {:9.3} ms, all {:9.3} ms, {:7} objects, {:9} bytes",
                outcome.route.name(),
                planned.as_secs_f64() * 1e3,
                whole.as_secs_f64() * 1e3,
                outcome.objects,
                outcome.bytes
            );
        }
    }
}
