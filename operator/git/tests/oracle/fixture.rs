//! A repository with merges, renames, reverts, tags and clocks that run backwards; and the same as packs that were pushed.

#![expect(clippy::format_push_string, reason = "a stream for git is easier to read in one piece")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::AtomicBool,
};

use git::{
    existing::Stored,
    ingest::{Context, Quarantine, ingest},
    odb::{PackParts, Packs},
    view::{ReferencesView, RepositoryView},
};
use gix::ObjectId;
use model::limits::Limits;
use model::{Content, ObjectFormat, RefName, RefValue};

/// Numbers that look random and are the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap() % sides
    }
}

/// Runs git; its output.
pub(crate) fn git_in(directory: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let (ok, output, said) = git_speaking(directory, 0, arguments, input);
    assert!(ok, "git {arguments:?}: {}", String::from_utf8_lossy(&said));
    output
}

/// Runs a git server of this version of the protocol, which may refuse; its output.
pub(crate) fn git_speaking(
    directory: &Path,
    version: u8,
    arguments: &[&str],
    input: &[u8],
) -> (bool, Vec<u8>, Vec<u8>) {
    let mut child = Command::new("git")
        .env("GIT_PROTOCOL", format!("version={version}"))
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    (output.status.success(), output.stdout, said)
}

/// What names objects: as git itself is told, by `GIT_DEFAULT_HASH`.
pub(crate) fn format() -> ObjectFormat {
    let told = std::env::var("GIT_DEFAULT_HASH").ok();
    told.map_or(ObjectFormat::Sha1, |format| format.parse().unwrap())
}

/// The id of no object.
pub(crate) fn nobody() -> ObjectId {
    ObjectId::from_hex("1".repeat(format().len_in_hex()).as_bytes()).unwrap()
}

/// The ids at the beginnings of lines.
pub(crate) fn ids(output: &[u8]) -> BTreeSet<ObjectId> {
    let length = format().len_in_hex();
    let lines = output.split(|byte| *byte == b'\n').filter(|line| line.len() >= length);
    lines.map(|line| ObjectId::from_hex(&line[..length]).unwrap()).collect()
}

pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) commits: Vec<ObjectId>,
    pub(crate) refs: BTreeMap<RefName, RefValue>,
    pub(crate) packs: Packs,
    pub(crate) parts: Vec<PackParts>,
    pub(crate) head: RefName,
}

impl Fixture {
    /// `commits` commits, pushed in `pushes` pushes, thin ones if `thin`.
    pub(crate) fn new(seed: u64, commits: usize, pushes: usize, thin: bool) -> Self {
        let mut dice = Dice(seed);
        Self::of(&history(&mut dice, commits), commits, pushes, thin)
    }

    /// A history in which no content ever comes back.
    pub(crate) fn steady(pushes: usize) -> Self {
        let mut out = String::new();
        for mark in 1..=60 {
            out += &format!(
                "commit refs/heads/b0\nmark :{mark}\ncommitter C <c@example.com> {} +0000\ndata 2\nm\n",
                1_600_000_000 + mark
            );
            let mut body = "line\n".repeat(60);
            body += &format!("number {mark}\n");
            if mark == 30 {
                // Too big to be copied in one piece, whatever the compression.
                let mut dice = Dice(99);
                let noise: String =
                    (0..1_000_000).map(|_| char::from(b'!' + u8::try_from(dice.roll(90)).unwrap())).collect();
                out += &format!("M 100644 inline big\ndata {}\n{noise}\n", noise.len());
            }
            out += &format!("M 100644 inline d/f\ndata {}\n{body}", body.len());
        }
        Self::of(out.as_bytes(), 60, pushes, true)
    }

