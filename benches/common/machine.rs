//! What the figures were taken on.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// A page of PostgreSQL's log.
const PAGE: [u8; 8192] = [0xA5; 8192];
/// A segment of PostgreSQL's log is written over and over; so is this file.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
const PROBE: Duration = Duration::from_secs(1);

/// How long the disk takes to keep a page.
pub struct Disk {
    pub p50: Duration,
    pub p99: Duration,
    pub times: usize,
}

/// Writes 8 KiB and calls fdatasync, for about a second, in a file that is there already.
pub fn probe_disk(folder: &Path) -> std::io::Result<Disk> {
    let path = folder.join("fdatasync-probe");
    let file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)?;
    let result = measure(file);
    std::fs::remove_file(&path)?;
    result
}

fn measure(mut file: File) -> std::io::Result<Disk> {
    let pages = FILE_BYTES / PAGE.len() as u64;
    for _ in 0..pages {
        file.write_all(&PAGE)?;
    }
    file.sync_all()?;
    let mut took = Vec::new();
    let started = Instant::now();
    while started.elapsed() < PROBE {
        let page = took.len() as u64 % pages;
        let begin = Instant::now();
        file.write_all_at(&PAGE, page * PAGE.len() as u64)?;
        file.sync_data()?;
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    let times = took.len();
    let at = |percent: usize| took.get((times * percent / 100).min(times - 1)).copied();
    Ok(Disk {
        p50: at(50).unwrap_or_default(),
        p99: at(99).unwrap_or_default(),
        times,
    })
}

/// Cores, memory, model, kernel.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let model =
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .map_or_else(
            || "unknown memory".to_owned(),
            |kib| format!("{} GiB", kib.div_ceil(1024 * 1024)),
        );
    let kernel = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores ({model}), {memory}, Linux {}", kernel.trim())
}

/// Jobs that ran or waited to, over the last minute: what else the machine was doing.
pub fn load_average() -> String {
    let text = read("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .unwrap_or("unknown")
        .to_owned()
}

/// The commit that is measured, with a `+` when files differ from it.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let id = git(&["rev-parse", "--short", "HEAD"])?;
    let changed = git(&["status", "--porcelain"]).is_some_and(|files| !files.is_empty());
    Some(if changed { id + "+" } else { id })
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = read(path)?;
    let (_, value) = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}
