//! Statements as Cedar policies, requests as Cedar requests.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, Request, RestrictedExpression,
};
use serde_json::{Value, json};

use super::{AccessRequest, Decision, Effect, Policy, Principal, ReferenceScope, Statement, Subject, Wildcard};
use crate::RefName;

/// In the set of matched references while a client has not said which it pushes. Contains a NUL, so that no pattern equals it.
const ANY_REFERENCE: &str = "\0any";

/// A statement that could not be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("AccessPolicy {policy}, statement {sid}: {reason}")]
pub struct PolicyError {
    /// The policy.
    pub policy: String,
    /// Its statement.
    pub sid: String,
    /// What is wrong.
    pub reason: String,
}

/// The policies of one namespace.
#[derive(Debug)]
pub(super) struct NamespacePolicies {
    cedar: cedar_policy::PolicySet,
    /// Cedar's policy id to (policy, sid).
    statements: HashMap<PolicyId, (String, String)>,
    names: Vec<Wildcard>,
    references: Vec<Wildcard>,
}

impl NamespacePolicies {
    pub(super) fn compile(policies: &[&Policy]) -> Result<Self, Vec<PolicyError>> {
        let mut compiled = Self {
            cedar: cedar_policy::PolicySet::new(),
            statements: HashMap::new(),
            names: vec![],
            references: vec![],
        };
        let mut errors = Vec::new();
        let all = policies.iter().flat_map(|policy| policy.statements.iter().map(move |statement| (policy, statement)));
        for (index, (policy, statement)) in all.enumerate() {
            if let Err(reason) = compiled.add(index, policy, statement) {
                errors.push(PolicyError { policy: policy.name.clone(), sid: statement.sid.clone(), reason });
            }
        }
        compiled.names = distinct(compiled.names);
        compiled.references = distinct(compiled.references);
        if errors.is_empty() { Ok(compiled) } else { Err(errors) }
    }

    fn add(&mut self, index: usize, policy: &Policy, statement: &Statement) -> Result<(), String> {
        let id = PolicyId::new(format!("statement-{index}"));
        let cedar = cedar_policy::Policy::from_json(Some(id.clone()), to_cedar(&policy.subjects, statement))
            .map_err(|error| error.to_string())?;
        self.cedar.add(cedar).map_err(|error| error.to_string())?;
        self.statements.insert(id, (policy.name.clone(), statement.sid.clone()));
        self.names.extend(statement.repositories.names.iter().flatten().cloned());
        self.references.extend(statement.references.iter().cloned());
        Ok(())
    }

    /// Indices of the reference patterns that match: references with equal indices get equal decisions.
    pub(super) fn matching_references(&self, name: &RefName) -> Vec<usize> {
        let matches = |(index, pattern): (usize, &Wildcard)| pattern.matches(name.as_bstr()).then_some(index);
        self.references.iter().enumerate().filter_map(matches).collect()
    }

    pub(super) fn evaluate(&self, request: &AccessRequest<'_>) -> Decision {
        let Ok((cedar_request, entities)) = self.to_request(request) else { return Decision::NotAllowed };
        let response = Authorizer::new().is_authorized(&cedar_request, &self.cedar, &entities);
        // Cedar skips a policy that fails to evaluate; a skipped `Deny` must not become a permission.
        if response.diagnostics().errors().next().is_some() {
            return Decision::NotAllowed;
        }
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        let mut reasons: Vec<&(String, String)> =
            response.diagnostics().reason().filter_map(|id| self.statements.get(id)).collect();
        reasons.sort();
        match reasons.first() {
            Some((policy, sid)) if allowed => Decision::Allowed { policy: policy.clone(), sid: sid.clone() },
            Some((policy, sid)) => Decision::ExplicitlyDenied { policy: policy.clone(), sid: sid.clone() },
            None => Decision::NotAllowed,
        }
    }

    fn to_request(&self, request: &AccessRequest<'_>) -> Result<(Request, Entities), String> {
        let name = request.repository.name.as_str();
        let names = self.names.iter().filter(|pattern| pattern.matches(name.as_bytes()));
        let references: Vec<&str> = match request.reference {
            ReferenceScope::Whole => vec![],
            ReferenceScope::Any => vec![ANY_REFERENCE],
            ReferenceScope::One(name) => {
                self.references.iter().filter(|pattern| pattern.matches(name.as_bstr())).map(Wildcard::as_str).collect()
            }
        };
        let context = Context::from_pairs([
            ("names".to_owned(), string_set(names.map(Wildcard::as_str))),
            ("references".to_owned(), string_set(references)),
            // A set, so that whoever has no such name has none that a policy could spell.
            ("users".to_owned(), string_set(request.principal.kubernetes_user().as_deref())),
            ("groups".to_owned(), string_set(request.principal.groups().iter().map(String::as_str))),
            ("source".to_owned(), RestrictedExpression::new_ip(request.source.to_canonical().to_string())),
        ])
        .map_err(|error| error.to_string())?;
        let resource = uid("Repository", name)?;
        let tags =
            request.labels.iter().map(|(key, value)| (key.clone(), RestrictedExpression::new_string(value.clone())));
        let entity =
            Entity::new_with_tags(resource.clone(), [], HashSet::new(), tags).map_err(|error| error.to_string())?;
        let entities = Entities::from_entities([entity], None).map_err(|error| error.to_string())?;
        let principal = match request.principal {
            Principal::Anonymous => uid("Anonymous", "")?,
            // A user is known in the namespace of its credential only, and a ServiceAccount by its short name in its own.
            Principal::LocalUser { namespace, .. } | Principal::ServiceAccount { namespace, .. }
                if *namespace != request.repository.namespace =>
            {
                uid("Foreigner", "")?
            }
            Principal::LocalUser { name, .. } => uid("LocalUser", name)?,
            Principal::ServiceAccount { name, .. } => uid("ServiceAccount", name)?,
            Principal::User { .. } => uid("Foreigner", "")?,
        };
        let action = uid("Action", request.action.as_str())?;
        let cedar = Request::new(principal, action, resource, context, None).map_err(|error| error.to_string())?;
        Ok((cedar, entities))
    }
}

