//! A git server as in a cluster, in this process: a fake API server says who tokens are, certificates are minted by name.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gateway::{
    Gateway, GatewayConfig, ReviewUnavailable, ServiceName, Tls, TlsConfig, TokenIdentity, TokenReviewer, Tokens,
};
use model::clock::{Clock as _, SystemClock, SystemRandom};
use model::desired::{Deletion, DesiredState, RepositoryConfig};
use model::limits::Limits;
use model::policy::{Action, Effect, Labels, Policy, PolicySet, RepositorySelector, Statement, Subject};
use model::secret::SecretString;
use pki::Authority;
use prometheus::Registry;
use store::{Cache, FileStore, LocalPack, PackTools, ReceivedPack, Repositories, StoreMetrics};
use tests::Git;
use tests::answer::Answer;
use tests::protocol::{DELIMITER, FLUSH, line};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Tokens, with whom the API server says that they are. Only their shape matters here.
pub(super) const BUILDER: &str = "e30.e30.builder";
pub(super) const FOREIGNER: &str = "e30.e30.foreigner";
pub(super) const JANE: &str = "e30.e30.jane";
pub(super) const OPERATOR: &str = "e30.e30.operator";
pub(super) const FORGED: &str = "e30.e30.forged";

const OPERATOR_NAME: &str = "system:serviceaccount:codekeep-system:codekeep-controller";

/// What the API server says; it can go away.
#[derive(Default)]
struct Api {
    is_away: AtomicBool,
}

#[async_trait::async_trait]
impl TokenReviewer for Api {
    async fn review(&self, token: &SecretString) -> Result<Option<TokenIdentity>, ReviewUnavailable> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(ReviewUnavailable);
        }
        let (username, group) = match token.expose() {
            BUILDER => ("system:serviceaccount:team-a:builder", "system:serviceaccounts:team-a"),
            FOREIGNER => ("system:serviceaccount:team-b:builder", "system:serviceaccounts:team-b"),
            JANE => ("jane@example.com", "readers"),
            OPERATOR => (OPERATOR_NAME, "system:serviceaccounts:codekeep-system"),
            _ => return Ok(None),
        };
        Ok(Some(TokenIdentity { username: username.to_owned(), groups: vec![group.to_owned()] }))
    }
}

/// Nothing here is old enough to be folded.
struct NoTools;

impl PackTools for NoTools {
    fn fold(&self, _: &[LocalPack], _: &Path) -> Result<ReceivedPack, String> {
        Err("not in this test".to_owned())
    }

    fn prune(&self, _: &[LocalPack], _: &[model::ObjectId], _: &Path) -> Result<Option<ReceivedPack>, String> {
        Err("not in this test".to_owned())
    }

    fn covers(&self, _: &[LocalPack], _: bool, _: &[model::ObjectId]) -> Result<bool, String> {
        Err("not in this test".to_owned())
    }

    fn tabulate(&self, _: &[LocalPack], _: usize, _: &Path) -> Result<bool, String> {
        Err("not in this test".to_owned())
    }

    fn bundle(
        &self,
        _: &[LocalPack],
        _: &[Option<std::path::PathBuf>],
        _: (&model::RefName, model::ObjectId),
        _: &Path,
    ) -> Result<u64, String> {
        Err("not in this test".to_owned())
    }

    fn is_behind(&self, _: &[LocalPack], _: model::ObjectId, _: model::ObjectId) -> Result<bool, String> {
        Err("not in this test".to_owned())
    }

    fn verify(&self, _: &[LocalPack], _: &[model::ObjectId], _: usize) -> Result<Vec<String>, String> {
        Err("not in this test".to_owned())
    }

    fn lfs_unnamed(
        &self,
        _: &[LocalPack],
        _: std::collections::HashSet<model::lfs::Oid>,
    ) -> Result<std::collections::HashSet<model::lfs::Oid>, String> {
        Err("not in this test".to_owned())
    }
}

