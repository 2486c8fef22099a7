use proptest::prelude::*;

use super::*;

fn advertised(path: &str) -> Option<Address> {
    parse(path, Some("service=git-upload-pack"))
}

#[test]
fn both_addresses_are_understood() {
    for path in ["/team-a/hello/info/refs", "/team-a/hello.git/info/refs"] {
        let address = advertised(path).unwrap();
        assert_eq!(address.namespace.unwrap().as_str(), "team-a");
        assert_eq!(address.name.unwrap().as_str(), "hello");
        assert_eq!(address.endpoint, Endpoint::Advertisement(Service::UploadPack));
    }
    let address = parse("/v1/repos/group/hello/git-receive-pack", None).unwrap();
    assert_eq!((address.namespace, address.name.unwrap().as_str()), (None, "group/hello"));
    assert_eq!(address.endpoint, Endpoint::Rpc(Service::ReceivePack));
}

#[test]
fn tricks_name_no_repository() {
    for path in [
        "/team-a/../team-b/x/info/refs",
        "/team-a/%2e%2e/x/info/refs",
        "/team-a/a%00/info/refs",
        "/team-a//x/info/refs",
        "/Team-A/x/info/refs",
        "/team-a/x%2fy/info/refs",
        "/team-a/.git/info/refs",
        "/team-a/a\\b/info/refs",
    ] {
        let address = advertised(path).unwrap();
        assert_eq!(address.name, None, "{path}");
    }
    for path in ["/", "/info/refs", "/hello/info/refs", "/team-a/hello", "/healthz"] {
        assert_eq!(advertised(path), None, "{path}");
    }
}

#[test]
fn the_old_protocol_is_told_apart() {
    for path in ["/team-a/hello/info/refs", "/team-a/hello/HEAD", "/team-a/hello/objects/info/packs"] {
        assert_eq!(parse(path, None).unwrap().endpoint, Endpoint::Dumb, "{path}");
    }
    assert_eq!(
        parse("/team-a/hello/info/refs", Some("service=git-upload-archive")).unwrap().endpoint,
        Endpoint::UnknownService
    );
}

#[test]
fn a_service_host_names_its_namespace() {
    let mut config = GatewayConfig::default();
    let of = |host: &str, config: &GatewayConfig| namespace_of_host(host, config).map(String::from);
    for host in [
        "hello.team-a.svc.cluster.local:8080",
        "hello.team-a.svc.cluster.local",
        "hello.team-a.svc.cluster.local.",
        "hello.team-a.svc.cluster.local.:443",
        "hello.team-a.svc",
        "hello.team-a.svc.",
        "hello.team-a.svc:443",
        "Hello.TEAM-A.Svc.Cluster.LOCAL:443",
    ] {
        assert_eq!(of(host, &config).as_deref(), Some("team-a"), "{host}");
    }
    for host in [
        "hello.team-a.example.com",
        "hello.team-a",
        "localhost:8080",
        "hello.team-a.svc.example.com",
        "a.hello.team-a.svc",
        ".team-a.svc",
        "hello..svc",
        "hello.-team.svc",
        "[::1]:8080",
        "10.0.0.1:443",
        "",
        ":",
        "...",
    ] {
        assert_eq!(of(host, &config), None, "{host}");
    }
    config.cluster_domain = "corp.example.com".to_owned();
    assert_eq!(of("hello.team-a.svc.corp.example.com", &config).as_deref(), Some("team-a"));
    assert_eq!(of("hello.team-a.svc.cluster.local", &config), None);
}

#[test]
fn the_pool_is_nobodys_namespace() {
    let pool = ServiceName { service: "codekeep-git".to_owned(), namespace: "codekeep-system".to_owned() };
    let config = GatewayConfig { pool_service: Some(pool), ..GatewayConfig::default() };
    assert_eq!(namespace_of_host("codekeep-git.codekeep-system.svc.cluster.local", &config), None);
    assert_eq!(namespace_of_host("own.codekeep-system.svc", &config).unwrap().as_str(), "codekeep-system");
}

proptest! {
    #[test]
    fn no_path_panics_and_no_name_leaves_its_alphabet(path in "\\PC{0,60}", query in proptest::option::of("\\PC{0,40}")) {
        if let Some(Address { name: Some(name), .. }) = parse(&path, query.as_deref()) {
            prop_assert!(!name.as_str().contains(".."));
            prop_assert!(path.contains(name.as_str()));
        }
    }

    #[test]
    fn no_host_panics_and_a_namespace_is_in_the_host(host in "[a-zA-Z0-9.:\\[\\]-]{0,20}(\\.svc)?(\\.cluster\\.local)?\\.?(:443)?") {
        if let Some(namespace) = namespace_of_host(&host, &GatewayConfig::default()) {
            let named = format!(".{namespace}.svc");
            prop_assert!(host.to_ascii_lowercase().contains(&named));
        }
    }
}
