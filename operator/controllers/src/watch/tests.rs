use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use model::desired::DesiredState;
use tokio_util::sync::CancellationToken;

use crate::{Folder, Watched};

fn write(dir: &Path, name: &str) {
    let text = format!("apiVersion: codekeep.dev/v1alpha1\nkind: Repository\nmetadata: {{name: {name}}}\nspec: {{}}\n");
    fs::write(dir.join(format!("{name}.yaml")), text).unwrap();
}

fn watched(dir: &Path) -> Watched {
    Folder::new(dir, vec!["default".to_owned()]).watch().unwrap()
}

async fn wait(watched: &Watched, what: &str, until: impl FnMut(&DesiredState) -> bool) {
    let mut desired = watched.desired();
    let mut until = until;
    let waited = desired.wait_for(|state| until(state));
    assert!(tokio::time::timeout(Duration::from_secs(20), waited).await.is_ok(), "{what}");
}

#[tokio::test]
async fn changes_of_the_folder_are_published() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one");
    let watched = watched(dir.path());
    assert_eq!(watched.desired().borrow().repositories.len(), 1);
    let stop = CancellationToken::new();
    let task = tokio::spawn(watched.poll(BTreeMap::new(), stop.clone()));

    write(dir.path(), "two");
    wait(&watched, "a new file", |state| state.repositories.len() == 2).await;
    fs::write(dir.path().join("two.yaml"), "kind: [").unwrap();
    let mut problems = watched.problems();
    problems.wait_for(|problems| problems.len() == 1).await.unwrap();
    assert_eq!(watched.desired().borrow().repositories.len(), 2, "a broken file is not a deletion");
    fs::remove_file(dir.path().join("two.yaml")).unwrap();
    wait(&watched, "a file that is gone", |state| state.repositories.len() == 1).await;
    assert!(watched.problems().borrow().is_empty());

    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_folder_that_vanishes_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "one");
    let watched = watched(dir.path());
    let stop = CancellationToken::new();
    let task = tokio::spawn(watched.poll(BTreeMap::new(), stop.clone()));
    let away = dir.path().with_extension("away");
    fs::rename(dir.path(), &away).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(watched.desired().borrow().repositories.len(), 1);
    fs::rename(&away, dir.path()).unwrap();
    write(dir.path(), "two");
    wait(&watched, "a folder that came back", |state| state.repositories.len() == 2).await;
    stop.cancel();
    task.await.unwrap();
}
