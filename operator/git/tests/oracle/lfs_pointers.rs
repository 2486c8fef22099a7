//! Pointer files of Git LFS are found in whatever form a pack holds them, and a damaged pack is never taken for one without any.

#![expect(clippy::format_push_string, reason = "a stream for git is easier to read in one piece")]

use std::{collections::HashSet, os::unix::fs::FileExt as _, sync::atomic::AtomicBool};

use git::{
    fold::fold,
    lfs_pointers::take_named,
    odb::{PackParts, Packs},
};
use model::{Content, lfs::Oid};

use super::fixture::Fixture;

fn oid(number: u8) -> Oid {
    Oid::of([number; 32])
}

/// Sixty versions of a pointer file, which git stores as deltas of each other, beside files that are none.
fn pointers() -> Fixture {
    let mut out = String::new();
    for mark in 1_u8..=60 {
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {mark}\n", oid(mark));
        // The same name in a file that is too long for git-lfs.
        let long = format!("{}\nsha256:{}\n", "line\n".repeat(210), oid(100 + mark));
        out += &format!(
            "commit refs/heads/b0\nmark :{mark}\ncommitter C <c@example.com> {} +0000\ndata 2\nm\n\
             M 100644 inline a.bin\ndata {}\n{pointer}\nM 100644 inline long\ndata {}\n{long}\n",
            1_600_000_000 + u64::from(mark),
            pointer.len(),
            long.len()
        );
    }
    Fixture::of(out.as_bytes(), 60, 12, true)
}

fn unnamed(packs: &Packs) -> Result<Vec<Oid>, git::odb::Error> {
    let mut oids: HashSet<Oid> = (1..=200).map(oid).collect();
    take_named(packs, &mut oids)?;
    let mut oids: Vec<Oid> = oids.into_iter().collect();
    oids.sort();
    Ok(oids)
}

#[test]
fn pointers_are_found_whole_and_as_deltas() {
    let fixture = pointers();
    let others: Vec<Oid> = (61..=200).map(oid).collect();
    assert_eq!(unnamed(&fixture.packs).unwrap(), others);
    let folded = fold(&fixture.packs, 0, fixture.directory.path(), &AtomicBool::new(false)).unwrap();
    let parts = PackParts { pack: folded.pack, index: folded.index, exact: true, arriving: None };
    assert_eq!(unnamed(&Packs::open(&[parts]).unwrap()).unwrap(), others);
}

#[test]
fn no_changed_byte_makes_a_pointer_disappear() {
    let fixture = pointers();
    let directory = tempfile::tempdir().unwrap();
    let folded = fold(&fixture.packs, 0, directory.path(), &AtomicBool::new(false)).unwrap();
    let (Content::File(path), bytes) = (folded.pack.clone(), folded.bytes) else { panic!("in memory") };
    let parts = PackParts { pack: folded.pack, index: folded.index, exact: true, arriving: None };
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    for offset in (12..bytes - 20).step_by(7) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
        let found = Packs::open(std::slice::from_ref(&parts)).and_then(|packs| unnamed(&packs));
        assert!(found.is_err(), "the changed byte at {offset} was not noticed");
        file.write_all_at(&byte, offset).unwrap();
    }
}
