//! What Linux tells about a process: memory, CPU time.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Clock ticks per second in `/proc/<pid>/stat`: 100 on every Linux that we build for.
const TICKS_PER_SECOND: u64 = 100;

/// A line of `/proc/<pid>/status` in bytes, such as `VmHWM` (peak resident), `VmRSS` or `RssAnon`.
pub fn memory(pid: u32, field: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("failed to read the process's status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes =
        line.and_then(|line| line.split_whitespace().next()).context("the process's status has no such line")?;
    Ok(kibibytes.parse::<u64>()? * 1024)
}

/// CPU time, user and system, of a process and of its children that ended.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    cpu_time_of(pid, 11..15)
}

/// CPU time, user and system, of this process's children that ended, and theirs.
pub fn cpu_time_of_children() -> Result<Duration> {
    cpu_time_of(std::process::id(), 13..15)
}

/// The sum of some fields of `/proc/<pid>/stat`, counted from the one after the name.
fn cpu_time_of(pid: u32, fields: std::ops::Range<usize>) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("failed to read the process's stat")?;
    // The second field is a name in parentheses, which may hold spaces.
    let (_, rest) = text.rsplit_once(')').context("the process's stat has no name")?;
    let words = rest.split_whitespace().skip(fields.start).take(fields.len());
    let ticks: u64 = words.filter_map(|word| word.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Sends a signal by `kill(1)`: this workspace forbids unsafe code.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let status = std::process::Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
    anyhow::ensure!(status.success(), "failed to send SIG{name} to {pid}");
    Ok(())
}
