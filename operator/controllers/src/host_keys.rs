//! The SSH host keys of the pool (ADR 0012): what a Secret holds of them, and what clients have to know. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use model::SshPublicKey;

use crate::pool::PoolConfig;

/// The entry of the key that the controller makes.
pub(crate) const MADE: &str = "ssh_host_ed25519_key";

/// The public halves of the keys in a Secret, in the order of their names: of each kind the first one signs, and the others are known
/// before their time comes. What is no key is left out; the pods name it.
pub(crate) fn public(entries: &BTreeMap<String, ByteString>) -> Vec<SshPublicKey> {
    let is_private = |name: &str| name.strip_suffix(".pub").is_none() && name != "known_hosts";
    let keys = entries.iter().filter(|(name, _)| is_private(name)).filter_map(|(_, bytes)| {
        let blob = pki::host_key::public_blob(std::str::from_utf8(&bytes.0).ok()?)?;
        SshPublicKey::from_blob(&blob).ok()
    });
    keys.collect()
}

/// The `known_hosts` of a namespace: every Repository's Service there, the pool's Service, and its name outside the cluster.
pub(crate) fn known_hosts(keys: &[SshPublicKey], namespace: &str, pool: &PoolConfig, pool_namespace: &str) -> String {
    let service = format!("{}.{pool_namespace}", pool.name);
    let mut hosts: Vec<String> = [format!("*.{namespace}"), service]
        .iter()
        .flat_map(|name| [format!("{name}.svc"), format!("{name}.svc.{}", pool.cluster_domain)])
        .collect();
    hosts.extend(pool.external_url.as_ref().and_then(|url| url.host_str()).map(str::to_owned));
    if pool.ssh.port != 22 {
        hosts = hosts.iter().map(|host| format!("[{host}]:{}", pool.ssh.port)).collect();
    }
    let hosts = hosts.join(",");
    let lines: Vec<String> = keys.iter().map(|key| format!("{hosts} {key}\n")).collect();
    lines.concat()
}

/// What to give to `git clone`.
pub(crate) fn clone_url(host: &str, path: &str, port: u16) -> String {
    let port = if port == 22 { String::new() } else { format!(":{port}") };
    format!("ssh://git@{host}{port}/{path}")
}

#[cfg(test)]
mod tests;
