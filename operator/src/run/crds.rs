//! `codekeep crds`: the `CustomResourceDefinition`s as this very binary understands them.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::args::CrdsArgs;

/// Prints the manifests, or writes them to a folder.
pub(crate) fn run(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    for (file, yaml) in crds::manifests() {
        match &args.output {
            Some(folder) => {
                let path = folder.join(&file);
                std::fs::write(&path, yaml).with_context(|| format!("failed to write {}", path.display()))?;
            }
            None => write!(std::io::stdout(), "---\n{yaml}").context("failed to print")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
