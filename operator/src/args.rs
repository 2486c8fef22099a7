//! Every flag of the `codekeep` binary and its `CODEKEEP_…` twin; `docs/configuration.md` is the table for readers.

mod stores;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use store::StoreUrl;
pub(crate) use stores::{DEFAULT_STORE, NamedKeyService, NamedStore, StoreArgs};
use url::Url;

/// Private Git repositories kept in your own bucket.
#[derive(Debug, Parser)]
#[command(name = "codekeep", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) log: LogArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the repositories of a folder of manifests, or of the cluster around it, to git clients
    Serve(Box<ServeArgs>),
    /// Reconcile Repositories, `AccessPolicies` and `NotificationRules` of a cluster into Services, workloads and status
    Controller(Box<ControllerArgs>),
    /// Verify repositories in a store, down to the hash of every object; exits 1 when something is wrong
    Fsck(FsckArgs),
    /// Set the references of a repository back to what they were, or make another repository of them; without --at lists the
    /// moments that the log still has
    Restore(RestoreArgs),
    /// Write a repository, or a moment of it, into a git bundle, which `git clone` reads
    Export(ExportArgs),
    /// Look after the places where repositories are kept
    #[command(subcommand)]
    Store(StoreCommand),
    /// Print the `CustomResourceDefinition`s as YAML, or write them to a folder
    Crds(CrdsArgs),
}

/// How logs look.
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Format of the log lines on standard error
    #[arg(long, global = true, env = "CODEKEEP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    pub(crate) log_format: LogFormat,
    /// Least severe level that is logged, or a tracing filter such as `info,store=debug`
    #[arg(long, global = true, env = "CODEKEEP_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One readable line per event
    Human,
    /// One JSON object per event
    Json,
}

/// Arguments of `codekeep serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Folder of manifests: repositories, policies, rules and their Secrets; without it they are those of the cluster
    #[arg(long, env = "CODEKEEP_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    #[command(flatten)]
    pub(crate) maintenance: MaintenanceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
    /// Address that git clients connect to
    #[arg(long, env = "CODEKEEP_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Address that git clients connect to over SSH; without it there is no SSH
    #[arg(long, env = "CODEKEEP_SSH_LISTEN", value_name = "ADDR")]
    pub(crate) ssh_listen: Option<SocketAddr>,
    /// Folder of SSH host keys: every private key in it; read again when it changes. With --manifests, one is made if there is none
    #[arg(long, env = "CODEKEEP_SSH_HOST_KEYS", value_name = "DIR", default_value = "./ssh-host-keys")]
    pub(crate) ssh_host_keys: PathBuf,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "CODEKEEP_METRICS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub(crate) metrics_listen: SocketAddr,
    /// Certificate chain (PEM); reloaded when the file changes
    #[arg(long, env = "CODEKEEP_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key (PEM) of the certificate
    #[arg(long, env = "CODEKEEP_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// URL under which clients reach this server, for the clone URLs it prints
    #[arg(long, env = "CODEKEEP_EXTERNAL_URL", value_name = "URL")]
    pub(crate) external_url: Option<Url>,
    /// Networks that webhooks may reach although they are loopback, link-local or private (CIDR, repeatable)
    #[arg(long, env = "CODEKEEP_WEBHOOK_ALLOW_CIDR", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) webhook_allow_cidr: Vec<String>,
    /// Seconds that a server which is asked to stop goes on taking requests, not ready, until nobody sends it more
    #[arg(long, env = "CODEKEEP_DRAIN_DELAY", value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) drain_delay: Duration,
    /// Seconds that requests under way may take to end when the server is asked to stop
    #[arg(long, env = "CODEKEEP_GRACE_PERIOD", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) grace_period: Duration,
}

