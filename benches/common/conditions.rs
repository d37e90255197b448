//! Says what the figures are taken on.

use super::machine;
use super::server::Server;

/// Prints the commit, the machine, the server's settings and its disk.
pub async fn print(server: &Server) -> anyhow::Result<()> {
    let folder = server.folder().to_owned();
    let disk = tokio::task::spawn_blocking(move || machine::probe_disk(&folder)).await??;
    let settings: Vec<String> = server
        .settings()
        .await?
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    println!(
        "commit: {}",
        machine::commit().as_deref().unwrap_or("unknown")
    );
    println!(
        "machine: {}; load average {}",
        machine::describe(),
        machine::load_average()
    );
    println!("PostgreSQL: {}", settings.join(", "));
    println!(
        "disk: 8 KiB + fdatasync: p50 {:.3} ms, p99 {:.3} ms ({} times)",
        disk.p50.as_secs_f64() * 1e3,
        disk.p99.as_secs_f64() * 1e3,
        disk.times
    );
    Ok(())
}
