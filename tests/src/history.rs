//! A large history that looks like a project's: many files, small edits, merges, release branches, tags, some binaries.
//!
//! The same plan gives the same object ids on every machine. Binaries do not compress, so the size is real.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use crate::fixture::{Commit, Stream};
use crate::random::Sequence;

const WORDS: [&str; 24] = [
    "branch",
    "bucket",
    "cache",
    "commit",
    "create",
    "delta",
    "entry",
    "fetch",
    "generation",
    "index",
    "ledger",
    "merge",
    "object",
    "pack",
    "policy",
    "prefix",
    "probe",
    "push",
    "reader",
    "record",
    "server",
    "tree",
    "value",
    "writer",
];

/// How much history.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Commits, merges included.
    pub commits: usize,
    /// Text files.
    pub files: usize,
    /// Every how many commits a binary file changes.
    pub binary_every: usize,
    /// Bytes of a binary.
    pub binary_bytes: usize,
    /// Seed.
    pub seed: u64,
}

impl Plan {
    /// A plan whose pack comes to more than 100 MB at 20,000 commits and shrinks with them.
    #[must_use]
    pub fn of(commits: usize) -> Self {
        Self { commits, files: 600, binary_every: 8, binary_bytes: 46_000, seed: 3 }
    }
}

/// What a line of development has checked out: contents by path, and its tip.
#[derive(Clone)]
struct Line {
    name: String,
    tip: u64,
    changed: BTreeMap<String, Vec<u8>>,
}

struct Writer<'a, W: Write> {
    plan: Plan,
    stream: &'a mut Stream<W>,
    random: Sequence,
    texts: Vec<String>,
    written: usize,
    step: &'a mut dyn FnMut(usize),
}

/// Writes the history; `step` hears the number of commits written so far.
pub fn write<W: Write>(plan: Plan, stream: &mut Stream<W>, step: &mut dyn FnMut(usize)) -> Result<()> {
    let mut random = Sequence::new(plan.seed);
    let texts = (0..plan.files).map(|_| text(&mut random, 40)).collect();
    let mut writer = Writer { plan, stream, random, texts, written: 0, step };
    writer.run()
}

impl<W: Write> Writer<'_, W> {
    fn run(&mut self) -> Result<()> {
        let paths: Vec<String> = (0..self.plan.files).map(path).collect();
        let texts = self.texts.clone();
        let files: Vec<(&str, &[u8])> =
            paths.iter().zip(&texts).map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        let tip = self.commit("main", &[], "Begin", &files)?;
        let mut main = Line { name: "main".to_owned(), tip, changed: BTreeMap::new() };
        let mut number = 0;
        while self.written < self.plan.commits {
            number += 1;
            match number % 12 {
                0 => self.feature(&mut main, number)?,
                _ => self.change(&mut main)?,
            }
            self.mark_release(&main, number)?;
        }
        Ok(())
    }

    /// A side branch of a few commits, merged; every tenth stays open.
    fn feature(&mut self, main: &mut Line, number: usize) -> Result<()> {
        let mut side = Line { name: format!("feature/{number:05}"), tip: main.tip, changed: BTreeMap::new() };
        for _ in 0..=self.random.below(5) {
            self.change(&mut side)?;
        }
        self.change(main)?;
        if number.is_multiple_of(120) {
            return Ok(());
        }
        let files: Vec<(&str, &[u8])> =
            side.changed.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        let message = format!("Merge branch '{}'", side.name);
        main.tip = self.commit("main", &[main.tip, side.tip], &message, &files)?;
        Ok(())
    }

    fn mark_release(&mut self, main: &Line, number: usize) -> Result<()> {
        if number.is_multiple_of(300) {
            self.stream.tag(&format!("v{}.{}", number / 3000, number / 300 % 10), main.tip)?;
        }
        if number.is_multiple_of(450) {
            self.stream.reference(&format!("refs/tags/build-{number}"), main.tip)?;
        }
        if number.is_multiple_of(3000) {
            let name = format!("maint/{}", number / 3000);
            let mut line = Line { name, tip: main.tip, changed: BTreeMap::new() };
            for _ in 0..5 {
                self.change(&mut line)?;
            }
        }
        Ok(())
    }

    /// One commit: edits of one to three texts, now and then a binary.
    fn change(&mut self, line: &mut Line) -> Result<()> {
        let mut files = Vec::new();
        for _ in 0..=self.random.below(3) {
            let place = self.random.below(self.texts.len());
            let edited = edit(&self.texts[place], &mut self.random);
            self.texts[place].clone_from(&edited);
            files.push((path(place), edited.into_bytes()));
        }
        if self.written.is_multiple_of(self.plan.binary_every) {
            let place = self.random.below(200);
            files.push((format!("assets/images/picture-{place:03}.bin"), self.random.bytes(self.plan.binary_bytes)));
        }
        let message = format!("{}\n\n{}", sentence(&mut self.random, 6), sentence(&mut self.random, 20));
        let borrowed: Vec<(&str, &[u8])> =
            files.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        line.tip = self.commit(&line.name, &[line.tip], &message, &borrowed)?;
        line.changed.extend(files);
        if line.name == "main" {
            line.changed.clear();
        }
        Ok(())
    }

    fn commit(&mut self, branch: &str, parents: &[u64], message: &str, files: &[(&str, &[u8])]) -> Result<u64> {
        let mark = self.stream.commit(Commit { branch, parents, message, files })?;
        self.written += 1;
        (self.step)(self.written);
        Ok(mark)
    }
}

fn path(place: usize) -> String {
    format!(
        "{}/{}/module_{place:04}.txt",
        ["source", "tests", "documentation"][place % 3],
        WORDS[place / 3 % WORDS.len()]
    )
}

fn sentence(random: &mut Sequence, words: usize) -> String {
    let words: Vec<&str> = (0..words).map(|_| WORDS[random.below(WORDS.len())]).collect();
    words.join(" ")
}

fn text(random: &mut Sequence, lines: usize) -> String {
    (0..lines).map(|_| sentence(random, 9) + "\n").collect()
}

/// Replaces one line, and adds one while the file is short.
fn edit(text: &str, random: &mut Sequence) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let place = random.below(lines.len());
    lines[place] = format!("{} {:x}", sentence(random, 8), random.word());
    if lines.len() < 120 {
        lines.insert(place, sentence(random, 9));
    }
    lines.join("\n") + "\n"
}
