//! Random calls of all kinds over two instances, with a clock that jumps over ends and time-outs, against the plain model of
//! the rules: the same answers, the same history, and credits in lots that are always the balance.
//!
//! `SPENDING_SEED` repeats a run.

#[path = "../src/ledger/tests/plain/mod.rs"]
mod plain;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use credit_ledger::ledger::command::{
    CapturePayment, DisputePayment, DisputeStanding, GrantCredits, Hold, HoldCredits, Refund,
    RefundPayment, ReverseSpend, SpendCredits,
};
use credit_ledger::ledger::event::{DisputeStage, Note, Price};
use credit_ledger::ledger::lots::LotKind;
use credit_ledger::ledger::{
    Command, Credits, Currency, LedgerError, Money, Place, PurchaseId, UserEvent, UserId,
};
use credit_ledger::store::{Origin, Unit, Work};
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::sample::Index;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Answer, SERVICE_KEY, answer};
use crate::support::deliveries::unique;
use crate::support::integrity::assert_log_is_whole;
use crate::support::random::play_some;
use crate::support::{Options, TestApp};
use plain::{Plain, Step};

const USERS: usize = 4;
const PURCHASES: usize = 6;
/// The clock jumps by this, and everything lasts half of it longer: what takes seconds in real time is never between.
const JUMP_S: i64 = 1000;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Act {
    Wait(i64),
    Grant(usize, i64, u8, Option<i64>),
    Spend(usize, i64, bool),
    /// Spends of one user at once, over both instances.
    Race(usize, Vec<i64>),
    Hold(usize, i64, i64),
    Capture(Index, Option<i64>),
    Release(Index),
    Reverse(Index, Option<i64>),
    Plan(usize, usize, i64, Option<i64>),
    /// Users and amounts; grants above 0, spends below.
    Bulk(Vec<(usize, i64)>),
    Buy(usize, i64, Option<i64>),
    Refund(usize, usize, i64, bool),
    Dispute(usize, u32, DisputeStanding),
}

fn act() -> impl Strategy<Value = Act> {
    let user = || 0..USERS;
    let lasts = || prop_oneof![1 => Just(None), 2 => (0..4_i64).prop_map(Some)];
    let some_of = || prop_oneof![2 => Just(None), 3 => (1..60_i64).prop_map(Some)];
    let standing = prop_oneof![
        3 => (1..=900_i64).prop_map(|amount_minor| DisputeStanding::Open { amount_minor }),
        1 => Just(DisputeStanding::Won),
        2 => (0..=900_i64).prop_map(|amount_minor| DisputeStanding::Lost { amount_minor }),
    ];
    prop_oneof![
        3 => (1..4_i64).prop_map(Act::Wait),
        6 => (user(), 1..60_i64, 0..3_u8, lasts()).prop_map(|(u, n, p, l)| Act::Grant(u, n, p, l)),
        5 => (user(), 1..120_i64, any::<bool>()).prop_map(|(u, n, p)| Act::Spend(u, n, p)),
        2 => (user(), prop::collection::vec(1..40_i64, 2..9)).prop_map(|(u, all)| Act::Race(u, all)),
        4 => (user(), 1..80_i64, 0..4_i64).prop_map(|(u, n, l)| Act::Hold(u, n, l)),
        3 => (any::<Index>(), some_of()).prop_map(|(h, n)| Act::Capture(h, n)),
        1 => any::<Index>().prop_map(Act::Release),
        3 => (any::<Index>(), some_of()).prop_map(|(e, n)| Act::Reverse(e, n)),
        1 => (user(), 0..3_usize, 1..40_i64, lasts()).prop_map(|(u, p, n, l)| Act::Plan(u, p, n, l)),
        2 => prop::collection::vec((user(), prop_oneof![1..50_i64, -60..-1_i64]), 1..6)
            .prop_map(Act::Bulk),
        3 => (0..PURCHASES, 1..120_i64, lasts()).prop_map(|(p, n, l)| Act::Buy(p, n, l)),
        3 => (0..PURCHASES, 0..3_usize, 1..700_i64, prop::bool::weighted(0.4))
            .prop_map(|(p, r, n, f)| Act::Refund(p, r, n, f)),
        2 => (0..PURCHASES, 0..4_u32, standing).prop_map(|(p, s, d)| Act::Dispute(p, s, d)),
    ]
}

