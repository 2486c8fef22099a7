use super::*;

#[test]
fn data_is_deleted_in_all_stores_that_have_held_it() {
    let pool: PoolConfig = serde_json::from_value(json!({"name": "g", "serviceAccountName": "g", "image": "i",
        "stores": [{"name": "default", "url": "s3://a", "replication": {"stores": ["far"]}}, {"name": "far", "url": "s3://b"}]}))
    .unwrap();
    let replicas = |document: &Value| question(document, "team-a", "hello", &pool).unwrap().replicas;
    assert_eq!(replicas(&json!({})), ["far"], "the default of its store");
    assert_eq!(replicas(&json!({"spec": {"store": "far"}})), [] as [&str; 0]);
    let status = json!({"replication": {"primary": "far", "stores": [{"name": "default"}, {"name": "third"}]}});
    let own = json!({"spec": {"replication": {"stores": ["fourth"]}}, "status": status});
    assert_eq!(replicas(&own), ["far", "fourth", "third"]);
}
