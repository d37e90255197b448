//! Clerk, Stripe and Razorpay: what they tell, and how badly they deliver it: late, again, in any order, forged by others,
//! with clocks that are off, under the next secret, until somebody says 200.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::ledger::Source;
use credit_ledger::provider::sign::SignedDelivery;
use futures_util::future::join;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use tokio::time::sleep;

use super::actors::Actors;
use super::apis::Apis;
use super::plan::{Plan, some_of};
use super::{Said, World};
use crate::support::app::{CLERK_SECRET, RAZORPAY_SECRET, STRIPE_SECRET};
use crate::support::deliveries::user;
use crate::support::lives::{Life, deliveries, razorpay, stripe};
use crate::support::told::Told;

/// The secrets of each provider: the first, and the one that follows it.
pub const OF_CLERK: [&str; 2] = [
    CLERK_SECRET,
    "whsec_bmV4dC1zZWNyZXQtb2YtdGhlLXNpbXVsYXRpb24=",
];
pub const OF_STRIPE: [&str; 2] = [STRIPE_SECRET, "whsec_next_secret_of_the_simulation"];
pub const OF_RAZORPAY: [&str; 2] = [RAZORPAY_SECRET, "next-razorpay-secret-of-the-simulation"];
/// What somebody signs with who has no secret.
const NOBODYS: &str = "whsec_bm9ib2R5cy1zZWNyZXQ=";

/// Seconds between tries, as Svix publishes them. Stripe says three days and Razorpay one, and not how often: the same.
const RETRIES_S: [u32; 7] = [5, 300, 1800, 7200, 18_000, 36_000, 36_000];
/// How long they wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Signatures older than this are refused, by Svix's and Stripe's rules.
const TOLERANCE_S: i64 = 300;

/// A day of tries passes in seconds: each wait is the square root of the real one, in hundredths of a second.
fn pause(attempt: usize, rng: &mut StdRng) -> Duration {
    let published_s = RETRIES_S[attempt.min(RETRIES_S.len() - 1)];
    let compressed_s = f64::from(published_s).sqrt() / 100.0;
    Duration::from_secs_f64(compressed_s * rng.random_range(0.8..1.2))
}

/// Settings under which services know all of it.
pub fn settings(plan: &Plan, apis: &Apis) -> Vec<(String, String)> {
    let both = |[first, next]: [&str; 2]| format!("{next},{first}");
    let settings = [
        ("CLERK_WEBHOOK_SECRET", both(OF_CLERK)),
        ("STRIPE_WEBHOOK_SECRET", both(OF_STRIPE)),
        ("RAZORPAY_WEBHOOK_SECRET", both(OF_RAZORPAY)),
        ("RAZORPAY_KEY_ID", "rzp_test_simulation".to_owned()),
        ("RAZORPAY_API_URL", apis.origin()),
        ("STRIPE_API_URL", apis.origin()),
        ("MATCH_AFTER_MS", plan.match_after_ms.to_string()),
    ];
    settings
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
}

/// A buyer's address.
pub fn email(number: usize) -> String {
    user(&format!("user_{number}")).email.unwrap()
}

/// Every purchase: whose, which of theirs, and its life.
pub fn purchases(plan: &Plan, of_stripe: bool) -> impl Iterator<Item = (usize, usize, &Life)> {
    plan.buyers
        .iter()
        .enumerate()
        .flat_map(move |(number, buyer)| {
            let person = if of_stripe {
                &buyer.of_stripe
            } else {
                &buyer.of_razorpay
            };
            let lives = person.purchases.iter().enumerate();
            lives.map(move |(nth, life)| (number, nth, life))
        })
}

/// What their APIs answer, by path.
pub fn known_to_apis(plan: &Plan) -> HashMap<String, Value> {
    let mut known = HashMap::new();
    for (number, nth, life) in purchases(plan, false) {
        known.extend(razorpay::at_api(number, nth, life, &email(number)));
    }
    for (number, nth, life) in purchases(plan, true) {
        known.extend(stripe::at_api(number, nth, life, &email(number)));
    }
    known
}

/// All that is told in a round.
fn all_that_is_told(plan: &Plan) -> Vec<Told> {
    let people: Vec<_> = plan
        .buyers
        .iter()
        .map(|buyer| buyer.of_razorpay.clone())
        .collect();
    let mut told = deliveries(razorpay::TELLER, &people);
    for (number, nth, life) in purchases(plan, true) {
        told.extend((stripe::TELLER.tell)(number, nth, life, &email(number)));
    }
    for (number, buyer) in plan.buyers.iter().enumerate() {
        told.extend((stripe::TELLER.tell_plan)(number, &buyer.of_stripe));
    }
    told
}

/// Begins to deliver everything, each at some moment.
pub fn tell(world: &Arc<World>, actors: &mut Actors) {
    for (number, told) in (0..).zip(all_that_is_told(&world.plan)) {
        let mut rng = world.plan.chance(1_000_000 + number);
        let world = Arc::clone(world);
        let name = format!("{} {}", told.source, told.event_id);
        actors.spawn(name, async move {
            world.at(some_of(&mut rng, world.plan.size.span)).await;
            world.deliver(told, &mut rng).await;
        });
    }
}