/// Two instances on one database, and the model.
struct World {
    apps: [TestApp; 2],
    plain: Plain,
    /// What the model says that happened to each user.
    told: BTreeMap<UserId, Vec<Step>>,
    holds: Vec<(UserId, Place)>,
    entries: Vec<(UserId, Place)>,
    calls: usize,
}

fn user(number: usize) -> UserId {
    UserId::parse(format!("user_{number}")).unwrap()
}

fn credits(n: i64) -> Credits {
    Credits::new(n).unwrap()
}

fn purchase(number: usize) -> PurchaseId {
    PurchaseId::parse(format!("stripe:pi_{number}")).unwrap()
}

fn place(body: &Value, name: &str) -> Place {
    Place::parse(body[name].as_str().unwrap()).unwrap()
}

fn pick(index: Index, from: &[(UserId, Place)]) -> Option<(UserId, Place)> {
    (!from.is_empty()).then(|| index.get(from).clone())
}

fn spend(user_id: &UserId, n: i64, allow_partial: bool) -> Command {
    Command::SpendCredits(SpendCredits {
        user_id: user_id.clone(),
        credits: credits(n),
        allow_partial,
        note: Note::default(),
    })
}

fn grant(user_id: &UserId, n: i64, priority: u8, expires_at_s: Option<i64>) -> Command {
    Command::GrantCredits(GrantCredits {
        user_id: user_id.clone(),
        credits: credits(n),
        kind: LotKind::Bonus,
        priority,
        expires_at_s,
        reason: "because".to_owned(),
        actor: "service".to_owned(),
    })
}

fn rfc3339(second: Option<i64>) -> Option<String> {
    second.map(|second| DateTime::from_timestamp(second, 0).unwrap().to_rfc3339())
}

/// The code of the problem that a refusal is.
fn code(error: &LedgerError) -> &'static str {
    match error {
        LedgerError::InsufficientCredits { .. } => "insufficient_credits",
        LedgerError::HoldSettled(_) => "hold_resolved",
        LedgerError::SpendReversed => "already_reversed",
        LedgerError::AmountTooLarge { .. } => "amount_too_large",
        LedgerError::Item { error, .. } => code(error),
        other => panic!("{other}"),
    }
}

impl World {
    async fn start() -> Self {
        let options = Options {
            configure: Arc::new(|config| {
                // What ended is also written down by the job, whenever it comes.
                config.upkeep_every = std::time::Duration::from_millis(100);
            }),
            ..Options::default()
        };
        let first = TestApp::start_with(options.clone()).await;
        let second = TestApp::start_on(first.database.clone(), options).await;
        Self {
            apps: [first, second],
            plain: Plain::default(),
            told: BTreeMap::new(),
            holds: Vec::new(),
            entries: Vec::new(),
            calls: 0,
        }
    }

    fn now_s(&self) -> i64 {
        self.apps[0].now().timestamp()
    }

    fn end(&self, lasts: Option<i64>) -> Option<i64> {
        lasts.map(|jumps| self.now_s() + jumps * JUMP_S + JUMP_S / 2)
    }

    fn next(&mut self) -> &TestApp {
        self.calls += 1;
        &self.apps[self.calls % 2]
    }

    async fn call(&mut self, method: Method, path: &str, body: &Value) -> Answer {
        let app = self.next();
        let request = app.request(method, path).bearer_auth(SERVICE_KEY);
        let key = unique("key_");
        answer(request.header("Idempotency-Key", key).json(body)).await
    }

    /// What the model says, kept for the end.
    fn expect(&mut self, command: &Command) -> Result<Vec<Step>, LedgerError> {
        let now_s = self.now_s();
        let steps = self.plain.run(command, now_s)?;
        for step in &steps {
            let of_user = self.told.entry(step.user.clone()).or_default();
            of_user.push(step.clone());
        }
        Ok(steps)
    }

    /// Compares an answer with what the model says. True: it was done.
    fn compare(&mut self, command: &Command, answer: &Answer) -> bool {
        match self.expect(command) {
            Ok(_) => {
                assert!(answer.status.is_success(), "{command:?}: {answer:?}");
                true
            }
            Err(error) => {
                assert_eq!(answer.body["code"], code(&error), "{command:?}: {answer:?}");
                if let LedgerError::InsufficientCredits {
                    required,
                    available,
                } = error
                {
                    assert_eq!(answer.body["required"], required.get(), "{answer:?}");
                    assert_eq!(answer.body["available"], available.get(), "{answer:?}");
                }
                false
            }
        }
    }

