//! Small histories, written as `git fast-import` streams.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::git_cli::Git;

/// Seconds since the epoch of the first commit of every fixture.
const FIRST: u64 = 1_700_000_000;

/// Writes a fast-import stream; marks are numbers from 1.
#[derive(Debug)]
pub struct Stream<W: Write> {
    out: W,
    mark: u64,
}

/// A commit to be written.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The branch it becomes the tip of.
    pub branch: &'a str,
    /// Marks of its parents, the first one's tree is what `files` change; none for a root.
    pub parents: &'a [u64],
    /// Message.
    pub message: &'a str,
    /// Files set by it.
    pub files: &'a [(&'a str, &'a [u8])],
}

impl<W: Write> Stream<W> {
    /// A stream into a writer.
    pub fn new(out: W) -> Self {
        Self { out, mark: 0 }
    }

    /// Writes a commit and gives its mark.
    pub fn commit(&mut self, commit: Commit<'_>) -> Result<u64> {
        self.mark += 1;
        let (mark, time) = (self.mark, FIRST + self.mark * 60);
        writeln!(self.out, "commit refs/heads/{}\nmark :{mark}", commit.branch)?;
        writeln!(self.out, "committer Test User <test@example.com> {time} +0000\ndata {}", commit.message.len())?;
        writeln!(self.out, "{}", commit.message)?;
        for (place, parent) in commit.parents.iter().enumerate() {
            writeln!(self.out, "{} :{parent}", if place == 0 { "from" } else { "merge" })?;
        }
        for (path, content) in commit.files {
            write!(self.out, "M 100644 inline {path}\ndata {}\n", content.len())?;
            self.out.write_all(content)?;
            writeln!(self.out)?;
        }
        Ok(mark)
    }

    /// Points a ref, full name, at a mark.
    pub fn reference(&mut self, name: &str, mark: u64) -> Result<()> {
        Ok(writeln!(self.out, "reset {name}\nfrom :{mark}\n")?)
    }

    /// Writes an annotated tag.
    pub fn tag(&mut self, name: &str, mark: u64) -> Result<()> {
        let time = FIRST + mark * 60;
        let message = format!("Release {name}");
        writeln!(self.out, "tag {name}\nfrom :{mark}\ntagger Test User <test@example.com> {time} +0000")?;
        Ok(writeln!(self.out, "data {}\n{message}", message.len())?)
    }

    /// Ends the stream.
    pub fn finish(mut self) -> Result<W> {
        writeln!(self.out, "done")?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// A new bare repository at `home/name`, filled by a stream.
pub fn import(
    git: &Git,
    name: &str,
    write: impl FnOnce(&mut Stream<std::io::BufWriter<std::process::ChildStdin>>) -> Result<()>,
) -> Result<PathBuf> {
    let folder = git.path(name);
    if !folder.exists() {
        git.ok(&git.path(""), &["init", "--quiet", "--bare", name])?;
    }
    import_into(git, &folder, write)?;
    Ok(folder)
}

/// Adds a stream to an existing repository.
pub fn import_into(
    git: &Git,
    folder: &Path,
    write: impl FnOnce(&mut Stream<std::io::BufWriter<std::process::ChildStdin>>) -> Result<()>,
) -> Result<()> {
    let mut command = git.command(folder, &["fast-import", "--quiet", "--done", "--force"]);
    let mut child = command.stdin(Stdio::piped()).spawn().context("failed to start git fast-import")?;
    let input = child.stdin.take().context("git fast-import has no standard input")?;
    let mut stream = Stream::new(std::io::BufWriter::with_capacity(1 << 20, input));
    write(&mut stream)?;
    drop(stream.finish()?);
    ensure!(child.wait()?.success(), "git fast-import failed");
    Ok(())
}

/// A bare repository with `commits` commits on `main`, each changing one of ten files, and an annotated tag on the last.
pub fn linear(git: &Git, name: &str, commits: usize) -> Result<PathBuf> {
    import(git, name, |stream| {
        let mut parents = Vec::new();
        for number in 0..commits {
            let (path, content) =
                (format!("folder-{}/file", number % 10), format!("content of commit {number}\n").repeat(20));
            let commit = Commit {
                branch: "main",
                parents: &parents,
                message: &format!("Commit {number}"),
                files: &[(&path, content.as_bytes())],
            };
            parents = vec![stream.commit(commit)?];
        }
        match parents.first() {
            Some(mark) => stream.tag("v1", *mark),
            None => Ok(()),
        }
    })
}

/// A bare repository with one commit and this many branches pointing at it.
pub fn many_refs(git: &Git, name: &str, count: usize) -> Result<PathBuf> {
    import(git, name, |stream| {
        let files: &[(&str, &[u8])] = &[("README", b"hello\n")];
        let mark = stream.commit(Commit { branch: "main", parents: &[], message: "First", files })?;
        (0..count).try_for_each(|number| {
            stream.reference(&format!("refs/heads/branch/{:02}/{number:05}", number % 100), mark)
        })
    })
}
