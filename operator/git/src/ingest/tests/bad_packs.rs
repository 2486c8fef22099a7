//! Packs that must be refused, each with one clear line.

use super::{pack_writer::*, *};

fn refusal(pack: &[u8]) -> String {
    refusal_with(pack, &Limits::default())
}

fn refusal_with(pack: &[u8], limits: &Limits) -> String {
    let message = take_with(pack, limits, &Nothing).unwrap_err().to_string();
    assert!(!message.contains('\n') && message.len() < 200, "{message}");
    message
}

fn small() -> Pack {
    let mut pack = Pack::new();
    pack.whole(Kind::Blob, b"some text that is a base");
    pack
}

#[test]
fn broken_frames_are_refused() {
    let good = small().finish();
    take(&good).unwrap();
    assert!(refusal(b"").contains("ends early"));
    assert!(refusal(&good[..good.len() - 1]).contains("ends early"));
    assert!(refusal(b"KCAP\0\0\0\x02\0\0\0\0").contains("PACK"));
    assert!(refusal(b"PACK\0\0\0\x03\0\0\0\0").contains("version 2"));
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert!(refusal(&wrong).contains("checksum is wrong"));
    let mut long = good.clone();
    long.extend(b"junk");
    assert!(refusal(&long).contains("bytes follow"));
    let mut many = good;
    many[8..12].copy_from_slice(&0x00ff_ffff_u32.to_be_bytes());
    many.truncate(many.len() - format().len_in_bytes());
    assert!(!refusal(&sealed(many)).is_empty(), "more objects claimed than there are");
}

#[test]
fn absurd_sizes_are_refused_without_memory() {
    let mut pack = Pack::new();
    pack.entry(3, u64::MAX, b"", b"x");
    assert!(refusal(&pack.finish()).contains("absurd size"));
    let mut pack = Pack::new();
    pack.entry(3, 1 << 50, b"", b"x");
    assert!(refusal(&pack.finish()).contains("bytes of an object"));
    for (claimed, message) in [(2, "longer"), (9, "shorter"), (500 << 20, "shorter")] {
        let mut pack = Pack::new();
        pack.entry(2, claimed, b"", b"four");
        assert!(refusal(&pack.finish()).contains(message), "{claimed}");
        let mut pack = Pack::new();
        pack.entry(3, claimed, b"", b"four");
        assert!(refusal(&pack.finish()).contains(message), "{claimed}");
    }
}

#[test]
fn limits_are_kept() {
    let blob = vec![7; 100_000];
    let pack = |count: u8| {
        let mut pack = Pack::new();
        for n in 0..count {
            let mut blob = blob.clone();
            blob[0] = n;
            pack.whole(Kind::Blob, &blob);
        }
        pack.finish()
    };
    let defaults = Limits::default();
    let message = refusal_with(&pack(1), &Limits { pack_bytes: 5_000, ..defaults });
    assert!(message.contains("bytes of the pack is more than 5000"), "{message}");
    assert!(refusal_with(&pack(3), &Limits { objects: 2, ..defaults }).contains("objects of the pack"));
    assert!(refusal_with(&pack(3), &Limits { inflated_bytes: 250_000, ..defaults }).contains("inflated bytes"));
    assert!(refusal_with(&pack(1), &Limits { object_bytes: 99_999, ..defaults }).contains("bytes of an object"));
    take_with(&pack(2), &Limits { object_bytes: 100_000, objects: 2, inflated_bytes: 200_000, ..defaults }, &Nothing)
        .unwrap();
}

#[test]
fn deep_chains_are_refused_at_the_limit() {
    let chain = |depth: usize| {
        let mut pack = Pack::new();
        let mut at = pack.next_offset();
        pack.whole(Kind::Blob, b"");
        let mut len = 0;
        for n in 0..depth {
            let text = n.to_string();
            at = pack.by_offset(at, &inserting(len, text.as_bytes()));
            len = text.len();
        }
        pack.finish()
    };
    let limits = Limits { delta_depth: 50, ..Limits::default() };
    take_with(&chain(50), &limits, &Nothing).unwrap();
    assert!(refusal_with(&chain(51), &limits).contains("chain of deltas"));
    take(&chain(4_095)).unwrap();
}

