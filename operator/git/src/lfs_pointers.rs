//! Pointer files of Git LFS: which large objects the blobs of a repository name.
//!
//! Used to delete what nobody names, so every doubt is decided for the object: a blob that is small enough for a pointer file and has
//! the name somewhere in it keeps it, and an entry whose bytes are not those that its index vouches for ends the search.

use std::{collections::HashSet, hash::BuildHasher};

use gix::objs::Kind;
use model::lfs::Oid;

use crate::odb::{Error, Location, Pack, Packs, ReadCache};

/// Longest blob that git-lfs takes for a pointer file.
const MAX_POINTER: u64 = 1_024;
/// Entries of blobs of that size are shorter than this, unless somebody made a delta that is longer than what it stands for. A
/// longer one is too long for a damaged head to make anything of it that matters here.
const MAX_CHECKED: u64 = 4_096;
/// What comes before the name of an object, whatever version of the pointer's format there will be.
const BEFORE_OID: &[u8] = b"sha256:";
const OID_DIGITS: usize = 64;

/// Takes those objects out of `oids` that a blob of the packs names, whether or not anything leads to the blob.
///
/// # Errors
/// When an entry cannot be read. What is left of `oids` says nothing then.
pub fn take_named(packs: &Packs, oids: &mut HashSet<Oid, impl BuildHasher>) -> Result<(), Error> {
    let (mut cache, mut blob, mut stored) = (ReadCache::default(), Vec::new(), Vec::new());
    for (at, pack) in packs.packs().iter().enumerate() {
        for pair in pack.offsets().windows(2) {
            let (offset, length) = (pair[0], pair[1].saturating_sub(pair[0]));
            if length <= MAX_CHECKED {
                stored.resize(usize::try_from(length).unwrap_or(0), 0);
                vouch(pack, offset, &mut stored)?;
            }
            let location = Location { pack: at, offset };
            let (kind, size) = packs.header_at(location, &mut cache)?;
            if kind == Kind::Blob && size <= MAX_POINTER {
                packs.read(location, &mut blob, &mut cache)?;
                for oid in named(&blob) {
                    oids.remove(&oid);
                }
            }
        }
    }
    Ok(())
}

/// Whether the entry at `offset` is what its index says, read into `stored`, which has its length.
fn vouch(pack: &Pack, offset: u64, stored: &mut [u8]) -> Result<(), Error> {
    pack.read_exact_at(stored, offset)?;
    match pack.object_at(offset) {
        Some((_, crc)) if crc == crc32fast::hash(stored) => Ok(()),
        _ => Err(Error::damaged(pack.parts().pack.name(), format!("the entry at offset {offset} has changed"))),
    }
}

/// All that may be names of objects in a blob.
fn named(blob: &[u8]) -> impl Iterator<Item = Oid> {
    blob.windows(BEFORE_OID.len() + OID_DIGITS).filter_map(|window| {
        let digits = window.strip_prefix(BEFORE_OID)?;
        str::from_utf8(digits).ok()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_pointer_names_its_object() {
        let oid: Oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393".parse().unwrap();
        for text in [
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 12345\n"),
            format!("version https://hawser.github.com/spec/v1\r\noid sha256:{oid}\r\nsize 12345\r\n"),
            format!("version https://git-lfs.github.com/spec/v9\next-0-foo sha256:{oid}\nsize 1"),
            format!("sha256:{oid}"),
        ] {
            assert_eq!(named(text.as_bytes()).collect::<Vec<_>>(), [oid], "{text}");
        }
        let upper = oid.to_string().to_uppercase();
        for text in [String::new(), "sha256:".to_owned(), format!("sha256:{}", &upper), format!("sha1:{oid}")] {
            assert_eq!(named(text.as_bytes()).count(), 0, "{text}");
        }
    }
}
