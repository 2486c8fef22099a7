//! What befalls one S3 server, and its end.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tests::process;
use tests::way::Traffic;

use super::site::Place;

const FILLER: &str = "filler";

/// A fault of one server or of the ways to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9; started again in the end.
    Killed,
    /// SIGSTOP; SIGCONT in the end.
    Frozen,
    /// Connections end, and new ones too.
    Cut,
    /// Nothing arrives, nobody is told.
    Blocked,
    /// Every request takes so much longer.
    Slow(Duration),
    /// Nothing fits on its disk any more.
    Full,
}

impl Fault {
    pub(crate) fn befall(self, place: &Place) -> Result<()> {
        match self {
            Self::Killed => place.s3().kill()?,
            Self::Frozen => process::signal(place.s3().pid(), "STOP")?,
            Self::Cut => place.set(Traffic::Cut),
            Self::Blocked => place.set(Traffic::Blocked),
            Self::Slow(time) => place.set(Traffic::Slow(time)),
            Self::Full => fill(place)?,
        }
        Ok(())
    }

    pub(crate) fn end(self, place: &Place) -> Result<()> {
        match self {
            Self::Killed => place.s3().restart()?,
            Self::Frozen => process::signal(place.s3().pid(), "CONT")?,
            Self::Cut | Self::Blocked | Self::Slow(_) => place.set(Traffic::Flowing),
            Self::Full => std::fs::remove_file(disk(place)?.join(FILLER))?,
        }
        Ok(())
    }
}

fn disk(place: &Place) -> Result<&std::path::Path> {
    Ok(place.disk.as_ref().context("its disk cannot get full")?.path())
}

fn fill(place: &Place) -> Result<()> {
    let mut filler = File::create(disk(place)?.join(FILLER))?;
    for size in [1 << 20, 1 << 12] {
        let block = vec![1; size];
        loop {
            match filler.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("failed to fill the disk"),
            }
        }
    }
    Ok(())
}
