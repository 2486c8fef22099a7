//! Little bytes that want much memory, disk or time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::pack::{BLOB, Pack, TREE, number, tree_entry};
use super::{Call, WAYS, clone_of, new_reference, say, unharmed};
use crate::ssh::SshBed;

const MIB: u64 = 1 << 20;
/// What the server may grow by, whatever is sent.
const MOST: u64 = 64 * MIB;

/// Small limits, so that a bomb need not be large.
const REPOSITORY: &str = "apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {name: bombs, namespace: team-a}\n\
    spec:\n  limits: {packSize: 4Mi, objects: 500, objectSize: 1Mi, inflatedSize: 32Mi, deltaDepth: 50, references: 20}\n";

/// 64 MiB of zeros, as git compresses them: 64 KiB.
fn zeros(bed: &SshBed) -> Result<Vec<u8>> {
    let git = &bed.bed.git;
    let folder = git.init("zeros")?;
    std::fs::File::create(folder.join("zeros"))?.set_len(64 * MIB)?;
    let id = git.ok(&folder, &["-c", "core.compression=9", "hash-object", "-w", "zeros"])?.trim().to_owned();
    let loose = std::fs::read(folder.join(".git/objects").join(&id[..2]).join(&id[2..]))?;
    ensure!(loose.len() < 128 << 10, "git did not compress it");
    Ok(loose)
}

/// A delta that makes `times` copies of 64 KiB of its base, and ends with a number of its own.
fn copies(base: usize, times: usize, own: u16) -> Vec<u8> {
    let delta = [number(base), number((times << 16) + 2), vec![0b1000_0000; times], vec![2]];
    [delta.concat(), own.to_le_bytes().to_vec()].concat()
}

/// What the refusal says, and the pack.
fn bombs(zeros: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let small = |count: usize| {
        let mut pack = Pack::new();
        for n in 0..count {
            pack.object(BLOB, n.to_string().as_bytes());
        }
        pack
    };
    let base = vec![7; 1 << 16];
    let mut claims_little = Pack::new();
    // A loose object begins with its header, but who counts bytes stops before it matters.
    claims_little.entry(BLOB, 4, b"", zeros);
    let mut claims_all = Pack::new();
    claims_all.entry(BLOB, 64 << 20, b"", zeros);
    let mut claims_absurdly = Pack::new();
    claims_absurdly.entry(BLOB, 1 << 60, b"", zeros);
    let mut large_target = Pack::new();
    let mut many_targets = Pack::new();
    for (pack, times, deltas) in [(&mut large_target, 4_000, 1), (&mut many_targets, 15, 400)] {
        pack.object(BLOB, &base);
        for own in 0..deltas {
            pack.delta(12, &copies(base.len(), times, own));
        }
    }
    let mut chain = Pack::new();
    chain.object(BLOB, b"");
    let (mut at, mut length) = (12, 0);
    for depth in 0..60_usize {
        let text = depth.to_string();
        let insertion = u8::try_from(text.len()).expect("because it has two digits");
        at =
            chain.delta(at, &[number(length), number(text.len()), vec![insertion], text.clone().into_bytes()].concat());
        length = text.len();
    }
    let mut large = Pack::new();
    for n in 0..80_u8 {
        large.object(BLOB, &[vec![n], base.clone()].concat());
    }
    vec![
        ("objects of the pack", small(501).finish()),
        ("objects of the pack", small(1).claiming(u32::MAX)),
        ("longer", claims_little.finish()),
        ("bytes of an object", claims_all.finish()),
        ("absurd size", claims_absurdly.finish()),
        ("bytes of an object", large_target.finish()),
        ("bytes that deltas make", many_targets.finish()),
        ("chain of deltas", chain.finish()),
        ("bytes of the pack", large.finish()),
    ]
}

