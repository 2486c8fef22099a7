//! An archive in one of the formats.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use gix::bstr::BString;
use gix::objs::tree::EntryKind;

use super::request::{Format, Wanted};
use super::resolve::Source;
use super::tar::Tar;
use super::zip::Zip;

/// A file, link or folder of an archive.
pub(super) struct Member<'a> {
    /// Its path; that of a folder ends with a slash.
    pub(super) name: &'a BString,
    pub(super) kind: EntryKind,
    /// What is in a file, or where a link leads.
    pub(super) content: &'a [u8],
}

/// An archive that is being written.
pub(super) enum Archive<'a> {
    Tar(Tar<&'a mut dyn Write>),
    TarGz(Box<Tar<GzEncoder<&'a mut dyn Write>>>),
    Zip(Box<Zip<'a>>),
}

impl<'a> Archive<'a> {
    pub(super) fn begin(wanted: &Wanted, source: &Source, out: &'a mut dyn Write) -> io::Result<Self> {
        let level = wanted.level.map_or_else(Compression::default, Compression::new);
        Ok(match wanted.format {
            Format::Tar => Self::Tar(Tar::begin(out, source)?),
            Format::TarGz => Self::TarGz(Box::new(Tar::begin(GzEncoder::new(out, level), source)?)),
            Format::Zip => Self::Zip(Box::new(Zip::begin(out, source, level)?)),
        })
    }

    pub(super) fn add(&mut self, member: &Member<'_>) -> io::Result<()> {
        match self {
            Self::Tar(tar) => tar.add(member),
            Self::TarGz(tar) => tar.add(member),
            Self::Zip(zip) => zip.add(member),
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Tar(tar) => tar.finish().map(drop),
            Self::TarGz(tar) => tar.finish()?.finish().map(drop),
            Self::Zip(zip) => zip.finish(),
        }
    }
}
