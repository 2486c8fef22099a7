//! SHA-256, the checksum of everything in the bucket.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, digest};
use model::Content;

use crate::entry::chunk_bytes;

/// SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(digest(&SHA256, bytes).as_ref())
}

/// SHA-256 and size of a content.
pub(crate) fn sha256_content(content: &Content) -> io::Result<([u8; 32], u64)> {
    match content {
        Content::File(path) => sha256_file(path),
        Content::Memory(bytes) => Ok((sha256(bytes), bytes.len() as u64)),
    }
}

/// Size and checksums of a content.
pub(crate) struct Measure {
    pub(crate) digest: [u8; 32],
    pub(crate) bytes: u64,
    /// SHA-256 of each chunk; none when there is one only.
    pub(crate) chunks: Vec<[u8; 32]>,
}

/// Measures a pack.
pub(crate) fn measure(content: &Content) -> io::Result<Measure> {
    let path = match content {
        Content::File(path) => path,
        Content::Memory(whole) => {
            let bytes = whole.len() as u64;
            let chunk = usize::try_from(chunk_bytes(bytes)).unwrap_or(usize::MAX);
            let chunks = if whole.len() > chunk { whole.chunks(chunk).map(sha256).collect() } else { vec![] };
            return Ok(Measure { digest: sha256(whole), bytes, chunks });
        }
    };
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let chunk = chunk_bytes(bytes);
    if bytes <= chunk {
        let (digest, bytes) = sha256_file(path)?;
        return Ok(Measure { digest, bytes, chunks: vec![] });
    }
    let (mut whole, mut chunks) = (Context::new(&SHA256), Vec::new());
    let mut buffer = vec![0; 256 << 10];
    for start in (0..bytes).step_by(usize::try_from(chunk).unwrap_or(usize::MAX)) {
        let mut left = chunk.min(bytes - start);
        let mut part = Context::new(&SHA256);
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact(&mut buffer[..take])?;
            whole.update(&buffer[..take]);
            part.update(&buffer[..take]);
            left -= take as u64;
        }
        chunks.push(to_array(part.finish().as_ref()));
    }
    Ok(Measure { digest: to_array(whole.finish().as_ref()), bytes, chunks })
}

/// SHA-256 of some bytes of a file.
pub(crate) fn sha256_range(path: &Path, range: Range<u64>) -> io::Result<[u8; 32]> {
    let (mut file, mut context) = (File::open(path)?, Context::new(&SHA256));
    file.seek(SeekFrom::Start(range.start))?;
    let mut rest = file.take(range.end - range.start);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(to_array(context.finish().as_ref())),
            read => context.update(&buffer[..read]),
        }
    }
}

pub(crate) fn sha256_file(path: &Path) -> io::Result<([u8; 32], u64)> {
    let (mut file, mut context, mut size) = (File::open(path)?, Context::new(&SHA256), 0);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((to_array(context.finish().as_ref()), size));
        }
        context.update(&buffer[..read]);
        size += read as u64;
    }
}

fn to_array(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("because SHA-256 has 32 bytes")
}
