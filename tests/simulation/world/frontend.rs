//! Browsers that come back from checkout, before, beside and after the webhook; and somebody who has caught what is not
//! theirs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tokio::time::sleep;

use super::actors::Actors;
use super::plan::{Plan, some_of};
use super::providers::purchases;
use super::{Said, World};
use crate::support::app::{ISSUER, MINT};
use crate::support::lives::{Life, razorpay, stripe};

/// Seconds for which a session token is good.
const SESSION_S: u32 = 600;

/// A purchase that its buyer comes back from.
struct Checkout {
    user_id: String,
    purchase_id: String,
    body: Value,
    /// Whatever comes first names the buyer, so nobody else can have it.
    named: bool,
    /// Its money may be gone before it is recorded.
    may_be_over: bool,
}

/// All of whom it is certain in the end whose they are, by users who stay.
fn checkouts(plan: &Plan) -> Vec<Checkout> {
    let mut checkouts = Vec::new();
    for of_stripe in [false, true] {
        for (number, nth, life) in purchases(plan, of_stripe) {
            let person = &plan.buyers[number].of_razorpay;
            let comes_back = if of_stripe {
                stripe::checkout(number, nth, life)
            } else {
                razorpay::checkout(number, nth, life)
            };
            let Some((purchase_id, body)) = comes_back else {
                continue;
            };
            if person.leaves || !(life.named || person.signs_up) {
                continue;
            }
            checkouts.push(Checkout {
                user_id: format!("user_{number}"),
                purchase_id,
                body,
                named: life.named && (of_stripe || !razorpay::is_bare(life)),
                may_be_over: goes_back(life),
            });
        }
    }
    checkouts
}

fn goes_back(life: &Life) -> bool {
    !life.refunds.is_empty() || !life.disputes.is_empty()
}

/// Begins to verify most purchases, each at some moment.
pub fn return_from_checkout(world: &Arc<World>, actors: &mut Actors) {
    for (number, checkout) in (0..).zip(checkouts(&world.plan)) {
        let mut rng = world.plan.chance(2_000_000 + number);
        let world = Arc::clone(world);
        let name = format!(
            "checkout of {} by {}",
            checkout.purchase_id, checkout.user_id
        );
        actors.spawn(name, async move {
            world.at(some_of(&mut rng, world.plan.size.span)).await;
            if checkout.named && rng.random_bool(0.3) {
                world.steal(&checkout, &mut rng).await;
            }
            if rng.random_bool(0.8) {
                world.verify(&checkout, &mut rng).await;
            }
        });
    }
}

impl World {
    async fn ask_to_verify(&self, user_id: &str, checkout: &Checkout, rng: &mut StdRng) -> Said {
        let Some(service) = self.some_service(rng) else {
            return Said::Nothing;
        };
        let now = self.stage.now();
        let token = MINT
            .clerk_token(user_id, ISSUER, None, now, SESSION_S)
            .unwrap();
        self.books.verifications.fetch_add(1, Ordering::Relaxed);
        let request = self.client.post(format!("{service}/v1/payments/verify"));
        let said = self
            .ask(request.bearer_auth(token).json(&checkout.body))
            .await;
        match &said {
            // The world's clock was moved meanwhile.
            Said::Answer(status, _, _) if *status == 401 => {
                assert!((self.stage.now() - now).num_seconds() > 100, "{said:?}");
                Said::Later
            }
            _ => said,
        }
    }

    /// Asks again while it is pending.
    async fn verify(&self, checkout: &Checkout, rng: &mut StdRng) {
        loop {
            let said = self.ask_to_verify(&checkout.user_id, checkout, rng).await;
            if let Said::Answer(status, body, _) = said {
                match status.as_u16() {
                    202 => assert_eq!(body["status"], "pending", "{body}"),
                    200 if body["success"] == true => {
                        assert_eq!(body["purchase_id"], checkout.purchase_id, "{body}");
                        assert!(
                            body["credits_added"].is_i64() && body["balance"].is_i64(),
                            "{body}"
                        );
                        if body["already_processed"] == false {
                            let mut recorded = self.books.recorded_by_frontend.lock().unwrap();
                            *recorded.entry(checkout.purchase_id.clone()).or_default() += 1;
                        }
                        return;
                    }
                    200 => {
                        assert!(checkout.may_be_over, "{}: {body}", checkout.purchase_id);
                        return;
                    }
                    _ => panic!("{}: {status} {body}", checkout.purchase_id),
                }
            }
            sleep(Duration::from_millis(rng.random_range(50..800))).await;
        }
    }

    /// Somebody else, signed in, with what the buyer's browser had.
    async fn steal(&self, checkout: &Checkout, rng: &mut StdRng) {
        if let Said::Answer(status, body, _) = self.ask_to_verify("user_thief", checkout, rng).await
        {
            let refused = status == 403 && body["code"] == "not_your_purchase";
            assert!(
                refused || status == 202 || body["success"] == false,
                "{status} {body}"
            );
        }
    }
}
