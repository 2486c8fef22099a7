//! `git archive --remote`: what a client asks for, and the files of a tree as tar or zip ([git-upload-archive]).
//!
//! As in git, only what a reference names can be had, or a folder of it: object names say nothing about what somebody may see.
//! `export-ignore` of the tree's own `.gitattributes` is heeded. Not here: `export-subst`, and attributes of this server.
//!
//! [git-upload-archive]: https://git-scm.com/docs/git-upload-archive

mod format;
mod request;
mod resolve;
mod tar;
mod tree;
mod zip;

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

use gix::objs::tree::EntryKind;

use crate::odb::{self, ReadCache};
use crate::pktline;
use crate::sideband::{self, Band};
use crate::view::RepositoryView;
use format::{Archive, Member};
pub use request::{Format, Request, RequestError, parse};
use resolve::{Source, resolve};
use tree::{Selection, walk};

/// Largest file that is put into an archive: it is in memory while it is.
const MAX_FILE: u64 = 256 << 20;

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the client reads, and can do something about.
    #[error("{0}")]
    Refused(String),
    /// An object cannot be read.
    #[error(transparent)]
    Objects(#[from] odb::Error),
    /// The client went away.
    #[error("failed to write the archive")]
    Write(#[from] io::Error),
    /// The server stops, or the client went away.
    #[error("the archive was interrupted")]
    Interrupted,
}

impl Error {
    /// What the client reads: nothing of this server's files.
    fn told(&self) -> String {
        match self {
            Self::Objects(_) => "the repository cannot be read; ask the people who run this server".to_owned(),
            other => other.to_string(),
        }
    }
}

/// Answers a request; gives the number of bytes of the answer. `note` ends what a client reads when something fails, `now` is the time of
/// files that no commit has, in seconds since 1970.
///
/// # Errors
/// When objects cannot be read or the client went away; the client was told, if it can be. A refusal is told by `NACK`.
pub fn respond(
    request: &Request,
    view: &RepositoryView<'_>,
    out: &mut dyn Write,
    (note, now): (&str, i64),
    interrupt: &AtomicBool,
) -> Result<u64, Error> {
    let mut cache = ReadCache::default();
    let found = match request {
        Request::List => Ok(None),
        Request::Archive(wanted) => {
            resolve(wanted, view, now, &mut cache, interrupt).map(|source| Some((wanted, source)))
        }
    };
    let found = match found {
        Ok(found) => found,
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        Err(error) => {
            let mut answer = Vec::new();
            pktline::push(&mut answer, &[b"NACK ", error.told().as_bytes(), b" ", note.as_bytes(), b"\n"]);
            answer.extend_from_slice(pktline::FLUSH);
            out.write_all(&answer)?;
            return Err(error);
        }
    };
    out.write_all(b"0008ACK\n0000")?;
    let mut channels = sideband::Writer::new(out, Band::Large, false);
    let written = match found {
        None => channels.data(Format::LIST.as_bytes()).map_err(Error::from),
        Some((wanted, source)) => write(wanted, &source, view, &mut channels, &mut cache, interrupt),
    };
    match written {
        Ok(()) => Ok(channels.finish()?),
        Err(error @ (Error::Write(_) | Error::Interrupted)) => Err(error),
        Err(error) => {
            channels.error(&format!("the archive cannot be made: {} {note}\n", error.told()))?;
            channels.finish()?;
            Err(error)
        }
    }
}

/// Data goes to channel 1.
struct Data<'a, 'b>(&'a mut sideband::Writer<'b>);

impl Write for Data<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.data(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(
    wanted: &request::Wanted,
    source: &Source,
    view: &RepositoryView<'_>,
    channels: &mut sideband::Writer<'_>,
    cache: &mut ReadCache,
    interrupt: &AtomicBool,
) -> Result<(), Error> {
    let mut data = Data(channels);
    let mut archive = Archive::begin(wanted, source, &mut data)?;
    if wanted.prefix.ends_with(b"/") {
        archive.add(&Member { name: &wanted.prefix, kind: EntryKind::Tree, content: b"" })?;
    }
    let (mut buffer, mut objects) = (Vec::new(), ReadCache::default());
    let mut selection = Selection::new(&wanted.paths);
    walk(view.packs, source.tree, &mut selection, cache, interrupt, &mut |path, kind, id| {
        let content = match kind {
            EntryKind::Tree | EntryKind::Commit => &[][..],
            _ => {
                let size = view.packs.header(id, &mut objects)?.map_or(0, |(_, size)| size);
                if size > MAX_FILE {
                    let line = format!(
                        "{path} has {size} bytes and a file of an archive at most {MAX_FILE}; clone the repository"
                    );
                    return Err(Error::Refused(line));
                }
                view.packs.get(id, &mut buffer, &mut objects)?.data
            }
        };
        let mut name = wanted.prefix.clone();
        name.extend_from_slice(path);
        if matches!(kind, EntryKind::Tree | EntryKind::Commit) {
            name.push(b'/');
        }
        Ok(archive.add(&Member { name: &name, kind, content })?)
    })?;
    Ok(archive.finish()?)
}

#[cfg(test)]
mod tests;
