use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;
use model::clock::SystemClock;
use model::desired::{Deletion, RepositoryConfig};
use model::limits::Limits;
use model::policy::Labels;

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
    let parse =
        |name: &str| ServiceName::parse(name, DOMAIN).map(|name| format!("{}/{}", name.service, name.namespace));
    for name in
        ["hello.team-a", "hello.team-a.svc", "hello.team-a.svc.cluster.local", "Hello.Team-A.svc.CLUSTER.local."]
    {
        assert_eq!(parse(name).as_deref(), Some("team-a/hello").map(|_| "hello/team-a"), "{name}");
    }
    for name in
        ["hello", "", ".", "hello.", ".team-a", "hello.team-a.pod", "hello.team-a.svc.other", "a.hello.team-a.svc"]
    {
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

fn repository(path: &str, resource: &str) -> Arc<RepositoryConfig> {
    Arc::new(RepositoryConfig {
        path: path.parse().unwrap(),
        resource_name: resource.to_owned(),
        labels: Labels::new(),
        description: String::new(),
        default_branch: "refs/heads/main".try_into().unwrap(),
        object_format: model::ObjectFormat::Sha1,
        store: "default".to_owned(),
        dedicated: false,
        own_bucket: false,
        limits: Limits::default(),
        deletion: Deletion::Retain,
        max_staleness: Duration::ZERO,
        encryption: model::encryption::Encryption::default(),
        replication: None,
        loss: model::desired::Loss::Refused,
        bundle_min_bytes: None,
        suspended: false,
    })
}

fn wanted(repositories: impl IntoIterator<Item = Arc<RepositoryConfig>>) -> Arc<DesiredState> {
    let repositories = repositories.into_iter().map(|config| (config.path.clone(), config)).collect();
    Arc::new(DesiredState { repositories, ..DesiredState::default() })
}

#[test]
fn a_repository_has_a_certificate_by_its_resource_name_while_it_is_there() {
    let mut resolver = resolver(None, true);
    let (sender, desired) = watch::channel(wanted([repository("team-a/group/hello", "hello")]));
    resolver.desired = desired;
    let name = "hello.team-a.svc.cluster.local";
    let leaf = resolver.choose(Some(name)).unwrap();
    for form in [name, "hello.team-a.svc", "hello.team-a"] {
        assert!(is_for(&leaf, form), "{form}");
    }
    assert!(!is_for(&leaf, "other.team-a.svc") && !is_for(&leaf, "codekeep-git.codekeep-system.svc"));
    for other in ["group.team-a.svc", "hello.team-b.svc", "hello", "hello.team-a.svc.cluster.local.evil.com"] {
        assert!(resolver.choose(Some(other)).is_none(), "{other}");
    }
    sender.send_replace(wanted([]));
    assert!(resolver.choose(Some(name)).is_none());
}

/// A clock that a test moves.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn a_minted_certificate_is_renewed_at_half_of_its_life() {
    let mut resolver = resolver(None, true);
    let begin = Timestamp::now().as_second();
    let hand = Arc::new(Hand(AtomicI64::new(begin)));
    resolver.clock = hand.clone();
    let name = Some("codekeep-git.codekeep-system.svc");
    let first = resolver.choose(name).unwrap();
    hand.0.store(begin + 12 * 3_600 - 1, Ordering::SeqCst);
    assert!(Arc::ptr_eq(&first, &resolver.choose(name).unwrap()));
    hand.0.store(begin + 12 * 3_600, Ordering::SeqCst);
    assert!(!Arc::ptr_eq(&first, &resolver.choose(name).unwrap()));
}

