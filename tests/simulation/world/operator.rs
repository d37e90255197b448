//! Operators who look all the while, and in some rounds recover, whether there is anything to do or not.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng as _;
use serde_json::json;
use tokio::time::sleep;

use super::{SWEEP_TIMEOUT, Said, World};
use crate::support::app::ADMIN_KEY;

pub async fn work(world: Arc<World>) {
    let mut rng = world.plan.chance(4_000_000);
    while !world.is_over() {
        if let Some(service) = world.some_service(&mut rng) {
            let get = |path: &str| world.client.get(format!("{service}{path}"));
            let kinds = if world.plan.recovers { 4 } else { 3 };
            let request = match rng.random_range(0..kinds) {
                0 => get("/v1/admin/overview"),
                1 => get("/v1/admin/inbox?status=parked"),
                2 => get("/v1/admin/purchases?status=unclaimed"),
                _ => {
                    let url = format!("{service}/v1/admin/recover?limit=50");
                    world
                        .client
                        .post(url)
                        .json(&json!({"reason": "to be sure"}))
                        .timeout(SWEEP_TIMEOUT)
                }
            };
            if let Said::Answer(status, body, _) = world.ask(request.bearer_auth(ADMIN_KEY)).await {
                assert_eq!(status, 200, "{body}");
            }
        }
        sleep(Duration::from_millis(rng.random_range(200..900))).await;
    }
}