/// When repositories are looked after. Times are a number with s, m, h or d.
#[derive(Debug, clap::Args)]
pub(crate) struct MaintenanceArgs {
    /// Time in which every repository is looked after once
    #[arg(long, env = "CODEKEEP_MAINTENANCE_INTERVAL", value_name = "TIME", default_value = "6h", value_parser = time)]
    pub(crate) maintenance_interval: Duration,
    /// Time after which packs leave the local cache that nobody has used
    #[arg(long, env = "CODEKEEP_CACHE_RETENTION", value_name = "TIME", default_value = "24h", value_parser = time)]
    pub(crate) cache_retention: Duration,
    /// Time after which objects are deleted that nothing names any more; longer than any request takes
    #[arg(long, env = "CODEKEEP_DELETION_GRACE", value_name = "TIME", default_value = "24h", value_parser = time)]
    pub(crate) deletion_grace: Duration,
    /// Time for which commits are kept that only deleted or rewound references led to
    #[arg(long, env = "CODEKEEP_UNREACHABLE_RETENTION", value_name = "TIME", default_value = "14d", value_parser = time)]
    pub(crate) unreachable_retention: Duration,
    /// Time after which LFS objects are given up that no pointer file names, and deleted after as long again
    #[arg(long, env = "CODEKEEP_LFS_RETENTION", value_name = "TIME", default_value = "14d", value_parser = time)]
    pub(crate) lfs_retention: Duration,
    /// Shortest --lfs-retention that is accepted: git-lfs sends objects before git pushes what names them. Lower it in tests only
    #[arg(long, env = "CODEKEEP_LFS_RETENTION_FLOOR", value_name = "TIME", default_value = "24h", value_parser = time)]
    pub(crate) lfs_retention_floor: Duration,
    /// Time for which the log keeps events for notification targets that do not take them
    #[arg(long, env = "CODEKEEP_LOG_RETENTION", value_name = "TIME", default_value = "14d", value_parser = time)]
    pub(crate) log_retention: Duration,
    /// Time in which everything that the store holds is read and verified once
    #[arg(long, env = "CODEKEEP_SCRUB_INTERVAL", value_name = "TIME", default_value = "30d", value_parser = time)]
    pub(crate) scrub_interval: Duration,
    /// Bytes per second that this verification reads, at most
    #[arg(long, env = "CODEKEEP_SCRUB_RATE", value_name = "SIZE", default_value = "32Mi", value_parser = model::quantity::parse_bytes)]
    pub(crate) scrub_rate: u64,
}

impl MaintenanceArgs {
    pub(crate) fn policy(&self) -> anyhow::Result<store::Policy> {
        anyhow::ensure!(
            self.lfs_retention >= self.lfs_retention_floor,
            "--lfs-retention is shorter than {} hours: objects could be deleted that a push under way is about to name; make it longer",
            self.lfs_retention_floor.as_secs() / 3_600
        );
        Ok(store::Policy {
            grace: self.deletion_grace,
            unreachable_retention: self.unreachable_retention,
            lfs_retention: self.lfs_retention,
            log_retention: self.log_retention,
            scrub_interval: self.scrub_interval,
            scrub_rate: self.scrub_rate,
            ..store::Policy::default()
        })
    }
}

