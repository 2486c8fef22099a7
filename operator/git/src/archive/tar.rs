//! tar as git writes it: owned by root, of the commit's time, with the commit's name in a global header that `git get-tar-commit-id` reads.

use std::io::{self, Write};

use gix::objs::tree::EntryKind;
use tar::{Builder, EntryType, Header};

use super::format::Member;
use super::resolve::Source;

/// Bytes for a name, and for the target of a link, in a header. Longer ones go into a header of their own.
const NAME: usize = 100;

/// A record of an extended header: its own length in decimal digits, which count as well, and what it says.
fn pax_record(key: &str, value: &str) -> String {
    // A space, an equals sign and a line feed; digits until adding them changes nothing any more.
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n")
}

/// A tar file that is being written.
pub(super) struct Tar<W: Write> {
    builder: Builder<W>,
    time: u64,
}

impl<W: Write> Tar<W> {
    pub(super) fn begin(out: W, source: &Source) -> io::Result<Self> {
        let mut tar = Self { builder: Builder::new(out), time: u64::try_from(source.time).unwrap_or(0) };
        if let Some(commit) = source.commit {
            let comment = pax_record("comment", &commit.to_string());
            let header = tar.header(b"pax_global_header", EntryType::XGlobalHeader, 0o666, comment.len() as u64);
            tar.builder.append(&header, comment.as_bytes())?;
        }
        Ok(tar)
    }

    fn header(&self, name: &[u8], kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_ustar();
        if let Some(ustar) = header.as_ustar_mut() {
            let length = name.len().min(NAME);
            ustar.name[..length].copy_from_slice(&name[..length]);
            ustar.uname[..4].copy_from_slice(b"root");
            ustar.gname[..4].copy_from_slice(b"root");
        }
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.time);
        header.set_size(size);
        header.set_cksum();
        header
    }

    pub(super) fn add(&mut self, member: &Member<'_>) -> io::Result<()> {
        let Member { name, kind, content } = member;
        let (entry, mode) = match kind {
            EntryKind::Blob => (EntryType::Regular, 0o664),
            EntryKind::BlobExecutable => (EntryType::Regular, 0o775),
            EntryKind::Link => (EntryType::Symlink, 0o777),
            EntryKind::Tree | EntryKind::Commit => (EntryType::Directory, 0o775),
        };
        let is_link = entry == EntryType::Symlink;
        let mut long: Vec<(&str, &[u8])> = Vec::new();
        if name.len() > NAME {
            long.push(("path", name));
        }
        if is_link && content.len() > NAME {
            long.push(("linkpath", content));
        }
        if !long.is_empty() {
            self.builder.append_pax_extensions(long)?;
        }
        let (data, target) = if is_link { (&[][..], *content) } else { (*content, &[][..]) };
        let mut header = self.header(name, entry, mode, data.len() as u64);
        if let Some(ustar) = header.as_ustar_mut() {
            let length = target.len().min(NAME);
            ustar.linkname[..length].copy_from_slice(&target[..length]);
        }
        header.set_cksum();
        self.builder.append(&header, data)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.builder.into_inner()
    }
}
