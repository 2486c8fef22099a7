//! Events reach a receiver in the cluster, signed, and what hinders them is in the status.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tests::kube::Tenant;
use tests::wait;

/// Answers every request with 204 and appends it to a file. Perl is what a Debian image has.
const RECEIVER: &str = r#"
use IO::Socket::INET; $| = 1;
my $server = IO::Socket::INET->new(LocalPort => 8000, Listen => 16, ReuseAddr => 1) or die;
while (my $client = $server->accept) {
  my ($head, $length) = ("", 0);
  while (my $line = <$client>) { $head .= $line; $length = $1 if $line =~ /^content-length: (\d+)/i; last if $line =~ /^\r?$/ }
  read($client, my $body, $length); print "$head$body\n";
  print $client "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"; close $client;
}"#;

fn rule(webhook: &Value) -> Value {
    json!({"apiVersion": "codekeep.dev/v1alpha1", "kind": "NotificationRule", "metadata": {"name": "tell-ci"}, "spec": {
        "repositories": {"names": ["hello"]}, "targets": [{"name": "ci", "webhook": webhook}],
        "eventTypes": ["codecommit-repository-branches-and-tags-created", "codecommit-repository-branches-and-tags-updated"]}})
}

#[test]
#[ignore = "needs a cluster"]
fn a_push_reaches_a_service_of_the_namespace_and_the_rule_shows_it() -> Result<()> {
    let tenant = Tenant::new("hook")?;
    tenant.repository("hello", &json!({}))?;
    tenant.prepare()?;
    tenant
        .sh(&format!(
            "cat > /clones/receiver.pl <<'END'\n{RECEIVER}\nEND\nperl /clones/receiver.pl > /clones/received 2>&1 &"
        ))?
        .accepted()?;
    tenant.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ci"},
        "spec": {"selector": {"app": "client"}, "ports": [{"port": 80, "targetPort": 8000}]}}))?;
    let signed =
        json!({"service": {"name": "ci", "path": "/hook"}, "signingSecretRef": {"name": "hook-key", "key": "key"}});
    tenant.apply(&rule(&signed))?;
    tenant.reason("notificationrule/tell-ci", "ResolvedRefs", "CredentialsNotGranted")?;
    tenant.grant_credentials()?;
    tenant.reason("notificationrule/tell-ci", "ResolvedRefs", "SecretNotFound")?;
    tenant.kubectl(&["create", "secret", "generic", "hook-key", "--from-literal=key=a-long-random-one"])?.accepted()?;
    tenant.reason("notificationrule/tell-ci", "ResolvedRefs", "Resolved")?;
    tenant.clone("hello")?;
    tenant.push("hello", "one")?.accepted()?;
    let received = wait::until("the event", Duration::from_secs(30), || {
        let text = tenant.sh("cat /clones/received")?.accepted()?;
        Ok(text.contains("refs/heads/main").then_some(text))
    })?;
    assert!(received.starts_with("POST /hook ") && received.to_lowercase().contains("signature"), "{received}");
    tenant.reason("notificationrule/tell-ci", "Delivering", "Delivering")?;
    let status = tenant.object("notificationrule/tell-ci")?["status"].clone();
    assert!(status["lastSuccessTime"].is_string() && status["consecutiveFailures"] == 0, "{status}");
    Ok(())
}

#[test]
#[ignore = "needs a cluster"]
fn a_service_that_leads_out_of_the_namespace_is_not_a_way_around_the_filter() -> Result<()> {
    let tenant = Tenant::new("ssrf")?;
    tenant.repository("hello", &json!({}))?;
    tenant.prepare()?;
    // It resolves to a cluster IP, but to that of another namespace's Service.
    tenant.apply(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ci"},
        "spec": {"type": "ExternalName", "externalName": "kubernetes.default.svc.cluster.local"}}))?;
    tenant.apply(&rule(&json!({"service": {"name": "ci", "port": 443, "scheme": "HTTPS"}})))?;
    tenant.clone("hello")?;
    tenant.push("hello", "one")?.accepted()?;
    let condition = tenant.reason("notificationrule/tell-ci", "Delivering", "Failing")?;
    assert!(condition["message"].as_str().is_some_and(|message| message.contains("ExternalName")), "{condition}");
    Ok(())
}
