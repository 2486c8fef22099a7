//! Takes an LFS object in: to a file of the cache, hashed on the way, compared with its name before anybody can see it.

use std::io::{self, Read, Write as _};

use aws_lc_rs::digest::{Context, SHA256};
use model::lfs::Oid;
use tempfile::TempPath;

use super::LfsObjects;
use super::sums::{LfsObject, chunk_bytes};

/// Bytes that are read at once.
const BUFFER: usize = 256 << 10;

/// An object that was received and has the hash that its name says; its file goes when it is dropped.
#[derive(Debug)]
pub struct LfsReceived {
    pub(super) object: LfsObject,
    pub(super) file: TempPath,
}

/// Why an object was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It did not arrive.
    #[error("failed to receive the object: {0}")]
    Read(#[source] io::Error),
    /// The cache folder cannot hold it.
    #[error("failed to write the object to the cache folder: {0}")]
    Write(#[source] io::Error),
    /// It is larger than announced.
    #[error("the object has more than the announced {0} bytes")]
    TooLong(u64),
    /// It is smaller than announced.
    #[error("the object has {found} bytes and not the announced {announced}")]
    TooShort {
        /// What should have come.
        announced: u64,
        /// What came.
        found: u64,
    },
    /// Its name is not the hash of its content.
    #[error("the SHA-256 of what arrived is {0}: these are not the bytes of the object")]
    WrongHash(Oid),
}

impl LfsObjects {
    /// Receives the object of this name and size. Blocks; memory does not depend on the size.
    ///
    /// # Errors
    /// Says whether the client, the cache folder or the content is at fault; nothing is kept then.
    pub fn receive(&self, oid: Oid, size: u64, input: &mut dyn Read) -> Result<LfsReceived, ReceiveError> {
        let folder = self.shared.cache.incoming();
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(ReceiveError::Write)?;
        let chunk = chunk_bytes(size);
        let (mut whole, mut part, mut chunks) = (Context::new(&SHA256), Context::new(&SHA256), Vec::new());
        let (mut seen, mut in_part) = (0_u64, 0_u64);
        let mut buffer = vec![0; BUFFER];
        loop {
            let room = usize::try_from(chunk - in_part).unwrap_or(BUFFER).min(BUFFER);
            let read = match input.read(&mut buffer[..room]) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReceiveError::Read(error)),
            };
            seen += read as u64;
            if seen > size {
                return Err(ReceiveError::TooLong(size));
            }
            whole.update(&buffer[..read]);
            part.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(ReceiveError::Write)?;
            in_part += read as u64;
            if in_part == chunk {
                chunks.push(finish(std::mem::replace(&mut part, Context::new(&SHA256))));
                in_part = 0;
            }
        }
        if seen != size {
            return Err(ReceiveError::TooShort { announced: size, found: seen });
        }
        if in_part > 0 {
            chunks.push(finish(part));
        }
        let found = Oid::of(finish(whole));
        if found != oid {
            return Err(ReceiveError::WrongHash(found));
        }
        Ok(LfsReceived { object: LfsObject::new(oid, size, chunk, chunks), file: file.into_temp_path() })
    }
}

fn finish(context: Context) -> [u8; 32] {
    context.finish().as_ref().try_into().expect("because SHA-256 has 32 bytes")
}
