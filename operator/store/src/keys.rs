//! Every key in the bucket, in one place (ADR 0001).

use model::lfs::Oid;
use model::{Namespace, RepositoryId, RepositoryName, RepositoryPath};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::state::upkeep::Upload;

const CATALOG: &str = "catalog/";
/// A repository name is one path segment of the catalog.
const SEPARATORS: AsciiSet = CONTROLS.add(b'/').add(b'%');

/// Says whose the prefix is.
pub(crate) fn owner() -> &'static str {
    "owner"
}

pub(crate) fn catalog_all() -> &'static str {
    CATALOG
}

pub(crate) fn catalog_entry(path: &RepositoryPath) -> String {
    format!("{CATALOG}{}/{}", path.namespace, utf8_percent_encode(path.name.as_str(), &SEPARATORS))
}

/// The path whose catalog entry has this key.
pub(crate) fn catalog_path(key: &str) -> Option<RepositoryPath> {
    let (namespace, name) = key.strip_prefix(CATALOG)?.split_once('/')?;
    let namespace: Namespace = namespace.parse().ok()?;
    let name: RepositoryName = percent_decode_str(name).decode_utf8().ok()?.parse().ok()?;
    Some(RepositoryPath { namespace, name })
}

pub(crate) fn repository(id: &RepositoryId) -> String {
    format!("{id}/")
}

/// The wrapped data keys of an encrypted repository; the last one counts.
pub(crate) fn keyring(id: &RepositoryId, number: u64) -> String {
    format!("{id}/keys/{number:020}")
}

pub(crate) fn keyring_all(id: &RepositoryId) -> String {
    format!("{id}/keys/")
}

pub(crate) fn hint(id: &RepositoryId) -> String {
    format!("{id}/hint")
}

pub(crate) fn log_entry(id: &RepositoryId, generation: u64) -> String {
    format!("{id}/log/{generation:020}")
}

/// An entry of the log of an epoch (ADR 0019). The log of the first one has the names that [`log_entry`] gives.
pub(crate) fn log_entry_of(id: &RepositoryId, epoch: u64, generation: u64) -> String {
    format!("{}{generation:020}", log_of(id, epoch))
}

pub(crate) fn log_of(id: &RepositoryId, epoch: u64) -> String {
    if epoch == 0 { log_all(id) } else { format!("{id}/log.{epoch}/") }
}

/// What is to stand at a number of a replica's log that holds what another server wrote in vain.
pub(crate) fn decided(entry: &str) -> String {
    format!("{entry}.decided")
}

/// What several who promote a store agree on.
pub(crate) fn promotion(id: &RepositoryId, epoch: u64) -> String {
    format!("{id}/promotion/{epoch:020}")
}

/// Says which store is the primary one from some entry on.
pub(crate) fn epoch(id: &RepositoryId, number: u64) -> String {
    format!("{id}/epoch/{number:020}")
}

pub(crate) fn checkpoint(id: &RepositoryId, generation: u64) -> String {
    format!("{id}/checkpoint/{generation:020}")
}

pub(crate) fn checkpoint_all(id: &RepositoryId) -> String {
    format!("{id}/checkpoint/")
}

/// The table of all references after an entry, the base of checkpoints.
pub(crate) fn references(id: &RepositoryId, generation: u64) -> String {
    format!("{id}/references/{generation:020}")
}

pub(crate) fn references_all(id: &RepositoryId) -> String {
    format!("{id}/references/")
}

pub(crate) fn pack_all(id: &RepositoryId) -> String {
    format!("{id}/packs/")
}

pub(crate) fn pack(id: &RepositoryId, upload: &Upload) -> String {
    format!("{id}/packs/{upload}.pack")
}

pub(crate) fn pack_index(id: &RepositoryId, upload: &Upload) -> String {
    format!("{id}/packs/{upload}.idx")
}

/// A reachability table; its upload is not that of its pack.
pub(crate) fn reach(id: &RepositoryId, upload: &Upload) -> String {
    format!("{id}/packs/{upload}.reach")
}

