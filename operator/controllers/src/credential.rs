//! Secrets of type `codekeep.dev/git-credential`: what a person types to be a `LocalUser`. And, in `ssh_key`, those of
//! `codekeep.dev/ssh-key`.

mod ssh_key;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use model::desired::{Credential, CredentialSecret};
use model::secret::SecretString;

use crate::manifest::Id;
use crate::problem::{Finding, did_you_mean};
use crate::secret::Secret;
pub(crate) use ssh_key::ssh_key;

const KEYS: [&str; 4] = ["user", "username", "password", "passwordHash"];
/// Longest name and password, in bytes.
const MAX_BYTES: usize = 1_024;
/// Most memory that checking one password may take, in KiB; and most passes and lanes. A Secret of one team must not slow
/// down the server of all.
const MAX_MEMORY_KIB: u32 = 256 * 1_024;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// The credential that a Secret holds, with what is wrong with it.
pub(crate) fn credential(secret: &Secret, id: &Id) -> (Option<Credential>, Vec<Finding>) {
    let mut findings = Vec::new();
    for name in secret.names().filter(|name| !KEYS.contains(name)) {
        findings
            .push(Finding::error(secret.field(name), format!("there is no such entry{}", did_you_mean(name, KEYS))));
    }
    let user = user(secret, &mut findings);
    let username = username(secret, &mut findings);
    if user.as_deref().is_some_and(names_an_account) && secret.get("username").is_none() {
        findings.push(Finding::error(secret.field("user"), AT));
    }
    let checked = password(secret, &mut findings);
    let credential = user.zip(checked).map(|(user, checked)| Credential {
        namespace: id.namespace.clone(),
        secret_name: id.name.clone(),
        username: username.unwrap_or_else(|| user.clone()),
        user,
        secret: checked,
    });
    (credential, findings)
}

/// The name that policies use.
fn user(secret: &Secret, findings: &mut Vec<Finding>) -> Option<String> {
    let field = secret.field("user");
    let Some(user) = secret.get("user").map(SecretString::expose) else {
        findings.push(Finding::error(field, "is missing and must be there: the name that policies use"));
        return None;
    };
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+=,-".contains(&byte);
    let good =
        user.len() <= 128 && user.bytes().all(inner) && user.starts_with(|first: char| first.is_ascii_alphanumeric());
    if !good {
        let message = "must have at most 128 letters, digits and . _ @ + = , - and begin with a letter or digit";
        findings.push(Finding::error(&field, format!("{message}{}", line_break(user))));
    }
    good.then(|| user.to_owned())
}

const AT: &str =
    "must not end in -at- and 12 digits, which is how clients name the namespace of a user; choose another name";

/// What the person types, when it differs.
fn username(secret: &Secret, findings: &mut Vec<Finding>) -> Option<String> {
    let username = secret.get("username")?.expose();
    let field = secret.field("username");
    if username.is_empty() || username.len() > MAX_BYTES {
        findings.push(Finding::error(field, "must have 1 to 1,024 bytes; remove it when it is the same as user"));
    } else if username.contains(':') || username.contains(char::is_control) {
        let message = "must not hold ':' or control characters, which HTTP cannot carry in a user name";
        findings.push(Finding::error(field, format!("{message}{}", line_break(username))));
    } else if names_an_account(username) {
        findings.push(Finding::error(field, AT));
    }
    Some(username.to_owned())
}

/// Whether a name ends as `alice-at-123456789012` does.
fn names_an_account(name: &str) -> bool {
    name.rsplit_once("-at-")
        .is_some_and(|(_, account)| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()))
}

fn password(secret: &Secret, findings: &mut Vec<Finding>) -> Option<CredentialSecret> {
    let has = |name: &str| secret.names().any(|there| there == name);
    match (has("password"), has("passwordHash")) {
        (false, false) => {
            let message = "is missing; give either password or passwordHash";
            findings.push(Finding::error(secret.field("passwordHash"), message));
        }
        (true, true) => {
            let message = "is there as well as passwordHash; remove one of them";
            findings.push(Finding::error(secret.field("password"), message));
        }
        (true, false) => {
            let password = secret.get("password")?;
            match plain_fault(password.expose()) {
                Some(fault) => findings.push(Finding::error(secret.field("password"), fault)),
                None => return Some(CredentialSecret::Password(password.clone())),
            }
        }
        (false, true) => {
            let hash = secret.get("passwordHash")?;
            match hash_fault(hash.expose()) {
                Some(fault) => findings.push(Finding::error(secret.field("passwordHash"), fault)),
                None => return Some(CredentialSecret::Hash(hash.clone())),
            }
        }
    }
    None
}

fn plain_fault(password: &str) -> Option<String> {
    if password.is_empty() || password.len() > MAX_BYTES {
        return Some("must have 1 to 1,024 bytes".to_owned());
    }
    let message = "must not hold control characters, which nobody can type";
    password.contains(char::is_control).then(|| format!("{message}{}", line_break(password)))
}

fn hash_fault(hash: &str) -> Option<String> {
    let form = "is not an argon2id hash in PHC form ($argon2id$v=19$m=...,t=...,p=...$SALT$HASH)";
    if hash.len() > MAX_BYTES {
        return Some(form.to_owned());
    }
    let parsed = match PasswordHash::new(hash) {
        Ok(parsed) if parsed.algorithm.as_str() == "argon2id" => parsed,
        _ => return Some(format!("{form}{}", line_break(hash))),
    };
    if parsed.salt.is_none() || parsed.hash.is_none() {
        return Some(format!("{form}: salt or hash is missing"));
    }
    let Ok(params) = Params::try_from(&parsed) else { return Some(format!("{form}: its parameters are out of range")) };
    let costly = params.m_cost() > MAX_MEMORY_KIB || params.t_cost() > MAX_PASSES || params.p_cost() > MAX_LANES;
    costly.then(|| format!("costs too much to check; use at most m={MAX_MEMORY_KIB}, t={MAX_PASSES}, p={MAX_LANES}"))
}

/// The commonest slip: `echo` instead of `printf` before `base64`.
fn line_break(text: &str) -> &'static str {
    if text.ends_with(['\n', '\r']) { "; it ends with a line break: encode it by printf, not echo" } else { "" }
}

#[cfg(test)]
mod tests;
