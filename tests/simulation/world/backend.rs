//! The product's backends: they grant, spend, hold, capture, release and reverse, under keys of their own, and ask again
//! until they know.

use std::sync::Arc;

use chrono::DateTime;
use credit_ledger::ledger::command::{GrantCredits, Hold, HoldCredits, ReverseSpend, SpendCredits};
use credit_ledger::ledger::event::Note;
use credit_ledger::ledger::lots::LotKind;
use credit_ledger::ledger::{Command, Credits, Place, UserId};
use rand::Rng as _;
use rand::rngs::StdRng;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::World;
use super::actors::Actors;
use super::books::Done;
use super::plan::{CLOCKS_DIFFER_S, some_of};
use crate::support::app::SERVICE_KEY;

/// Backends that work for one user at the same time.
const AT_ONCE: usize = 2;

/// Begins to use the credits of buyers and guests.
pub fn use_credits(world: &Arc<World>, actors: &mut Actors) {
    let size = world.plan.size;
    let buyers = (0..size.buyers).map(|number| (format!("user_{number}"), false));
    let guests = (0..size.guests).map(|number| (format!("guest_{number}"), true));
    for (number, (user_id, is_guest)) in buyers.chain(guests).enumerate() {
        for nth in 0..AT_ONCE {
            let actor = number * AT_ONCE + nth;
            let mut backend = Backend {
                rng: world.plan.chance(3_000_000 + u64::try_from(actor).unwrap()),
                world: Arc::clone(world),
                user_id: UserId::parse(user_id.clone()).unwrap(),
                is_guest,
                actor,
                calls: 0,
                holds: Vec::new(),
                used: Vec::new(),
            };
            let name = format!("backend {nth} of {user_id}");
            actors.spawn(name, async move { backend.work().await });
        }
    }
}

struct Backend {
    rng: StdRng,
    world: Arc<World>,
    user_id: UserId,
    /// Credits of guests end, and come by no other way.
    is_guest: bool,
    actor: usize,
    calls: usize,
    /// Open holds, how much they hold, and when they time out.
    holds: Vec<(Place, i64, i64)>,
    /// Spends and captures that were not reversed, and how much they used.
    used: Vec<(Place, i64)>,
}

fn credits(n: i64) -> Credits {
    Credits::new(n).unwrap()
}

impl Backend {
    async fn work(&mut self) {
        let size = self.world.plan.size;
        let pause = size.span / u32::try_from(size.calls).unwrap() * 2;
        for _ in 0..size.calls / AT_ONCE {
            match self.rng.random_range(0..10) {
                0..=2 => self.grant().await,
                3..=5 => self.spend().await,
                6 => self.hold().await,
                7 => self.capture().await,
                8 => self.release().await,
                _ => self.reverse().await,
            }
            sleep(some_of(&mut self.rng, pause)).await;
        }
        while !self.holds.is_empty() {
            self.release().await;
        }
    }

    /// Whichever service is asked, what was said to be booked can be seen, and the account is one that may be.
    async fn look(&mut self, entry: Option<Place>) {
        let Some(entry) = entry.filter(|_| self.rng.random_bool(0.2)) else {
            return;
        };
        let entries = self
            .get(&format!("/v1/users/{}/entries?limit=200", self.user_id))
            .await;
        let seen = entries["items"].as_array().unwrap();
        let name = entry.to_string();
        assert!(
            seen.iter().any(|seen| seen["entry_id"] == name),
            "{name} is not in {entries}"
        );
        let body = self
            .get(&format!("/v1/users/{}/balance", self.user_id))
            .await;
        assert_may_be(&body);
    }

    async fn get(&mut self, path: &str) -> Value {
        let world = Arc::clone(&self.world);
        let make = |service: &str| {
            let request = world.client.get(format!("{service}{path}"));
            request.bearer_auth(SERVICE_KEY)
        };
        let (status, said, _) = world.insist(&mut self.rng, make).await;
        assert_eq!(status, 200, "{path}: {said}");
        said
    }

