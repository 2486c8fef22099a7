//! How the data of a Repository is encrypted at rest.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::notification_rule::SecretKeyRef;

/// How the data of a repository is encrypted at rest: by the bucket, by Codekeep before anything leaves the git servers, or both.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Encryption {
    /// The key of AWS KMS, or of what the bucket has in its place, that the bucket encrypts with (SSE-KMS): a key id or an ARN. Without
    /// it the bucket's own default applies. It may be changed; what is there already keeps the key that it was written with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^[A-Za-z0-9:/_.@-]+$"))]
    pub kms_key_id: Option<String>,
    /// Encrypts everything with keys of this repository alone before it leaves the git servers. Can be given to a new repository only,
    /// and not be taken away: the data does not change by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<Envelope>,
}

/// Envelope encryption: data keys that Codekeep makes encrypt the objects (AES-256-GCM), a key that you hold wraps the data keys. Destroy
/// that key, and nobody can read the repository any more.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretKeyRef) || has(self.keyServiceRef)")
        .message("envelope needs a key that wraps the data keys; give secretKeyRef or keyServiceRef")
)]
pub struct Envelope {
    /// An entry of a Secret with 32 random bytes as base64, as `openssl rand -base64 32` prints. The Secret's other entries are
    /// tried for data keys that were wrapped before: to change the key, add an entry, name it here, and remove the old entry when
    /// `status.encryption` shows the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// A key that never leaves its service. With `secretKeyRef` beside it, this one wraps and the Secret only unwraps what it has wrapped
    /// before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_service_ref: Option<KeyServiceRef>,
    /// Number of the data key that encrypts what is written. Raise it by one for a new data key; older ones go on to decrypt
    /// what they have encrypted.
    #[serde(default = "default_data_key_version")]
    #[schemars(range(min = 1, max = 100))]
    pub data_key_version: u32,
}

fn default_data_key_version() -> u32 {
    1
}

/// A key of AWS KMS, Vault or `OpenBao`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyServiceRef {
    /// The service, by the name that the platform team gave it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The key, as the service names it: a key id, alias or ARN of AWS KMS, a key name of the transit engine.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^[A-Za-z0-9:/_.@-]+$"))]
    pub key_id: String,
}

/// How the data is encrypted now.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionStatus {
    /// Number of the data key that encrypts what is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub data_key_version: Option<u32>,
    /// What wraps the data keys, in words; a key of a Secret is told by its fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2200))]
    pub wrapped_by: Option<String>,
}
