//! Every fuzz target on every run of the tests: its seeds, what a fuzzer found once, and mutations of both. There is no coverage to guide
//! them; `cargo xtask fuzz` has it.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// Thousands on every run, unless `PROPTEST_CASES` asks for more.
const CASES: u32 = 2_000;

/// A change of an input.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// A piece of it again, elsewhere.
    Repeat(Index, usize, Index),
    Cut(Index),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        // Bounds of numbers and of digits, and what separates.
        let byte = prop_oneof![any::<u8>(), prop::sample::select(b"\0\x01\x7f\x80\xff\n '\"/09af".to_vec())];
        prop_oneof![
            4 => (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            2 => (any::<Index>(), prop::collection::vec(byte, 1..9)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            2 => (any::<Index>(), 1_usize..9).prop_map(|(at, length)| Self::Remove(at, length)),
            2 => (any::<Index>(), 1_usize..200, any::<Index>()).prop_map(|(from, length, to)| Self::Repeat(from, length, to)),
            1 => any::<Index>().prop_map(Self::Cut),
        ]
    }

    fn apply(&self, input: &mut Vec<u8>) {
        let size = input.len();
        let place = |index: &Index| index.index(size + 1);
        match self {
            Self::Replace(at, byte) => {
                if let Some(there) = input.get_mut(place(at)) {
                    *there = *byte;
                }
            }
            Self::Insert(at, bytes) => {
                input.splice(place(at)..place(at), bytes.iter().copied());
            }
            Self::Remove(at, length) => {
                input.drain(place(at)..(place(at) + length).min(size));
            }
            Self::Repeat(from, length, to) => {
                let piece = input[place(from)..(place(from) + length).min(size)].to_vec();
                input.splice(place(to)..place(to), piece);
            }
            Self::Cut(at) => input.truncate(place(at)),
        }
    }
}

fn exercise(name: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let files = std::fs::read_dir(folder).expect("the target has seeds");
    let mut seeds: Vec<_> =
        files.map(|file| std::fs::read(file.expect("it is there").path()).expect("it can be read")).collect();
    seeds.sort();
    for input in &seeds {
        run(input);
    }
    run(b"");
    let mutated = (prop::sample::select(seeds), prop::collection::vec(Mutation::any(), 1..6)).prop_map(
        |(mut input, mutations)| {
            mutations.iter().for_each(|mutation| mutation.apply(&mut input));
            input
        },
    );
    let config = Config { cases: Config::default().cases.max(CASES), failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&mutated, |input| {
        run(&input);
        Ok(())
    });
    outcome.expect("the target holds for whatever it is given");
}

macro_rules! targets {
    ($($name:ident $file:literal)*) => {$(
        #[path = $file]
        mod $name;

        #[test]
        fn $name() {
            exercise(stringify!($name), $name::run);
        }
    )*};
}

targets! {
    archive "targets/archive.rs"
    delta "targets/delta.rs"
    exec_line "targets/exec_line.rs"
    ingest "targets/ingest.rs"
    lfs_json "targets/lfs_json.rs"
    log_entry "targets/log_entry.rs"
    names "targets/names.rs"
    negotiation "targets/negotiation.rs"
    object_check "targets/object_check.rs"
    pktline "targets/pktline.rs"
    receive_pack "targets/receive_pack.rs"
    upload_pack_request "targets/upload_pack_request.rs"
}

#[test]
fn every_target_is_exercised() {
    let files =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("targets")).expect("the targets are there");
    let paths = files.map(|file| file.expect("it is there").path());
    let targets = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).count();
    assert_eq!(targets, include_str!("seeds.rs").matches(" \"targets/").count());
}
