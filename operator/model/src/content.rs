//! Where bytes are: in a file, or in memory while they are few.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Bytes that lie in a file, or in memory. Cheap to clone; two are equal when they are the same file, or the same memory.
#[derive(Debug, Clone)]
pub enum Content {
    /// All of this file.
    File(PathBuf),
    /// These.
    Memory(Bytes),
}

impl Content {
    /// For messages: the path of the file.
    #[must_use]
    pub fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Memory(_) => Path::new("a small pack"),
        }
    }

    /// What makes it the same.
    fn identity(&self) -> (&Path, usize, usize) {
        match self {
            Self::File(path) => (path, 0, 0),
            Self::Memory(bytes) => (Path::new(""), bytes.as_ptr().addr(), bytes.len()),
        }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Content {}

impl Hash for Content {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

/// A file that is being filled while it is read already; it has its full length from the start.
pub trait Arriving: fmt::Debug + Send + Sync {
    /// Waits until these bytes are there, and are the right ones. Blocks.
    ///
    /// # Errors
    /// When they will not come.
    fn wait_for(&self, bytes: Range<u64>) -> io::Result<()>;
}
