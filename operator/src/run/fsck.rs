//! `codekeep fsck`
pub(crate) async fn run(_: crate::args::FsckArgs) -> anyhow::Result<std::process::ExitCode> { anyhow::bail!("soon") }
