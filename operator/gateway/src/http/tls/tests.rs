use jiff::SignedDuration;
use model::clock::SystemClock;

use super::*;

const DOMAIN: &str = "cluster.local";

fn install_provider() {
    // Another test of this process may have done it.
    let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn write_authority(folder: &Path) -> Authority {
    let authority = Authority::generate(Timestamp::now(), SignedDuration::from_hours(24 * 365)).unwrap();
    std::fs::write(folder.join("tls.crt"), authority.certificate_pem()).unwrap();
    std::fs::write(folder.join("tls.key"), authority.key_pem()).unwrap();
    authority
}

fn resolver(given: Option<&[&str]>, has_authority: bool) -> Resolver {
    install_provider();
    let authority = Authority::generate(Timestamp::now(), SignedDuration::from_hours(24)).unwrap();
    let given = given.map(|names| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = authority.issue(&names, Timestamp::now(), SignedDuration::from_hours(1)).unwrap();
        certified_key(&leaf.certificate_pem, &leaf.key_pem).unwrap()
    });
    Resolver {
        loaded: ArcSwap::from_pointee(Loaded { given, authority: has_authority.then_some(authority) }),
        minted: Mutex::default(),
        signed: None,
        own: Some(ServiceName { service: "codekeep-git".to_owned(), namespace: "codekeep-system".to_owned() }),
        cluster_domain: DOMAIN.to_owned(),
        desired: watch::channel(Arc::default()).1,
        clock: Arc::new(SystemClock::new()),
    }
}

#[test]
fn forms_of_a_service_name_are_understood_and_others_are_not() {
    let parse = |name: &str| ServiceName::parse(name, DOMAIN).map(|name| format!("{}/{}", name.service, name.namespace));
    for name in ["hello.team-a", "hello.team-a.svc", "hello.team-a.svc.cluster.local", "Hello.Team-A.svc.CLUSTER.local."] {
        assert_eq!(parse(name).as_deref(), Some("team-a/hello").map(|_| "hello/team-a"), "{name}");
    }
    for name in ["hello", "", ".", "hello.", ".team-a", "hello.team-a.pod", "hello.team-a.svc.other", "a.hello.team-a.svc"] {
        assert_eq!(parse(name), None, "{name}");
    }
}

#[test]
fn own_names_get_a_minted_certificate_which_is_kept() {
    let resolver = resolver(None, true);
    let name = "codekeep-git.codekeep-system.svc.cluster.local";
    let first = resolver.choose(Some(name)).unwrap();
    assert!(is_for(&first, name) && is_for(&first, "codekeep-git.codekeep-system.svc"));
    let again = resolver.choose(Some("codekeep-git.codekeep-system")).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert!(resolver.choose(None).is_some(), "a client that goes by address");
}

#[test]
fn names_that_are_nobodys_are_refused() {
    let resolver = resolver(None, true);
    for name in ["secret.team-b.svc.cluster.local", "git.example.com", "codekeep-git.other.svc"] {
        assert!(resolver.choose(Some(name)).is_none(), "{name}");
    }
}

#[test]
fn a_given_certificate_is_for_its_names_and_for_the_rest_of_the_world() {
    let resolver = resolver(Some(&["git.example.com"]), true);
    let given = resolver.choose(Some("git.example.com")).unwrap();
    assert!(is_for(&given, "git.example.com"));
    assert!(Arc::ptr_eq(&given, &resolver.choose(Some("other.example.com")).unwrap()));
    assert!(Arc::ptr_eq(&given, &resolver.choose(None).unwrap()));
    let own = "codekeep-git.codekeep-system.svc";
    assert!(is_for(&resolver.choose(Some(own)).unwrap(), own));
}

#[tokio::test]
async fn a_renewed_authority_signs_from_then_on() {
    install_provider();
    let folder = tempfile::tempdir().unwrap();
    let first = write_authority(folder.path());
    let config = TlsConfig { authority: Some(folder.path().to_owned()), ..TlsConfig::default() };
    let loaded = Loaded::load(&config).await.unwrap();
    assert_eq!(loaded.authority.unwrap().certificate_pem(), first.certificate_pem());
    let second = write_authority(folder.path());
    let loaded = Loaded::load(&config).await.unwrap();
    assert_eq!(loaded.authority.unwrap().certificate_pem(), second.certificate_pem());
    std::fs::write(folder.path().join("tls.key"), "no key").unwrap();
    assert!(Loaded::load(&config).await.is_err());
}
