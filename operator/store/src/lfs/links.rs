//! Requests by which clients move content between themselves and the bucket (ADR 0017).

use model::lfs::Oid;

use super::{LfsObject, LfsObjects};
use crate::error::Error;
use crate::keys;
use crate::object::StoreError;
use crate::s3::DirectLink;

/// What a client that has an object to send may do.
pub enum UploadLink {
    /// Send it to the bucket.
    Direct(DirectLink),
    /// Nothing yet: content lies there already, and nobody has looked at it. See [`LfsObjects::adopt`].
    Sent,
    /// Send it to us.
    Proxied,
}

impl LfsObjects {
    /// How a client reads an object from the bucket; `None` when it has to come through us.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn download_link(&self, object: &LfsObject) -> Result<Option<DirectLink>, Error> {
        let Some(direct) = self.shared.direct() else { return Ok(None) };
        Ok(Some(direct.download(&keys::lfs(&self.id, object.oid(), object.life())).await?))
    }

    /// How a client sends an object that is not there.
    ///
    /// # Errors
    /// When the store does not say, or it cannot be signed.
    pub async fn upload_link(&self, oid: &Oid, size: u64) -> Result<UploadLink, Error> {
        let Some(direct) = self.shared.direct() else { return Ok(UploadLink::Proxied) };
        let (life, _) = self.lasting(oid).await?;
        let key = keys::lfs(&self.id, oid, life);
        let Some(link) = direct.upload(&key, oid, size).await? else { return Ok(UploadLink::Proxied) };
        // The bucket would refuse it: nothing is ever written over.
        match self.shared.store.stream(&key, 0..1, size).await {
            Ok(None) => Ok(UploadLink::Direct(link)),
            Ok(Some(_)) => Ok(UploadLink::Sent),
            Err(StoreError::Damaged { .. }) => Ok(UploadLink::Proxied),
            Err(error) => Err(error.into()),
        }
    }
}
