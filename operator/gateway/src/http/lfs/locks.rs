//! Locks: who works on a file that cannot be merged. They are advice that git-lfs heeds before a push; the log keeps them (ADR 0013).

use axum::extract::Query;
use http::{StatusCode, Uri};
use model::lfs::{LockId, LockPath};
use model::policy::{Action, Principal};
use serde::{Deserialize, Serialize};
use store::{CommitError, Lock, LockActor, LockRefusal, Snapshot};

use super::batch::authorize_reference;
use super::message::{LockRequest, Page, UnlockRequest};
use super::{Outcome, Refusal, Work, json};
use crate::service::{Trouble, chain};

/// Locks of a page, unless fewer are asked for.
const PAGE: usize = 100;
/// Locks of a page at most.
const MAX_PAGE: u64 = 1_000;

/// A lock as clients see it.
#[derive(Debug, Clone, Serialize)]
struct Shown {
    id: String,
    path: String,
    locked_at: String,
    owner: Owner,
}

#[derive(Debug, Clone, Serialize)]
struct Owner {
    name: String,
}

#[derive(Debug, Serialize)]
struct Listing {
    locks: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Verified {
    ours: Vec<Shown>,
    theirs: Vec<Shown>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// The query of a listing.
#[derive(Debug, Default, Deserialize)]
struct Filter {
    path: Option<String>,
    id: Option<String>,
    cursor: Option<String>,
    limit: Option<u64>,
}

/// Takes a lock.
pub(crate) async fn lock(work: &Work, body: &[u8]) -> Outcome {
    let LockRequest { path, reference } = LockRequest::parse(body)?;
    if let Some(name) = reference {
        authorize_reference(work, Action::GitPush, &name)?;
    }
    let _turn = work.turn().await.map_err(|trouble| work.refusal(&trouble))?;
    let repository = work.open().await.map_err(|trouble| work.refusal(&trouble))?;
    let mut id = [0; 16];
    work.gateway.random.fill(&mut id);
    let (id, owner) = (LockId(id), owner(&work.caller.principal));
    match repository.lock(id, path, owner, actor(work)).await {
        Ok(Ok(lock)) => {
            told(work, &lock, "lfs lock taken");
            Ok(json(StatusCode::CREATED, &serde_json::json!({"lock": shown(work, &lock)})))
        }
        Ok(Err(LockRefusal::Taken(lock))) => {
            let shown = shown(work, &lock);
            let message = format!("{} is locked by {} already", shown.path, shown.owner.name);
            let request_id = &work.caller.request_id;
            let body = serde_json::json!({"lock": shown, "message": message, "request_id": request_id});
            Ok(json(StatusCode::CONFLICT, &body))
        }
        Ok(Err(LockRefusal::TooMany)) => {
            let line = "the repository has as many locks as there may be; release some";
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, line))
        }
        Err(error) => Err(not_written(work, &error)),
    }
}

/// Lists locks.
pub(crate) async fn locks(work: &Work, uri: &Uri) -> Outcome {
    let Query(filter) = Query::<Filter>::try_from_uri(uri).map_err(|_| {
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the query of this listing cannot be understood")
    })?;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let snapshot = snapshot(work).await?;
    let (path, id) = (given(&filter.path), given(&filter.id));
    let wanted = |lock: &&Lock| {
        path.as_ref().is_none_or(|path| lock.path.as_str() == path)
            && id.as_ref().is_none_or(|id| lock.id.to_string() == *id)
    };
    let (found, next_cursor) = page(&snapshot, given(&filter.cursor).as_deref(), filter.limit, wanted)?;
    let locks = found.into_iter().map(|lock| shown(work, lock)).collect();
    Ok(json(StatusCode::OK, &Listing { locks, next_cursor }))
}

/// Lists locks before a push, the caller's own apart.
pub(crate) async fn verify_locks(work: &Work, body: &[u8]) -> Outcome {
    let Page { cursor, limit, reference } = Page::parse(body)?;
    if let Some(name) = reference {
        authorize_reference(work, Action::GitPush, &name)?;
    }
    let snapshot = snapshot(work).await?;
    let (found, next_cursor) = page(&snapshot, cursor.as_deref(), limit, |_| true)?;
    let me = owner(&work.caller.principal);
    let (ours, theirs): (Vec<&Lock>, Vec<&Lock>) = found.into_iter().partition(|lock| lock.owner == me);
    let all = |locks: Vec<&Lock>| locks.into_iter().map(|lock| shown(work, lock)).collect();
    Ok(json(StatusCode::OK, &Verified { ours: all(ours), theirs: all(theirs), next_cursor }))
}

