use super::*;

fn pool() -> PoolConfig {
    serde_json::from_value(json!({"name": "g", "serviceAccountName": "g", "image": "i", "stores": [
        {"name": "default", "url": "s3://a", "replication": {"stores": ["far"]}},
        {"name": "far", "url": "s3://b"}, {"name": "third", "url": "s3://c"}]}))
    .unwrap()
}

fn of(spec: Value, status: &Value) -> (Vec<String>, String) {
    let mut object = DynamicObject::new("hello", &Kind::Repository.resource());
    object.data = json!({"status": status});
    stores(&object, &serde_json::from_value(spec).unwrap(), &pool())
}

#[test]
fn pods_of_its_own_have_the_stores_that_it_is_kept_in() {
    let default = of(json!({}), &json!({}));
    assert_eq!(
        default,
        (vec!["default=s3://a".to_owned(), "far=s3://b".to_owned()], "default=Asynchronous:far".to_owned())
    );
    let own = of(json!({"replication": {"mode": "Synchronous", "stores": ["third", "fra"]}}), &json!({}));
    assert_eq!(own, (vec!["default=s3://a".to_owned(), "third=s3://c".to_owned()], String::new()));
    assert_eq!(of(json!({"store": "third"}), &json!({})), (vec!["third=s3://c".to_owned()], String::new()));
    let left = of(json!({"store": "third"}), &json!({"replication": {"primary": "far"}}));
    assert_eq!(left.0, ["third=s3://c", "far=s3://b"], "the primary is needed, whatever the resource says by now");
    let bucket = json!({"serving": {"mode": "Dedicated", "dedicated": {"storage": {"url": "s3://own"}}}});
    assert_eq!(of(bucket, &json!({})), (vec!["default=s3://own".to_owned()], String::new()));
}