/// How `codekeep serve` works in a cluster; the controller sets all of these.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// Namespaces that are served; all when none is given (comma-separated)
    #[arg(long, env = "CODEKEEP_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,
    /// The cluster's DNS domain
    #[arg(long, env = "CODEKEEP_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// The namespace of this server's Service
    #[arg(long, env = "CODEKEEP_NAMESPACE", value_name = "NAMESPACE", default_value = "codekeep-system")]
    pub(crate) namespace: String,
    /// This server's Service
    #[arg(long, env = "CODEKEEP_SERVICE", value_name = "NAME", default_value = "codekeep-git")]
    pub(crate) service: String,
    /// Folder with tls.crt and tls.key of the certificate authority that in-cluster names get certificates from
    #[arg(long, env = "CODEKEEP_TLS_AUTHORITY", value_name = "DIR")]
    pub(crate) tls_authority: Option<PathBuf>,
    /// Address of the control port, where the controller and dedicated servers ask
    #[arg(long, env = "CODEKEEP_CONTROL_LISTEN", value_name = "ADDR")]
    pub(crate) control_listen: Option<SocketAddr>,
    /// The user of the controller, as the API server names it
    #[arg(long, env = "CODEKEEP_OPERATOR_IDENTITY", value_name = "USER")]
    pub(crate) operator_identity: Option<String>,
    /// Audiences of Kubernetes tokens that are accepted (comma-separated)
    #[arg(
        long,
        env = "CODEKEEP_TOKEN_AUDIENCE",
        value_name = "AUDIENCE",
        default_value = crds::GROUP,
        value_delimiter = ','
    )]
    pub(crate) token_audience: Vec<String>,
    /// Whether tokens for the API server itself are accepted too
    #[arg(long, env = "CODEKEEP_ACCEPT_API_SERVER_AUDIENCE", value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) accept_api_server_audience: bool,
    /// File, on a memory file system, for the last snapshot of what the API server said
    #[arg(long, env = "CODEKEEP_SNAPSHOT", value_name = "FILE")]
    pub(crate) snapshot: Option<PathBuf>,
    /// Seconds that a snapshot may be old when a server starts from it
    #[arg(long, env = "CODEKEEP_SNAPSHOT_MAX_AGE", value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub(crate) snapshot_max_age: Duration,
    /// Follow the pool at this URL instead of the API server: a dedicated server of one Repository
    #[arg(long, env = "CODEKEEP_CONTROL_URL", value_name = "URL", requires_all = ["control_ca", "control_token", "repository"])]
    pub(crate) control_url: Option<Url>,
    /// Certificates (PEM) that prove the pool
    #[arg(long, env = "CODEKEEP_CONTROL_CA", value_name = "FILE")]
    pub(crate) control_ca: Option<PathBuf>,
    /// File with the token that the pool accepts
    #[arg(long, env = "CODEKEEP_CONTROL_TOKEN", value_name = "FILE")]
    pub(crate) control_token: Option<PathBuf>,
    /// Name of the Repository that a dedicated server serves
    #[arg(long, env = "CODEKEEP_REPOSITORY", value_name = "NAME")]
    pub(crate) repository: Option<String>,
}

/// Arguments of `codekeep controller`.
#[derive(Debug, clap::Args)]
pub(crate) struct ControllerArgs {
    /// Description of the pool of git servers (YAML); the chart writes it
    #[arg(long, env = "CODEKEEP_POOL", value_name = "FILE", default_value = "/etc/codekeep/pool.yaml")]
    pub(crate) pool: PathBuf,
    /// Namespace of the controller and of the pool
    #[arg(long, env = "CODEKEEP_NAMESPACE", value_name = "NAMESPACE", default_value = "codekeep-system")]
    pub(crate) namespace: String,
    /// Namespaces whose resources are reconciled; all when none is given (comma-separated)
    #[arg(long, env = "CODEKEEP_WATCH_NAMESPACES", value_name = "NAMESPACES", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,
    /// Name of the Lease that says which replica works
    #[arg(long, env = "CODEKEEP_LEASE_NAME", value_name = "NAME", default_value = "codekeep-controller")]
    pub(crate) lease_name: String,
    /// Who this replica is in the Lease
    #[arg(long, env = "CODEKEEP_POD_NAME", value_name = "NAME", default_value = "codekeep-controller")]
    pub(crate) pod_name: String,
    /// Deployment that owns the pool, so that it goes when the controller is uninstalled
    #[arg(long, env = "CODEKEEP_OWNER_DEPLOYMENT", value_name = "NAME", default_value = "codekeep-controller")]
    pub(crate) owner_deployment: String,
    /// File with a token that git servers accept
    #[arg(long, env = "CODEKEEP_GIT_TOKEN", value_name = "FILE", default_value = "/var/run/secrets/codekeep/token")]
    pub(crate) git_token: PathBuf,
    /// Reconciles of each kind that run at once
    #[arg(long, env = "CODEKEEP_CONCURRENCY", value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) concurrency: u16,
    /// The region in ARNs
    #[arg(long, env = "CODEKEEP_REGION", value_name = "REGION", default_value = "us-east-1")]
    pub(crate) region: String,
    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "CODEKEEP_METRICS_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:9090")]
    pub(crate) metrics_listen: SocketAddr,
}