#[test]
fn a_signed_certificate_is_for_all_names_and_may_be_replaced_but_not_by_rubbish() {
    let mut resolver = resolver(None, false);
    let (pairs, signed) = watch::channel(None);
    resolver.signed = Some(Signed::new(signed));
    assert!(resolver.choose(Some("hello.team-a.svc")).is_none(), "not signed yet");
    let authority = Authority::generate(Timestamp::now(), SignedDuration::from_hours(24)).unwrap();
    let sign = || {
        let names = ["hello.team-a.svc".to_owned()];
        let leaf = authority.issue(&names, Timestamp::now(), SignedDuration::from_hours(24)).unwrap();
        pairs.send_replace(Some(Arc::new((leaf.certificate_pem, leaf.key_pem))));
    };
    sign();
    let first = resolver.choose(Some("hello.team-a.svc")).unwrap();
    assert!(is_for(&first, "hello.team-a.svc"));
    assert!(Arc::ptr_eq(&first, &resolver.choose(None).unwrap()), "read once");
    pairs.send_replace(Some(Arc::new(("rubbish".to_owned(), String::new()))));
    assert!(Arc::ptr_eq(&first, &resolver.choose(None).unwrap()));
    sign();
    assert!(!Arc::ptr_eq(&first, &resolver.choose(None).unwrap()));
}

#[test]
#[ignore = "measures; run it with --release -- --ignored --nocapture"]
fn minting_is_measured() {
    let mut resolver = resolver(None, true);
    let all = (0..10_000).map(|number| repository(&format!("team-{}/r{number}", number % 100), &format!("r{number}")));
    resolver.desired = watch::channel(wanted(all)).1;
    let time = |what: &str, number: &dyn Fn(usize) -> usize| {
        let begun = std::time::Instant::now();
        for round in 0..1_000 {
            let number = number(round);
            assert!(resolver.choose(Some(&format!("r{number}.team-{}.svc.cluster.local", number % 100))).is_some());
        }
        println!("{what}: {:?} each", begun.elapsed() / 1_000);
    };
    time("minted", &|round| round * 10);
    time("remembered, anywhere among 10,000 Repositories", &|round| round * 10);
    time("remembered, the last of 10,000", &|_| 9_990);
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
async fn files_that_cannot_be_used_are_named() {
    install_provider();
    let folder = tempfile::tempdir().unwrap();
    write_authority(folder.path());
    let config = TlsConfig { authority: Some(folder.path().to_owned()), ..TlsConfig::default() };
    assert!(Loaded::load(&config).await.unwrap().authority.is_some());
    std::fs::write(folder.path().join("tls.key"), "no key").unwrap();
    let error = Loaded::load(&config).await.err().unwrap().to_string();
    assert!(error.contains("tls.crt"), "{error}");
}

/// What a client that trusts `authority` makes of the server's certificate.
fn shakes_hands(tls: &Tls, authority: &Authority, name: &str) -> Result<(), rustls::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name)?;
    let mut server = rustls::ServerConnection::new(tls.server_config())?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = vec![];
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[tokio::test]
async fn clients_verify_what_is_minted_and_a_renewed_authority_signs_from_then_on() {
    install_provider();
    let (folder, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
    let first = write_authority(folder.path());
    let config = TlsConfig {
        authority: Some(folder.path().to_owned()),
        own: Some(("codekeep-git".to_owned(), "codekeep-system".to_owned())),
        cluster_domain: DOMAIN.to_owned(),
        ..TlsConfig::default()
    };
    let desired = watch::channel(wanted([repository("team-a/hello", "hello")])).1;
    let tls = Tls::new(config, desired, Arc::new(SystemClock::new()), stop.clone()).await.unwrap();
    for name in ["hello.team-a.svc.cluster.local", "hello.team-a", "codekeep-git.codekeep-system.svc"] {
        shakes_hands(&tls, &first, name).unwrap();
    }
    assert!(shakes_hands(&tls, &first, "hello.team-b.svc").is_err());
    // A damaged file changes nothing, and does not stop what comes after it.
    std::fs::write(folder.path().join("tls.key"), "no key").unwrap();
    tokio::time::sleep(INTERVAL * 2).await;
    shakes_hands(&tls, &first, "hello.team-a").unwrap();
    let second = write_authority(folder.path());
    let mut turns = 0;
    while shakes_hands(&tls, &second, "hello.team-a").is_err() {
        turns += 1;
        assert!(turns < 100, "the new authority does not sign");
        tokio::time::sleep(INTERVAL / 10).await;
    }
    assert!(shakes_hands(&tls, &first, "hello.team-a").is_err());
    stop.cancel();
}
