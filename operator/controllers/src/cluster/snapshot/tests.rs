use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

fn file(folder: &Path, max_age: Duration) -> SnapshotFile {
    SnapshotFile::new(folder.join("snapshot.json"), max_age)
}

#[tokio::test]
async fn a_snapshot_comes_back_and_only_its_owner_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut snapshot = file(folder.path(), Duration::from_mins(1));
    let document = json!({"kind": "Secret", "metadata": {"name": "a"}});
    snapshot.save(vec![Arc::new(document.clone())]).await.unwrap();
    assert_eq!(snapshot.load().await.unwrap(), [document]);
    let mode = std::fs::metadata(folder.path().join("snapshot.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn an_old_a_damaged_and_a_missing_snapshot_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(file(folder.path(), Duration::MAX).load().await, Err(SnapshotError::Io { .. })));
    file(folder.path(), Duration::MAX).save(vec![]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(matches!(file(folder.path(), Duration::from_millis(1)).load().await, Err(SnapshotError::Old { .. })));
    std::fs::write(folder.path().join("snapshot.json"), "{").unwrap();
    assert!(matches!(file(folder.path(), Duration::MAX).load().await, Err(SnapshotError::Damaged { .. })));
}
