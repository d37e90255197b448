//! How much memory and disk the private server may use. Only reads what the system says.

use std::fs;
use std::path::{Path, PathBuf};

const MIB: u64 = 1024 * 1024;
/// PostgreSQL's own default.
const SHARED_BUFFERS_MIN_MIB: u64 = 128;
/// Enough for the indexes of some million payments; beyond, the system's cache does as well.
const SHARED_BUFFERS_MAX_MIB: u64 = 2048;
/// PostgreSQL's manual: a quarter of the memory is a reasonable start (section 20.4.1, `shared_buffers`).
const SHARED_BUFFERS_PART: u64 = 4;
/// PostgreSQL's own default.
const MAX_WAL_MIN_MIB: u64 = 1024;
const MAX_WAL_MAX_MIB: u64 = 4096;
/// Of the file system that the files are on.
const MAX_WAL_PART: u64 = 10;

/// The setting `shared_buffers`, in MiB: a part of the memory of this machine or of its control group, within bounds;
/// where nothing says how much that is, the lower bound.
pub(super) fn shared_buffers_mib() -> u64 {
    let machine = read("/proc/meminfo").and_then(|text| total_bytes(&text));
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups);
    let limits = limits.iter().filter_map(|path| limit_bytes(path));
    let bytes = machine.into_iter().chain(limits).min();
    part_mib(bytes.unwrap_or(0))
}

/// The setting `max_wal_size`, in MiB: a part of the disk that these files are on, within bounds. After a checkpoint each
/// page is written to the log whole when it is first changed, and keys are spread over all pages: so checkpoints are seldom
/// where there is room.
pub(super) fn max_wal_mib(folder: &Path) -> u64 {
    let bytes = rustix::fs::statvfs(folder).map_or(0, |fs| fs.f_frsize.saturating_mul(fs.f_blocks));
    (bytes / MAX_WAL_PART / MIB).clamp(MAX_WAL_MIN_MIB, MAX_WAL_MAX_MIB)
}

fn part_mib(bytes: u64) -> u64 {
    (bytes / SHARED_BUFFERS_PART / MIB).clamp(SHARED_BUFFERS_MIN_MIB, SHARED_BUFFERS_MAX_MIB)
}

/// `MemTotal` of proc(5), which counts in KiB.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Where the control groups of this process and those above say how much memory they may use: cgroups(7), version 2 with
/// no controller in its line and version 1 with that of memory.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(
            group
                .ancestors()
                .map(|group| Path::new(root).join(group).join(file)),
        );
    }
    files
}

/// None: no such file, or no limit (`max`).
fn limit_bytes(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_memory_within_bounds() {
        for (gib_tenths, mib) in [(0, 128), (4, 128), (10, 256), (40, 1024), (240, 2048)] {
            assert_eq!(part_mib(gib_tenths * 1024 * MIB / 10), mib);
        }
    }

    #[test]
    fn limits_are_looked_for_in_all_groups_above() {
        let found: Vec<String> = limit_files("1:name=systemd:/a\n4:cpu,memory:/b/c\n0::/d\nodd")
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(
            found,
            [
                "/sys/fs/cgroup/memory/b/c/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/b/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/d/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
    }

    #[test]
    fn the_log_is_bounded_by_the_disk() {
        let mib = max_wal_mib(Path::new("/"));
        assert!((MAX_WAL_MIN_MIB..=MAX_WAL_MAX_MIB).contains(&mib));
        assert_eq!(max_wal_mib(Path::new("/nowhere/at/all")), MAX_WAL_MIN_MIB);
    }

    #[test]
    fn the_total_is_read() {
        let text = "MemTotal:       24689756 kB\nMemFree:         1234567 kB\n";
        assert_eq!(total_bytes(text), Some(24_689_756 * 1024));
        assert_eq!(total_bytes("MemFree: 1 kB"), None);
        assert_eq!(total_bytes("MemTotal: much"), None);
    }
}
