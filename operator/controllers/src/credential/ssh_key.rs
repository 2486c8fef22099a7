//! Secrets of type `codekeep.dev/ssh-key`: the public keys by which a person is a `LocalUser`.

use model::desired::SshCredential;
use model::secret::SecretString;
use model::ssh_key::SshPublicKey;

use super::user;
use crate::manifest::Id;
use crate::problem::{Finding, did_you_mean};
use crate::secret::Secret;

const KEYS: [&str; 2] = ["user", "publicKey"];
/// Most keys of one Secret.
const MAX_KEYS: usize = 64;

/// The keys that a Secret holds, with what is wrong with it.
pub(crate) fn ssh_key(secret: &Secret, id: &Id) -> (Option<SshCredential>, Vec<Finding>) {
    let mut findings = Vec::new();
    for name in secret.names().filter(|name| !KEYS.contains(name)) {
        findings
            .push(Finding::error(secret.field(name), format!("there is no such entry{}", did_you_mean(name, KEYS))));
    }
    let user = user(secret, &mut findings);
    let keys = keys(secret, &mut findings);
    let credential =
        user.map(|user| SshCredential { namespace: id.namespace.clone(), secret_name: id.name.clone(), user, keys });
    (credential, findings)
}

/// One key a line, as in `authorized_keys`; empty lines and those that begin with `#` are nothing.
fn keys(secret: &Secret, findings: &mut Vec<Finding>) -> Vec<SshPublicKey> {
    let field = secret.field("publicKey");
    let text = secret.get("publicKey").map(SecretString::expose).unwrap_or_default();
    let lines = text.lines().enumerate().filter(|(_, line)| !matches!(line.trim().chars().next(), None | Some('#')));
    let mut keys = Vec::new();
    for (number, line) in lines {
        match SshPublicKey::from_line(line) {
            Ok(key) => keys.push(key),
            Err(error) => findings.push(Finding::error(&field, format!("line {} {error}", number + 1))),
        }
        if keys.len() > MAX_KEYS {
            findings.push(Finding::error(&field, format!("holds more than {MAX_KEYS} keys; spread them over Secrets")));
            break;
        }
    }
    if keys.is_empty() && findings.iter().all(|finding| finding.field != field) {
        let message = "is missing and must be there: the line of a .pub file, or several lines";
        findings.push(Finding::error(field, message));
    }
    keys
}

#[cfg(test)]
mod tests;
