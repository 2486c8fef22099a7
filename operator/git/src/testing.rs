//! What tests share.

use model::ObjectFormat;

/// What names the objects of tests that have real git make them: as git itself is told, by `GIT_DEFAULT_HASH`.
pub(crate) fn format() -> ObjectFormat {
    let told = std::env::var("GIT_DEFAULT_HASH").ok();
    told.map_or(ObjectFormat::Sha1, |format| format.parse().unwrap())
}
