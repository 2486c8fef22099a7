//! How many bytes of LFS objects a repository may have (`spec.limits.lfsStorage`).

use http::StatusCode;
use store::LfsObjects;

use super::message::{Answered, Link, ObjectError};
use super::{Refusal, Work};

/// 507, Insufficient Storage, as the LFS API has it. git-lfs does not try again and shows the line.
const FULL: StatusCode = StatusCode::INSUFFICIENT_STORAGE;

/// The limit, if there is one, and what is used of it.
async fn used(work: &Work, objects: &LfsObjects) -> Option<(u64, u64)> {
    let limit = work.config.limits.lfs_storage_bytes;
    if limit == u64::MAX {
        return None;
    }
    // What is not known yet must not stop anybody: it is known soon.
    Some((limit, objects.usage().await.unwrap_or(0)))
}

fn line(used: u64, size: u64, limit: u64) -> String {
    format!(
        "the LFS objects of this repository have {used} bytes; with {size} more they would have more than {limit} \
         (spec.limits.lfsStorage)"
    )
}

/// Refuses those of the objects to be uploaded that do not fit any more; what fits is let in in the order of the batch.
pub(super) async fn limit(work: &Work, objects: &LfsObjects, answers: &mut [Answered]) {
    let Some((limit, mut used)) = used(work, objects).await else { return };
    for answer in answers.iter_mut().filter(|answer| answer.actions.contains_key("upload")) {
        let Ok(oid) = answer.oid.parse() else { continue };
        // Let in before, it counts already.
        let with = used.saturating_add(answer.size.saturating_sub(objects.promised(&oid)));
        let is_direct = answer.actions.get("upload").is_some_and(Link::is_direct);
        let refused = if with > limit {
            Some((FULL, line(used, answer.size, limit)))
        } else if is_direct && !objects.promise(&oid, answer.size) {
            Some((
                StatusCode::TOO_MANY_REQUESTS,
                "too many objects are on their way to the bucket; push again later".to_owned(),
            ))
        } else {
            None
        };
        match refused {
            None => used = with,
            Some((code, message)) => {
                answer.actions.clear();
                answer.error = Some(ObjectError { code: code.as_u16(), message });
            }
        }
    }
}

/// Refuses an upload that does not fit, unless the object is there already.
pub(super) async fn admit(work: &Work, objects: &LfsObjects, oid: &model::lfs::Oid, size: u64) -> Result<(), Refusal> {
    let Some((limit, used)) = used(work, objects).await else { return Ok(()) };
    // Let in by a batch before, it counts already.
    if used.saturating_add(size.saturating_sub(objects.promised(oid))) <= limit {
        return Ok(());
    }
    match objects.find_lasting(oid).await.map_err(|error| work.store_refusal(&error))? {
        Some(_) => Ok(()),
        None => Err(Refusal::new(FULL, line(used, size, limit))),
    }
}
