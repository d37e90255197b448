//! Lives as Razorpay tells of them.

use credit_ledger::ledger::Source;
use credit_ledger::provider::sign;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::super::app::RAZORPAY_KEY_SECRET;
use super::super::told::Told;
use super::{End, Life, Pack, Payment, Teller, part};

const TIME_S: i64 = 1_795_000_000;
const PACK: Pack = Pack {
    amount_minor: 49_900,
    credits: 500,
    refundable: true,
};

impl Payment<'_> {
    /// `[]` when they say nothing, as Razorpay writes it.
    fn notes(&self, named: bool) -> Value {
        match &self.user_id {
            Some(user_id) if named => json!({ "user_id": user_id, "sku": "credits_500" }),
            _ => json!([]),
        }
    }

    fn entity(&self, status: &str, named: bool, refunded: i64) -> Value {
        json!({
            "id": self.id("pay"), "entity": "payment", "amount": 49_900, "currency": "INR", "status": status,
            "order_id": self.id("order"), "method": "upi", "amount_refunded": refunded, "captured": status == "captured",
            "email": self.email, "contact": "+919000090000", "notes": self.notes(named), "created_at": TIME_S,
        })
    }

    fn event(&self, name: &str, about: &str, payload: &Value) -> Told {
        let body = json!({
            "entity": "event", "account_id": "acc_test", "event": name, "contains": [], "payload": payload,
            "created_at": TIME_S,
        });
        let event_id = format!("{name}{}{about}", self.key);
        Told::new(Source::Razorpay, event_id, body)
    }

    /// Whichever way it is paid, `payment.captured` comes too, and may say nothing of whom it is for.
    fn paid(&self) -> Vec<Told> {
        let bare = is_bare(self.life);
        let payment = |named| json!({ "entity": self.entity("captured", named, 0) });
        let notes = self.notes(true);
        let order = json!({ "entity": { "id": self.id("order"), "entity": "order", "amount": 49_900, "notes": notes } });
        let whole = match self.life.way {
            0 => self.event(
                "order.paid",
                "",
                &json!({ "payment": payment(!bare), "order": order }),
            ),
            1 => {
                let subscription = json!({ "entity": { "id": self.id("sub"), "entity": "subscription", "status": "active",
                                                       "plan_id": "plan_1", "notes": notes } });
                let payload = json!({ "payment": payment(!bare), "subscription": subscription });
                self.event("subscription.charged", "", &payload)
            }
            _ => {
                let mut bare_order = order.clone();
                bare_order["entity"]["notes"] = json!([]);
                let link = json!({ "entity": { "id": self.id("plink"), "amount": 49_900, "status": "paid", "notes": notes } });
                let payload =
                    json!({ "payment": payment(!bare), "order": bare_order, "payment_link": link });
                self.event("payment_link.paid", "", &payload)
            }
        };
        let mut sent = vec![
            self.event(
                "payment.captured",
                "",
                &json!({ "payment": payment(!bare) }),
            ),
            whole,
        ];
        if self.told(1) {
            let authorized = json!({ "payment": { "entity": self.entity("authorized", true, 0) } });
            sent.push(self.event("payment.authorized", "", &authorized));
        }
        if self.told(2) {
            let failed = json!({ "payment": { "entity": self.entity("failed", true, 0) } });
            sent.push(self.event("payment.failed", "", &failed));
        }
        sent
    }

    fn given_back(&self) -> Vec<Told> {
        let mut sent = Vec::new();
        let mut total = 0;
        for (nth, refund) in self.life.refunds.iter().enumerate() {
            let amount = part(PACK.amount_minor, refund.thousandths);
            total += amount;
            let about = nth.to_string();
            let mut tell = |name: &str, status: &str, total: i64| {
                let entity = json!({ "id": format!("rfnd_{}x{nth}", self.key), "entity": "refund", "amount": amount,
                                     "currency": "INR", "payment_id": self.id("pay"), "notes": [], "status": status,
                                     "created_at": TIME_S });
                let payment = self.entity("captured", true, total);
                let payload =
                    json!({ "refund": { "entity": entity }, "payment": { "entity": payment } });
                sent.push(self.event(&format!("refund.{name}"), &about, &payload));
            };
            tell("created", "pending", total);
            if refund.fails {
                tell("failed", "failed", total - amount);
            } else {
                tell("processed", "processed", total);
            }
        }
        sent
    }

    fn contested(&self) -> Vec<Told> {
        let mut sent = Vec::new();
        for (nth, (thousandths, end)) in self.life.disputes.iter().enumerate() {
            let amount = part(PACK.amount_minor, *thousandths);
            let mut tell = |name: &str, status: &str, deducted: i64| {
                let entity = json!({ "id": format!("disp_{}x{nth}", self.key), "entity": "dispute", "amount": amount,
                                     "currency": "INR", "payment_id": self.id("pay"), "amount_deducted": deducted,
                                     "phase": "chargeback", "status": status, "created_at": TIME_S });
                let payment = self.entity("captured", true, 0);
                let payload =
                    json!({ "dispute": { "entity": entity }, "payment": { "entity": payment } });
                sent.push(self.event(
                    &format!("payment.dispute.{name}"),
                    &nth.to_string(),
                    &payload,
                ));
            };
            tell("created", "open", 0);
            tell("under_review", "under_review", 0);
            match end {
                End::NotYet => {}
                End::Won => tell("won", "won", 0),
                End::Lost { returned } => {
                    let lost = amount - amount * returned / 1000;
                    // Nothing deducted would be told as closed.
                    if lost == 0 {
                        tell("closed", "closed", 0);
                    } else {
                        tell("lost", "lost", lost);
                    }
                }
            }
        }
        sent
    }
}

fn tell(number: usize, nth: usize, life: &Life, email: &str) -> Vec<Told> {
    let payment = Payment::of(number, nth, life, email);
    [payment.paid(), payment.given_back(), payment.contested()].concat()
}

/// The payment itself names nobody; what it was paid for may.
pub const fn is_bare(life: &Life) -> bool {
    life.told & 1 != 0
}

/// What Razorpay's API says of a purchase, by path: the payment as `payment.captured` has it, and its order.
pub fn at_api(number: usize, nth: usize, life: &Life, email: &str) -> [(String, Value); 2] {
    let payment = Payment::of(number, nth, life, email);
    let order = json!({
        "id": payment.id("order"), "entity": "order", "amount": 49_900, "amount_paid": 49_900, "currency": "INR",
        "status": "paid", "notes": payment.notes(life.way == 0), "created_at": TIME_S,
    });
    let entity = payment.entity("captured", !is_bare(life), 0);
    [
        (format!("/v1/payments/{}", payment.id("pay")), entity),
        (format!("/v1/orders/{}", payment.id("order")), order),
    ]
}

/// The purchase of an order, and what checkout gives the browser for it.
pub fn checkout(number: usize, nth: usize, life: &Life) -> Option<(String, Value)> {
    let payment = Payment::of(number, nth, life, "");
    let (order_id, payment_id) = (payment.id("order"), payment.id("pay"));
    let key = SecretString::from(RAZORPAY_KEY_SECRET);
    let signature = sign::razorpay_checkout(&key, &order_id, &payment_id).unwrap();
    let body = json!({
        "razorpay_order_id": order_id, "razorpay_payment_id": payment_id, "razorpay_signature": signature,
    });
    (life.way == 0).then(|| (format!("razorpay:{payment_id}"), body))
}

/// Razorpay's way.
pub const TELLER: Teller = Teller {
    ways: 3,
    pack: |_| PACK,
    tell,
    tell_plan: |_, _| vec![],
    plans: false,
};
