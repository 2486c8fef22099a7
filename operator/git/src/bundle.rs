//! Bundles, and the command `bundle-uri` of protocol version 2 by which a client learns where one lies (ADR 0020).
//!
//! A bundle is a pack behind lines that say which references it brings ([gitformat-bundle]). Those that are written here stand alone and
//! bring one reference: exactly what it leads to.
//!
//! [gitformat-bundle]: https://git-scm.com/docs/gitformat-bundle

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::atomic::AtomicBool,
};

use gix::ObjectId;
use model::{ObjectFormat, RefName};

use crate::{
    odb::Packs,
    pack_writer::{self, Error, Receiver, Sink},
    pktline, upload_pack,
};

/// The name of the only bundle of a list.
const ID: &str = "default-branch";

/// What a bundle begins with: its references, of which there is at least one, by id and name.
#[must_use]
pub fn header<'a>(references: impl IntoIterator<Item = (ObjectId, &'a [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (id, name) in references {
        if out.is_empty() {
            // Whatever is not SHA-1 is said, which takes version 3.
            out = match id.kind() {
                ObjectFormat::Sha1 => b"# v2 git bundle\n".to_vec(),
                other => format!("# v3 git bundle\n@object-format={other}\n").into_bytes(),
            };
        }
        out.extend_from_slice(format!("{id} ").as_bytes());
        out.extend_from_slice(name);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

struct ToFile(BufWriter<File>);

impl Sink for ToFile {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// Writes a bundle of a branch whose value is `tip` to a new file; returns its size.
///
/// # Errors
/// When an object is missing or cannot be read, the file not written, or `interrupt` was set.
pub fn write(packs: &Packs, branch: &RefName, tip: ObjectId, out: &Path, interrupt: &AtomicBool) -> Result<u64, Error> {
    let selection = upload_pack::behind(packs, tip, interrupt)?;
    let file = File::create_new(out).map_err(Error::Write)?;
    let mut sink = ToFile(BufWriter::with_capacity(1 << 18, file));
    let header = header([(tip, branch.as_bstr().as_ref())]);
    sink.data(&header).map_err(Error::Write)?;
    let receiver = Receiver { ofs_delta: true, has: None, replaces: None };
    let written = pack_writer::write(packs, &selection, &receiver, &mut sink, None, interrupt)?;
    sink.0.flush().map_err(Error::Write)?;
    Ok(header.len() as u64 + written.bytes)
}

/// Where a bundle is. The address lets whoever has it read the bundle, so this is never logged.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its address.
    pub uri: &'a str,
    /// Higher than that of every older bundle of the repository.
    pub creation_token: u64,
}

/// The answer to `bundle-uri`: the keys that git reads from a list of bundles. Without a bundle it is empty, and clients do without.
#[must_use]
pub fn list(bundle: Option<Place<'_>>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(Place { uri, creation_token }) = bundle {
        for line in ["bundle.version=1", "bundle.mode=all", "bundle.heuristic=creationToken"] {
            pktline::push(&mut out, &[line.as_bytes()]);
        }
        pktline::push(&mut out, &[format!("bundle.{ID}.uri={uri}").as_bytes()]);
        // In lower case, as git sends it and looks for it: it does not know the key otherwise, and reads no bundle without a token.
        pktline::push(&mut out, &[format!("bundle.{ID}.creationtoken={creation_token}").as_bytes()]);
    }
    out.extend_from_slice(pktline::FLUSH);
    out
}

#[cfg(test)]
mod tests;
