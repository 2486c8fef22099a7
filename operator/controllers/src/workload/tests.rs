//! The objects are ones that the API server takes, and nothing in them is looser than Pod Security "restricted".

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PodSpec, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;

fn pool() -> PoolConfig {
    serde_json::from_value(json!({
        "name": "codekeep-git", "serviceAccountName": "codekeep-git", "image": "example.test/codekeep:1",
        "stores": [{"name": "default", "url": "s3://bucket/prefix"}], "storeCredentialsSecret": "codekeep-store",
        "resources": {"requests": {"cpu": "100m"}}, "tokenAudiences": ["codekeep.dev"],
    }))
    .unwrap()
}

fn workload<'a>(pool: &'a PoolConfig, kind: WorkloadKind<'a>) -> Workload<'a> {
    Workload {
        pool,
        namespace: "team-a",
        name: "hello-git".to_owned(),
        service: "hello-git".to_owned(),
        replicas: 2,
        resources: pool.resources.clone(),
        cache_size: "1Gi".to_owned(),
        tls_secret: Some("own-tls".to_owned()),
        store_secret: Some("own-store".to_owned()),
        owner: json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"}),
        kind,
    }
}

fn dedicated() -> WorkloadKind<'static> {
    WorkloadKind::Dedicated {
        repository: "hello",
        stores: vec!["default=s3://bucket/prefix".to_owned(), "far=s3://far".to_owned()],
        replication: "default=Asynchronous:far".to_owned(),
        pool_namespace: "codekeep-system",
    }
}

/// Reads the object as its type and back: a misspelt field would be lost.
fn is_exactly<T: DeserializeOwned + Serialize>(object: &Value) -> T {
    let typed: T = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(&typed).unwrap(), *object);
    typed
}

fn check(workload: &Workload<'_>) -> PodSpec {
    is_exactly::<Service>(&workload.service());
    let mut pod = None;
    for object in workload.objects() {
        match object["kind"].as_str().unwrap() {
            "Deployment" => pod = is_exactly::<Deployment>(&object).spec.unwrap().template.spec,
            "PodDisruptionBudget" => drop(is_exactly::<PodDisruptionBudget>(&object)),
            "NetworkPolicy" => drop(is_exactly::<NetworkPolicy>(&object)),
            "ServiceAccount" => drop(is_exactly::<ServiceAccount>(&object)),
            other => panic!("{other}"),
        }
    }
    pod.unwrap()
}

fn is_restricted(pod: &PodSpec) {
    let security = pod.security_context.as_ref().unwrap();
    assert_eq!((security.run_as_non_root, security.run_as_user), (Some(true), Some(65532)));
    assert_eq!(security.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
    for container in &pod.containers {
        let security = container.security_context.as_ref().unwrap();
        assert_eq!(security.allow_privilege_escalation, Some(false));
        assert_eq!(security.read_only_root_filesystem, Some(true));
        assert_eq!(security.capabilities.as_ref().unwrap().drop.as_deref(), Some(&["ALL".to_owned()][..]));
    }
    let allowed = |volume: &k8s_openapi::api::core::v1::Volume| {
        volume.empty_dir.is_some()
            || volume.secret.is_some()
            || volume.config_map.is_some()
            || volume.projected.is_some()
    };
    assert!(pod.volumes.iter().flatten().all(allowed));
    assert_eq!((pod.host_network, pod.host_pid), (None, None));
}

#[test]
fn objects_of_the_pool_are_good_and_restricted() {
    let pool = pool();
    let pod = check(&workload(&pool, WorkloadKind::Pool { watch_namespaces: &[] }));
    is_restricted(&pod);
    assert_eq!(pod.automount_service_account_token, Some(true));
}

#[test]
fn pods_of_a_tenant_have_no_api_token_and_not_the_authoritys_key() {
    let pool = pool();
    let workload = workload(&pool, dedicated());
    let pod = check(&workload);
    is_restricted(&pod);
    assert_eq!(pod.automount_service_account_token, Some(false));
    let spread = pod.topology_spread_constraints.iter().flatten();
    assert!(
        spread.clone().count() == 2
            && spread.clone().all(|one| one.match_label_keys.as_deref() == Some(&["pod-template-hash".to_owned()]))
    );
    let secrets = pod.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref());
    assert_eq!(secrets.collect::<Vec<_>>(), ["own-store", "own-tls"]);
    let text = json!(pod).to_string();
    assert!(!text.contains("codekeep-store"), "the pool's credentials stay in its namespace");
    let sources =
        pod.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref()?.sources.as_ref()).flatten();
    let audiences: Vec<_> =
        sources.map(|source| source.service_account_token.as_ref().unwrap().audience.as_deref()).collect();
    assert_eq!(audiences, [Some("codekeep.dev")]);
}