fn distinct(patterns: Vec<Wildcard>) -> Vec<Wildcard> {
    let mut seen = HashSet::new();
    patterns.into_iter().filter(|pattern| seen.insert(pattern.clone())).collect()
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind.parse().map_err(|error| format!("{error}"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn string_set<'a>(texts: impl IntoIterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(texts.into_iter().map(|text| RestrictedExpression::new_string(text.to_owned())))
}

/// A statement in Cedar's JSON form: the user's text appears as string values only.
fn to_cedar(subjects: &[Subject], statement: &Statement) -> Value {
    let mut conditions = vec![is_subject(subjects)];
    if let Some(names) = &statement.repositories.names {
        conditions.push(context_has_any("names", names.iter().map(Wildcard::as_str)));
    }
    for (key, value) in statement.repositories.match_labels.iter().flatten() {
        conditions.push(has_tag(key, value));
    }
    if !statement.references.is_empty() {
        // A `Deny` of some references must not stop a push of others, so it does not match while they are unknown.
        let any = (statement.effect == Effect::Allow).then_some(ANY_REFERENCE);
        conditions.push(context_has_any("references", statement.references.iter().map(Wildcard::as_str).chain(any)));
    }
    if !statement.source_addresses.is_empty() {
        let ranges = statement
            .source_addresses
            .iter()
            .map(|network| json!({"isInRange": [context("source"), {"ip": [{"Value": network}]}]}));
        conditions.push(any_of(ranges));
    }
    let actions: BTreeSet<&str> = statement.actions.iter().map(|action| action.as_str()).collect();
    let actions: Vec<Value> = actions.into_iter().map(|id| json!({"type": "Action", "id": id})).collect();
    let effect = match statement.effect {
        Effect::Allow => "permit",
        Effect::Deny => "forbid",
    };
    json!({
        "effect": effect,
        "principal": {"op": "All"},
        "action": {"op": "in", "entities": actions},
        "resource": {"op": "All"},
        "conditions": conditions.into_iter().map(|body| json!({"kind": "when", "body": body})).collect::<Vec<_>>(),
    })
}

fn is_subject(subjects: &[Subject]) -> Value {
    any_of(subjects.iter().map(|subject| match subject {
        // Everybody: whoever has a credential may do what nobody needs one for.
        Subject::Anonymous => json!({"Value": true}),
        Subject::LocalUser(name) => is_principal("LocalUser", name),
        Subject::ServiceAccount(name) => is_principal("ServiceAccount", name),
        Subject::User(name) => json!({"contains": {"left": context("users"), "right": {"Value": name}}}),
        Subject::Group(name) => json!({"contains": {"left": context("groups"), "right": {"Value": name}}}),
    }))
}

fn is_principal(kind: &str, id: &str) -> Value {
    json!({"==": {"left": {"Var": "principal"}, "right": {"Value": {"__entity": {"type": kind, "id": id}}}}})
}

fn context(attribute: &str) -> Value {
    json!({".": {"left": {"Var": "context"}, "attr": attribute}})
}

fn context_has_any<'a>(attribute: &str, patterns: impl Iterator<Item = &'a str>) -> Value {
    let patterns: Vec<Value> = patterns.map(|pattern| json!({"Value": pattern})).collect();
    json!({"containsAny": {"left": context(attribute), "right": {"Set": patterns}}})
}

fn has_tag(key: &str, value: &str) -> Value {
    let key = json!({"Value": key});
    json!({"&&": {
        "left": {"hasTag": {"left": {"Var": "resource"}, "right": key}},
        "right": {"==": {"left": {"getTag": {"left": {"Var": "resource"}, "right": key}}, "right": {"Value": value}}},
    }})
}

/// The disjunction; false when there is nothing to choose from.
fn any_of(terms: impl Iterator<Item = Value>) -> Value {
    terms.reduce(|left, right| json!({"||": {"left": left, "right": right}})).unwrap_or_else(|| json!({"Value": false}))
}
