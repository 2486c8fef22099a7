//! Clients and the bucket itself (ADR 0017): which of them meet, and what becomes of what they send there.

use std::time::Duration;

use http::StatusCode;
use model::encryption::Encryption;
use store::{Adopted, DirectLink, LfsObject, LfsObjects, UploadLink};

use super::message::{Link, Wanted};
use super::{Refusal, Work};
use crate::service::Trouble;

/// How long a batch waits for content that lies in the bucket to be read.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client that has an object to send is told.
pub(super) enum Upload {
    /// It is there.
    There,
    /// Send it to the bucket.
    Direct(Link),
    /// Send it to us.
    Proxied,
}

impl Work {
    /// Whether objects of this repository may go straight between its clients and the bucket, those of Git LFS and bundles. The one place that
    /// decides it: a repository whose objects lie there as something else than what clients send and get, or under a key that they would
    /// have to name, is left out.
    pub(crate) fn may_be_direct(&self) -> bool {
        let is_plain = self.config.encryption == Encryption::default();
        is_plain && self.store().is_ok_and(|store| store.is_direct())
    }
}

/// How an object is read from the bucket, if it is.
pub(super) async fn download(work: &Work, objects: &LfsObjects, object: &LfsObject) -> Option<Link> {
    if !work.may_be_direct() {
        return None;
    }
    let link = objects.download_link(object).await;
    link.inspect_err(|error| unsigned(work, error)).ok().flatten().map(of)
}

/// How an object is sent that is not there.
pub(super) async fn upload(work: &Work, objects: &LfsObjects, wanted: Wanted) -> Result<Upload, Refusal> {
    if !work.may_be_direct() {
        return Ok(Upload::Proxied);
    }
    match objects.upload_link(&wanted.oid, wanted.size).await {
        Ok(UploadLink::Direct(link)) => Ok(Upload::Direct(of(link))),
        Ok(UploadLink::Proxied) => Ok(Upload::Proxied),
        Ok(UploadLink::Sent) => match tokio::time::timeout(PATIENCE, adopt(work, objects, wanted)).await {
            Ok(Ok(Adopted::Kept(_))) => Ok(Upload::There),
            // Whatever lies there: what comes through us takes its place.
            Ok(Ok(Adopted::Missing | Adopted::Wrong(_))) | Err(_) => Ok(Upload::Proxied),
            Ok(Err(refusal)) => Err(refusal),
        },
        Err(error) => {
            unsigned(work, &error);
            Ok(Upload::Proxied)
        }
    }
}

/// What a client has sent to the bucket becomes visible, if it is what it should be.
pub(super) async fn received(work: &Work, objects: &LfsObjects, wanted: Wanted) -> Result<Option<LfsObject>, Refusal> {
    if !work.may_be_direct() {
        return Ok(None);
    }
    match adopt(work, objects, wanted).await? {
        Adopted::Kept(object) => Ok(Some(object)),
        Adopted::Missing => Ok(None),
        Adopted::Wrong(reason) => {
            tracing::warn!(request.id = work.caller.request_id, repo.name = %work.config.path, lfs.oid = %wanted.oid, reason, "what lies in the bucket is not the lfs object");
            Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the object did not arrive: {reason}")))
        }
    }
}

/// Has it read, which goes on to its end even if the client goes away: it asks again.
async fn adopt(work: &Work, objects: &LfsObjects, wanted: Wanted) -> Result<Adopted, Refusal> {
    let turn = work.transfer().await.map_err(|trouble| work.refusal(&trouble))?;
    let (objects, work_too) = (objects.clone(), work.clone());
    let adopting = tokio::spawn(async move {
        let _turn = turn;
        let adopted = objects.adopt(wanted.oid, wanted.size).await;
        if let Ok(Adopted::Kept(object)) = &adopted {
            let (caller, path) = (&work_too.caller, &work_too.config.path);
            tracing::info!(request.id = caller.request_id, repo.name = %path, lfs.oid = %wanted.oid, lfs.bytes = object.size(), lfs.direct = true, "lfs object stored");
        }
        adopted
    });
    let adopted = adopting.await.map_err(|error| work.refusal(&Trouble::internal(&error, work)))?;
    adopted.map_err(|error| work.store_refusal(&error))
}

fn of(link: DirectLink) -> Link {
    let DirectLink { url, headers, holds } = link;
    Link { href: url, header: headers.into_iter().collect(), expires_in: Some(holds.as_secs()) }
}

fn unsigned(work: &Work, error: &store::Error) {
    tracing::warn!(request.id = work.caller.request_id, repo.name = %work.config.path, %error, "an lfs object goes through this server: no address of the bucket could be made");
}
