//! Lives as Stripe tells of them.

use credit_ledger::config::Config;
use credit_ledger::ledger::Source;
use serde_json::{Value, json};

use super::super::told::Told;
use super::{End, Life, Pack, Payment, Person, Plan, Teller, part};

const TIME_S: i64 = 1_795_000_000;
const ONCE: Pack = Pack {
    amount_minor: 599,
    credits: 500,
    refundable: true,
};
const FREE: Pack = Pack {
    refundable: false,
    ..ONCE
};
const PERIOD: Pack = Pack {
    amount_minor: 2000,
    credits: 1000,
    refundable: true,
};

/// The plan that these lives subscribe to.
const CATALOG: &str = r#"
    { "sku": "pro_monthly", "credits": 1000, "prices": [{ "currency": "USD", "amount_minor": 2000 }],
      "plan": "pro", "stripe_price_ids": ["price_pro"] }"#;

pub fn configure(config: &mut Config) {
    let mut packs = config.rules.catalog.packs().to_vec();
    packs.push(serde_json::from_str(CATALOG).unwrap());
    config.rules.catalog = credit_ledger::provider::Catalog::new(packs).unwrap();
}

fn pack(life: &Life) -> Pack {
    match life.way {
        0 | 1 => ONCE,
        2 => FREE,
        _ => PERIOD,
    }
}

/// One event about one thing; its id is a function of both.
fn event(event_type: &str, about: &str, created_s: i64, object: &Value) -> Told {
    let id = format!("evt_{}_{about}", event_type.replace('.', "_"));
    let body = json!({
        "id": id, "object": "event", "api_version": "2026-10-28.endive", "created": created_s,
        "livemode": false, "pending_webhooks": 1, "type": event_type, "data": { "object": object },
    });
    Told::new(Source::Stripe, id, body)
}