/// A bundle of a branch, which is an upload of its own.
pub(crate) fn bundle(id: &RepositoryId, upload: &Upload) -> String {
    format!("{id}/packs/{upload}.bundle")
}

/// The content of a Git LFS object, in one of its lives: it may have been deleted and uploaded again.
pub(crate) fn lfs(id: &RepositoryId, oid: &Oid, life: u32) -> String {
    if life == 0 { format!("{id}/lfs/{oid}") } else { format!("{id}/lfs/{oid}.{life}") }
}

pub(crate) fn lfs_all(id: &RepositoryId) -> String {
    format!("{id}/lfs/")
}

/// How far a scrub of the LFS objects has come.
pub(crate) fn lfs_scrub(id: &RepositoryId) -> String {
    format!("{id}/lfs-scrub")
}

/// Size and checksums of a Git LFS object; it is there when this is.
pub(crate) fn lfs_sums(id: &RepositoryId, oid: &Oid, life: u32) -> String {
    lfs(id, oid, life) + ".sums"
}

/// Says, once and for ever, that nobody may rely on this life of an object any more.
pub(crate) fn lfs_gone(id: &RepositoryId, oid: &Oid, life: u32) -> String {
    lfs(id, oid, life) + ".gone"
}

/// What a key below `lfs/` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LfsPart {
    Content,
    Sums,
    Gone,
}

/// The object, its life and the part of it that has this key.
pub(crate) fn lfs_part(key: &str) -> Option<(Oid, u32, LfsPart)> {
    let mut words = key.rsplit('/').next()?.split('.');
    let oid = words.next()?.parse().ok()?;
    let (mut life, mut part) = (0, LfsPart::Content);
    let mut word = words.next();
    if let Some(number) = word.and_then(|word| word.parse().ok()).filter(|number| *number > 0) {
        life = number;
        word = words.next();
    }
    match word {
        None => {}
        Some("sums") => part = LfsPart::Sums,
        Some("gone") => part = LfsPart::Gone,
        Some(_) => return None,
    }
    words.next().is_none().then_some((oid, life, part))
}

/// The upload that an object of a pack belongs to.
pub(crate) fn upload(key: &str) -> Option<Upload> {
    let (generation, nonce) = key.rsplit('/').next()?.split_once('.')?.0.split_once('-')?;
    let nonce = <[u8; 8]>::try_from(hex::decode(nonce).ok()?).ok()?;
    Some(Upload { generation: generation.parse().ok()?, nonce })
}

pub(crate) fn log_all(id: &RepositoryId) -> String {
    format!("{id}/log/")
}

pub(crate) fn cursors_all(id: &RepositoryId) -> String {
    format!("{id}/cursor/")
}

/// Records of how far a notification target has been served; `target` is `<namespace>.<rule>.<target>`.
pub(crate) fn cursor_all(id: &RepositoryId, target: &str) -> String {
    format!("{id}/cursor/{target}/")
}

pub(crate) fn cursor(id: &RepositoryId, target: &str, number: u64) -> String {
    format!("{id}/cursor/{target}/{number:020}")
}

/// The number at the end of a numbered key.
pub(crate) fn number(key: &str) -> Option<u64> {
    let digits = key.rsplit('/').next()?;
    if digits.len() == 20 { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_lfs_objects_are_read_back() {
        let (id, oid) = (RepositoryId::random(&model::clock::SystemRandom), Oid::of([7; 32]));
        for life in [0, 1, 10, u32::MAX] {
            assert_eq!(lfs_part(&lfs(&id, &oid, life)), Some((oid, life, LfsPart::Content)));
            assert_eq!(lfs_part(&lfs_sums(&id, &oid, life)), Some((oid, life, LfsPart::Sums)));
            assert_eq!(lfs_part(&lfs_gone(&id, &oid, life)), Some((oid, life, LfsPart::Gone)));
        }
        for other in ["", ".sums.sums", ".0", ".x", ".1.2", ".1.sums.", ".tmp"] {
            let key = format!("{id}/lfs/{oid}{other}");
            assert_eq!(lfs_part(&key).is_some(), other.is_empty(), "{key}");
        }
    }
}