#[test]
fn bombs_are_refused_in_words_and_in_little_memory() -> Result<()> {
    let bed = SshBed::new()?;
    let work = bed.started()?;
    let tip = bed.bed.git.head(&work)?;
    bed.bed.manifests.write("bombs.yaml", REPOSITORY)?;
    tests::wait::until("the repository", Duration::from_secs(10), || {
        Ok((!say(&bed, super::Way::Http, Call::fetch("team-a/bombs"), b"")?.starts_with(b"repo")).then_some(()))
    })?;
    unharmed(&bed)?;
    let before = bed.bed.server.peak_memory()?;
    for (said, pack) in bombs(&zeros(&bed)?) {
        for way in WAYS {
            let started = Instant::now();
            let told = say(&bed, way, Call::push("team-a/bombs"), &new_reference("refs/heads/bomb", &tip, &pack))?;
            let told = String::from_utf8_lossy(&told).into_owned();
            ensure!(told.contains(said) && told.contains("ng refs/heads/bomb"), "{way:?} {said}: {told}");
            ensure!(started.elapsed() < Duration::from_secs(5), "{way:?} {said} took {:?}", started.elapsed());
        }
    }
    // More references than one push may change, and one of them more than once.
    let commands = (0..21).map(|n| format!("{} {tip} refs/heads/{n}\n", super::ZERO));
    let many: Vec<u8> = commands.flat_map(tests::protocol::line).chain(*b"0000").collect();
    for way in WAYS {
        let told = say(&bed, way, Call::push("team-a/bombs"), &many)?;
        ensure!(String::from_utf8_lossy(&told).contains("references"), "{way:?}: {}", String::from_utf8_lossy(&told));
    }
    let grown = bed.bed.server.peak_memory()?.saturating_sub(before);
    ensure!(grown < MOST, "the server grew by {} MiB", grown / MIB);
    ensure!(bed.bed.git.remote_refs(&bed.bed.server.url("alice", "team-a/bombs"))?.is_empty(), "one is there");
    unharmed(&bed)
}

/// Ten times ten times ten… folders that are all the same: 10¹² files in 13 objects.
fn wide() -> (Vec<u8>, String) {
    let mut pack = Pack::new();
    let mut id = pack.object(BLOB, b"one laugh\n");
    let mut mode = "100644";
    for _ in 0..12 {
        let entries: Vec<u8> = (0..10).flat_map(|n| tree_entry(mode, &format!("d{n}"), &id)).collect();
        (id, mode) = (pack.object(TREE, &entries), "40000");
    }
    let tip = pack.commit(&id);
    (pack.finish(), tip)
}

/// Folders in folders, more than any stack has room for.
fn deep() -> (Vec<u8>, String) {
    let mut pack = Pack::new();
    let mut id = pack.object(TREE, b"");
    for _ in 0..50_000 {
        id = pack.object(TREE, &tree_entry("40000", "d", &id));
    }
    let tip = pack.commit(&id);
    (pack.finish(), tip)
}

/// Asks for everything but what is below the first folder, which a server could find out by walking through all.
fn filtered(tip: &str, filter: &str) -> Vec<u8> {
    let wants = [tests::protocol::line(format!("want {tip} filter ofs-delta\n")), tests::protocol::line(filter)];
    [wants.concat(), b"0000".to_vec(), tests::protocol::line("done\n")].concat()
}

#[test]
fn trees_that_unfold_without_end_cost_what_their_objects_cost() -> Result<()> {
    let bed = SshBed::new()?;
    bed.started()?;
    let before = bed.bed.server.peak_memory()?;
    let started = Instant::now();
    for (kind, (pack, tip)) in [("wide", wide()), ("deep", deep())] {
        for way in WAYS {
            let name = format!("refs/heads/{kind}-{way:?}");
            let told = say(&bed, way, Call::push("team-a/hello"), &new_reference(&name, &tip, &pack))?;
            ensure!(
                String::from_utf8_lossy(&told).contains(&format!("ok {name}")),
                "{}",
                String::from_utf8_lossy(&told)
            );
            for request in [clone_of(&tip), filtered(&tip, "filter tree:2\n"), filtered(&tip, "filter blob:none\n")] {
                let answer = say(&bed, way, Call::fetch("team-a/hello"), &request)?;
                let begin = answer.windows(4).position(|four| four == b"PACK").context("no pack")?;
                ensure!(answer.len() - begin < 8 << 20, "{} bytes for {kind}", answer.len());
            }
        }
    }
    ensure!(started.elapsed() < Duration::from_mins(1), "it took {:?}", started.elapsed());
    let grown = bed.bed.server.peak_memory()?.saturating_sub(before);
    ensure!(grown < 2 * MOST, "the server grew by {} MiB", grown / MIB);
    // An archive, which is the unfolded tree, is refused where it is too deep.
    let refused = super::shared(&bed, "alice", "git-upload-archive '/team-a/hello'")?;
    let told = archive(refused, "deep-Ssh")?;
    ensure!(told.contains("deep"), "{told}");
    unharmed(&bed)
}

/// What the server says to somebody who wants a branch as an archive.
fn archive(mut child: std::process::Child, branch: &str) -> Result<String> {
    use std::io::Write as _;
    let mut input = child.stdin.take().context("no input")?;
    let arguments = ["--format=tar", branch].map(|word| tests::protocol::line(format!("argument {word}\n")));
    input.write_all(&[arguments.concat(), b"0000".to_vec()].concat())?;
    drop(input);
    let output = child.wait_with_output()?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}
