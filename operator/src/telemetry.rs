//! Logs: human or JSON lines on standard error, filtered by level.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::{LogArgs, LogFormat};

/// Installs the process-wide subscriber. The S3 SDK's own lines stay at `warn`: at `debug` they would show requests.
pub(crate) fn install(args: &LogArgs) {
    let filter = EnvFilter::try_new(&args.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet = ["aws_config", "aws_smithy_runtime", "aws_sdk_s3", "hyper", "h2", "rustls"]
        .into_iter()
        .filter_map(|target| format!("{target}=warn").parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let builder =
        tracing_subscriber::fmt().with_env_filter(quiet).with_span_events(FmtSpan::NONE).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Human => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
