//! SHA-256, the checksum of everything in the bucket.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, digest};
use model::Content;

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

fn sha256_file(path: &Path) -> io::Result<([u8; 32], u64)> {
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