    pub(crate) fn of(stream: &[u8], commits: usize, pushes: usize, thin: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let origin = directory.path().join("origin");
        std::fs::create_dir(&origin).unwrap();
        git_in(&origin, &["init", "-q", "--bare"], b"");
        git_in(&origin, &["fast-import", "--quiet", "--export-marks=marks"], stream);
        let mut marks = BTreeMap::new();
        for line in std::fs::read_to_string(origin.join("marks")).unwrap().lines() {
            let (mark, id) = line.split_once(' ').unwrap();
            marks.insert(mark[1..].parse::<usize>().unwrap(), ObjectId::from_hex(id.as_bytes()).unwrap());
        }
        let refs: BTreeMap<_, _> = String::from_utf8(git_in(
            &origin,
            &["for-each-ref", "--format=%(refname) %(objectname) %(*objectname)"],
            b"",
        ))
        .unwrap()
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
            let id = |word: &&str| ObjectId::from_hex(word.as_bytes()).unwrap();
            (RefName::try_from(words[0]).unwrap(), RefValue { id: id(&words[1]), peeled: words.get(2).map(id) })
        })
        .collect();
        let commits: Vec<_> = marks.range(1..=commits).map(|(_, id)| *id).collect();
        let mut fixture = Self {
            directory,
            commits,
            refs,
            packs: Packs::default(),
            parts: Vec::new(),
            head: RefName::try_from("refs/heads/b0").unwrap(),
        };
        fixture.push_all(pushes, thin);
        fixture
    }

    pub(crate) fn origin(&self) -> PathBuf {
        self.directory.path().join("origin")
    }

    fn push_all(&mut self, pushes: usize, thin: bool) {
        let chunk = self.commits.len().div_ceil(pushes);
        for (number, part) in self.commits.clone().chunks(chunk).enumerate() {
            let mut tips: Vec<String> = part.iter().map(ToString::to_string).collect();
            if (number + 1) * chunk >= self.commits.len() {
                tips.extend(self.refs.values().map(|value| value.id.to_string()));
            }
            tips.extend(self.commits[..number * chunk].iter().map(|id| format!("^{id}")));
            let mut arguments = vec!["pack-objects", "-q", "--revs", "--delta-base-offset", "--stdout"];
            if thin {
                arguments.push("--thin");
            }
            let pack = git_in(&self.origin(), &arguments, (tips.join("\n") + "\n").as_bytes());
            self.receive(&pack);
        }
    }

    /// Takes in a pack as a push would.
    pub(crate) fn receive(&mut self, pack: &[u8]) {
        let mut quarantine = Quarantine::new(self.directory.path());
        let (existing, limits, interrupt) = (Stored::new(&self.packs), Limits::default(), AtomicBool::new(false));
        let context = Context { format: format(), limits: &limits, existing: &existing, interrupt: &interrupt };
        let ingested = ingest(&mut &*pack, &mut quarantine, &context, &mut |_| ()).unwrap();
        let (mut pack, mut index) = (ingested.pack, ingested.index);
        // Some stay in memory, the others go to files.
        if self.parts.len() % 2 == 1 || matches!(pack, Content::File(_)) {
            let to = self.directory.path().join(format!("push-{}", self.parts.len()));
            (pack, index) = (in_file(&pack, to.with_extension("pack")), in_file(&index, to.with_extension("idx")));
        }
        self.parts.push(PackParts { pack, index, exact: true, arriving: None });
        self.packs = Packs::open(&self.parts).unwrap();
    }

    pub(crate) fn view(&self) -> RepositoryView<'_> {
        RepositoryView {
            packs: &self.packs,
            refs: ReferencesView { all: &self.refs, head: Some(&self.head), format: format() },
            dropped_tips: &[],
            complete_walk_needed: false,
        }
    }
}

/// The same content, in this file.
fn in_file(content: &Content, path: PathBuf) -> Content {
    match content {
        Content::Memory(bytes) => std::fs::write(&path, bytes).unwrap(),
        Content::File(from) => drop(std::fs::copy(from, &path).unwrap()),
    }
    Content::File(path)
}

/// A stream for `git fast-import`.
fn history(dice: &mut Dice, commits: usize) -> Vec<u8> {
    let mut out = String::new();
    let mut date = 1_600_000_000_usize;
    let mut tips = [0_usize; 4];
    for mark in 1..=commits {
        let branch = if mark == 1 { 0 } else { dice.roll(4) };
        date += 60 + dice.roll(600);
        let shown = if dice.roll(12) == 0 { date - 5_000 } else { date };
        out += &format!("commit refs/heads/b{branch}\nmark :{mark}\ncommitter C <c@example.com> {shown} +0000\n");
        let message = format!("change {mark}\n");
        out += &format!("data {}\n{message}", message.len());
        if tips[branch] == 0 && mark > 1 {
            out += &format!("from :{}\n", 1 + dice.roll(mark - 1));
        }
        let other = tips[dice.roll(4)];
        if other != 0 && other != tips[branch] && tips[branch] != 0 && dice.roll(4) == 0 {
            out += &format!("merge :{other}\n");
        }
        for _ in 0..=dice.roll(3) {
            out += &change(dice, mark);
        }
        tips[branch] = mark;
        if dice.roll(10) == 0 {
            out += &format!("reset refs/tags/light-{mark}\nfrom :{mark}\n\n");
        }
        if dice.roll(10) == 0 {
            out += &format!("tag v{mark}\nfrom :{mark}\ntagger C <c@example.com> {shown} +0000\ndata 4\ntag\n");
        }
    }
    out.into_bytes()
}

/// One change of a file. Contents come from a small pool as often as not, so that reverts and copies happen.
fn change(dice: &mut Dice, mark: usize) -> String {
    let file = |dice: &mut Dice| match dice.roll(3) {
        0 => format!("f{}", dice.roll(6)),
        1 => format!("d{}/f{}", dice.roll(3), dice.roll(6)),
        _ => format!("d{}/e{}/f{}", dice.roll(3), dice.roll(2), dice.roll(6)),
    };
    let path = file(dice);
    match dice.roll(12) {
        0 => format!("D {path}\n"),
        1 => {
            let version = dice.roll(4);
            let body = format!("moved {version}\n");
            format!("M 100644 inline moved{}/{path}\ndata {}\n{body}", dice.roll(2), body.len())
        }
        _ => {
            let version = if dice.roll(2) == 0 { dice.roll(5) } else { 1_000 + mark };
            let mut body = format!("{path} {version}\n");
            for line in 0..40 {
                body += &format!("line {line} of {path}{}\n", if line == version % 40 { " changed" } else { "" });
            }
            format!("M 100644 inline {path}\ndata {}\n{body}", body.len())
        }
    }
}
