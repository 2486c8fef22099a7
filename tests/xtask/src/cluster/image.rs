//! The image that goes into a cluster: made by the project's Dockerfile from a binary that is compiled here.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{script, timed};
use crate::command::{cargo, target, workspace};

/// The registry of the image in the cluster. Nothing serves it: images can only be imported.
const REGISTRY: &str = "codekeep.test";
const REPOSITORY: &str = "codekeep";

/// An image in a file.
pub(super) struct Image {
    pub(super) archive: PathBuf,
    tag: String,
}

impl Image {
    /// Builds binary and image; `CODEKEEP_BINARY` names a binary that is there already.
    pub(super) fn build(release: bool) -> Result<Self> {
        let binary = match std::env::var_os("CODEKEEP_BINARY") {
            Some(binary) => PathBuf::from(binary),
            None => compile(release)?,
        };
        let binary = binary.canonicalize().with_context(|| format!("there is no {}", binary.display()))?;
        let archive = target().join("xtask/image.tar");
        let image = Self { tag: tag(&binary)?, archive };
        timed("building the image", || {
            script("image.sh", &[&binary.to_string_lossy(), &image.name(), &image.archive.to_string_lossy()])
        })?;
        Ok(image)
    }

    /// As pods name it.
    pub(super) fn name(&self) -> String {
        format!("{REGISTRY}/{REPOSITORY}:{}", self.tag)
    }

    /// The chart's values that name it.
    pub(super) fn values(&self) -> [String; 4] {
        [
            format!("image.registry={REGISTRY}"),
            format!("image.repository={REPOSITORY}"),
            format!("image.tag={}", self.tag),
            "image.pullPolicy=Never".to_owned(),
        ]
    }
}

/// Follows from the contents: another binary has another tag, so that pods are replaced; the same one changes nothing.
fn tag(binary: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in [binary, &workspace().join("Dockerfile")] {
        std::fs::read(file).with_context(|| format!("failed to read {}", file.display()))?.hash(&mut hasher);
    }
    Ok(format!("dev-{:016x}", hasher.finish()))
}

fn compile(release: bool) -> Result<PathBuf> {
    let profile = if release { "release" } else { "debug" };
    timed("building the binary", || {
        let mut command = cargo(&["build", "--package", "operator"]);
        if release {
            command.arg("--release");
        }
        ensure!(command.status()?.success(), "cargo build failed");
        Ok(())
    })?;
    Ok(target().join(profile).join("codekeep"))
}
