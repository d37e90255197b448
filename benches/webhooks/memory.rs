//! What a process of the service holds in memory while it is under load. Linux only: elsewhere nothing is told.

use std::time::Duration;

use anyhow::ensure;

use super::cell::median;
use super::delivery::Deliveries;
use super::goals::{Goal, Goals};
use super::load::to_f64;
use super::program::Programs;
use super::stage::{Stage, check_payments};

const CONNECTIONS: usize = 256;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Flat: the last third holds at most so many times the first third, by their medians.
const FLAT: f64 = 1.1;
const KIB_PER_MIB: f64 = 1024.0;

/// Looks at the memory of one instance, for one long run.
///
/// # Errors
/// On the first wrong answer; also when what is stored is not what was acknowledged.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let name = stage.database_name("memory", 0);
    let database = stage.server.create(&name).await?;
    let programs = Programs::start(&database, 1).await?;
    let deliveries = Deliveries::new(programs.target.address(), 0)?;
    let seconds = stage.arguments.memory_seconds;
    let load = stage.send_for(&programs.target, CONNECTIONS, seconds, deliveries);
    let (cell, samples) = watch(load, programs.target.processes.clone()).await;
    let cell = cell?;
    check_payments(&database, cell.measured.stored).await?;
    programs.stop().await?;
    stage.server.drop_database(&name).await?;
    println!("{CONNECTIONS} connections for {seconds} s: {cell}");
    ensure!(
        !samples.is_empty(),
        "this system does not tell how much memory a process holds"
    );
    let third = (samples.len() / 3).max(1);
    let mib = |kib: &u64| to_f64(*kib) / KIB_PER_MIB;
    let highest = samples.iter().map(mib).fold(0.0, f64::max);
    let first = median(&samples[..third], mib);
    let last = median(&samples[samples.len() - third..], mib);
    println!("\n| resident memory | MiB |\n|---|---:|");
    println!("| highest | {highest:.1} |");
    println!("| median of the first third | {first:.1} |");
    println!("| median of the last third | {last:.1} |");
    let text = format!(
        "{highest:.0} MiB, last third {:.2}x the first",
        last / first
    );
    goals.note_with(
        Goal::Memory,
        stage.pass,
        highest,
        text,
        last <= first * FLAT,
    );
    Ok(())
}

/// What the first of these processes holds, in KiB, time after time, until the work is done.
async fn watch<T>(work: impl Future<Output = T>, processes: Vec<u32>) -> (T, Vec<u64>) {
    let mut samples = Vec::new();
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return (done, samples),
            _ = ticks.tick() => samples.extend(processes.first().and_then(|pid| resident_kib(*pid))),
        }
    }
}

/// `VmRSS` of `/proc/<pid>/status` (proc(5)).
fn resident_kib(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}
