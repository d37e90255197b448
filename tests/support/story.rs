//! A history with some of everything: sign-ups, purchases in two currencies, refunds, disputes, spends, holds, plans,
//! grants that end, deliveries that are parked, ignored or nobody's, and answers given under idempotency keys.

use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::{
    SampleDispute, SamplePayment, SampleRefund, clerk_user_updated, razorpay_dispute,
    razorpay_refund, stripe,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::TestApp;
use super::app::{Answer, SERVICE_KEY, answer};
use super::deliveries::{
    captured, clerk, created, deleted, order_paid, payment, razorpay, sale, stripe_event, told,
    unique, user,
};
use super::load::Sent;

/// A request of the backend, and the first answer to it.
pub struct Asked {
    pub key: String,
    pub path: String,
    pub body: Value,
    pub answer: Answer,
}

/// What was told and asked.
#[derive(Default)]
pub struct Story {
    pub users: Vec<String>,
    /// Every delivery, in order.
    pub sent: Vec<Sent>,
    /// Every request that moves credits, in order.
    pub asked: Vec<Asked>,
}

/// Tells the story of some users, whose ids no other story has. About 25 events each.
pub async fn tell(app: &TestApp, users: usize) -> Story {
    let mut story = Story::default();
    for number in 0..users {
        let user_id = unique("user_");
        if number == 0 {
            story.collects(app, &user_id).await;
        }
        story.signs_up(app, &user_id).await;
        story.buys(app, &user_id, number).await;
        story.uses(app, &user_id, number).await;
        if number % 5 == 4 {
            story.deliver(app, Source::Clerk, deleted(&user_id)).await;
        }
        story.users.push(user_id);
    }
    story.is_unfinished(app).await;
    app.idle().await;
    story
}

impl Story {
    async fn deliver(
        &mut self,
        app: &TestApp,
        source: Source,
        delivery: credit_ledger::provider::sign::SignedDelivery,
    ) {
        let answer = app.deliver(source, &delivery).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        self.sent.push((source, delivery));
    }

    async fn tell_razorpay(&mut self, app: &TestApp, body: &Value) {
        let delivery = razorpay(&unique("evt"), body.to_string());
        self.deliver(app, Source::Razorpay, delivery).await;
    }

    /// Asks under a new key; gives the answer's body.
    async fn ask(&mut self, app: &TestApp, path: String, body: Value) -> Value {
        let key = unique("key_");
        let answer = app.post_under(&key, &path, &body).await;
        let said = answer.body.clone();
        self.asked.push(Asked {
            key,
            path,
            body,
            answer,
        });
        said
    }

    async fn signs_up(&mut self, app: &TestApp, user_id: &str) {
        let mut someone = user(user_id);
        self.deliver(app, Source::Clerk, created(&someone)).await;
        someone.updated_at += chrono::TimeDelta::seconds(1);
        someone.first_name = Some("Asha Devi".to_owned());
        let body = clerk_user_updated(&someone).to_string();
        self.deliver(app, Source::Clerk, clerk(&unique("msg_"), body))
            .await;
    }

    async fn buys(&mut self, app: &TestApp, user_id: &str, number: usize) {
        let mut paid = payment(Some(user_id));
        paid.email = Some(format!("payer-of-{user_id}@example.com"));
        self.deliver(app, Source::Razorpay, captured(&paid)).await;
        self.deliver(app, Source::Razorpay, order_paid(&paid)).await;
        self.refunds(app, &paid).await;
        let second = payment(Some(user_id));
        self.deliver(app, Source::Razorpay, captured(&second)).await;
        self.disputes(app, &second, number).await;

        let mut sold = sale(Some(user_id));
        sold.email = Some(format!("card-of-{user_id}@example.com"));
        self.deliver(
            app,
            Source::Stripe,
            told("checkout.session.completed", &sold).clone(),
        )
        .await;
        if number % 3 == 1 {
            let charge = stripe::charge(&sold, sold.amount_minor);
            self.deliver(
                app,
                Source::Stripe,
                stripe_event("charge.refunded", &charge),
            )
            .await;
        }
    }

    /// A third goes back, and a second refund fails.
    async fn refunds(&mut self, app: &TestApp, paid: &SamplePayment) {
        let mut refund = SampleRefund {
            refund_id: unique("rfnd_"),
            amount_minor: paid.amount_minor / 3,
            refunded_total_minor: paid.amount_minor / 3,
        };
        let body = razorpay_refund("refund.processed", paid, &refund);
        self.tell_razorpay(app, &body).await;
        refund.refund_id = unique("rfnd_");
        refund.amount_minor = 1000;
        refund.refunded_total_minor += 1000;
        let body = razorpay_refund("refund.created", paid, &refund);
        self.tell_razorpay(app, &body).await;
        let body = razorpay_refund("refund.failed", paid, &refund);
        self.tell_razorpay(app, &body).await;
    }

    /// Contested; then won, lost, or still open.
    async fn disputes(&mut self, app: &TestApp, paid: &SamplePayment, number: usize) {
        let dispute = SampleDispute {
            dispute_id: unique("disp_"),
            amount_minor: paid.amount_minor / 2,
            phase: "chargeback",
        };
        let body = razorpay_dispute("payment.dispute.created", paid, &dispute);
        self.tell_razorpay(app, &body).await;
        let end = match number % 3 {
            0 => "payment.dispute.won",
            1 => "payment.dispute.lost",
            _ => return,
        };
        let body = razorpay_dispute(end, paid, &dispute);
        self.tell_razorpay(app, &body).await;
    }

    /// More lots than a state holds.
    async fn collects(&mut self, app: &TestApp, user_id: &str) {
        let items: Vec<Value> = (1..=70)
            .map(|amount| json!({"type": "grant", "user_id": user_id, "amount": amount, "reason": "one of many"}))
            .collect();
        let body = json!({"mode": "atomic", "items": items});
        let answer = self.ask(app, "/v1/bulk".to_owned(), body).await;
        assert!(answer["results"].is_array(), "{answer}");
    }

    async fn uses(&mut self, app: &TestApp, user_id: &str, number: usize) {
        let of_user = |what: &str| format!("/v1/users/{user_id}/{what}");
        let ends = app.now() + chrono::TimeDelta::days(30);
        let grant = json!({"amount": 50, "reason": "sorry", "expires_at": ends.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)});
        self.ask(app, of_user("grants"), grant).await;
        let film = json!({"amount": 60, "reason": "a film", "reference": "job-1"});
        let spent = self.ask(app, of_user("spends"), film).await;
        let reverse = format!("/v1/spends/{}/reverse", spent["entry_id"].as_str().unwrap());
        self.ask(app, reverse, json!({"amount": 10})).await;
        let refused = self
            .ask(app, of_user("spends"), json!({"amount": 1_000_000}))
            .await;
        assert_eq!(refused["code"], "insufficient_credits");
        for (amount, then) in [(40, "capture"), (30, "release"), (20, "")] {
            let held = self
                .ask(app, of_user("holds"), json!({"amount": amount}))
                .await;
            if !then.is_empty() {
                let path = format!("/v1/holds/{}/{then}", held["hold_id"].as_str().unwrap());
                let body = match then {
                    "capture" => json!({"amount": amount / 2}),
                    _ => json!({}),
                };
                self.ask(app, path, body).await;
            }
        }
        if number.is_multiple_of(2) {
            let plan = json!({"plan": "pro", "bonus_credits": 7});
            let request = app
                .request(Method::PUT, &of_user("plan"))
                .bearer_auth(SERVICE_KEY);
            assert_eq!(answer(request.json(&plan)).await.status, StatusCode::OK);
        }
    }

    /// Deliveries that led to nothing yet, or never will.
    async fn is_unfinished(&mut self, app: &TestApp) {
        let mut nobodys = payment(None);
        nobodys.email = Some("nobody@example.com".to_owned());
        self.deliver(app, Source::Razorpay, captured(&nobodys))
            .await;
        let mut unpriced = payment(self.users.first().map(String::as_str));
        unpriced.sku = None;
        unpriced.amount_minor = 12_345;
        self.deliver(app, Source::Razorpay, captured(&unpriced))
            .await;
        let body = json!({"type": "user.created", "name": unique("name_")}).to_string();
        let incomplete = clerk(&unique("msg_"), body);
        self.deliver(app, Source::Clerk, incomplete).await;
        let body = json!({"type": "session.created", "data": {"id": unique("sess_")}}).to_string();
        self.deliver(app, Source::Clerk, clerk(&unique("msg_"), body))
            .await;
    }
}