    /// Asks until it is known what became of it, and sometimes once more.
    async fn call(&mut self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.calls += 1;
        let key = format!("call-{}-{}", self.actor, self.calls);
        let world = Arc::clone(&self.world);
        let make = |service: &str| {
            let request = world.client.post(format!("{service}{path}"));
            let request = request.bearer_auth(SERVICE_KEY);
            request.header("Idempotency-Key", &key).json(body)
        };
        let (status, said, _) = world.insist(&mut self.rng, make).await;
        if self.rng.random_bool(0.15) {
            let again = world.insist(&mut self.rng, make).await;
            assert_eq!(again, (status, said.clone(), true), "{path} {body}");
        }
        (status, said)
    }

    /// Notes what was given; and what was refused, if it may be.
    fn note(
        &self,
        said: &(StatusCode, Value),
        may_be: &[&str],
        done: impl FnOnce(&Value) -> (Command, i64, Place),
    ) -> Option<Place> {
        let (status, body) = said;
        if status.is_success() {
            let (command, delta, place) = done(body);
            let user_id = self.user_id.to_string();
            let done = Done {
                user_id,
                command,
                delta,
                place,
            };
            self.world.books.done.lock().unwrap().push(done);
            return Some(place);
        }
        let code = body["code"].as_str().unwrap();
        assert!(may_be.contains(&code), "{status} {body}");
        if code == "insufficient_credits" {
            let available = body["available"].as_i64().unwrap();
            assert!(available < body["required"].as_i64().unwrap(), "{body}");
            let too_little = (self.user_id.to_string(), available);
            self.world.books.too_little.lock().unwrap().push(too_little);
        }
        None
    }

    async fn grant(&mut self) {
        let n = self.rng.random_range(1..60);
        let priority = self.rng.random_range(99..=101);
        let ends = self.is_guest && self.rng.random_bool(0.7);
        // Some of it ends while the round is played, the rest when the world's clock jumps.
        let lasts_s = match self.rng.random_range(0..3) {
            0 => self.rng.random_range(2..10),
            _ => 3600 * self.rng.random_range(1..48),
        };
        let at = self.world.stage.now().timestamp() + lasts_s;
        let expires_at = ends.then(|| DateTime::from_timestamp(at, 0).unwrap().to_rfc3339());
        let body = json!({"amount": n, "reason": "because", "priority": priority, "expires_at": expires_at});
        let path = format!("/v1/users/{}/grants", self.user_id);
        let said = self.call(&path, &body).await;
        // Its end may have come meanwhile.
        let over = ends && at <= self.world.stage.now().timestamp() + CLOCKS_DIFFER_S;
        let may_be: &[&str] = if over { &["invalid_request"] } else { &[] };
        let entry = self.note(&said, may_be, |body| {
            let command = Command::GrantCredits(GrantCredits {
                user_id: self.user_id.clone(),
                credits: credits(n),
                kind: LotKind::Bonus,
                priority,
                expires_at_s: ends.then_some(at),
                reason: "because".to_owned(),
                actor: "service".to_owned(),
            });
            (command, n, place(body, "entry_id"))
        });
        self.look(entry).await;
    }

    async fn spend(&mut self) {
        let n = self.rng.random_range(1..120);
        let partly = self.rng.random_bool(0.3);
        let path = format!("/v1/users/{}/spends", self.user_id);
        let said = self
            .call(&path, &json!({"amount": n, "allow_partial": partly}))
            .await;
        let spent = said.1["spent"].as_i64().unwrap_or_default();
        let entry = self.note(&said, &["insufficient_credits"], |body| {
            assert!(spent == n || partly && (1..n).contains(&spent), "{body}");
            let command = Command::SpendCredits(SpendCredits {
                user_id: self.user_id.clone(),
                credits: credits(n),
                allow_partial: partly,
                note: Note::default(),
            });
            (command, -spent, place(body, "entry_id"))
        });
        self.used.extend(entry.map(|entry| (entry, spent)));
        self.look(entry).await;
    }

    async fn hold(&mut self) {
        let n = self.rng.random_range(1..80);
        let lasts_s = if self.rng.random_bool(0.3) {
            self.rng.random_range(1..6)
        } else {
            3600
        };
        let path = format!("/v1/users/{}/holds", self.user_id);
        let said = self
            .call(&path, &json!({"amount": n, "expires_in_s": lasts_s}))
            .await;
        let hold = self.note(&said, &["insufficient_credits"], |body| {
            let command = Command::HoldCredits(HoldCredits {
                user_id: self.user_id.clone(),
                credits: credits(n),
                lasts_s,
                note: Note::default(),
            });
            (command, 0, place(body, "hold_id"))
        });
        self.holds
            .extend(hold.map(|hold| (hold, n, second(&said.1["expires_at"]))));
    }