    /// Tells the model where the user's last event of a type is.
    fn place(&mut self, user_id: &UserId, what: &str, place: Place) {
        let told = &self.told[user_id];
        let number = told.iter().rposition(|step| step.what == what).unwrap() + 1;
        self.plain
            .place(place, user_id, i64::try_from(number).unwrap());
    }

    fn spent(&mut self, user_id: &UserId, entry_id: Place) {
        self.place(user_id, "CreditsSpent", entry_id);
        self.entries.push((user_id.clone(), entry_id));
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Wait(jumps) => {
                for app in &self.apps {
                    app.move_clock(TimeDelta::seconds(jumps * JUMP_S));
                }
            }
            Act::Grant(of, n, priority, lasts) => {
                let (user_id, expires_at_s) = (user(of), self.end(lasts));
                let body = json!({"amount": n, "reason": "because", "priority": priority,
                    "expires_at": rfc3339(expires_at_s)});
                let path = format!("/v1/users/{user_id}/grants");
                let answer = self.call(Method::POST, &path, &body).await;
                self.compare(&grant(&user_id, n, priority, expires_at_s), &answer);
            }
            Act::Spend(of, n, partly) => {
                let user_id = user(of);
                let body = json!({"amount": n, "allow_partial": partly});
                let path = format!("/v1/users/{user_id}/spends");
                let answer = self.call(Method::POST, &path, &body).await;
                if self.compare(&spend(&user_id, n, partly), &answer) {
                    self.spent(&user_id, place(&answer.body, "entry_id"));
                }
            }
            Act::Race(of, amounts) => self.race(&user(of), &amounts).await,
            Act::Hold(of, n, jumps) => self.hold(&user(of), n, jumps).await,
            Act::Capture(..) | Act::Release(_) | Act::Reverse(..) => self.settle(act).await,
            Act::Plan(of, plan, n, lasts) => {
                let (user_id, ends) = (user(of), self.end(lasts));
                let command = Command::ChangePlan {
                    user_id: user_id.clone(),
                    plan: format!("plan_{plan}"),
                    bonus: credits(n),
                    bonus_expires_at_s: ends,
                };
                let body = json!({"plan": format!("plan_{plan}"), "bonus_credits": n,
                    "bonus_expires_at": rfc3339(ends)});
                let path = format!("/v1/users/{user_id}/plan");
                let answer = self.call(Method::PUT, &path, &body).await;
                self.compare(&command, &answer);
            }
            Act::Bulk(items) => self.bulk(&items).await,
            Act::Buy(..) | Act::Refund(..) | Act::Dispute(..) => self.hear_of_money(act).await,
        }
        self.compare_users().await;
    }

    /// Those that were done were done one after another; for those that were not there was too little in the end.
    async fn race(&mut self, user_id: &UserId, amounts: &[i64]) {
        let path = format!("/v1/users/{user_id}/spends");
        let calls = amounts.iter().enumerate().map(|(number, n)| {
            let app = &self.apps[number % 2];
            let request = app.request(Method::POST, &path).bearer_auth(SERVICE_KEY);
            let request = request.header("Idempotency-Key", unique("key_"));
            answer(request.json(&json!({"amount": n})))
        });
        let answers = join_all(calls).await;
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        for (answer, n) in answers.into_iter().zip(amounts) {
            if answer.status.is_success() {
                done.push((place(&answer.body, "entry_id"), *n));
            } else {
                answer.assert_problem(402, "insufficient_credits");
                refused.push(*n);
            }
        }
        done.sort_unstable();
        for (entry_id, n) in done {
            self.expect(&spend(user_id, n, false)).unwrap();
            self.spent(user_id, entry_id);
        }
        let left = self.plain.look(user_id, self.now_s()).account().available();
        assert!(refused.iter().all(|n| *n > left), "{refused:?} of {left}");
    }

    async fn hold(&mut self, user_id: &UserId, n: i64, jumps: i64) {
        let lasts_s = jumps * JUMP_S + JUMP_S / 2;
        let body = json!({"amount": n, "expires_in_s": lasts_s});
        let path = format!("/v1/users/{user_id}/holds");
        let answer = self.call(Method::POST, &path, &body).await;
        let command = Command::HoldCredits(HoldCredits {
            user_id: user_id.clone(),
            credits: credits(n),
            lasts_s,
            note: Note::default(),
        });
        if self.compare(&command, &answer) {
            let hold_id = place(&answer.body, "hold_id");
            self.place(user_id, "CreditsHeld", hold_id);
            self.holds.push((user_id.clone(), hold_id));
        }
    }

    async fn settle(&mut self, act: Act) {
        let (from, amount) = match &act {
            Act::Capture(index, n) => (pick(*index, &self.holds), *n),
            Act::Release(index) => (pick(*index, &self.holds), None),
            Act::Reverse(index, n) => (pick(*index, &self.entries), *n),
            _ => (None, None),
        };
        let Some((user_id, id)) = from else {
            return;
        };
        // The model knows itself what they hold or used.
        let hold = Hold {
            hold_id: id,
            user_id: user_id.clone(),
            slices: vec![],
            times_out_at_s: 0,
            note: Note::default(),
        };
        let of = amount.map(credits);
        let (path, command) = match act {
            Act::Capture(..) => {
                let command = Command::CaptureHold { hold, credits: of };
                (format!("/v1/holds/{id}/capture"), command)
            }
            Act::Release(_) => (
                format!("/v1/holds/{id}/release"),
                Command::ReleaseHold { hold },
            ),
            _ => {
                let reverse = ReverseSpend {
                    user_id: user_id.clone(),
                    entry_id: id,
                    slices: vec![],
                    credits: of,
                    reason: None,
                };
                (
                    format!("/v1/spends/{id}/reverse"),
                    Command::ReverseSpend(reverse),
                )
            }
        };
        let body = amount.map_or(json!({}), |n| json!({"amount": n}));
        let answer = self.call(Method::POST, &path, &body).await;
        if self.compare(&command, &answer) {
            let account = self.plain.look(&user_id, self.now_s()).account();
            assert_eq!(answer.body["available"], account.available(), "{answer:?}");
            if matches!(command, Command::CaptureHold { .. }) {
                let entry_id = place(&answer.body, "entry_id");
                self.place(&user_id, "HoldCaptured", entry_id);
                self.entries.push((user_id, entry_id));
            }
        }
    }

    async fn bulk(&mut self, items: &[(usize, i64)]) {
        let mut commands = Vec::new();
        let mut bodies = Vec::new();
        for (of, n) in items {
            let user_id = user(*of);
            if *n > 0 {
                bodies.push(
                    json!({"type": "grant", "user_id": user_id, "amount": n, "reason": "because"}),
                );
                commands.push(grant(&user_id, *n, 100, None));
            } else {
                bodies.push(json!({"type": "spend", "user_id": user_id, "amount": -n}));
                commands.push(spend(&user_id, -n, false));
            }
        }
        let body = json!({"mode": "atomic", "items": bodies});
        let answer = self.call(Method::POST, "/v1/bulk", &body).await;
        self.compare(&Command::Together(commands), &answer);
    }

    /// Facts about money, as a provider's delivery would bring them.
    async fn hear_of_money(&mut self, act: Act) {
        let command = match act {
            Act::Buy(number, n, lasts) => Command::CapturePayment(Box::new(CapturePayment {
                purchase_id: purchase(number),
                user_id: Some(user(number % USERS)),
                claimant: None,
                money: Money::new(900, Currency::parse("USD").unwrap()).unwrap(),
                order_id: None,
                price: Some(Price {
                    sku: "pack".to_owned(),
                    credits: credits(n),
                    expires_at_s: self.end(lasts),
                }),
                paid_at_s: 1,
                payer: None,
                merges: None,
                refunded_total_minor: 0,
                subscription_id: None,
                subscriber: None,
            })),
            Act::Refund(number, refund, amount_minor, failed) => {
                Command::RefundPayment(RefundPayment {
                    purchase_id: purchase(number),
                    refund: Some(Refund {
                        refund_id: format!("re_{refund}"),
                        amount_minor,
                        failed,
                    }),
                    refunded_total_minor: 0,
                })
            }
            Act::Dispute(number, stage, standing) => Command::DisputePayment(DisputePayment {
                purchase_id: purchase(number),
                dispute_id: "du_1".to_owned(),
                stage: DisputeStage(stage),
                standing,
                currency: None,
            }),
            _ => return,
        };
        let app = self.next().app();
        let unit = Unit {
            origin: Origin::System,
            work: Work::Apply(command.clone()),
        };
        app.ledger.execute(unit).await.unwrap();
        self.expect(&command).unwrap();
    }

    /// What everybody sees, and what is stored.
    async fn compare_users(&mut self) {
        for user_id in (0..USERS).map(user) {
            let expected = self.plain.look(&user_id, self.now_s()).account();
            let path = format!("/v1/users/{user_id}/balance");
            let seen = self.next().get(&path).await;
            if seen.status == 404 {
                assert_eq!(expected.balance.get(), 0, "{user_id}");
                continue;
            }
            let shown = ["balance", "held", "debt"].map(|name| seen.body[name].as_i64().unwrap());
            let parts = [expected.balance, expected.held, expected.debt];
            assert_eq!(shown, parts.map(Credits::get), "{user_id}");
            assert_eq!(seen.body["available"], expected.available(), "{user_id}");
        }
        let broken = "select count(*) from streams s where aggregate_type = 'user'
            and (state::jsonb->>'balance')::bigint <>
              coalesce((select sum((lot->>'remaining')::bigint)
                          from jsonb_array_elements(state::jsonb->'lots'->'open') as lot), 0)
            + coalesce((select sum(remaining) from lots l where l.user_id = s.aggregate_id), 0)
            + coalesce((select sum((e.payload->>'credits')::bigint) from holds h
                          join events e on e.shard = h.shard and e.position = h.position
                         where h.user_id = s.aggregate_id), 0)";
        assert_eq!(
            self.apps[0].count(broken).await,
            0,
            "credits in lots and holds are the balance"
        );
    }

    /// The whole history of each user is what the model says.
    async fn finish(mut self) {
        for user_id in (0..USERS).map(user) {
            let settle = Command::SettleUser { user_id };
            let app = self.next().app();
            let unit = Unit {
                origin: Origin::System,
                work: Work::Apply(settle.clone()),
            };
            app.ledger.execute(unit).await.unwrap();
            self.expect(&settle).unwrap();
        }
        let sql = "select aggregate_id, payload::text from events where aggregate_type = 'user' order by sequence";
        let mut happened: BTreeMap<UserId, Vec<Step>> = BTreeMap::new();
        for row in self.apps[0].sql().await.query(sql, &[]).await.unwrap() {
            let user_id = UserId::parse(row.get::<_, String>(0)).unwrap();
            let event: UserEvent = serde_json::from_str(row.get(1)).unwrap();
            let step = Step::of(&user_id, &event);
            happened.entry(user_id).or_default().push(step);
        }
        assert_eq!(happened, self.told);
        assert_log_is_whole(&self.apps[0]).await;
        self.apps[0].assert_audit_is_clean().await;
        for app in self.apps {
            app.stop().await;
        }
    }
}

