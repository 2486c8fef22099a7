//! The one choke point: may this principal do this here? Every answer is counted and written to the audit log.
//!
//! What a denied client reads depends only on what it may know: where it may not read, the text is a function of who asks and of
//! the name, never of whether the repository exists.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use git::receive_pack::Certificate;
use gix::bstr::ByteSlice as _;
use model::desired::{DesiredState, RepositoryConfig};
use model::policy::{AccessRequest, Action, Decision, Labels, Principal, ReferenceScope};
use model::{RefName, RepositoryPath};

use crate::address::network_of;
use crate::authn::Proof;
use crate::authn::nonce::NonceError;
use crate::metrics::GatewayMetrics;

/// Who asks, from where, in which request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// How it has shown that.
    pub(crate) proof: Proof,
    pub(crate) source: IpAddr,
    pub(crate) request_id: String,
    /// Whether it may list references and nothing else: the operator, when it proves that a repository is served.
    pub(crate) lists_only: bool,
}

impl Caller {
    /// Whose turns its requests take. Who has shown nothing is told apart by the network that they come from.
    pub(crate) fn owner(&self) -> String {
        match (&self.principal, self.principal.kubernetes_user()) {
            (Principal::Anonymous, _) => format!("anonymous {}", network_of(self.source)),
            (_, Some(user)) => format!("kubernetes {user}"),
            (principal, None) => format!("user {principal}"),
        }
    }
}

/// Why a request may not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The caller may not know whether the repository exists.
    Hidden(String),
    /// The caller may read but not do this.
    Forbidden(String),
    /// The caller may, but nobody is served now.
    Suspended(String),
}

impl Denial {
    /// What the client reads.
    pub(crate) fn text(&self) -> &str {
        let (Self::Hidden(text) | Self::Forbidden(text) | Self::Suspended(text)) = self;
        text
    }
}

/// Lets a caller in, or says why not: what every transport asks before anything else is done.
pub(crate) fn admit(
    action: Action,
    path: &RepositoryPath,
    caller: &Caller,
    desired: &DesiredState,
    metrics: &GatewayMetrics,
) -> Result<Arc<RepositoryConfig>, Denial> {
    let decide = if caller.lists_only { operator } else { repository };
    let config = decide(action, path, caller, desired, metrics)?;
    if config.suspended {
        let whom = whom_to_ask(path);
        return Err(Denial::Suspended(format!("repository '{path}' is suspended; {whom}\n")));
    }
    Ok(config)
}

/// Decides about a repository as a whole; grants only what exists.
fn repository(
    action: Action,
    path: &RepositoryPath,
    caller: &Caller,
    desired: &DesiredState,
    metrics: &GatewayMetrics,
) -> Result<Arc<RepositoryConfig>, Denial> {
    let config = desired.repositories.get(path);
    let no_labels = Labels::new();
    let labels = config.map_or(&no_labels, |config| &config.labels);
    let decide = |action, labels| {
        let reference = match action {
            Action::GitPull => ReferenceScope::Whole,
            Action::GitPush | Action::OverrideLfsLocks => ReferenceScope::Any,
        };
        desired.policies.evaluate(&request(action, path, caller, labels, reference))
    };
    let decision = decide(action, labels);
    record(action, path, caller, &decision, config.is_some(), metrics);
    match config {
        Some(config) if decision.is_allowed() => Ok(Arc::clone(config)),
        Some(_) if action != Action::GitPull && decide(Action::GitPull, labels).is_allowed() => {
            Err(Denial::Forbidden(forbidden(action, path, caller, &decision)))
        }
        // Without labels, the decision is the same for a repository that exists and for one that does not.
        _ => Err(Denial::Hidden(hidden(action, path, caller, &decide(action, &no_labels)))),
    }
}

/// Lets the operator list references, whatever the policies say: what it does not need it is not given.
fn operator(
    action: Action,
    path: &RepositoryPath,
    caller: &Caller,
    desired: &DesiredState,
    metrics: &GatewayMetrics,
) -> Result<Arc<RepositoryConfig>, Denial> {
    let config = desired.repositories.get(path);
    let (policy, sid) = ("(operator)".to_owned(), "ls-refs".to_owned());
    let decision = match action {
        Action::GitPull => Decision::Allowed { policy, sid },
        Action::GitPush | Action::OverrideLfsLocks => Decision::ExplicitlyDenied { policy, sid },
    };
    record(action, path, caller, &decision, config.is_some(), metrics);
    let config = config.ok_or_else(|| Denial::Hidden(format!("repository '{path}' was not found\n")))?;
    if decision.is_allowed() {
        return Ok(Arc::clone(config));
    }
    Err(Denial::Forbidden(format!("{OPERATOR_LISTS}\n")))
}

/// What the operator reads when it asks for more.
const OPERATOR_LISTS: &str = "the operator may list references and nothing else";

/// Refuses the operator a fetch, which shows only in the request's body; gives what it reads.
pub(crate) fn operator_fetch(path: &RepositoryPath, caller: &Caller, metrics: &GatewayMetrics) -> &'static str {
    let decision = Decision::ExplicitlyDenied { policy: "(operator)".to_owned(), sid: "ls-refs".to_owned() };
    record(Action::GitPull, path, caller, &decision, true, metrics);
    OPERATOR_LISTS
}

