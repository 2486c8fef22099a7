//! What fuzz targets reach of this crate: parsers of what clients send, and what holds for whatever they are given.

use crate::address::named;
use crate::http::lfs::message::{BatchRequest, LockRequest, MAX_OBJECTS, Page, Pointer, UnlockRequest};
use crate::ssh::exec;

/// Longest refusal: it is sent to the client, and may not grow with what it sent.
const MAX_LINE: usize = 1_024;

/// The command of an SSH client. Whatever git quotes is read as it was meant.
///
/// # Panics
/// When that does not hold.
pub fn exec_line(bytes: &[u8]) {
    if let Ok(parsed) = exec::parse(bytes) {
        assert!(!bytes.iter().any(u8::is_ascii_control), "{parsed:?}");
    }
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    if path.is_empty() || path.len() > 1_000 || path.contains(char::is_control) || path.starts_with('-') {
        return;
    }
    let quoted = path.replace('\'', r"'\''").replace('!', r"'\!'");
    let parsed = exec::parse(format!("git-upload-pack '{quoted}'").as_bytes()).expect("git quotes like this");
    assert_eq!(parsed.named, named(path.strip_prefix('/').unwrap_or(path).trim_end_matches('/')));
}

/// The JSON of the LFS API; the first byte chooses which.
///
/// # Panics
/// When more is taken than is bounded, or a refusal is long.
pub fn lfs_json(bytes: &[u8]) {
    let Some((choice, json)) = bytes.split_first() else { return };
    let refusal = match choice % 5 {
        0 => match BatchRequest::parse(json) {
            Ok(batch) => {
                assert!(batch.objects.len() <= MAX_OBJECTS && batch.reference().is_ok());
                for pointer in &batch.objects {
                    assert!(pointer.text().0.chars().count() <= 128);
                    let _ = pointer.wanted();
                }
                return;
            }
            Err(refusal) => Some(refusal),
        },
        1 => Pointer::parse(json).err(),
        2 => LockRequest::parse(json).err(),
        3 => UnlockRequest::parse(json).err(),
        _ => Page::parse(json).err(),
    };
    if let Some(refusal) = refusal {
        assert!(refusal.line.len() <= MAX_LINE, "{} bytes", refusal.line.len());
    }
}
