//! The story's end: all of it is sealed, within moments.

use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::sleep;

/// How often it is looked whether the last events are sealed, and how long between two looks.
const LOOKS_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until so many events are sealed, and says by whom. False: they are not in time.
pub async fn sealed(
    client: &Client,
    origin: &str,
    audit_key: &SecretString,
    events: u64,
) -> anyhow::Result<bool> {
    println!("It is sealed, so that nobody can change it later:");
    for _ in 0..LOOKS_MAX {
        let request = client.get(format!("{origin}/v1/audit/seals?limit=1"));
        let request = request.bearer_auth(audit_key.expose_secret());
        let page: Value = request.send().await?.error_for_status()?.json().await?;
        let seal = &page["items"][0];
        let ends = seal["ends"].as_array().into_iter().flatten();
        let sealed: u64 = ends.filter_map(|end| end["position"].as_u64()).sum();
        if sealed == events {
            println!(
                "   GET /v1/audit/seals?limit=1 → 200 seal {}: all {events} events, signed by key {}",
                seal["seal"],
                seal["key_id"].as_str().unwrap_or_default()
            );
            return Ok(true);
        }
        sleep(PAUSE).await;
    }
    println!("   NOT within {LOOKS_MAX} looks");
    Ok(false)
}