pub(super) struct Bed {
    pub(super) git: Git,
    pub(super) gateway: Arc<Gateway>,
    api: Arc<Api>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    stop: CancellationToken,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Bed {
    pub(super) async fn new() -> Result<Self> {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            // Another test of this process may have done it.
            let _installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        });
        let (folder, stop, registry) = (tempfile::tempdir()?, CancellationToken::new(), Registry::new());
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom));
        let authority = Authority::generate(clock.now(), jiff::SignedDuration::from_hours(24))?;
        std::fs::write(folder.path().join("tls.crt"), authority.certificate_pem())?;
        std::fs::write(folder.path().join("tls.key"), authority.key_pem())?;
        let (_, desired) = watch::channel(Arc::new(desired()?));
        let pool = ServiceName { service: "codekeep-git".to_owned(), namespace: "codekeep-system".to_owned() };
        let config = TlsConfig {
            authority: Some(folder.path().to_owned()),
            own: Some((pool.service.clone(), pool.namespace.clone())),
            cluster_domain: "cluster.local".to_owned(),
            ..TlsConfig::default()
        };
        let tls = Tls::new(config, desired.clone(), clock.clone(), stop.clone()).await?;
        let api = Arc::new(Api::default());
        let tokens = Tokens::new(api.clone(), clock.clone(), &*random, &registry)?;
        let metrics = StoreMetrics::new(&registry)?;
        let objects = Arc::new(FileStore::open(&folder.path().join("store"), metrics.clone()).await?);
        let cache = Arc::new(Cache::open(&folder.path().join("cache"), 1 << 30, &metrics)?);
        let (tools, policy) = (Arc::new(NoTools), store::Policy::default());
        let context = store::Context {
            cache,
            tools,
            clock,
            random: random.clone(),
            policy,
            metrics,
            keys: store::KeySources::default(),
        };
        let repositories = Repositories::new(objects, context);
        let stores = BTreeMap::from([("default".to_owned(), Arc::new(repositories))]);
        let config = GatewayConfig {
            operator_identity: Some(OPERATOR_NAME.to_owned()),
            pool_service: Some(pool),
            ..GatewayConfig::default()
        };
        let gateway = Gateway::new(config, desired, stores, &registry, random, Some(tokens))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let serving = gateway::serve(listener, Some(tls), Arc::clone(&gateway), Duration::from_secs(1), stop.clone());
        tokio::spawn(serving);
        Ok(Self { git: Git::new()?, gateway, api, address, folder, stop })
    }

    pub(super) fn api_server_is_away(&self, is_away: bool) {
        self.api.is_away.store(is_away, Ordering::SeqCst);
    }

    /// git that trusts our authority and finds every Service at this server.
    pub(super) fn git(&self, arguments: &[&str]) -> Result<Answer> {
        let all = self.words(arguments);
        self.git.run(&self.git.path(""), &all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What upload-pack says in version 2: its capabilities, then the answer to a command without arguments.
    pub(super) fn ask(&self, url: &str, command: &str) -> Result<String> {
        let all = self.words(&["remote-https", "origin", url]);
        let mut git = self.git.command(&self.git.path(""), &all.iter().map(String::as_str).collect::<Vec<_>>());
        let mut git = git.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut input = git.stdin.take().context("git has no standard input")?;
        let mut output = git.stdout.take().context("git has no standard output")?;
        input.write_all(b"stateless-connect git-upload-pack\n")?;
        let (mut said, mut byte) = (Vec::new(), [0]);
        // What comes before git has connected, it takes for more of that line.
        while !said.ends_with(b"\n0000") {
            output.read_exact(&mut byte)?;
            said.extend(byte);
        }
        input.write_all(&[line(format!("command={command}")), DELIMITER.to_vec(), FLUSH.to_vec()].concat())?;
        drop(input);
        output.read_to_end(&mut said)?;
        ensure!(git.wait()?.success(), "git remote-https failed");
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    fn words(&self, arguments: &[&str]) -> Vec<String> {
        let port = self.address.port();
        let mut all = vec!["-c".to_owned(), format!("http.sslCAInfo={}", self.folder.path().join("tls.crt").display())];
        for host in [HELLO, POOL, "secret.team-b.svc.cluster.local"] {
            all.extend(["-c".to_owned(), format!("http.curloptResolve={host}:{port}:127.0.0.1")]);
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        all
    }

    /// An address with a token as the password.
    pub(super) fn url(&self, token: &str, host: &str, path: &str) -> String {
        format!("https://x:{token}@{host}:{}/{path}", self.address.port())
    }

    /// A commit on `main` of a new repository, to be pushed.
    pub(super) fn work(&self, name: &str) -> Result<String> {
        let folder = self.git.init(name)?;
        self.git.commit(&folder, "README", "hello\n")?;
        Ok(folder.display().to_string())
    }
}

/// The Service of the Repository `hello` in `team-a`.
pub(super) const HELLO: &str = "hello.team-a.svc.cluster.local";
/// The Service of the pool.
pub(super) const POOL: &str = "codekeep-git.codekeep-system.svc.cluster.local";

fn desired() -> Result<DesiredState> {
    let repository = |path: &str, suspended| -> Result<_> {
        let config = RepositoryConfig {
            path: path.parse()?,
            resource_name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            labels: Labels::new(),
            description: String::new(),
            default_branch: "refs/heads/main".try_into()?,
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
            bundle_min_bytes: Some(1),
            suspended,
        };
        Ok((config.path.clone(), Arc::new(config)))
    };
    let repositories =
        [repository("team-a/hello", false)?, repository("team-a/asleep", true)?, repository("team-b/closed", false)?];
    let policy = |name: &str, subject, actions: &[Action]| -> Result<_> {
        let statement = Statement {
            sid: name.to_owned(),
            effect: Effect::Allow,
            actions: actions.to_vec(),
            repositories: RepositorySelector::default(),
            references: vec![],
            source_addresses: vec![],
        };
        Ok(Policy {
            namespace: "team-a".parse()?,
            name: name.to_owned(),
            subjects: vec![subject],
            statements: vec![statement],
        })
    };
    let policies = [
        policy("builders", Subject::ServiceAccount("builder".to_owned()), &Action::ALL)?,
        policy("readers", Subject::Group("readers".to_owned()), &[Action::GitPull])?,
        policy("operators", Subject::Group("system:serviceaccounts:codekeep-system".to_owned()), &Action::ALL)?,
    ];
    let policies = PolicySet::compile(&policies).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    Ok(DesiredState { repositories: repositories.into_iter().collect(), policies, ..DesiredState::default() })
}