#[test]
fn delta_bombs_are_refused() {
    // A few hundred bytes of instructions make 6 MB of 64 KB, then 600 MB of these.
    let mut pack = Pack::new();
    let at = pack.next_offset();
    let base = vec![0; 1 << 16];
    pack.whole(Kind::Blob, &base);
    let middle_len = base.len() * 100;
    let middle = [varint(base.len() as u64), varint(middle_len as u64), vec![0b1000_0000; 100]].concat();
    let at = pack.by_offset(at, &middle);
    let len = u32::try_from(middle_len).unwrap().to_le_bytes();
    let copy = [0b1111_0000, len[0], len[1], len[2]].repeat(100);
    pack.by_offset(at, &[varint(middle_len as u64), varint(middle_len as u64 * 100), copy].concat());
    let message = refusal(&pack.finish());
    assert!(message.contains("bytes of an object"), "{message}");

    let mut wide = Pack::new();
    let base = vec![1; 1 << 16];
    let at = wide.next_offset();
    wide.whole(Kind::Blob, &base);
    for n in 0..2_000_u32 {
        let mut delta = varint(base.len() as u64);
        delta.extend(varint((base.len() * 100 + 4) as u64));
        delta.extend([0b1000_0000; 100]);
        delta.push(4);
        delta.extend(n.to_le_bytes());
        wide.by_offset(at, &delta);
    }
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    let message = refusal_with(&wide.finish(), &limits);
    assert!(message.contains("bytes that deltas make"), "{message}");
}

#[test]
fn broken_deltas_are_refused() {
    let base = b"some text that is a base";
    for (what, delta) in [
        ("no sizes", vec![]),
        ("other base size", inserting(3, b"x")),
        ("claims more", [varint(24), varint(9), vec![1, b'x']].concat()),
        ("claims less", [varint(24), varint(1), vec![3, b'x', b'y', b'z']].concat()),
        ("copy outside", [varint(24), varint(100), vec![0b1001_0000, 100]].concat()),
        ("code 0", [varint(24), varint(1), vec![0]].concat()),
        ("cut copy", [varint(24), varint(1), vec![0xff, 1]].concat()),
        ("cut insertion", [varint(24), varint(5), vec![5, 1]].concat()),
        ("huge claim", [varint(24), varint(400 << 20), vec![1, 1]].concat()),
        ("absurd claim", [varint(24), varint(1 << 62), vec![1, 1]].concat()),
    ] {
        let mut pack = Pack::new();
        let at = pack.next_offset();
        pack.whole(Kind::Blob, base);
        pack.by_offset(at, &delta);
        assert!(!refusal(&pack.finish()).is_empty(), "{what}");
    }
}

#[test]
fn bases_that_are_not_there_are_refused() {
    let missing = name_of(Kind::Blob, b"not in the pack");
    let mut pack = small();
    pack.by_name(&missing, &inserting(15, b"x"));
    assert!(refusal(&pack.finish()).contains("unresolved"));

    let mut pack = small();
    pack.by_offset(13, &inserting(24, b"x"));
    assert!(refusal(&pack.finish()).contains("where an object begins"));

    // Each of the two names what the other makes.
    let (one, two) = (name_of(Kind::Blob, b"one"), name_of(Kind::Blob, b"two"));
    let mut pack = Pack::new();
    pack.by_name(&two, &inserting(3, b"one"));
    pack.by_name(&one, &inserting(3, b"two"));
    assert!(refusal(&pack.finish()).contains("2 unresolved"));
}

#[test]
fn base_may_come_after_its_delta_and_be_a_delta_itself() {
    let first = name_of(Kind::Blob, b"first");
    let second = name_of(Kind::Blob, b"second");
    let mut pack = Pack::new();
    pack.by_name(&second, &inserting(6, b"third"));
    pack.by_name(&first, &inserting(5, b"second"));
    pack.whole(Kind::Blob, b"first");
    assert_eq!(assert_same_index(&pack.finish()).objects, 3);
}

