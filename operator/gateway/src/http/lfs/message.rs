//! The JSON of the LFS API, parsed with bounds.

use std::collections::BTreeMap;

use http::StatusCode;
use model::RefName;
use model::lfs::{LockPath, Oid};
use model::policy::Action;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Refusal;

/// Objects of a batch; git-lfs sends a hundred at most.
pub(crate) const MAX_OBJECTS: usize = 1_000;

/// Characters of why JSON cannot be read.
const MAX_REASON: usize = 200;

/// What a batch is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    Download,
    Upload,
}

impl Operation {
    pub(crate) fn action(self) -> Action {
        match self {
            Self::Download => Action::GitPull,
            Self::Upload => Action::GitPush,
        }
    }

    /// The action of an object, as the API calls it.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct BatchRequest {
    pub(crate) operation: Operation,
    transfers: Option<Vec<String>>,
    #[serde(rename = "ref")]
    reference: Option<Reference>,
    pub(crate) objects: Vec<Pointer>,
    hash_algo: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Reference {
    name: Option<String>,
}

/// An object as a client names it: whatever is wrong with it is said about it alone.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pointer {
    #[serde(default)]
    oid: Value,
    #[serde(default)]
    size: Value,
}

/// An object that can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) oid: Oid,
    pub(crate) size: u64,
}

impl Pointer {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        from_json(bytes)
    }

    /// As the answer repeats it.
    pub(crate) fn text(&self) -> (String, u64) {
        let oid: String = self.oid.as_str().unwrap_or_default().chars().take(128).collect();
        (oid, self.size.as_u64().unwrap_or(0))
    }

    pub(crate) fn wanted(&self) -> Result<Wanted, String> {
        let oid = self.oid.as_str().ok_or("an object has no oid")?;
        let oid = oid.parse().map_err(|error: model::lfs::OidError| error.to_string())?;
        let size = self.size.as_u64().ok_or("the size of an object is a whole number of bytes, 0 or more")?;
        Ok(Wanted { oid, size })
    }
}

impl BatchRequest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let batch: Self = from_json(bytes)?;
        if batch.objects.len() > MAX_OBJECTS {
            let line = format!("a batch may have {MAX_OBJECTS} objects; set lfs.transfer.batchSize lower");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, line));
        }
        if batch.transfers.as_ref().is_some_and(|all| !all.is_empty() && !all.iter().any(|name| name == "basic")) {
            let line = "this server knows the transfer 'basic' only";
            return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, line));
        }
        reference(batch.reference.as_ref())?;
        Ok(batch)
    }

    pub(crate) fn reference(&self) -> Result<Option<RefName>, Refusal> {
        reference(self.reference.as_ref())
    }

    /// Whether objects are named by SHA-256.
    pub(crate) fn is_sha256(&self) -> bool {
        self.hash_algo.as_deref().is_none_or(|name| name == "sha256")
    }
}

fn reference(given: Option<&Reference>) -> Result<Option<RefName>, Refusal> {
    let Some(name) = given.and_then(|reference| reference.name.as_deref()).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let parsed = RefName::try_from(name);
    parsed.map(Some).map_err(|error| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the ref: {error}")))
}

#[derive(Serialize)]
pub(crate) struct BatchResponse {
    pub(crate) transfer: &'static str,
    pub(crate) objects: Vec<Answered>,
    pub(crate) hash_algo: &'static str,
}

#[derive(Serialize)]
pub(crate) struct Answered {
    pub(crate) oid: String,
    pub(crate) size: u64,
    /// Whether no action needs the client's credential. It would confuse a bucket.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) authenticated: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) actions: BTreeMap<&'static str, Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ObjectError>,
}

/// An address. It may hold a signature or a pass, so it is never logged.
#[derive(Serialize)]
pub(crate) struct Link {
    pub(crate) href: String,
    /// What has to be sent along, where the client does not know it by itself.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) header: BTreeMap<String, String>,
    /// Seconds for which it holds, if not for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_in: Option<u64>,
}

impl Link {
    /// Whether it leads to the bucket.
    pub(crate) fn is_direct(&self) -> bool {
        self.expires_in.is_some()
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct ObjectError {
    pub(crate) code: u16,
    pub(crate) message: String,
}

#[derive(Debug, Deserialize)]
struct LockBody {
    path: String,
    #[serde(rename = "ref")]
    reference: Option<Reference>,
}

/// A lock that is wanted.
pub(crate) struct LockRequest {
    pub(crate) path: LockPath,
    pub(crate) reference: Option<RefName>,
}

impl LockRequest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let body: LockBody = from_json(bytes)?;
        let refuse =
            |error: model::lfs::LockPathError| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string());
        Ok(Self { path: body.path.parse().map_err(refuse)?, reference: reference(body.reference.as_ref())? })
    }
}

#[derive(Debug, Default, Deserialize)]
struct UnlockBody {
    #[serde(default)]
    force: bool,
    #[serde(rename = "ref")]
    reference: Option<Reference>,
}

/// A lock that is not wanted any more.
#[derive(Debug)]
pub(crate) struct UnlockRequest {
    pub(crate) force: bool,
    pub(crate) reference: Option<RefName>,
}

impl UnlockRequest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let body: UnlockBody = from_json(bytes)?;
        Ok(Self { force: body.force, reference: reference(body.reference.as_ref())? })
    }
}

#[derive(Debug, Default, Deserialize)]
struct VerifyBody {
    cursor: Option<String>,
    limit: Option<u64>,
    #[serde(rename = "ref")]
    reference: Option<Reference>,
}

/// Which locks are asked for.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) cursor: Option<String>,
    pub(crate) limit: Option<u64>,
    pub(crate) reference: Option<RefName>,
}

impl Page {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let VerifyBody { cursor, limit, reference: given } = from_json(bytes)?;
        Ok(Self { cursor: cursor.filter(|text| !text.is_empty()), limit, reference: reference(given.as_ref())? })
    }
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        // It repeats what was sent, however long that is.
        let why: String = error.to_string().chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, format!("this is not the JSON that is expected here: {why}"))
    })
}

#[cfg(test)]
mod tests;