#[test]
fn the_alias_is_a_good_service() {
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "y"});
    is_exactly::<Service>(&alias_service("codekeep-git.codekeep-system.svc.cluster.local", "team-a", "hello", &owner));
}

#[test]
fn ssh_is_served_by_the_pool_alone_and_only_when_it_is_turned_on() {
    let mut pool = pool();
    let text = |workload: &Workload<'_>| json!([workload.service(), workload.objects()]).to_string();
    let without = workload(&pool, WorkloadKind::Pool { watch_namespaces: &[] });
    assert!(!text(&without).contains("ssh"), "{}", text(&without));
    pool.ssh = crate::pool::SshConfig { enabled: true, port: 2022, node_port: Some(30_022) };
    let with = workload(&pool, WorkloadKind::Pool { watch_namespaces: &[] });
    is_restricted(&check(&with));
    let service = with.service();
    let port = service["spec"]["ports"].as_array().unwrap().iter().find(|port| port["name"] == "ssh").unwrap();
    assert_eq!(*port, json!({"name": "ssh", "port": 2022, "targetPort": "ssh", "protocol": "TCP", "nodePort": 30_022}));
    for wanted in [r#""containerPort":2222"#, HOST_KEYS, "CODEKEEP_SSH_LISTEN", r#"{"port":"ssh","protocol":"TCP"}"#] {
        assert!(text(&with).contains(wanted), "{wanted}");
    }
    assert!(!text(&workload(&pool, dedicated())).contains("ssh"), "a tenant's namespace gets no host key of the pool");
}

#[test]
fn key_services_and_their_credentials_are_the_pools_alone() {
    let mut pool = pool();
    pool.key_services = serde_json::from_value(json!([
        {"name": "aws", "url": "awskms://eu-west-1"},
        {"name": "vault", "url": "vault+https://v/transit", "credentialsSecret": "vault-token"},
    ]))
    .unwrap();
    pool.cache_medium = Some("Memory".to_owned());
    let of_pool = workload(&pool, WorkloadKind::Pool { watch_namespaces: &[] });
    let pod = check(&of_pool);
    is_restricted(&pod);
    let text = json!(pod).to_string();
    for wanted in
        ["aws=awskms://eu-west-1,vault=vault+https://v/transit", "/etc/codekeep/key-services/vault", "vault-token"]
    {
        assert!(text.contains(wanted), "{wanted}");
    }
    let of_tenant = json!(check(&workload(&pool, dedicated()))).to_string();
    assert!(
        !of_tenant.contains("vault") && of_tenant.contains(r#""medium":"Memory","sizeLimit":"21504Mi""#),
        "{of_tenant}"
    );
}

#[test]
fn credentials_of_a_store_are_in_a_folder_of_its_name_and_the_pools_alone() {
    let mut pool = pool();
    pool.stores = serde_json::from_value(json!([
        {"name": "default", "url": "s3://bucket/prefix",
            "replication": {"mode": "Synchronous", "stores": ["far", "third"], "quorum": 2}},
        {"name": "far", "url": "s3://far", "credentialsSecret": "far-keys"},
        {"name": "third", "url": "s3://third"},
    ]))
    .unwrap();
    let pod = check(&workload(&pool, WorkloadKind::Pool { watch_namespaces: &[] }));
    is_restricted(&pod);
    let text = json!(pod).to_string();
    for wanted in [
        r#"{"mountPath":"/etc/codekeep/store/far","name":"store-1","readOnly":true}"#,
        r#""secretName":"far-keys"}"#,
        r#"{"name":"CODEKEEP_STORE_REPLICATION","value":"default=Synchronous:far+third:2"}"#,
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    pool.store_credentials_secret = None;
    let mut without = workload(&pool, WorkloadKind::Pool { watch_namespaces: &[] });
    without.store_secret = None;
    assert!(json!(check(&without)).to_string().contains("CODEKEEP_STORE_CREDENTIALS"));
    let of_tenant = json!(check(&workload(&pool, dedicated()))).to_string();
    assert!(!of_tenant.contains("far-keys"), "{of_tenant}");
    for wanted in [
        r#"{"name":"CODEKEEP_STORE","value":"default=s3://bucket/prefix,far=s3://far"}"#,
        r#"{"name":"CODEKEEP_STORE_REPLICATION","value":"default=Asynchronous:far"}"#,
    ] {
        assert!(of_tenant.contains(wanted), "{wanted}: {of_tenant}");
    }
}