impl Payment<'_> {
    fn metadata(&self) -> Value {
        match &self.user_id {
            Some(user_id) => json!({ "user_id": user_id }),
            None => json!({}),
        }
    }

    fn session(&self, payment_status: &str) -> Value {
        let free = payment_status == "no_payment_required";
        json!({
            "id": format!("cs_test_{}", self.key), "object": "checkout.session", "mode": "payment",
            "payment_status": payment_status, "status": "complete", "currency": "usd",
            "amount_total": if free { 0 } else { 599 }, "amount_subtotal": 599,
            "payment_intent": if free { Value::Null } else { json!(self.id("pi")) },
            "client_reference_id": self.user_id, "metadata": { "sku": "credits_500" }, "created": TIME_S,
            "customer_details": { "email": self.email }, "invoice": null, "subscription": null,
        })
    }

    fn intent(&self, amount: i64, invoice: Option<String>) -> Value {
        let mut intent = json!({
            "id": self.id("pi"), "object": "payment_intent", "amount": amount, "amount_received": amount,
            "currency": "usd", "status": "succeeded", "created": TIME_S, "latest_charge": self.id("ch"),
            "metadata": if self.told(4) { self.metadata() } else { json!({}) },
        });
        if let Some(invoice) = invoice {
            intent["invoice"] = json!(invoice);
        }
        intent
    }

    fn charge(&self, amount: i64, refunded: i64) -> Value {
        json!({
            "id": self.id("ch"), "object": "charge", "amount": amount, "amount_captured": amount,
            "amount_refunded": refunded, "refunded": refunded >= amount, "captured": true, "paid": true,
            "status": "succeeded", "currency": "usd", "created": TIME_S, "payment_intent": self.id("pi"),
            "metadata": {}, "billing_details": { "email": self.email },
        })
    }

    fn once(&self) -> Vec<Told> {
        let event = |event_type: &str, object: &Value| event(event_type, &self.key, TIME_S, object);
        let mut sent = if self.life.way == 1 {
            vec![
                event("checkout.session.completed", &self.session("unpaid")),
                event(
                    "checkout.session.async_payment_succeeded",
                    &self.session("paid"),
                ),
            ]
        } else {
            vec![event("checkout.session.completed", &self.session("paid"))]
        };
        if self.told(0) {
            sent.push(event("payment_intent.succeeded", &self.intent(599, None)));
        }
        if self.told(1) {
            sent.push(event("charge.succeeded", &self.charge(599, 0)));
        }
        sent
    }

    /// Of a period: its payment intent is told and names the buyer, its invoice does not.
    fn only_payment_names(&self) -> bool {
        self.told(2) && self.told(4) && self.told(6)
    }

    /// Of a period: whoever has the invoice has no address.
    fn only_charge_knows_address(&self) -> bool {
        self.told(7)
    }

    fn invoice(&self, acacia: bool) -> Value {
        let line = if acacia {
            json!({ "id": "il_1", "amount": 2000, "metadata": {}, "price": { "id": "price_pro" }, "proration": false,
                    "type": "subscription", "subscription": self.id("sub"), "quantity": 1 })
        } else {
            json!({ "id": "il_1", "amount": 2000, "metadata": {}, "quantity": 1,
                    "parent": { "type": "subscription_item_details",
                                "subscription_item_details": { "proration": false, "subscription": self.id("sub") } },
                    "pricing": { "type": "price_details", "price_details": { "price": "price_pro" } } })
        };
        let metadata = if self.only_payment_names() {
            json!({})
        } else {
            self.metadata()
        };
        let email = (!self.only_charge_knows_address()).then_some(self.email);
        let details = json!({ "subscription": self.id("sub"), "metadata": metadata });
        let mut invoice = json!({
            "id": self.id("in"), "object": "invoice", "amount_paid": 2000, "amount_due": 2000, "total": 2000,
            "subtotal": 2000, "currency": "usd", "status": "paid", "billing_reason": "subscription_cycle",
            "customer_email": email, "metadata": {}, "created": TIME_S,
            "status_transitions": { "paid_at": TIME_S }, "lines": { "object": "list", "data": [line] },
        });
        if acacia {
            invoice["subscription"] = json!(self.id("sub"));
            invoice["subscription_details"] = json!({ "metadata": metadata });
            invoice["payment_intent"] = json!(self.id("pi"));
            invoice["charge"] = json!(self.id("ch"));
            invoice["paid"] = json!(true);
        } else {
            invoice["parent"] =
                json!({ "type": "subscription_details", "subscription_details": details });
        }
        invoice
    }

    fn period(&self, acacia: bool) -> Vec<Told> {
        let event = |event_type: &str, object: &Value| event(event_type, &self.key, TIME_S, object);
        let invoice = self.invoice(acacia);
        let mut sent = Vec::new();
        if self.told(0) {
            sent.push(event("invoice.payment_succeeded", &invoice));
        }
        if self.told(1) || sent.is_empty() {
            sent.push(event("invoice.paid", &invoice));
        }
        if self.told(2) {
            let of = acacia.then(|| self.id("in"));
            sent.push(event("payment_intent.succeeded", &self.intent(2000, of)));
        }
        if self.only_charge_knows_address() {
            sent.push(event("charge.succeeded", &self.charge(2000, 0)));
        }
        if !acacia || self.told(3) {
            let paid = json!({
                "id": self.id("inpay"), "object": "invoice_payment", "invoice": self.id("in"), "amount_paid": 2000,
                "currency": "usd", "status": "paid",
                "payment": { "type": "payment_intent", "payment_intent": self.id("pi") },
            });
            sent.push(event("invoice_payment.paid", &paid));
        }
        if self.told(5) {
            let mut session = self.session("paid");
            session["mode"] = json!("subscription");
            session["payment_intent"] = Value::Null;
            session["subscription"] = json!(self.id("sub"));
            session["invoice"] = json!(self.id("in"));
            session["metadata"] = json!({});
            session["amount_total"] = json!(2000);
            session["amount_subtotal"] = json!(2000);
            sent.push(event("checkout.session.completed", &session));
        }
        sent
    }

    fn refunds(&self, pack: Pack) -> Vec<Told> {
        let mut sent = Vec::new();
        let mut total = 0;
        for (nth, refund) in self.life.refunds.iter().enumerate() {
            let amount = part(pack.amount_minor, refund.thousandths);
            total += amount;
            let about = format!("{}_{nth}", self.key);
            let object = |status: &str| {
                json!({ "id": format!("re_{about}"), "object": "refund", "amount": amount, "currency": "usd",
                        "status": status, "charge": self.id("ch"), "payment_intent": self.id("pi"), "created": TIME_S })
            };
            if !self.life.only_sums {
                sent.push(event("refund.created", &about, TIME_S, &object("pending")));
                sent.push(event(
                    "refund.updated",
                    &about,
                    TIME_S,
                    &object("succeeded"),
                ));
            }
            if refund.fails {
                sent.push(event("refund.failed", &about, TIME_S, &object("failed")));
            }
            let charge = self.charge(pack.amount_minor, total.min(pack.amount_minor));
            sent.push(event("charge.refunded", &about, TIME_S, &charge));
        }
        sent
    }

    fn disputes(&self, pack: Pack) -> Vec<Told> {
        let mut sent = Vec::new();
        for (nth, (thousandths, end)) in self.life.disputes.iter().enumerate() {
            let amount = part(pack.amount_minor, *thousandths);
            let about = format!("{}_{nth}", self.key);
            let object = |status: &str, movements: &[i64]| {
                let movements: Vec<Value> = movements
                    .iter()
                    .map(|amount| json!({ "object": "balance_transaction", "amount": amount, "currency": "usd" }))
                    .collect();
                json!({ "id": format!("du_{about}"), "object": "dispute", "amount": amount, "currency": "usd",
                        "status": status, "charge": self.id("ch"), "payment_intent": self.id("pi"), "created": TIME_S,
                        "payment_method_details": { "card": { "case_type": "chargeback" }, "type": "card" },
                        "balance_transactions": movements })
            };
            let mut tell = |name: &str, object: Value| {
                sent.push(event(
                    &format!("charge.dispute.{name}"),
                    &about,
                    TIME_S,
                    &object,
                ));
            };
            tell("created", object("needs_response", &[-amount]));
            tell("funds_withdrawn", object("needs_response", &[-amount]));
            match end {
                End::NotYet => tell("updated", object("under_review", &[-amount])),
                End::Won => {
                    tell("closed", object("won", &[-amount]));
                    tell("funds_reinstated", object("won", &[-amount, amount]));
                }
                End::Lost { returned } => {
                    let returned = amount * returned / 1000;
                    tell("closed", object("lost", &[-amount, returned]));
                }
            }
        }
        sent
    }
}

