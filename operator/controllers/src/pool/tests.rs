use super::*;

fn parsed(stores: &str) -> Result<PoolConfig, String> {
    PoolConfig::parse(&format!("name: g\nserviceAccountName: g\nimage: i\nstores: {stores}\n"))
}

#[test]
fn replication_of_a_store_is_checked() {
    let pool = parsed(
        "[{name: default, url: 's3://a', replication: {mode: Synchronous, stores: [far, third], quorum: 2}}, \
         {name: far, url: 's3://b', credentialsSecret: far}, {name: third, url: 's3://c'}]",
    )
    .unwrap();
    let defaults = pool.replication();
    assert_eq!(defaults.keys().collect::<Vec<_>>(), ["default"]);
    assert_eq!(defaults["default"].to_string(), "Synchronous:far+third:2");
    assert_eq!(pool.stores[1].credentials_secret.as_deref(), Some("far"));
    for (replication, said) in [
        ("{stores: [far]}", "there is no store 'far'"),
        ("{stores: [default]}", "the store 'default' itself"),
        ("{mode: Synchronous, stores: []}", "name 1 to 4"),
        ("{mode: Sync, stores: [far]}", "unknown variant"),
        ("{stores: [far], primary: far}", "unknown field"),
    ] {
        let error = parsed(&format!("[{{name: default, url: 's3://a', replication: {replication}}}]")).unwrap_err();
        assert!(error.contains(said), "{replication}: {error}");
    }
}
