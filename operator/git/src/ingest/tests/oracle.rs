//! Good packs.

use std::sync::atomic::AtomicBool;

use super::*;

#[test]
fn index_of_a_history_is_the_one_git_writes() {
    let dir = repository();
    import(dir.path(), &history(300, 40, 1));
    for options in
        [&["--delta-base-offset"][..], &[][..], &["--delta-base-offset", "--depth=250", "--window=50"], &["--depth=0"]]
    {
        let pack = pack_all(dir.path(), options);
        let ours = assert_same_index(&pack);
        assert!(!ours.thin && ours.links_out.is_empty());
        let tips = names(&git(dir.path(), &["for-each-ref", "--format=%(objectname)", "refs/tags"], b""));
        assert_eq!(ours.unreferenced, tips, "the tag reaches everything, nothing reaches the tag");
    }
}

#[test]
fn fifty_thousand_objects_take_two_threads_and_give_the_same_index() {
    let dir = repository();
    import(dir.path(), &history(9_000, 400, 2));
    let pack = pack_all(dir.path(), &["--delta-base-offset"]);
    let ours = assert_same_index(&pack);
    assert!(ours.objects > 40_000, "{} objects", ours.objects);
    // The same with bases by name, whose trees are found only while they are walked.
    assert_same_index(&pack_all(dir.path(), &["--no-reuse-delta"]));
}

#[test]
fn blobs_of_many_megabytes_are_streamed_and_can_be_bases() {
    let dir = repository();
    let mut big: Vec<u8> = (0..24_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    for round in 0..2 {
        big[5_000_000] = round;
        let mut stream =
            format!("commit refs/heads/main\ncommitter A <a@b> 170000000{round} +0000\ndata 1\nx\n").into_bytes();
        write!(stream, "M 644 inline big.bin\ndata {}\n", big.len()).unwrap();
        stream.extend(&big);
        stream.extend(b"\n\n");
        import(dir.path(), &stream);
    }
    assert_same_index(&pack_all(dir.path(), &["--delta-base-offset"]));
    assert_same_index(&pack_all(dir.path(), &["--window=0"]));
}

#[test]
fn thin_pack_resolves_against_the_repository_and_is_kept_as_it_came() {
    let dir = repository();
    import(dir.path(), &history(200, 30, 3));
    let old = names(&git(dir.path(), &["rev-list", "--objects", "main~20"], b""));
    let new = names(&git(dir.path(), &["rev-list", "--objects", "main", "^main~20"], b""));
    let base = repository();
    let objects = dir.path().join("objects");
    let bundle = git(dir.path(), &["pack-objects", "--revs", "--stdout", "-q"], b"main~20\n");
    git(base.path(), &["index-pack", "--stdin"], &bundle);
    let pack = git(
        dir.path(),
        &["pack-objects", "--thin", "--revs", "--stdout", "-q", "--delta-base-offset"],
        b"main\n^main~20\n",
    );
    let (ours, _quarantine) = take_with(&pack, &Limits::default(), &OnDisk(base.path())).unwrap();
    assert!(ours.thin, "the fixture is not thin: {objects:?}");
    assert_eq!(read(&ours.pack), pack);
    let dumped = git(dir.path(), &["show-index"], &read(&ours.index));
    let mut found: Vec<_> = dumped
        .split(|byte| *byte == b'\n')
        .filter_map(|line| ObjectId::from_hex(line.split(|byte| *byte == b' ').nth(1)?).ok())
        .collect();
    found.sort_unstable();
    assert_eq!(found, new);
    assert!(ours.links_out.iter().all(|(id, _)| old.binary_search(id).is_ok()), "links out lead to what was there");
    let tip = names(&git(dir.path(), &["rev-parse", "main"], b""));
    assert_eq!(ours.unreferenced, tip);

    let error = take(&pack).unwrap_err();
    assert!(matches!(error, IngestError::Unresolved { .. }), "{error}");
}

#[test]
fn pack_is_read_to_its_last_byte_and_no_further() {
    let dir = repository();
    import(dir.path(), &history(40, 10, 4));
    let pack = pack_all(dir.path(), &["--delta-base-offset"]);
    for at_a_time in [1, 7, 100, 8_192] {
        let mut quarantine = Quarantine::new(dir.path());
        let mut input = trickled(&pack, at_a_time);
        let quiet = AtomicBool::new(false);
        let done = ingest(&mut input, &mut quarantine, &alone(&quiet), &mut |_| {}).unwrap();
        assert_eq!(done.bytes, pack.len() as u64);
    }
}

#[test]
fn pack_without_objects_is_fine() {
    let dir = repository();
    let pack = git(dir.path(), &["pack-objects", "--stdout", "-q"], b"");
    let ours = assert_same_index(&pack);
    assert_eq!((ours.objects, ours.thin), (0, false));
}

#[test]
fn progress_ends_with_done_and_is_not_noisy() {
    let dir = repository();
    import(dir.path(), &history(400, 10, 5));
    let pack = pack_all(dir.path(), &["--delta-base-offset"]);
    let mut quarantine = Quarantine::new(dir.path());
    let mut lines = Vec::new();
    let quiet = AtomicBool::new(false);
    let mut input = pack.as_slice();
    let mut note = |line: &str| lines.push(line.to_owned());
    ingest(&mut input, &mut quarantine, &alone(&quiet), &mut note).unwrap();
    assert!(lines.len() <= 102, "{} lines", lines.len());
    let last = lines.last().unwrap();
    assert!(last.starts_with("Resolving deltas: 100% (") && last.ends_with(", done.\n"), "{last}");
}

#[test]
fn interrupted_ingest_says_so() {
    let dir = repository();
    import(dir.path(), &history(10, 10, 6));
    let mut pack = &pack_all(dir.path(), &[])[..];
    let mut quarantine = Quarantine::new(dir.path());
    let stop = AtomicBool::new(true);
    let result = ingest(&mut pack, &mut quarantine, &alone(&stop), &mut |_| {});
    assert!(matches!(result, Err(IngestError::Interrupted)));
}
