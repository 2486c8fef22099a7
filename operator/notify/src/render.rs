//! An event as a `CloudEvent` 1.0 in structured JSON; its data are those of CodeCommit's *Repository State Change*.

use model::RepositoryPath;
use model::arn::RepositoryArn;
use model::event::ReferenceEvent;
use serde::Serialize;

/// Media type of the body.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json";
const REGION: &str = "codekeep";

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    event: &'static str,
    namespace: &'a str,
    repository_name: &'a str,
    repository_id: &'a str,
    reference_type: &'static str,
    reference_name: String,
    reference_full_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_commit_id: Option<String>,
    caller_user: &'a str,
}

/// The body of a delivery.
pub(crate) fn cloud_event(event: &ReferenceEvent, path: &RepositoryPath) -> Result<Vec<u8>, serde_json::Error> {
    let reference_type = if event.reference.is_tag() { "tag" } else { "branch" };
    serde_json::to_vec(&CloudEvent {
        specversion: "1.0",
        id: &event.id,
        source: RepositoryArn::new(REGION, path).to_string(),
        kind: format!("dev.codekeep.repository.{}", event.change.as_str()),
        subject: event.reference.to_string(),
        time: event.time.to_string(),
        datacontenttype: "application/json",
        data: Data {
            event: event.change.as_str(),
            namespace: path.namespace.as_str(),
            repository_name: path.name.as_str(),
            repository_id: event.repository_id.as_str(),
            reference_type,
            reference_name: event.reference.short().to_string(),
            reference_full_name: event.reference.to_string(),
            commit_id: event.new.map(|id| id.to_string()),
            old_commit_id: event.old.map(|id| id.to_string()),
            caller_user: &event.actor,
        },
    })
}
