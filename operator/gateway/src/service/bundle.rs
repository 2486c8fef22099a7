//! Bundles in the bucket (ADR 0020): whom they are offered to, and where they are.

use git::bundle::{self, Place};
use git::upload_pack::RequestError;

use super::fetch::refuse;
use super::{Answer, Trouble, Work};

/// Whether there is a bundle for the caller, as far as this server knows: who asks for it learns what is true then.
pub(crate) async fn is_offered(work: &Work) -> bool {
    if !may_be_offered(work) {
        return false;
    }
    let opened = work.store().ok().and_then(|store| store.opened(&work.config.path));
    // One that nobody has asked for lately is read now, as it would be with the command that follows. What goes wrong is left to that.
    let repository = match opened {
        Some(repository) => Ok(repository),
        None => work.open().await,
    };
    repository.is_ok_and(|repository| repository.is_direct() && repository.known().upkeep.bundle.is_some())
}

/// Whoever may fetch sees the branch that a bundle is of. The operator may not: it lists references and nothing else.
fn may_be_offered(work: &Work) -> bool {
    work.config.bundle_min_bytes.is_some() && !work.caller.lists_only && work.may_be_direct()
}

/// Tells where the bundle is; nothing when there is none any more.
pub(super) async fn list(work: &Work) -> Result<Answer, Trouble> {
    if work.config.bundle_min_bytes.is_none() {
        return Ok(refuse(&RequestError::Unsupported("the command bundle-uri"), work));
    }
    let mut link = None;
    if may_be_offered(work) {
        let (repository, snapshot) = work.open_within(work.config.max_staleness).await?;
        link = repository.bundle_link(&snapshot).await.unwrap_or_else(|error| {
            tracing::warn!(request.id = work.caller.request_id, repo.name = %work.config.path, %error, "no address of a bundle could be made");
            None
        });
    }
    let bytes = link.as_ref().map(|link| link.bytes);
    tracing::info!(request.id = work.caller.request_id, repo.name = %work.config.path, bundle.bytes = bytes, "bundle-uri answered");
    let place = link.as_ref().map(|link| Place { uri: &link.url, creation_token: link.creation_token });
    Ok(Answer::Whole(bundle::list(place).into()))
}