#[test]
fn random_calls_over_two_instances_do_what_the_plain_rules_say() {
    let acts = prop::collection::vec(act(), 60..90);
    play_some("SPENDING_SEED", &acts, async |acts| {
        let mut world = World::start().await;
        for act in acts {
            world.act(act).await;
        }
        world.finish().await;
    });
}

/// Each from its own lot; the front that the state holds is a small part of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_lots_leave_a_small_state_and_are_spent_at_once() {
    let app = TestApp::start().await;
    let items =
        vec![json!({"type": "grant", "user_id": "user_1", "amount": 1, "reason": "because"}); 1000];
    for number in 0..10 {
        let request = app
            .request(Method::POST, "/v1/bulk")
            .bearer_auth(SERVICE_KEY);
        let request = request.header("Idempotency-Key", format!("grants_{number}"));
        let answer = answer(request.json(&json!({"mode": "atomic", "items": items}))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let state = "select length(state::text)::bigint from streams where aggregate_id = 'user_1'";
    assert!(app.count(state).await <= 16 * 1024);
    assert!(app.count("select count(*) from lots").await >= 10_000 - 64);
    let request = app
        .request(Method::POST, "/v1/users/user_1/spends")
        .bearer_auth(SERVICE_KEY);
    let request = request.header("Idempotency-Key", "spend_1");
    let answer = answer(request.json(&json!({"amount": 9000}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["available"], 1000);
    let lots = "select sum(remaining)::bigint + (select sum((one->>'remaining')::bigint)::bigint
        from streams s, jsonb_array_elements(s.state::jsonb->'lots'->'open') as one) from lots";
    assert_eq!(app.count(lots).await, 1000);
    assert!(app.count(state).await <= 16 * 1024);
    assert_log_is_whole(&app).await;
    app.assert_audit_is_clean().await;
    app.stop().await;
}
