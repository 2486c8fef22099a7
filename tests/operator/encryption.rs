//! Encrypted Repositories on a cluster: the condition, exchanging keys, two tenants with two keys, and what git clients read without.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::kube::{Tenant, condition, dedicated, give_credentials, kubectl, ready, repository};
use tests::wait;

const FIRST: &str = "q83vEjRWeJq83vASNFZ4mrze8BI0VniavN7wEjRWeJo=";
const SECOND: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn keys(tenant: &Tenant, entries: &Value) -> Result<()> {
    tenant.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": entries}))
}

fn encrypted(entry: &str) -> Value {
    json!({"encryption": {"envelope": {"secretKeyRef": {"name": "keys", "key": entry}}}})
}

#[test]
#[ignore = "needs a cluster"]
fn keys_are_exchanged_and_their_loss_is_one_tenants() -> Result<()> {
    let (tenant, other) = (ready("sealed")?, ready("sealed-too")?);
    for (tenant, key) in [(&tenant, FIRST), (&other, SECOND)] {
        tenant.apply(&repository("vault", &encrypted("1")))?;
        let locked = tenant.reason("repository/vault", "Ready", "EncryptionKeyUnavailable")?;
        ensure!(locked["message"].as_str().is_some_and(|text| text.contains("codekeep-credentials")), "{locked}");
        keys(tenant, &json!({"1": key}))?;
        tenant.grant_credentials()?;
        tenant.reason("repository/vault", "Encrypted", "EnvelopeEncryption")?;
        tenant.resolve("vault")?;
        tenant.clone("vault")?;
        tenant.push("vault", "one")?.accepted()?;
    }
    let before = tenant.object("repository/vault")?["status"]["encryption"]["wrappedBy"].clone();

    keys(&tenant, &json!({"1": FIRST, "2": SECOND}))?;
    tenant.apply(&repository("vault", &encrypted("2")))?;
    let wrapped = wait::until("the other key", Duration::from_mins(1), || {
        let now = tenant.object("repository/vault")?["status"]["encryption"]["wrappedBy"].clone();
        Ok((now != before).then_some(now))
    })?;
    ensure!(wrapped.as_str().is_some_and(|text| text.contains("fingerprint")), "{wrapped}");
    tenant.push("vault", "two")?.accepted()?;

    // Applying would keep the entry that is not named.
    tenant.kubectl(&["delete", "secret", "keys"])?.accepted()?;
    let lost = tenant.reason("repository/vault", "Encrypted", "EncryptionKeyUnavailable")?;
    ensure!(lost["message"].as_str().is_some_and(|text| text.contains("Secret")), "{lost}");
    let refused = tenant.push("vault", "three")?.refused()?;
    ensure!(refused.contains("the encryption key of this repository cannot be used"), "{refused}");
    other.push("vault", "two")?.accepted()?;
    tenant.push("hello", "two")?.accepted()?;

    keys(&tenant, &json!({"2": SECOND}))?;
    tenant.reason("repository/vault", "Encrypted", "EnvelopeEncryption")?;
    tenant.git("vault", &["push"])?.accepted()?;
    let refused = tenant.try_apply(&repository("vault", &json!({})))?.refused()?;
    ensure!(refused.contains("spec.encryption.envelope cannot be added or removed"), "{refused}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn pods_of_its_own_have_the_key_of_their_namespace() -> Result<()> {
    let tenant = ready("sealed-own")?;
    give_credentials(&tenant, "store")?;
    tenant.grant_credentials()?;
    keys(&tenant, &json!({"1": FIRST}))?;
    let mut spec = dedicated("store");
    spec["encryption"] = encrypted("1")["encryption"].clone();
    tenant.apply(&repository("vault", &spec))?;
    wait::until("its own pods serve", Duration::from_secs(90), || {
        let status = tenant.object("repository/vault")?["status"].clone();
        Ok((status["servingMode"] == "Dedicated" && !status["encryption"].is_null()).then_some(()))
    })?;
    tenant.resolve("vault")?;
    tenant.clone("vault")?;
    tenant.push("vault", "one")?.accepted()?;
    let explained = kubectl(&["explain", "repository.spec.encryption.envelope"])?.accepted()?;
    ensure!(explained.contains("dataKeyVersion"), "{explained}");
    ensure!(condition(&tenant.object("repository/vault")?, "Encrypted")["status"] == "True");
    Ok(())
}
