use std::time::Duration;

use prometheus::Registry;

use super::*;
use crate::digest::sha256;
use crate::entry::Place;

fn open(root: &Path, capacity: u64) -> Cache {
    Cache::open(root, capacity, &StoreMetrics::new(&Registry::new()).unwrap()).unwrap()
}

fn repository(number: u8) -> RepositoryId {
    format!("{number:032x}").parse().unwrap()
}

/// A pack of 90 bytes with an index of 10.
fn insert(cache: &Cache, owner: u8, content: u8) -> (PackRecord, Arc<CachedPack>) {
    let folder = cache.temporary().unwrap();
    let (pack, index) = (folder.path().join("pack"), folder.path().join("idx"));
    let (pack_bytes, index_bytes) = (vec![content; 90], vec![content; 10]);
    fs::write(&pack, &pack_bytes).unwrap();
    fs::write(&index, &index_bytes).unwrap();
    let record = record(&pack_bytes, &index_bytes);
    let cached = cache.insert(&repository(owner), &record, &pack, &index).unwrap();
    (record, cached)
}

/// The same, held in memory.
fn hold(cache: &Cache, owner: u8, content: u8) -> (PackRecord, Arc<CachedPack>) {
    let (pack, index) = (Bytes::from(vec![content; 90]), Bytes::from(vec![content; 10]));
    let record = record(&pack, &index);
    let held = cache.hold(&repository(owner), &record, pack, index);
    (record, held)
}

fn record(pack: &[u8], index: &[u8]) -> PackRecord {
    PackRecord {
        id: PackId(sha256(pack)),
        index_id: sha256(index),
        bytes: 90,
        index_bytes: 10,
        objects: 1,
        exact: true,
        place: Place::Inlined { offset: 0 },
        chunks: vec![],
    }
}

/// Bytes in memory, and of all.
fn sizes(cache: &Cache) -> (u64, u64) {
    let entries = cache.lock();
    (entries.memory(), entries.bytes())
}

fn files(root: &Path) -> usize {
    fs::read_dir(root.join(PACKS)).unwrap().map(|folder| fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[test]
fn the_least_recently_used_go_first_and_what_is_held_stays() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path(), 250);
    let (first, held) = insert(&cache, 1, 1);
    let (second, _) = insert(&cache, 1, 2);
    let (third, _) = insert(&cache, 2, 3);
    assert!(cache.peek(&repository(1), &first.id).is_some(), "it is held");
    assert!(cache.peek(&repository(1), &second.id).is_none());
    assert!(cache.peek(&repository(2), &third.id).is_some());
    drop(held);
    assert_eq!(files(root.path()), 4);
}

#[test]
fn what_nobody_uses_leaves_neither_files_nor_folders() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path(), 10_000);
    let held = insert(&cache, 1, 1).1;
    drop(insert(&cache, 2, 2));
    assert_eq!(cache.evict_idle(Duration::from_hours(1)), 0);
    assert_eq!(cache.evict_idle(Duration::ZERO), 1);
    assert_eq!(files(root.path()), 2);
    drop(held);
    assert_eq!(cache.evict_idle(Duration::ZERO), 1);
    assert_eq!(fs::read_dir(root.path().join(PACKS)).unwrap().count(), 0);
    assert_eq!(cache.lock().bytes(), 0);
}

#[test]
fn leftovers_count_are_verified_before_use_and_trimmed() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path(), 10_000);
    let records: Vec<PackRecord> = (1..=3).map(|content| insert(&cache, 1, content).0).collect();
    drop(cache);
    let packs = root.path().join(PACKS).join(repository(1).as_str());
    fs::write(packs.join(format!("{}.pack", records[0].id)), vec![9; 90]).unwrap();
    fs::write(packs.join("half.idx"), b"half").unwrap();
    fs::remove_file(packs.join(format!("{}.idx", records[1].id))).unwrap();
    let cache = open(root.path(), 10_000);
    assert_eq!(cache.lock().bytes(), 200);
    let get = |cache: &Cache, record| cache.get(&repository(1), record).is_some();
    assert!(!get(&cache, &records[0]), "its bytes have changed");
    assert!(!get(&cache, &records[1]), "it has lost its index");
    assert!(get(&cache, &records[2]));
    assert_eq!((cache.lock().bytes(), files(root.path())), (100, 2));
    drop(cache);
    let cache = open(root.path(), 50);
    assert_eq!((cache.lock().bytes(), files(root.path())), (0, 0));
}

#[test]
fn memory_is_bounded_and_what_is_too_much_goes_to_disk() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path(), 1_200);
    let records: Vec<PackRecord> = (1..=3).map(|content| hold(&cache, 1, content).0).collect();
    assert!(!cache.is_pressed(), "a quarter may be in memory");
    let (last, held) = hold(&cache, 1, 4);
    assert!(cache.is_pressed() && !cache.is_overfull());
    let busy = cache.relief.lock().unwrap();
    cache.relieve();
    assert_eq!(sizes(&cache), (400, 400), "somebody is at it, which is enough");
    drop(busy);
    cache.relieve();
    assert_eq!((sizes(&cache), files(root.path())), ((100, 400), 6));
    for record in &records {
        let written = cache.peek(&repository(1), &record.id).unwrap();
        verify(&written.pack, &written.index, record).unwrap();
        assert!(!written.is_in_memory());
    }
    assert!(Arc::ptr_eq(&cache.peek(&repository(1), &last.id).unwrap(), &held), "it was used last");
    cache.relieve_idle(Duration::from_hours(1));
    assert_eq!(sizes(&cache), (100, 400));
    cache.relieve_idle(Duration::ZERO);
    assert_eq!((sizes(&cache), files(root.path())), ((0, 400), 8));
    drop(held);
    assert_eq!(cache.evict_idle(Duration::ZERO), 4);
    assert_eq!((sizes(&cache), files(root.path())), ((0, 0), 0));
}

#[test]
fn memory_is_given_back_when_the_disk_takes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path(), 1_200);
    for content in 1..=4 {
        hold(&cache, 1, content);
    }
    fs::remove_dir_all(cache.incoming()).unwrap();
    cache.relieve();
    assert_eq!((sizes(&cache), files(root.path())), ((100, 100), 0), "what could not be written is fetched again");
}

#[test]
fn a_file_takes_the_place_of_memory_and_memory_that_of_a_leftover() {
    let root = tempfile::tempdir().unwrap();
    let cache = open(root.path(), 1_200);
    hold(&cache, 1, 1);
    let (record, inserted) = insert(&cache, 1, 1);
    assert!(!inserted.is_in_memory(), "whoever wants to upload it needs the file");
    assert_eq!((sizes(&cache), files(root.path())), ((0, 100), 2));
    drop((cache, inserted));
    let cache = open(root.path(), 1_200);
    hold(&cache, 1, 1);
    assert!(cache.peek(&repository(1), &record.id).unwrap().is_in_memory());
    assert_eq!(sizes(&cache), (100, 100));
}

#[test]
fn a_second_process_on_the_folder_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let _first = open(root.path(), 10);
    let second = Cache::open(root.path(), 10, &StoreMetrics::new(&Registry::new()).unwrap());
    assert!(second.unwrap_err().to_string().contains("--cache"));
}
