//! How much memory the private server may use for its pages. Only reads what the system says.

use std::fs;
use std::path::Path;

const MIB: u64 = 1024 * 1024;
/// PostgreSQL's own default.
const SHARED_BUFFERS_MIN_MIB: u64 = 128;
/// Enough for the indexes of some million payments; beyond, the system's cache does as well.
const SHARED_BUFFERS_MAX_MIB: u64 = 2048;
/// PostgreSQL's manual: a quarter of the memory is a reasonable start (section 20.4.1, `shared_buffers`).
const SHARED_BUFFERS_PART: u64 = 4;
/// Where a control group says how much its processes may use, version 2 and version 1.
const LIMITS: [&str; 2] = [
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
];

/// The setting `shared_buffers`, in MiB: a part of the memory of this machine or container, within bounds; where nothing
/// says how much that is, the lower bound.
pub(super) fn shared_buffers_mib() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_bytes(&text));
    let limits = LIMITS
        .iter()
        .filter_map(|path| limit_bytes(Path::new(path)));
    let bytes = machine.into_iter().chain(limits).min();
    part_mib(bytes.unwrap_or(0))
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

/// None: no such file, or no limit (`max`).
fn limit_bytes(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
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
    fn the_total_is_read() {
        let text = "MemTotal:       24689756 kB\nMemFree:         1234567 kB\n";
        assert_eq!(total_bytes(text), Some(24_689_756 * 1024));
        assert_eq!(total_bytes("MemFree: 1 kB"), None);
        assert_eq!(total_bytes("MemTotal: much"), None);
    }
}
