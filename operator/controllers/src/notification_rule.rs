//! What a `NotificationRule` means, together with the Secrets that it names, and how its deliveries go.

pub(crate) mod reconcile;

use model::Namespace;
use model::event::EventType;
use model::notification::{Rule, Target};
use model::secret::SecretString;
use url::Url;

use crate::access_policy::{selector, wildcards};
use crate::problem::Finding;
use crate::secret::Secret;

/// The rule that a resource describes, or why it cannot work. `secrets` finds Secrets of the rule's namespace.
pub(crate) fn rule<'a>(
    resource: &crds::NotificationRule,
    namespace: &Namespace,
    cluster_domain: Option<&str>,
    secrets: &impl Fn(&str) -> Option<&'a Secret>,
) -> Result<Rule, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut targets = Vec::new();
    for (index, listed) in resource.spec.targets.iter().enumerate() {
        let path = format!("spec.targets[{index}].webhook");
        match target(&path, listed, namespace, cluster_domain, secrets) {
            Ok(target) => targets.push(target),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(Rule {
        namespace: namespace.clone(),
        name: resource.metadata.name.clone().unwrap_or_default(),
        repositories: selector(&resource.spec.repositories),
        event_types: resource.spec.event_types.iter().copied().map(event_type).collect(),
        branches: wildcards(resource.spec.branches.as_deref().unwrap_or_default()),
        targets,
    })
}

fn target<'a>(
    path: &str,
    target: &crds::Target,
    namespace: &Namespace,
    cluster_domain: Option<&str>,
    secrets: &impl Fn(&str) -> Option<&'a Secret>,
) -> Result<Target, Finding> {
    let Some(webhook) = &target.webhook else { return Err(Finding::error(path, "is missing and must be there")) };
    let address = match (&webhook.url, &webhook.service) {
        (Some(url), _) => url.clone(),
        (None, Some(service)) => service_address(service, namespace, cluster_domain).ok_or_else(|| {
            Finding::error(format!("{path}.service"), "there are Services in a cluster only; write url")
        })?,
        (None, None) => return Err(Finding::error(path, "needs url or service")),
    };
    let url = Url::parse(&address)
        .map_err(|error| Finding::error(format!("{path}.url"), format!("is not a valid address: {error}")))?;
    let signing_key = webhook.signing_secret_ref.as_ref().map(|reference| {
        signing_key(reference, secrets(&reference.name)).map_err(|(field, message)| {
            Finding::error(format!("{path}.signingSecretRef.{field}"), message).because("SecretNotFound")
        })
    });
    let service = webhook.service.as_ref().map(|service| service.name.clone());
    Ok(Target { name: target.name.clone(), url, service, signing_key: signing_key.transpose()? })
}

/// The address of a Service. It names the namespace, so that no other one's is meant.
fn service_address(
    service: &crds::ServiceTarget,
    namespace: &Namespace,
    cluster_domain: Option<&str>,
) -> Option<String> {
    let scheme = match service.scheme {
        crds::Scheme::Http => "http",
        crds::Scheme::Https => "https",
    };
    let crds::ServiceTarget { name, port, path, .. } = service;
    Some(format!("{scheme}://{name}.{namespace}.svc.{}:{port}{path}", cluster_domain?))
}

fn signing_key(
    reference: &crds::SecretKeyRef,
    secret: Option<&Secret>,
) -> Result<SecretString, (&'static str, String)> {
    let Some(secret) = secret else {
        return Err(("name", format!("there is no Secret '{}' in this namespace; add it", reference.name)));
    };
    match secret.get(&reference.key) {
        Some(key) if !key.expose().is_empty() => Ok(key.clone()),
        Some(_) => {
            Err(("key", format!("the entry '{}' of the Secret is empty; put a long random text there", reference.key)))
        }
        None => Err(("key", format!("the Secret has no entry '{}' that is text; add it", reference.key))),
    }
}

fn event_type(kind: crds::EventType) -> EventType {
    match kind {
        crds::EventType::BranchesAndTagsCreated => EventType::BranchesAndTagsCreated,
        crds::EventType::BranchesAndTagsUpdated => EventType::BranchesAndTagsUpdated,
        crds::EventType::BranchesAndTagsDeleted => EventType::BranchesAndTagsDeleted,
    }
}
