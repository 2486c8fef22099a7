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

pub(crate) fn hint(id: &RepositoryId) -> String {
    format!("{id}/hint")
}

pub(crate) fn log_entry(id: &RepositoryId, generation: u64) -> String {
    format!("{id}/log/{generation:020}")
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

/// The content of a Git LFS object.
pub(crate) fn lfs(id: &RepositoryId, oid: &Oid) -> String {
    format!("{id}/lfs/{oid}")
}

pub(crate) fn lfs_all(id: &RepositoryId) -> String {
    format!("{id}/lfs/")
}

/// The object whose sums have this key.
pub(crate) fn lfs_oid(key: &str) -> Option<Oid> {
    key.rsplit('/').next()?.strip_suffix(".sums")?.parse().ok()
}

/// Size and checksums of a Git LFS object; it is there when this is.
pub(crate) fn lfs_sums(id: &RepositoryId, oid: &Oid) -> String {
    format!("{id}/lfs/{oid}.sums")
}

/// The upload that an object of a pack belongs to.
pub(crate) fn upload(key: &str) -> Option<Upload> {
    let (generation, nonce) = key.rsplit('/').next()?.split_once('.')?.0.split_once('-')?;
    let nonce = <[u8; 8]>::try_from(hex::decode(nonce).ok()?).ok()?;
    Some(Upload { generation: generation.parse().ok()?, nonce })
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
