//! How a `Repository` is encrypted, together with the Secret that it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::encryption::{Encryption, Envelope, SecretKey, WrappingKey};

use crate::problem::Finding;
use crate::secret::Secret;

/// What the resource says, without the keys of its Secret.
pub(crate) fn encryption(spec: Option<&crds::Encryption>) -> Encryption {
    let envelope = spec.and_then(|spec| spec.envelope.as_ref());
    Encryption {
        kms_key_id: spec.and_then(|spec| spec.kms_key_id.clone()),
        envelope: envelope.map(|envelope| Arc::new(made(envelope, BTreeMap::new(), String::new()))),
    }
}

/// The same with the keys of its Secret. What is wrong with that makes the repository unreadable, not unknown: its clients are told why.
pub(crate) fn with_secret(spec: &crds::Envelope, secret: Option<&Secret>) -> (Arc<Envelope>, Vec<Finding>) {
    let Some(reference) = &spec.secret_key_ref else {
        return (Arc::new(made(spec, BTreeMap::new(), String::new())), vec![]);
    };
    let (mut keys, mut findings, mut chosen) = (BTreeMap::new(), vec![], String::new());
    let mut find = |field: &str, message: String| {
        let field = format!("spec.encryption.envelope.secretKeyRef.{field}");
        findings.push(Finding::error(field, message).because("EncryptionKeyNotFound"));
    };
    match secret {
        None => find("name", format!("there is no Secret '{}' in this namespace; add it", reference.name)),
        Some(secret) if secret.get(&reference.key).is_none() => {
            find("key", format!("the Secret has no entry '{}' that is text; add it", reference.key));
        }
        Some(_) => {}
    }
    for (entry, text) in secret.into_iter().flat_map(Secret::texts) {
        match SecretKey::parse(text.expose()) {
            Ok(key) => {
                let fingerprint = key.fingerprint();
                if entry == reference.key {
                    chosen.clone_from(&fingerprint);
                }
                keys.insert(fingerprint, key);
            }
            Err(reason) if entry == reference.key => find("key", format!("the entry '{entry}' of the Secret {reason}")),
            // Entries of another purpose.
            Err(_) => {}
        }
    }
    (Arc::new(made(spec, keys, chosen)), findings)
}

fn made(spec: &crds::Envelope, secrets: BTreeMap<String, SecretKey>, fingerprint: String) -> Envelope {
    let wrap_with = match &spec.key_service_ref {
        Some(crds::KeyServiceRef { name, key_id }) => {
            WrappingKey::Service { name: name.clone(), key_id: key_id.clone() }
        }
        None => WrappingKey::Secret { fingerprint },
    };
    Envelope { wrap_with, secrets, data_key: spec.data_key_version }
}