/// Decides about each reference of a push; `Err` holds what the client reads for that reference.
pub(crate) fn references(
    names: &[RefName],
    config: &RepositoryConfig,
    caller: &Caller,
    desired: &DesiredState,
    metrics: &GatewayMetrics,
) -> Vec<Result<(), String>> {
    let base = request(Action::GitPush, &config.path, caller, &config.labels, ReferenceScope::Any);
    let decisions = desired.policies.evaluate_references(&base, names);
    let explain = |decision: Decision| {
        let why = match decision {
            Decision::Allowed { .. } => return Ok(()),
            Decision::ExplicitlyDenied { policy, sid } => format!("denied by AccessPolicy {policy}, statement {sid}"),
            Decision::NotAllowed => "no AccessPolicy allows codecommit:GitPush to this reference".to_owned(),
        };
        Err(format!("{why}; {}", whom_to_ask(&config.path)))
    };
    let denied = decisions.iter().filter(|decision| !decision.is_allowed()).count();
    for decision in decisions.iter().filter(|decision| !decision.is_allowed()).take(1) {
        record(Action::GitPush, &config.path, caller, decision, true, metrics);
    }
    if denied > 1 {
        tracing::info!(target: "audit", denied, request.id = caller.request_id, "references of this push were denied");
    }
    decisions.into_iter().map(explain).collect()
}

/// Decides about an action on one reference of a repository that the caller may already do something with; `Err` holds what the
/// client reads.
pub(crate) fn reference(
    action: Action,
    name: &RefName,
    config: &RepositoryConfig,
    caller: &Caller,
    desired: &DesiredState,
    metrics: &GatewayMetrics,
) -> Result<(), String> {
    let scope = ReferenceScope::One(name);
    let decision = desired.policies.evaluate(&request(action, &config.path, caller, &config.labels, scope));
    record(action, &config.path, caller, &decision, true, metrics);
    if decision.is_allowed() { Ok(()) } else { Err(forbidden(action, &config.path, caller, &decision)) }
}

/// Writes down that a push was signed. By whom is not known: no signature is verified here (ADR 0014).
pub(crate) fn certificate(
    certificate: &Certificate,
    nonce: Result<(), NonceError>,
    path: &RepositoryPath,
    caller: &Caller,
) {
    let digest = digest::digest(&digest::SHA256, &certificate.text);
    // What the client says; bounded, and no character of it can end the line.
    let pusher: String = certificate.pusher.to_str_lossy().chars().filter(|c| !c.is_control()).take(200).collect();
    tracing::info!(
        target: "audit",
        principal = %caller.principal,
        request.id = caller.request_id,
        source.ip = %caller.source,
        repo.name = %path,
        certificate.pusher = pusher,
        certificate.format = certificate.format,
        certificate.sha256 = hex::encode(digest),
        certificate.nonce = nonce.map_or_else(NonceError::status, |()| "OK"),
        certificate.verified = false,
        "push certificate received"
    );
}

fn request<'a>(
    action: Action,
    path: &'a RepositoryPath,
    caller: &'a Caller,
    labels: &'a Labels,
    reference: ReferenceScope<'a>,
) -> AccessRequest<'a> {
    AccessRequest { principal: &caller.principal, action, repository: path, labels, reference, source: caller.source }
}

fn record(
    action: Action,
    path: &RepositoryPath,
    caller: &Caller,
    decision: &Decision,
    exists: bool,
    metrics: &GatewayMetrics,
) {
    let (word, policy, sid) = match decision {
        Decision::Allowed { policy, sid } => ("allow", policy.as_str(), sid.as_str()),
        Decision::ExplicitlyDenied { policy, sid } => ("deny", policy.as_str(), sid.as_str()),
        Decision::NotAllowed => ("deny", "", ""),
    };
    metrics.decided(action.as_str(), word);
    tracing::info!(
        target: "audit",
        principal = %caller.principal,
        request.id = caller.request_id,
        source.ip = %caller.source,
        action = action.as_str(),
        repo.name = %path,
        repo.exists = exists,
        decision = word,
        policy,
        sid,
        "access decided"
    );
}

fn hidden(action: Action, path: &RepositoryPath, caller: &Caller, decision: &Decision) -> String {
    let why = why(decision);
    format!(
        "repository '{path}' was not found, or {why} {} to {}; {}\n",
        action.as_str(),
        caller.principal,
        whom_to_ask(path)
    )
}

fn forbidden(action: Action, path: &RepositoryPath, caller: &Caller, decision: &Decision) -> String {
    let why = why(decision);
    format!("{why} {} on '{path}' to {}; {}\n", action.as_str(), caller.principal, whom_to_ask(path))
}

fn why(decision: &Decision) -> String {
    match decision {
        Decision::ExplicitlyDenied { policy, sid } => format!("AccessPolicy {policy}, statement {sid} denies"),
        Decision::Allowed { .. } | Decision::NotAllowed => "no AccessPolicy allows".to_owned(),
    }
}

fn whom_to_ask(path: &RepositoryPath) -> String {
    format!("ask the people who manage namespace {}", path.namespace)
}
