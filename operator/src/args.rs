//! Every flag of the `codekeep` binary and its `CODEKEEP_…` twin; `docs/configuration.md` is the table for readers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use store::StoreUrl;
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
    /// Serve the repositories of a folder of manifests to git clients
    Serve(Box<ServeArgs>),
    /// Verify repositories in a store, down to the hash of every object; exits 1 when something is wrong
    Fsck(FsckArgs),
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

/// Where repositories and cached packs are.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Object store: `file:DIR` or `s3://BUCKET[/PREFIX][?region=&endpoint=&path-style=true]`; repeat as `NAME=URL`
    /// for stores that Repositories choose by `spec.store` (without a name it is the store `default`)
    #[arg(
        long,
        env = "CODEKEEP_STORE",
        value_name = "[NAME=]URL",
        default_value = "file:./data",
        value_delimiter = ','
    )]
    pub(crate) store: Vec<NamedStore>,
    /// Folder of the disposable local cache
    #[arg(long, env = "CODEKEEP_CACHE", value_name = "DIR", default_value = "./cache")]
    pub(crate) cache: PathBuf,
    /// Bytes that the cache may hold, e.g. 512Mi or 10Gi
    #[arg(long, env = "CODEKEEP_CACHE_SIZE", value_name = "SIZE", default_value = "10Gi", value_parser = model::quantity::parse_bytes)]
    pub(crate) cache_size: u64,
}

/// A store URL with the name that Repositories use for it.
#[derive(Clone, Debug)]
pub(crate) struct NamedStore {
    pub(crate) name: String,
    pub(crate) url: StoreUrl,
}

/// The store of Repositories that name none.
pub(crate) const DEFAULT_STORE: &str = "default";

impl std::str::FromStr for NamedStore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `=` also occurs in a URL's query, so a name is only what stands before the scheme.
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if !name.contains([':', '/', '?']) => (name, url),
            _ => (DEFAULT_STORE, text),
        };
        if name.is_empty() {
            return Err("the store has an empty name: write NAME=URL".to_owned());
        }
        let url = url.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { name: name.to_owned(), url })
    }
}

/// Arguments of `codekeep serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Folder of manifests: repositories, policies, rules and their Secrets
    #[arg(long, env = "CODEKEEP_MANIFESTS", value_name = "DIR")]
    pub(crate) manifests: PathBuf,
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    /// Address that git clients connect to
    #[arg(long, env = "CODEKEEP_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
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
    /// Seconds that requests under way may take to end when the server is asked to stop
    #[arg(long, env = "CODEKEEP_GRACE_PERIOD", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) grace_period: Duration,
}

/// Arguments of `codekeep fsck`.
#[derive(Debug, clap::Args)]
pub(crate) struct FsckArgs {
    #[command(flatten)]
    pub(crate) stores: StoreArgs,
    /// Repositories as NAMESPACE/NAME; all that the store's catalog lists when none is given
    #[arg(value_name = "NAMESPACE/NAME")]
    pub(crate) repositories: Vec<model::RepositoryPath>,
}

/// Arguments of `codekeep crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct CrdsArgs {
    /// Write one file per kind into this folder instead of printing
    #[arg(long, env = "CODEKEEP_CRDS_OUTPUT", value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|error| format!("not a number of seconds: {error}"))
}

#[cfg(test)]
mod tests;
