//! Who depends on whom, compared with `tests/golden/layering.txt`. A new edge needs a decision record.

use std::collections::BTreeSet;

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand};
use tests::binary::workspace;

/// Crates that bring a whole world along: each only where it belongs.
const WATCHED: [&str; 5] = ["kube", "axum", "russh", "aws-sdk-s3", "cedar-policy"];

#[test]
fn the_crates_depend_on_each_other_as_the_golden_file_says() -> Result<()> {
    let metadata = MetadataCommand::new().manifest_path(workspace().join("Cargo.toml")).no_deps().exec()?;
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut lines = Vec::new();
    for name in &ours {
        lines.push(
            format!("{name} -> {}", dependencies(&metadata, name, |to| ours.contains(to)).join(" "))
                .trim_end()
                .to_owned(),
        );
    }
    for watched in WATCHED {
        let users = ours.iter().filter(|name| !dependencies(&metadata, name, |to| to == watched).is_empty());
        let users: Vec<&str> = users.copied().collect();
        lines.push(format!("{watched} <- {}", users.join(" ")).trim_end().to_owned());
    }
    let golden = std::fs::read_to_string(workspace().join("tests/golden/layering.txt"))?;
    assert_eq!(
        lines.join("\n"),
        golden.trim_end(),
        "the layering changed: write a decision record, then the golden file"
    );
    Ok(())
}

/// Dependencies that end up in a binary; those of tests may go anywhere.
fn dependencies(metadata: &cargo_metadata::Metadata, name: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let package = metadata.packages.iter().find(|package| package.name.as_str() == name);
    let mut found: Vec<String> = package
        .into_iter()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.kind != DependencyKind::Development && wanted(&dependency.name))
        .map(|dependency| dependency.name.clone())
        .collect();
    found.sort();
    found.dedup();
    found
}