#[test]
fn object_that_comes_twice_is_refused() {
    let mut pack = small();
    pack.whole(Kind::Blob, b"some text that is a base");
    assert!(refusal(&pack.finish()).contains("appears twice"));
    let mut pack = small();
    let at = 12;
    for _ in 0..2 {
        pack.by_offset(at, &inserting(24, b"same"));
    }
    assert!(refusal(&pack.finish()).contains("appears twice"));
}

#[test]
fn inflating_bomb_is_refused_in_little_memory() {
    // A megabyte of zeros claims to be four bytes.
    let mut pack = Pack::new();
    pack.entry(3, 4, b"", &vec![0; 1 << 20]);
    assert!(refusal(&pack.finish()).contains("longer"));
}

#[test]
fn objects_git_refuses_are_refused() {
    let mut pack = Pack::new();
    let blob = pack.whole(Kind::Blob, b"x");
    let tree = [b"100644 .git\0", blob.as_slice()].concat();
    pack.whole(Kind::Tree, &tree);
    assert!(refusal(&pack.finish()).contains("hasDotgit"));

    for (name, text, rule) in [
        (".gitmodules", &b"[submodule \"../x\"]\n\turl = ok\n"[..], "gitmodulesName"),
        (".GITMODULES ", b"[submodule \"x\"]\n\turl = -u./run\n", "gitmodulesUrl"),
    ] {
        let mut pack = Pack::new();
        let blob = name_of(Kind::Blob, text);
        pack.whole(Kind::Tree, &[b"100644 ", name.as_bytes(), b"\0", blob.as_slice()].concat());
        // As a delta, after the tree that names it.
        let at = pack.next_offset();
        pack.whole(Kind::Blob, b"base");
        pack.by_offset(at, &inserting(4, text));
        assert!(refusal(&pack.finish()).contains(rule), "{name}");
    }
}

#[test]
fn links_to_the_wrong_kind_are_refused() {
    let mut pack = Pack::new();
    let blob = pack.whole(Kind::Blob, b"x");
    pack.whole(Kind::Tree, &[b"40000 dir\0", blob.as_slice()].concat());
    assert!(refusal(&pack.finish()).contains("is a blob, but another object refers to it as a tree"));
}

#[test]
fn circle_through_the_repository_is_refused() {
    struct Has(ObjectId, &'static [u8]);
    impl Existing for Has {
        fn contains(&self, id: &gix::oid) -> bool {
            self.0 == id
        }
        fn read(&self, id: &gix::oid, buffer: &mut Vec<u8>) -> Result<Option<Kind>, ReadError> {
            buffer.clear();
            buffer.extend_from_slice(self.1);
            Ok((self.0 == id).then_some(Kind::Blob))
        }
    }
    let (base, made) = (name_of(Kind::Blob, b"base"), name_of(Kind::Blob, b"made"));
    let repository = Has(base, b"base");

    // Fine while the base is read from the repository; but readers look into the pack first, and there the two
    // build on each other.
    let mut pack = Pack::new();
    pack.by_name(&base, &inserting(4, b"made"));
    pack.by_name(&made, &inserting(4, b"base"));
    let message = take_with(&pack.finish(), &Limits::default(), &repository).unwrap_err().to_string();
    assert!(message.contains("circle"), "{message}");

    // The base comes again, but whole: no circle, and the pack needs nobody.
    let mut pack = Pack::new();
    pack.by_name(&base, &inserting(4, b"made"));
    pack.whole(Kind::Blob, b"base");
    let (ours, _dir) = take_with(&pack.finish(), &Limits::default(), &repository).unwrap();
    assert!(!ours.thin);

    let mut pack = Pack::new();
    pack.by_name(&base, &inserting(4, b"made"));
    let (ours, _dir) = take_with(&pack.finish(), &Limits::default(), &repository).unwrap();
    assert!(ours.thin);
}
