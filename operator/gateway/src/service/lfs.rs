//! Git LFS: batches, transfers through this server, locks.
//!
//! A batch answers with addresses of this server. Addresses that lead to the bucket itself could take their place one by one: only
//! `batch.rs` makes them, and a client follows whatever it finds there.

mod batch;
mod download;
mod locks;
pub(crate) mod message;
mod range;
mod upload;

use axum::response::Response;
use http::StatusCode;
use model::error::Kind;
use store::LfsObjects;

use super::{Trouble, Work};
use crate::http::lfs::Refusal;
pub(crate) use batch::{batch, verify};
pub(crate) use download::download;
pub(crate) use locks::{lock, locks, unlock, verify_locks};
pub(crate) use upload::upload;

type Outcome = Result<Response, Refusal>;

impl Work {
    /// The LFS objects of the repository; nothing is read for it but its name.
    async fn lfs(&self) -> Result<LfsObjects, Refusal> {
        let store = self.store().map_err(|trouble| self.refusal(&trouble))?;
        let id = store.find_or_create(&self.config.path).await.map_err(|error| self.store_refusal(&error))?;
        Ok(store.lfs(&id))
    }

    fn refusal(&self, trouble: &Trouble) -> Refusal {
        let status = match trouble.kind {
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, trouble.line(self))
    }

    fn store_refusal(&self, error: &store::Error) -> Refusal {
        self.refusal(&Trouble::of_store(error, self))
    }
}