    /// What a hold may be refused for: it has ended by itself, by any of the clocks.
    fn over(&self, ends_at_s: i64) -> &'static [&'static str] {
        let now_s = self.world.stage.now().timestamp();
        if now_s + CLOCKS_DIFFER_S < ends_at_s {
            return &[];
        }
        &["hold_resolved"]
    }

    /// A hold as a command names it: the model knows itself what it holds.
    fn held(&self, hold_id: Place) -> Hold {
        Hold {
            hold_id,
            user_id: self.user_id.clone(),
            slices: vec![],
            times_out_at_s: 0,
            note: Note::default(),
        }
    }

    async fn capture(&mut self) {
        let Some((hold_id, held, ends_at_s)) = take_some(&mut self.rng, &mut self.holds) else {
            return;
        };
        let n = self.rng.random_range(1..=held);
        let path = format!("/v1/holds/{hold_id}/capture");
        let said = self.call(&path, &json!({"amount": n})).await;
        let entry = self.note(&said, self.over(ends_at_s), |body| {
            let command = Command::CaptureHold {
                hold: self.held(hold_id),
                credits: Some(credits(n)),
            };
            (command, -n, place(body, "entry_id"))
        });
        self.used.extend(entry.map(|entry| (entry, n)));
        self.look(entry).await;
        self.is_settled(
            entry,
            &format!("/v1/holds/{hold_id}/release"),
            "hold_resolved",
        )
        .await;
    }

    async fn release(&mut self) {
        let Some((hold_id, _, ends_at_s)) = take_some(&mut self.rng, &mut self.holds) else {
            return;
        };
        let path = format!("/v1/holds/{hold_id}/release");
        let said = self.call(&path, &json!({})).await;
        let entry = self.note(&said, self.over(ends_at_s), |body| {
            let hold = self.held(hold_id);
            (Command::ReleaseHold { hold }, 0, place(body, "entry_id"))
        });
        self.is_settled(
            entry,
            &format!("/v1/holds/{hold_id}/capture"),
            "hold_resolved",
        )
        .await;
    }

    async fn reverse(&mut self) {
        let Some((entry_id, used)) = take_some(&mut self.rng, &mut self.used) else {
            return;
        };
        let n = self.rng.random_range(1..=used);
        let path = format!("/v1/spends/{entry_id}/reverse");
        let said = self.call(&path, &json!({"amount": n})).await;
        let entry = self.note(&said, &[], |body| {
            let reverse = ReverseSpend {
                user_id: self.user_id.clone(),
                entry_id,
                slices: vec![],
                credits: Some(credits(n)),
                reason: None,
            };
            (Command::ReverseSpend(reverse), n, place(body, "entry_id"))
        });
        self.is_settled(entry, &path, "already_reversed").await;
    }

    /// What was done can not be done again, or otherwise, under another key.
    async fn is_settled(&mut self, done: Option<Place>, path: &str, code: &str) {
        if done.is_some() && self.rng.random_bool(0.3) {
            let (status, said) = self.call(path, &json!({})).await;
            assert_eq!(
                (status.as_u16(), &said["code"]),
                (409, &code.into()),
                "{path}: {said}"
            );
        }
    }
}

fn second(text: &Value) -> i64 {
    let time = DateTime::parse_from_rfc3339(text.as_str().unwrap());
    time.unwrap().timestamp()
}

/// Takes one of them out.
fn take_some<T>(rng: &mut StdRng, from: &mut Vec<T>) -> Option<T> {
    if from.is_empty() {
        return None;
    }
    let index = rng.random_range(0..from.len());
    Some(from.swap_remove(index))
}

/// Credits are never negative, what is available is what is not held, and nobody who owes has any.
pub fn assert_may_be(account: &Value) {
    let parts =
        ["balance", "held", "available", "debt"].map(|name| account[name].as_i64().unwrap());
    let [balance, held, available, debt] = parts;
    assert!(parts.iter().all(|part| *part >= 0), "{account}");
    assert!(
        available == balance - held && (debt == 0 || available == 0),
        "{account}"
    );
}

fn place(body: &Value, name: &str) -> Place {
    Place::parse(body[name].as_str().unwrap()).unwrap()
}