impl World {
    /// Tries until somebody says 200. When the tries are used up, an operator has it sent again from the dashboard.
    async fn deliver(&self, told: Told, rng: &mut StdRng) {
        let mut attempt = 0;
        let status = loop {
            if rng.random_bool(0.06) {
                self.forge(&told, rng).await;
            }
            if let Some(status) = self.try_once(&told, rng).await {
                break status;
            }
            sleep(pause(attempt, rng)).await;
            attempt += 1;
        };
        if rng.random_bool(0.15) {
            // An answer that got lost on the way back: it comes again.
            sleep(pause(rng.random_range(0..4), rng)).await;
            while self.try_once(&told, rng).await.is_none_or(|again| {
                assert_eq!(again, "duplicate", "{told:?}");
                false
            }) {
                sleep(pause(0, rng)).await;
            }
        }
        self.books.acknowledged.lock().unwrap().push((told, status));
    }

    fn secret(&self, source: Source, rng: &mut StdRng) -> &'static str {
        let newest = self.secret.load(Ordering::Relaxed);
        // Tries of older events stay signed with the older one.
        let number = if rng.random_bool(0.3) { 0 } else { newest };
        match source {
            Source::Clerk => OF_CLERK[number],
            Source::Stripe => OF_STRIPE[number],
            _ => OF_RAZORPAY[number],
        }
    }

    /// One delivery, sometimes two at once. What was said of it, if it was taken.
    async fn try_once(&self, told: &Told, rng: &mut StdRng) -> Option<String> {
        let off_s = match rng.random_range(0..20) {
            // Far off: it is refused, and comes again.
            0 => 3600,
            1..=4 => rng.random_range(-240..=240),
            _ => 0,
        };
        let now = self.stage.now();
        let signed_at = now + TimeDelta::seconds(off_s);
        let signed = told.signed_under(self.secret(told.source, rng), signed_at);
        if rng.random_bool(0.08) {
            let (mut one, mut other) = (StdRng::from_rng(rng), StdRng::from_rng(rng));
            let both = join(
                self.send(told, &signed, &mut one),
                self.send(told, &signed, &mut other),
            );
            let (one, other) = both.await;
            let one = self.judge(told, now, signed_at, one);
            let other = self.judge(told, now, signed_at, other);
            let news =
                [&one, &other].map(|said| said.as_ref().is_some_and(|said| said != "duplicate"));
            assert_ne!(news, [true, true], "taken twice: {told:?}");
            return one.or(other);
        }
        let said = self.send(told, &signed, rng).await;
        self.judge(told, now, signed_at, said)
    }

    /// What was said of a delivery that was signed as of a time, if it was taken. It was sent at `now`.
    fn judge(
        &self,
        told: &Told,
        now: DateTime<Utc>,
        signed_at: DateTime<Utc>,
        said: Said,
    ) -> Option<String> {
        let Said::Answer(status, body, hit) = said else {
            return None;
        };
        if status == 400 && told.source != Source::Razorpay {
            // The world's clock may have been moved while it was under way: it was judged by the time before, or after.
            let off_s = [now, self.stage.now()].map(|at| (at - signed_at).num_seconds().abs());
            let may_be_far_off = off_s.iter().any(|off_s| *off_s > TOLERANCE_S - 15);
            assert!(may_be_far_off, "{told:?} {off_s:?}: {body}");
            assert_eq!(body["code"], "invalid_signature", "{body}");
            return None;
        }
        assert_eq!(status, 200, "{told:?}: {body}");
        let far_off = (signed_at - now).num_seconds().abs() > TOLERANCE_S + 15;
        let time_passed = (self.stage.now() - now).num_seconds() > TOLERANCE_S;
        let has_time = told.source != Source::Razorpay;
        assert!(
            !far_off || !has_time || time_passed,
            "taken too late: {told:?}"
        );
        let status = body["status"].as_str().unwrap().to_owned();
        assert_eq!(hit, status == "duplicate", "{body}");
        Some(status)
    }

    async fn send(&self, told: &Told, signed: &SignedDelivery, rng: &mut StdRng) -> Said {
        let Some(service) = self.some_service(rng) else {
            return Said::Nothing;
        };
        self.books.attempts.fetch_add(1, Ordering::Relaxed);
        let mut request = self
            .client
            .post(format!("{service}/webhooks/{}", told.source));
        for (name, value) in &signed.headers {
            request = request.header(*name, value);
        }
        let patience = match rng.random_range(0..25) {
            0 => Duration::from_millis(rng.random_range(1..30)),
            _ => PATIENCE,
        };
        self.ask(request.timeout(patience).body(signed.body.clone()))
            .await
    }

    /// Somebody who has no secret, or changes what they caught.
    async fn forge(&self, told: &Told, rng: &mut StdRng) {
        let now = self.stage.now();
        let signed = if rng.random_bool(0.5) {
            told.signed_under(NOBODYS, now)
        } else {
            let mut signed = told.signed_under(self.secret(told.source, rng), now);
            let at = rng.random_range(0..signed.body.len());
            signed.body[at] ^= 1;
            signed
        };
        self.books.tampered.fetch_add(1, Ordering::Relaxed);
        if let Said::Answer(status, body, _) = self.send(told, &signed, rng).await {
            assert_eq!(
                (status.as_u16(), &body["code"]),
                (400, &"invalid_signature".into()),
                "{told:?}"
            );
        }
    }
}
