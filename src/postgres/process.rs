//! Child processes: started so that they end with us, waited for within limits, stopped in steps. Owns nothing that
//! lives longer than a call; never decides when.

use std::{
    fs::{File, OpenOptions},
    os::unix::{fs::OpenOptionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};

use super::error::PostgresError;

/// A fast shutdown writes a checkpoint; after this the server is told to quit at once, which loses nothing either,
/// the next start replays its log.
const FAST_STOP_TIMEOUT: Duration = Duration::from_secs(10);
const QUICK_STOP_TIMEOUT: Duration = Duration::from_secs(3);
pub(super) const STOP_STEPS: [(Signal, Duration); 2] = [
    (Signal::INT, FAST_STOP_TIMEOUT),
    (Signal::QUIT, QUICK_STOP_TIMEOUT),
];
/// A log larger than this is put aside when the server starts.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Starts a program that ends when this thread does, and that Ctrl-C at our terminal does not reach: the
/// database stops after us, not before.
pub(super) fn spawn(command: &mut Command, log: File) -> Result<Child, PostgresError> {
    let program = PathBuf::from(command.get_program());
    end_with_this_thread(command);
    log.try_clone()
        .and_then(|second| command.stdout(second).stderr(log).process_group(0).spawn())
        .map_err(|source| PostgresError::Spawn { program, source })
}

#[cfg(target_os = "linux")]
fn end_with_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only prctl(2) and getppid(2) are called, both async-signal-safe, and nothing is
    // allocated. It runs after std has changed user and group, which would clear the setting.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::INT))?;
            // The parent may have died before the setting was made.
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                Err(std::io::Error::from_raw_os_error(
                    rustix::io::Errno::SRCH.raw_os_error(),
                ))
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_this_thread(_command: &mut Command) {}

pub(super) fn open_log(path: &Path, fresh: bool) -> Result<File, PostgresError> {
    if path
        .metadata()
        .is_ok_and(|found| found.len() > LOG_BYTES_MAX)
    {
        std::fs::rename(path, path.with_extension("log.old"))
            .map_err(|e| PostgresError::file("rename", path, e))?;
    }
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    if fresh {
        options.write(true).truncate(true)
    } else {
        options.append(true)
    };
    options
        .open(path)
        .map_err(|e| PostgresError::file("open", path, e))
}

/// Waits for a child to end, no longer than `limit`.
pub(super) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Fast shutdown, then immediate shutdown, then kill.
pub(super) fn stop_child(child: &mut Child) {
    let pid = Pid::from_child(child);
    for (signal, limit) in STOP_STEPS {
        // Fails only when the child has ended, which the wait sees.
        let _ = rustix::process::kill_process(pid, signal);
        if wait(child, limit).is_some() {
            return;
        }
        tracing::warn!(?signal, "the private PostgreSQL does not stop");
    }
    kill_and_reap(child);
}

pub(super) fn kill_and_reap(child: &mut Child) {
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::warn!(%error, "a child process could not be ended");
    }
}
