//! Files and tests are named as the house style asks.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tests::binary::workspace;

/// Names that say nothing about what is inside.
const EMPTY: [&str; 8] = ["utils", "util", "helpers", "helper", "common", "misc", "manager", "v2"];

#[test]
fn no_file_has_a_name_that_says_nothing() -> Result<()> {
    let mut bad = Vec::new();
    for path in sources()? {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if EMPTY.contains(&stem.as_str()) || stem == "mod" {
            bad.push(path);
        }
    }
    assert!(bad.is_empty(), "rename {bad:?}");
    Ok(())
}

#[test]
fn every_source_file_says_first_what_it_is() -> Result<()> {
    let mut bad = Vec::new();
    for path in sources()? {
        let text = std::fs::read_to_string(&path)?;
        let inside_tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if !text.starts_with("//!") && !inside_tests {
            bad.push(path);
        }
    }
    assert!(bad.is_empty(), "these lack a `//!` line: {bad:?}");
    Ok(())
}

pub(crate) fn sources() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["crds", "operator", "tests"] {
        collect(&workspace().join(folder), &mut found)?;
    }
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("fuzz") {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}
