//! Processor time: what a webhook costs, however busy the machine is with other things.
//!
//! Reads Linux's `/proc`; elsewhere all figures are zero and are not shown.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// `/proc` counts in hundredths of a second (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// Time used so far.
#[derive(Clone, Copy)]
pub struct Used {
    /// By this process and others that serve: the service and the load generator.
    pub process: Duration,
    /// By PostgreSQL, its server and all its sessions.
    pub postgres: Duration,
}

/// Looks at this process, and at the server whose files are in this folder.
pub fn used(folder: &Path) -> Used {
    used_with(folder, &[])
}

/// The same, with other processes that serve.
pub fn used_with(folder: &Path, others: &[u32]) -> Used {
    let own = |pid: &str| stat(pid).map_or(Duration::ZERO, |stat| stat.own);
    let others = others.iter().map(|pid| own(&pid.to_string()));
    Used {
        process: own("self") + others.sum::<Duration>(),
        postgres: postgres(folder).unwrap_or_default(),
    }
}

fn postgres(folder: &Path) -> Option<Duration> {
    let text = fs::read_to_string(folder.join("postgres/data/postmaster.pid")).ok()?;
    let server = text.lines().next()?.trim();
    let stats = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
        let pid = entry.file_name();
        let pid = pid
            .to_str()
            .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))?;
        Some((pid.to_owned(), stat(pid)?))
    });
    let used = stats.map(|(pid, stat)| {
        if pid == server {
            stat.own + stat.ended_children
        } else if stat.parent == server {
            stat.own
        } else {
            Duration::ZERO
        }
    });
    Some(used.sum())
}

struct Stat {
    parent: String,
    own: Duration,
    ended_children: Duration,
}

/// Fields 4 and 14 to 17 of `/proc/<pid>/stat` (proc(5)). The second one, in parentheses, may hold anything.
fn stat(pid: &str) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| Some(TICK * fields.get(field - 3)?.parse::<u32>().ok()?);
    Some(Stat {
        parent: (*fields.get(1)?).to_owned(),
        own: ticks(14)? + ticks(15)?,
        ended_children: ticks(16)? + ticks(17)?,
    })
}
