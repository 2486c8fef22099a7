//! Takes an LFS object in: to a file of the cache, hashed on the way, compared with its name before anybody can see it.

use std::io::{self, Read, Write as _};

use model::lfs::Oid;
use tempfile::TempPath;

use super::LfsObjects;
use super::summing::Summing;
use super::sums::LfsObject;

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
        let (mut summing, mut seen) = (Summing::new(size), 0_u64);
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReceiveError::Read(error)),
            };
            seen += read as u64;
            if seen > size {
                return Err(ReceiveError::TooLong(size));
            }
            summing.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(ReceiveError::Write)?;
        }
        if seen != size {
            return Err(ReceiveError::TooShort { announced: size, found: seen });
        }
        let object = summing.finish();
        if *object.oid() != oid {
            return Err(ReceiveError::WrongHash(*object.oid()));
        }
        Ok(LfsReceived { object, file: file.into_temp_path() })
    }
}