/// Releases a lock; that of somebody else only by force, which needs an action of its own.
pub(crate) async fn unlock(work: &Work, id: Option<LockId>, body: &[u8]) -> Outcome {
    let UnlockRequest { force, reference } = UnlockRequest::parse(body)?;
    if let Some(name) = &reference {
        authorize_reference(work, Action::GitPush, name)?;
    }
    let missing = || Refusal::new(StatusCode::NOT_FOUND, "there is no such lock");
    let id = id.ok_or_else(missing)?;
    let snapshot = snapshot(work).await?;
    let lock = snapshot.locks.get(&id).ok_or_else(missing)?;
    if lock.owner != owner(&work.caller.principal) {
        if !force {
            let line =
                format!("{} is locked by {}; --force removes the lock of somebody else", lock.path, name(work, lock));
            return Err(Refusal::new(StatusCode::FORBIDDEN, line));
        }
        work.may(Action::OverrideLfsLocks)?;
    }
    let _turn = work.turn().await.map_err(|trouble| work.refusal(&trouble))?;
    let repository = work.open().await.map_err(|trouble| work.refusal(&trouble))?;
    let unlocked = repository.unlock(id, actor(work)).await.map_err(|error| not_written(work, &error))?;
    unlocked.ok_or_else(missing)?;
    told(work, lock, "lfs lock released");
    Ok(json(StatusCode::OK, &serde_json::json!({"lock": shown(work, lock)})))
}

/// The locks now: whatever was acknowledged before is in it.
async fn snapshot(work: &Work) -> Result<std::sync::Arc<Snapshot>, Refusal> {
    let _turn = work.turn().await.map_err(|trouble| work.refusal(&trouble))?;
    let opened = work.open_within(std::time::Duration::ZERO).await;
    opened.map(|(_, snapshot)| snapshot).map_err(|trouble| work.refusal(&trouble))
}

/// A page of locks, and where the next one begins.
fn page<'a>(
    snapshot: &'a Snapshot,
    cursor: Option<&str>,
    limit: Option<u64>,
    wanted: impl Fn(&&Lock) -> bool,
) -> Result<(Vec<&'a Lock>, Option<String>), Refusal> {
    let limit = limit.map_or(PAGE, |limit| usize::try_from(limit.clamp(1, MAX_PAGE)).unwrap_or(PAGE));
    let mut found: Vec<&Lock> = match cursor {
        None => snapshot.locks.iter().filter(wanted).take(limit + 1).collect(),
        Some(cursor) => snapshot.locks.after(&decode(cursor)?).filter(wanted).take(limit + 1).collect(),
    };
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| hex::encode(last.path.as_str()));
    Ok((found, next))
}

/// A cursor is the path of the last lock: it may be released meanwhile.
fn decode(cursor: &str) -> Result<LockPath, Refusal> {
    let path = hex::decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
    path.ok_or_else(|| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "this cursor is not one of ours"))
}

/// Whose a lock is: the kind goes along, so that nobody is taken for somebody of the same name.
fn owner(principal: &Principal) -> String {
    match principal {
        Principal::Anonymous => "Anonymous".to_owned(),
        Principal::LocalUser { namespace, name } => format!("LocalUser/{namespace}/{name}"),
        Principal::ServiceAccount { namespace, name, .. } => format!("ServiceAccount/{namespace}/{name}"),
        Principal::User { name, .. } => format!("User/{name}"),
    }
}

/// The owner as people of the repository's namespace know them.
fn name(work: &Work, lock: &Lock) -> String {
    let Some((kind, name)) = lock.owner.split_once('/') else { return lock.owner.clone() };
    let within = name.split_once('/').filter(|(namespace, _)| *namespace == work.config.path.namespace.as_str());
    match (kind, within) {
        ("LocalUser", Some((_, name))) => name.to_owned(),
        ("ServiceAccount", Some((_, name))) => format!("ServiceAccount {name}"),
        _ => name.to_owned(),
    }
}

fn shown(work: &Work, lock: &Lock) -> Shown {
    let at = lock.at.as_second();
    let at = jiff::Timestamp::from_second(at).unwrap_or(lock.at);
    Shown {
        id: lock.id.to_string(),
        path: lock.path.to_string(),
        locked_at: at.to_string(),
        owner: Owner { name: name(work, lock) },
    }
}

fn actor(work: &Work) -> LockActor {
    LockActor { actor: work.caller.principal.to_string(), request_id: work.caller.request_id.clone() }
}

fn told(work: &Work, lock: &Lock, what: &str) {
    tracing::info!(
        request.id = work.caller.request_id,
        repo.name = %work.config.path,
        lock.id = %lock.id,
        lock.owner = lock.owner,
        lock.by = %work.caller.principal,
        "{what}"
    );
}

fn not_written(work: &Work, error: &CommitError) -> Refusal {
    tracing::warn!(request.id = work.caller.request_id, repo.name = %work.config.path, error = %chain(error), "lfs lock not changed");
    let line = match error {
        CommitError::Failed(_) => {
            "the storage of this server is not available; nothing was changed, try again".to_owned()
        }
        other => other.to_string(),
    };
    work.refusal(&Trouble::new(error.kind(), line))
}
