//! Writing a table to a file.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use super::{Built, Error, build::Finished};

/// Writes the table to a new file and syncs it. On failure there is no file.
pub(super) fn write(table: &Finished, out: &Path) -> Result<Built, Error> {
    let failed = |source| Error::Write { path: out.to_owned(), source };
    let file = File::create_new(out).map_err(failed)?;
    match write_to(table, file) {
        Ok(bytes) => Ok(Built { bytes, commits: table.commits.len() as u64 }),
        Err(source) => {
            // The first error is the one that counts.
            drop(std::fs::remove_file(out));
            Err(failed(source))
        }
    }
}

fn write_to(table: &Finished, file: File) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 18, file);
    out.write_all(&table.header.bytes())?;
    for id in &table.foreign {
        out.write_all(id.as_slice())?;
    }
    for commit in &table.commits {
        out.write_all(&commit.position.to_be_bytes())?;
        out.write_all(&commit.tree.to_be_bytes())?;
        out.write_all(&commit.date.to_be_bytes())?;
        out.write_all(&commit.first_parent.to_be_bytes())?;
        out.write_all(&commit.list.to_be_bytes())?;
    }
    for parent in &table.parents {
        out.write_all(&parent.to_be_bytes())?;
    }
    let mut pairs: Vec<(u32, u32)> = table.commits.iter().map(|commit| commit.position).zip(0..).collect();
    pairs.sort_unstable();
    for (position, number) in pairs {
        out.write_all(&position.to_be_bytes())?;
        out.write_all(&number.to_be_bytes())?;
    }
    out.write_all(&table.lists)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    file.metadata().map(|found| found.len())
}