/// Arguments of `codekeep fsck`.
#[derive(Debug, clap::Args)]
pub(crate) struct FsckArgs {
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    /// Folder of manifests, for the keys of encrypted repositories
    #[arg(long, env = "CODEKEEP_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Repositories as NAMESPACE/NAME; all that the store's catalog lists when none is given
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) repositories: Vec<model::RepositoryPath>,
    /// Also print the certificates of signed pushes that the log still has, as they were sent; their signatures are not verified
    #[arg(long, env = "CODEKEEP_CERTIFICATES")]
    pub(crate) certificates: bool,
}

/// A repository of a store, for one who works on it without a server.
#[derive(Debug, clap::Args)]
pub(crate) struct OneArgs {
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    /// Folder of manifests, for the keys of encrypted repositories
    #[arg(long, env = "CODEKEEP_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// The repository
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) repository: model::RepositoryPath,
    /// The moment: a time such as 2026-11-25T10:00:00Z, or the number of an entry of the log, after which it is
    #[arg(long, env = "CODEKEEP_AT", value_name = "TIME|GENERATION", value_parser = moment)]
    pub(crate) at: Option<store::Moment>,
}

/// Arguments of `codekeep restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) one: OneArgs,
    /// Make this repository of it instead, which must be new or empty; the other one stays as it is
    #[arg(long = "as", env = "CODEKEEP_AS", value_name = "NAMESPACE/NAME")]
    pub(crate) to: Option<model::RepositoryPath>,
    /// Print what would change, and change nothing
    #[arg(long, env = "CODEKEEP_DRY_RUN")]
    pub(crate) dry_run: bool,
}

/// Arguments of `codekeep export`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) one: OneArgs,
    /// The bundle; it must not exist
    #[arg(long, env = "CODEKEEP_OUTPUT", value_name = "FILE")]
    pub(crate) output: PathBuf,
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Test a bucket or a folder, and say whether Codekeep runs on it and why not; exits 1 when it does not, 2 when it could
    /// not be asked
    Check(Box<StoreCheckArgs>),
    /// Copy everything that a store holds to another one, as it lies; what is there already is not copied again. Exits 1 when
    /// something could not be copied
    Mirror(Box<MirrorArgs>),
    /// Make another store the primary one of repositories that are in several; servers follow by themselves. Exits 1 when one of them
    /// stays where it is
    Promote(Box<PromoteArgs>),
    /// Compare what the stores of repositories hold, read all of it, and say what one of them lacks or has damaged; exits 1 when something
    /// is wrong, 2 when not everything could be read
    Verify(Box<VerifyArgs>),
}

/// Arguments of `codekeep store promote`.
#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    /// Folder of manifests. Without it nothing is known of modes, and a primary store that cannot be reached is given up with
    /// --accept-loss only
    #[arg(long, env = "CODEKEEP_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Name of the store that becomes the primary one
    #[arg(long, env = "CODEKEEP_TO", value_name = "NAME")]
    pub(crate) to: String,
    /// The old primary store is lost and no server writes to it any more: give up what only it has
    #[arg(long, env = "CODEKEEP_ACCEPT_LOSS")]
    pub(crate) accept_loss: bool,
    /// Repositories as NAMESPACE/NAME; all that the catalog lists when none is given
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) repositories: Vec<model::RepositoryPath>,
}

