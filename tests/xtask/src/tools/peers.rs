//! S3 servers built from source: one that is exact, and such as must be refused. See tests/peers/README.md.

use anyhow::{Context as _, Result};

use super::{bin, folder, from_crates, go, once, text};
use crate::command::{must, program, workspace};

const MINIO: &str = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c";
const S3RVER: &str = "s3rver@3.7.1";
const S3S_FS: &str = "0.14.1";
const GARAGE: &str = "2.5.0";

/// Installs those that are missing.
pub(crate) fn install_all() -> Result<()> {
    once("minio", MINIO, || must("minio", go(&["install", "-ldflags=-s -w", MINIO])?))?;
    let source = workspace().join("tests/peers/rclone");
    let module = std::fs::read_to_string(source.join("go.mod")).context("failed to read rclone's go.mod")?;
    once("rclone", &module, || {
        let output = bin()?.join("rclone");
        let mut build = go(&["build", "-mod=readonly", "-ldflags=-s -w", "-o"])?;
        build.arg(output).arg(".").current_dir(&source);
        must("rclone", build)
    })?;
    once("s3s-fs", S3S_FS, || from_crates("s3s-fs", S3S_FS, &["--features", "binary"]))?;
    once("garage", GARAGE, || from_crates("garage", GARAGE, &[]))?;
    once("s3rver", S3RVER, || {
        let prefix = text(folder()?.join("s3rver"))?;
        let arguments =
            ["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", &prefix, S3RVER];
        must("s3rver", program("npm", &arguments))
            .context("node and npm are needed (Debian: apt-get install nodejs npm)")
    })
}
