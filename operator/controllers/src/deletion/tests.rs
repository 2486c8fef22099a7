use std::sync::Arc;
use std::time::Duration;

use model::desired::{Deletion, DesiredState, RepositoryConfig};
use model::limits::Limits;
use model::{RefName, RepositoryPath};

use super::Deletions;

fn state(repositories: &[(&str, Deletion)]) -> DesiredState {
    let configs = repositories.iter().map(|(path, deletion)| {
        let path: RepositoryPath = path.parse().unwrap();
        let config = RepositoryConfig {
            path: path.clone(),
            resource_name: path.name.to_string(),
            labels: model::policy::Labels::default(),
            description: String::new(),
            default_branch: RefName::branch("main").unwrap(),
            object_format: model::ObjectFormat::Sha1,
            store: "default".to_owned(),
            limits: Limits::default(),
            deletion: *deletion,
            dedicated: false,
            own_bucket: false,
            max_staleness: Duration::ZERO,
            encryption: model::encryption::Encryption::default(),
            replication: None,
            loss: model::desired::Loss::Refused,
            bundle_min_bytes: None,
            suspended: false,
        };
        (path, Arc::new(config))
    });
    DesiredState { repositories: configs.collect(), ..DesiredState::default() }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn data_goes_only_by_confirmed_policy_after_the_grace_and_in_calm() {
    let mut deletions = Deletions::default();
    let before = state(&[("a/keep", Deletion::Retain), ("a/drop", Deletion::Delete)]);
    let waiting = deletions.observe(&before, &state(&[]), seconds(100));
    assert_eq!(waiting, ["a/drop".parse().unwrap()]);
    assert!(deletions.due(seconds(109), true).is_empty());
    assert!(deletions.due(seconds(200), false).is_empty());
    let due = deletions.due(seconds(200), true);
    assert_eq!(due.iter().map(|config| config.path.to_string()).collect::<Vec<_>>(), ["a/drop"]);
    assert!(deletions.due(seconds(300), true).is_empty());
}

#[test]
fn a_manifest_that_comes_back_saves_its_data() {
    let mut deletions = Deletions::default();
    let there = state(&[("a/drop", Deletion::Delete)]);
    deletions.observe(&there, &state(&[]), seconds(100));
    deletions.observe(&state(&[]), &there, seconds(105));
    assert!(deletions.due(seconds(200), true).is_empty());
}

#[test]
fn a_failed_deletion_is_tried_again() {
    let mut deletions = Deletions::default();
    deletions.observe(&state(&[("a/drop", Deletion::Delete)]), &state(&[]), seconds(0));
    let config = deletions.due(seconds(10), true).remove(0);
    deletions.retry(config, seconds(20));
    assert!(deletions.due(seconds(25), true).is_empty());
    assert_eq!(deletions.due(seconds(30), true).len(), 1);
}