/// Arguments of `codekeep store verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    /// Folder of manifests: which stores repositories have to be in, and the keys of encrypted ones. Without it any store may have any
    /// repository
    #[arg(long, env = "CODEKEEP_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: Option<PathBuf>,
    /// Write what one store has lost or has damaged anew, from another one's copy that was verified
    #[arg(long, env = "CODEKEEP_REPAIR")]
    pub(crate) repair: bool,
    /// Repositories as NAMESPACE/NAME; all of the manifests, or all that the catalog lists, when none is given
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) repositories: Vec<model::RepositoryPath>,
}

/// Arguments of `codekeep store mirror`.
#[derive(Debug, clap::Args)]
pub(crate) struct MirrorArgs {
    /// The store that is copied
    #[arg(value_name = "FROM")]
    pub(crate) from: StoreUrl,
    /// Where its copy is; no servers may use it
    #[arg(value_name = "TO")]
    pub(crate) to: StoreUrl,
    /// Folder with the access key of the source, as for `codekeep serve --store-credentials`
    #[arg(long, env = "CODEKEEP_FROM_CREDENTIALS", value_name = "DIR")]
    pub(crate) from_credentials: Option<PathBuf>,
    /// Folder with the access key of the copy
    #[arg(long, env = "CODEKEEP_TO_CREDENTIALS", value_name = "DIR")]
    pub(crate) to_credentials: Option<PathBuf>,
    /// Folder for large objects on their way; each process needs its own
    #[arg(long, env = "CODEKEEP_CACHE", value_name = "DIR", default_value = "./cache")]
    pub(crate) cache: PathBuf,
    /// Copy again and again, a round each time, until stopped
    #[arg(long, env = "CODEKEEP_EVERY", value_name = "TIME", value_parser = time)]
    pub(crate) every: Option<Duration>,
    /// Print what would be copied, and copy nothing; exits 1 when the copy is behind
    #[arg(long, env = "CODEKEEP_DRY_RUN")]
    pub(crate) dry_run: bool,
}

/// Arguments of `codekeep store check`.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreCheckArgs {
    /// `file:DIR` or `s3://BUCKET[/PREFIX][?region=&endpoint=&path-style=true]`, as for `codekeep serve --store`; the checks
    /// write about 120 MB below a prefix of their own and remove them
    #[arg(value_name = "URL")]
    pub(crate) url: StoreUrl,
    /// Folder with files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if need be, `AWS_SESSION_TOKEN`, as a mounted Secret
    /// has them; they come before the standard AWS chain
    #[arg(long, env = "CODEKEEP_STORE_CREDENTIALS", value_name = "DIR")]
    pub(crate) store_credentials: Option<PathBuf>,
    /// How the report is printed
    #[arg(long, env = "CODEKEEP_OUTPUT", value_enum, default_value_t = ReportFormat::Human)]
    pub(crate) output: ReportFormat,
}

/// Format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// A line for each check, and a verdict
    Human,
    /// One JSON object
    Json,
}

/// Arguments of `codekeep crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct CrdsArgs {
    /// Write one file per kind into this folder instead of printing
    #[arg(long, env = "CODEKEEP_CRDS_OUTPUT", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

fn moment(text: &str) -> Result<store::Moment, String> {
    if let Ok(generation) = text.parse() {
        return Ok(store::Moment::Generation(generation));
    }
    let time = text.parse().map(store::Moment::Time);
    time.map_err(|_| format!("'{text}' is neither a time such as 2026-11-25T10:00:00Z nor the number of an entry"))
}

fn time(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let parsed = units.iter().find_map(|(unit, seconds)| {
        let number: u64 = text.strip_suffix(*unit)?.parse().ok()?;
        number.checked_mul(*seconds)
    });
    parsed.map(Duration::from_secs).ok_or_else(|| format!("'{text}' is not a number with s, m, h or d"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|error| format!("not a number of seconds: {error}"))
}

#[cfg(test)]
mod tests;
