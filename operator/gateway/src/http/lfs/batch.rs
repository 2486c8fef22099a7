//! Batches: which objects are there, and where to send or fetch each.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt as _};
use http::StatusCode;
use model::policy::Action;
use store::LfsObjects;

use super::direct::Upload;
use super::message::{Answered, BatchRequest, BatchResponse, Link, ObjectError, Operation, Pointer, Wanted};
use super::origin::Links;
use super::{Outcome, Refusal, Work, direct, json, quota};
use crate::authorize;

/// Objects that are looked up at once.
const LOOKUPS: usize = 32;

/// Answers a batch; what is wrong with one object is said about it and stops no other.
pub(crate) async fn batch(work: &Work, request: BatchRequest, links: &Links) -> Outcome {
    if let Some(name) = request.reference()?
        && request.operation == Operation::Upload
    {
        authorize_reference(work, Action::GitPush, &name)?;
    }
    let _turn = work.turn().await.map_err(|trouble| work.refusal(&trouble))?;
    let objects = work.lfs().await?;
    let (operation, is_sha256) = (request.operation, request.is_sha256());
    let answers = stream::iter(request.objects)
        .map(|pointer| {
            let objects = &objects;
            async move {
                if !is_sha256 {
                    return Ok(failed(&pointer, StatusCode::CONFLICT, "objects are named by sha256 here".to_owned()));
                }
                let wanted = match pointer.wanted() {
                    Ok(wanted) => wanted,
                    Err(line) => return Ok(failed(&pointer, StatusCode::UNPROCESSABLE_ENTITY, line)),
                };
                answer(work, objects, operation, wanted, links).await
            }
        })
        .buffered(LOOKUPS)
        .collect::<Vec<Result<Answered, Refusal>>>()
        .await;
    let mut answers = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    if operation == Operation::Upload {
        quota::limit(work, &objects, &mut answers).await;
    }
    let objects = answers;
    let missing = objects.iter().filter(|object| object.error.is_some()).count();
    let direct = count(work, operation, &objects);
    tracing::info!(
        request.id = work.caller.request_id,
        repo.name = %work.config.path,
        lfs.operation = ?operation,
        lfs.objects = objects.len(),
        lfs.refused = missing,
        lfs.direct = direct,
        "lfs batch answered"
    );
    Ok(json(StatusCode::OK, &BatchResponse { transfer: "basic", objects, hash_algo: "sha256" }))
}

/// Counts where clients were sent; gives how many of them to the bucket.
fn count(work: &Work, operation: Operation, answers: &[Answered]) -> u64 {
    let action = operation.verb();
    let links = || answers.iter().filter_map(|answer| answer.actions.get(action));
    let direct = links().filter(|link| link.is_direct()).count() as u64;
    let proxied = links().count() as u64 - direct;
    for (way, count) in [("direct", direct), ("proxied", proxied)] {
        work.gateway.metrics.lfs_links.with_label_values(&[action, way]).inc_by(count);
    }
    direct
}

/// Decides about the reference that a client says its call is for.
pub(super) fn authorize_reference(work: &Work, action: Action, name: &model::RefName) -> Result<(), Refusal> {
    let (desired, metrics) = (work.gateway.desired(), &work.gateway.metrics);
    authorize::reference(action, name, &work.config, &work.caller, &desired, metrics)
        .map_err(|line| Refusal::new(StatusCode::FORBIDDEN, line))
}

async fn answer(
    work: &Work,
    objects: &LfsObjects,
    operation: Operation,
    wanted: Wanted,
    links: &Links,
) -> Result<Answered, Refusal> {
    let Wanted { oid, size } = wanted;
    let found = match operation {
        Operation::Download => objects.find(&oid).await,
        // One that is about to be deleted is to be sent again.
        Operation::Upload => objects.find_lasting(&oid).await,
    };
    let found = found.map_err(|error| work.store_refusal(&error))?;
    let (actions, error) = match (operation, found) {
        (_, Some(found)) if found.size() != size => {
            let line = format!("the object has {} bytes and not {size}: its pointer file is wrong", found.size());
            (vec![], Some((StatusCode::UNPROCESSABLE_ENTITY, line)))
        }
        (Operation::Download, Some(found)) => {
            let link = direct::download(work, objects, &found).await;
            (vec![("download", link.unwrap_or_else(|| links.to(&format!("objects/{oid}"))))], None)
        }
        (Operation::Download, None) => {
            let line = "the object is not there; whoever committed it has to run: git lfs push --all";
            (vec![], Some((StatusCode::NOT_FOUND, line.to_owned())))
        }
        (Operation::Upload, Some(_)) => (vec![], None),
        (Operation::Upload, None) => match too_large(work, size) {
            Some(line) => (vec![], Some((StatusCode::UNPROCESSABLE_ENTITY, line))),
            None => (sending(work, objects, wanted, links).await?, None),
        },
    };
    let error = error.map(|(status, message)| ObjectError { code: status.as_u16(), message });
    let actions = BTreeMap::from_iter(actions);
    // What else there may be beside a download comes to us, with the client's credential.
    let authenticated = actions.get("download").is_some_and(Link::is_direct);
    Ok(Answered { oid: oid.to_string(), size, authenticated, actions, error })
}

/// Where to send an object that is not there, and where to say so.
async fn sending(
    work: &Work,
    objects: &LfsObjects,
    wanted: Wanted,
    links: &Links,
) -> Result<Vec<(&'static str, Link)>, Refusal> {
    let Wanted { oid, size } = wanted;
    let upload = match direct::upload(work, objects, wanted).await? {
        Upload::There => return Ok(vec![]),
        Upload::Direct(link) => link,
        // The size goes along, so that what arrives can be compared with what was announced here.
        Upload::Proxied => links.to(&format!("objects/{oid}?size={size}")),
    };
    Ok(vec![("upload", upload), ("verify", links.to("verify"))])
}

fn failed(pointer: &Pointer, status: StatusCode, message: String) -> Answered {
    let (oid, size) = pointer.text();
    let error = Some(ObjectError { code: status.as_u16(), message });
    Answered { oid, size, authenticated: false, actions: BTreeMap::new(), error }
}

/// What the client reads when an object is larger than the repository takes.
pub(super) fn too_large(work: &Work, size: u64) -> Option<String> {
    let limit = work.config.limits.lfs_object_bytes;
    (size > limit).then(|| {
        format!("the object has {size} bytes and an LFS object of this repository at most {limit} (spec.limits.lfsObjectSize)")
    })
}

/// Answers whether an upload arrived; what came to the bucket becomes visible by it.
pub(crate) async fn verify(work: &Work, body: &[u8]) -> Outcome {
    let wanted = Pointer::parse(body)?.wanted();
    let wanted = wanted.map_err(|line| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, line))?;
    let Wanted { oid, size } = wanted;
    let objects = work.lfs().await?;
    let mut found = objects.find_lasting(&oid).await.map_err(|error| work.store_refusal(&error))?;
    if found.is_none() {
        if let Some(line) = too_large(work, size) {
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, line));
        }
        found = direct::received(work, &objects, wanted).await?;
    }
    match found {
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "the object is not there")),
        Some(found) if found.size() != size => {
            let line = format!("the object has {} bytes and not {size}", found.size());
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, line))
        }
        Some(_) => Ok(json(StatusCode::OK, &serde_json::json!({"oid": oid.to_string(), "size": size}))),
    }
}
