//! CPU time of a server with every process that it starts, by a control group of its own.
//!
//! `/proc/<pid>/stat` knows children only when their parent waits for them, which fcgiwrap does not, and counts in steps of 10 ms.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process;

/// Where Linux keeps the groups that account for CPU time: version 2, version 1.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpuacct"];
/// Groups made by this process so far.
static MADE: AtomicUsize = AtomicUsize::new(0);

/// Measures processes; its group goes when it is dropped.
#[derive(Debug)]
pub struct Meter {
    group: Option<PathBuf>,
    pids: Vec<u32>,
}

impl Meter {
    /// A meter of these processes, of those that they have started, and of whatever all of them start from now on.
    #[must_use]
    pub fn of(pids: &[u32]) -> Self {
        let group = HIERARCHIES.iter().find_map(|root| group(Path::new(root), pids));
        Self { group, pids: pids.to_vec() }
    }

    /// Whether children are counted whatever becomes of them. Otherwise only those that their parent waited for are.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.group.is_some()
    }

    /// CPU time so far, user and system.
    pub fn time(&self) -> Result<Duration> {
        let Some(group) = &self.group else {
            return self.pids.iter().map(|pid| process::cpu_time(*pid)).sum();
        };
        if let Ok(text) = std::fs::read_to_string(group.join("cpuacct.usage")) {
            return Ok(Duration::from_nanos(text.trim().parse()?));
        }
        let text = std::fs::read_to_string(group.join("cpu.stat"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        Ok(Duration::from_micros(line.context("the group tells no CPU time")?.parse()?))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(group) = &self.group {
            // Fails while a process is still in it; then an empty group is left until the next start of the machine.
            let _ = std::fs::remove_dir(group);
        }
    }
}

fn group(root: &Path, pids: &[u32]) -> Option<PathBuf> {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let group = root.join(format!("codekeep-bench-{}-{number}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    let tells = ["cpuacct.usage", "cpu.stat"].iter().any(|file| group.join(file).is_file());
    if tells && pids.iter().all(|pid| join(&group, *pid).is_ok()) {
        return Some(group);
    }
    let _ = std::fs::remove_dir(&group);
    None
}

/// Moves a process and those that it started into a group; later ones are born there.
fn join(group: &Path, pid: u32) -> Result<()> {
    std::fs::write(group.join("cgroup.procs"), pid.to_string())?;
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().try_for_each(|child| join(group, child.parse()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn time_of_children_that_nobody_waits_for_is_counted() -> Result<()> {
        let mut shell = Command::new("sh")
            .args(["-c", "sleep 0.2; (i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done) & wait"])
            .spawn()?;
        let meter = Meter::of(&[shell.id()]);
        shell.wait()?;
        if meter.is_exact() {
            assert!(meter.time()? > Duration::from_millis(50), "{:?}", meter.time()?);
        }
        Ok(())
    }
}