fn tell(number: usize, nth: usize, life: &Life, email: &str) -> Vec<Told> {
    let payment = Payment::of(number, nth, life, email);
    let mut sent = match life.way {
        0 | 1 => payment.once(),
        2 => {
            let free = payment.session("no_payment_required");
            vec![event(
                "checkout.session.completed",
                &payment.key,
                TIME_S,
                &free,
            )]
        }
        way => payment.period(way == 4),
    };
    let pack = pack(life);
    if pack.refundable {
        sent.extend(payment.refunds(pack));
        sent.extend(payment.disputes(pack));
    }
    sent
}

/// A subscription that names nobody is whose who pays for it; one that somebody else pays for names its user.
fn tell_plan(number: usize, person: &Person) -> Vec<Told> {
    let mut purchases = person.purchases.iter();
    let paid = purchases.position(|life| pack(life) == PERIOD && person.gets(life));
    let (id, metadata) = match paid {
        Some(nth) => (format!("sub_{number}x{nth}"), json!({})),
        None => (
            format!("sub_plan{number}"),
            json!({ "user_id": format!("user_{number}") }),
        ),
    };
    let subscription = |status: &str| {
        json!({
            "id": id, "object": "subscription", "status": status, "currency": "usd",
            "metadata": metadata, "created": TIME_S,
            "items": { "object": "list", "data": [{ "id": "si_1", "price": { "id": "price_pro" }, "quantity": 1 }] },
        })
    };
    let event = |name: &str, nth: usize, created_s: i64, status: &str| {
        let about = format!("plan{number}_{nth}");
        let event_type = format!("customer.subscription.{name}");
        event(&event_type, &about, created_s, &subscription(status))
    };
    let mut sent = vec![
        event("created", 0, TIME_S, "incomplete"),
        event("updated", 1, TIME_S, "active"),
        event("updated", 2, TIME_S + 60, "past_due"),
    ];
    match person.plan {
        Plan::Never => sent.clear(),
        Plan::Runs => {}
        Plan::Ended => sent.push(event("deleted", 3, TIME_S + 90, "canceled")),
    }
    sent
}

/// What Stripe's API says of a purchase, by path: the checkout session, if there was one.
pub fn at_api(number: usize, nth: usize, life: &Life, email: &str) -> Option<(String, Value)> {
    let payment = Payment::of(number, nth, life, email);
    let mut session = payment.session("paid");
    session["livemode"] = json!(false);
    let path = format!("/v1/checkout/sessions/cs_test_{}", payment.key);
    (life.way < 2).then_some((path, session))
}

/// The purchase of a session, and what checkout gives the browser for it.
pub fn checkout(number: usize, nth: usize, life: &Life) -> Option<(String, Value)> {
    let payment = Payment::of(number, nth, life, "");
    let body = json!({ "stripe_session_id": format!("cs_test_{}", payment.key) });
    (life.way < 2).then(|| (format!("stripe:{}", payment.id("pi")), body))
}

/// Stripe's way.
pub const TELLER: Teller = Teller {
    ways: 5,
    pack,
    tell,
    tell_plan,
    plans: true,
};
