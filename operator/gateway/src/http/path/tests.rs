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
    assert_eq!(namespace_of_host("hello.team-a.svc.cluster.local:8080").unwrap().as_str(), "team-a");
    assert_eq!(namespace_of_host("hello.team-a.example.com"), None);
    assert_eq!(namespace_of_host("localhost:8080"), None);
}

proptest! {
    #[test]
    fn no_path_panics_and_no_name_leaves_its_alphabet(path in "\\PC{0,60}", query in proptest::option::of("\\PC{0,40}")) {
        if let Some(Address { name: Some(name), .. }) = parse(&path, query.as_deref()) {
            prop_assert!(!name.as_str().contains(".."));
            prop_assert!(path.contains(name.as_str()));
        }
    }
}
