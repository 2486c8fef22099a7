//! `.gitattributes`: sizes that make git's parser overflow.

use gix::objs::Kind;

use super::Problem;

/// As in git's `attr.h`.
const FILE_BYTES: usize = 100 << 20;
const LINE_BYTES: usize = 2_048;

pub(super) fn check(kind: Kind, data: &[u8]) -> Result<(), Problem> {
    if kind != Kind::Blob {
        return Err(Problem::new("gitattributesBlob", "non-blob found at .gitattributes"));
    }
    if data.len() > FILE_BYTES {
        return Err(Problem::new("gitattributesLarge", ".gitattributes too large to parse"));
    }
    // git reads it as text, which a NUL ends.
    let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.split(|byte| *byte == b'\n').any(|line| line.len() >= LINE_BYTES) {
        return Err(Problem::new("gitattributesLineLength", ".gitattributes has too long lines to parse"));
    }
    Ok(())
}
