//! What one push may cost.

/// Limits of a repository; the defaults hold where a manifest says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one pushed pack.
    pub pack_bytes: u64,
    /// Objects in one pushed pack.
    pub objects: u64,
    /// Sum of the inflated sizes of the entries of one pushed pack, and of the objects that its deltas make.
    pub inflated_bytes: u64,
    /// Inflated size of one object.
    pub object_bytes: u64,
    /// Length of a chain of deltas.
    pub delta_depth: u32,
    /// References that one push may change.
    pub refs_per_push: u32,
    /// Size of one Git LFS object.
    pub lfs_object_bytes: u64,
    /// Size of all Git LFS objects together.
    pub lfs_storage_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pack_bytes: 4 << 30,
            objects: 20_000_000,
            inflated_bytes: 2 << 40,
            object_bytes: 512 << 20,
            delta_depth: 4_095,
            refs_per_push: 20_000,
            lfs_object_bytes: 5 << 30,
            lfs_storage_bytes: u64::MAX,
        }
    }
}
