//! A purchase: whose it is, what it buys, and how much of its money is gone or contested; so, how many of the credits that it
//! gave are the user's to keep.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Object, Say, Typed, amount, number, put, rule};
use crate::json;
use crate::record::EventRecord;
use crate::report::checks;

/// Every event type of a purchase.
pub(crate) const TYPES: [&str; 13] = [
    "PaymentCaptured",
    "SubscriptionNamed",
    "PayerNamed",
    "PayerErased",
    "PurchaseClaimed",
    "PurchasePriced",
    "PaymentRefunded",
    "RefundFailed",
    "PaymentDisputed",
    "DisputeWon",
    "DisputeLost",
    "PaymentMerged",
    "PaymentAbsorbed",
];

/// The fields of all events of purchases; each event has some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Fields {
    #[serde(rename = "type")]
    event_type: String,
    amount_minor: Option<i64>,
    currency: Option<String>,
    order_id: Option<String>,
    user_id: Option<String>,
    price: Option<Price>,
    paid_at_s: i64,
    payer: Option<String>,
    subscription_id: Option<String>,
    refund_id: Option<String>,
    #[serde(deserialize_with = "amount")]
    refunded_total_minor: i128,
    dispute_id: String,
    stage: u32,
    in_currency: Option<String>,
    into: Option<String>,
    payment_id: String,
    #[serde(deserialize_with = "json::object")]
    known: Object,
    after: Option<Standing>,
}

impl Typed for Fields {
    fn event_type(&self) -> &str {
        &self.event_type
    }
}

/// What was bought.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Price {
    sku: String,
    #[serde(deserialize_with = "amount")]
    pub(crate) credits: i128,
    #[serde(default)]
    pub(crate) expires_at_s: Option<i64>,
}

/// How the money of a purchase stands, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct Standing {
    #[serde(deserialize_with = "amount")]
    refunded_minor: i128,
    #[serde(deserialize_with = "amount")]
    disputed_minor: i128,
    #[serde(deserialize_with = "amount")]
    lost_minor: i128,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Refund {
    #[serde(deserialize_with = "amount")]
    amount_minor: i128,
    #[serde(default)]
    failed: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Dispute {
    stage: u32,
    #[serde(default, deserialize_with = "amount")]
    open_minor: i128,
    #[serde(default, deserialize_with = "amount")]
    lost_minor: i128,
    /// Told before the payment's currency was known.
    #[serde(default)]
    in_currency: Option<String>,
}

impl Dispute {
    const fn rank(&self) -> (u32, i128) {
        (self.stage, self.open_minor + self.lost_minor)
    }
}

/// What another id of the same money knew of what went back, and of who paid.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Known {
    payer: bool,
    refunds: BTreeMap<String, Refund>,
    #[serde(deserialize_with = "amount")]
    refunded_total_minor: i128,
    disputes: BTreeMap<String, Dispute>,
}

/// What a purchase gave and withholds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gives<'a> {
    pub(crate) user: &'a str,
    pub(crate) price: &'a Price,
    pub(crate) clawed_back: i128,
    pub(crate) held_back: i128,
}

/// A purchase, from its events.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Purchase {
    captured: bool,
    amount_minor: i128,
    currency: Option<String>,
    order_id: Option<String>,
    paid_at_s: i64,
    pub(crate) user_id: Option<String>,
    price: Option<Price>,
    payer: bool,
    payer_erased: bool,
    subscription_id: Option<String>,
    refunds: BTreeMap<String, Refund>,
    refunded_total_minor: i128,
    disputes: BTreeMap<String, Dispute>,
    pub(crate) part_of: Option<String>,
    /// Of a part: what it was before it became one.
    pub(crate) whole_before: Option<Object>,
    /// It had given credits when it became a part.
    gave: bool,
    /// Other ids of the same money, and what this one learned of them.
    pub(crate) absorbed: Vec<(String, Object)>,
    /// Of the last event that says how the money stands; 0: none does.
    standing_sequence: i64,
    recorded_at_us: i64,
}

impl Purchase {
    /// Takes the next event.
    pub(crate) fn apply(&mut self, event: &EventRecord, fields: &Fields, say: &mut Say<'_>) {
        if event.sequence == 1 {
            self.recorded_at_us = event.recorded_at_us;
        }
        match event.event_type.as_str() {
            "PaymentCaptured" => self.capture(fields, say),
            "SubscriptionNamed" | "PurchaseClaimed" | "PurchasePriced" => self.learn(fields, say),
            "PayerNamed" => self.payer = true,
            "PayerErased" => (self.payer, self.payer_erased) = (false, true),
            "PaymentRefunded" | "RefundFailed" => {
                let failed = event.event_type == "RefundFailed";
                if let (Some(id), Some(minor)) = (&fields.refund_id, fields.amount_minor) {
                    let amount_minor = minor.into();
                    self.know_refund(
                        id,
                        Refund {
                            amount_minor,
                            failed,
                        },
                    );
                }
                self.know_total(fields.refunded_total_minor);
            }
            "PaymentDisputed" | "DisputeWon" | "DisputeLost" => {
                let minor = i128::from(fields.amount_minor.unwrap_or(0));
                let of = |event_type| {
                    if event.event_type == event_type {
                        minor
                    } else {
                        0
                    }
                };
                let dispute = Dispute {
                    stage: fields.stage,
                    open_minor: of("PaymentDisputed"),
                    lost_minor: of("DisputeLost"),
                    in_currency: fields.in_currency.clone(),
                };
                self.disputes.insert(fields.dispute_id.clone(), dispute);
            }
            "PaymentMerged" => {
                rule(
                    self.part_of.is_none(),
                    "it merges a payment that is merged",
                    say,
                );
                self.gave = self.gives_now();
                self.whole_before = Some(self.state());
                self.part_of.clone_from(&fields.into);
            }
            _ => {
                self.absorbed
                    .push((fields.payment_id.clone(), fields.known.clone()));
                match serde_json::from_value(Value::Object(fields.known.clone())) {
                    Ok(known) => self.take_over(known),
                    Err(error) => say(checks::UNREADABLE, super::said(&error)),
                }
            }
        }
        if let Some(after) = &fields.after {
            self.standing_sequence = event.sequence;
            let made = self.standing();
            if *after != made {
                let what = format!("the money after it is said to stand {after:?}, it is {made:?}");
                say(checks::RULE_BROKEN, what);
            }
        }
    }

    fn capture(&mut self, fields: &Fields, say: &mut Say<'_>) {
        rule(
            !self.captured,
            "it captures a payment that is captured",
            say,
        );
        self.captured = true;
        self.amount_minor = fields.amount_minor.unwrap_or(0).into();
        self.currency.clone_from(&fields.currency);
        self.order_id.clone_from(&fields.order_id);
        self.paid_at_s = fields.paid_at_s;
        self.payer |= fields.payer.is_some();
        self.learn(fields, say);
    }

    /// Whose it is, what it buys and for which subscription is said once.
    fn learn(&mut self, fields: &Fields, say: &mut Say<'_>) {
        let user = fill(&mut self.user_id, fields.user_id.as_ref());
        let price = fill(&mut self.price, fields.price.as_ref());
        let subscription = fill(&mut self.subscription_id, fields.subscription_id.as_ref());
        rule(
            user && price && subscription,
            "it says otherwise what was said before",
            say,
        );
    }

    fn know_refund(&mut self, id: &str, refund: Refund) {
        let known = self.refunds.entry(id.to_owned()).or_insert(refund);
        known.failed |= refund.failed;
    }

    fn know_total(&mut self, total_minor: i128) {
        self.refunded_total_minor = self.refunded_total_minor.max(total_minor);
    }

    fn take_over(&mut self, other: Known) {
        self.payer = (self.payer || other.payer) && !self.payer_erased;
        for (id, refund) in other.refunds {
            self.know_refund(&id, refund);
        }
        self.know_total(other.refunded_total_minor);
        for (id, theirs) in other.disputes {
            let own = self.disputes.get(&id);
            if own.is_none_or(|own| own.rank() < theirs.rank()) {
                self.disputes.insert(id, theirs);
            }
        }
    }

    /// What went back by refunds is what is known of live ones by their ids, and what the provider's own sum has beyond all
    /// that are known, failed ones included.
    fn standing(&self) -> Standing {
        let live = self.refunds.values().filter(|refund| !refund.failed);
        let live = sum(live.map(|refund| refund.amount_minor));
        let known = sum(self.refunds.values().map(|refund| refund.amount_minor));
        let beyond = sum([self.refunded_total_minor, -known]).max(0);
        let disputes = self.disputes.values();
        Standing {
            refunded_minor: sum([live, beyond]),
            disputed_minor: sum(disputes.clone().map(|dispute| dispute.open_minor)),
            lost_minor: sum(disputes.map(|dispute| dispute.lost_minor)),
        }
    }

    const fn gives_now(&self) -> bool {
        self.captured && self.part_of.is_none() && self.user_id.is_some() && self.price.is_some()
    }

    /// What it gave to whom, and how much of that is taken or held back: in proportion to the money, rounded down; all of it
    /// once another purchase stands for the same money.
    pub(crate) fn gives(&self) -> Option<Gives<'_>> {
        let (user, price) = self.user_id.as_deref().zip(self.price.as_ref())?;
        if self.gave {
            let (clawed_back, held_back) = (price.credits, 0);
            return Some(Gives {
                user,
                price,
                clawed_back,
                held_back,
            });
        }
        let standing = self.standing();
        let gone = sum([standing.refunded_minor, standing.lost_minor]);
        let share = |minor: i128| match self.amount_minor {
            ..=0 => 0,
            amount => price.credits * minor.clamp(0, amount) / amount,
        };
        let clawed_back = share(gone);
        let held_back = share(gone + standing.disputed_minor) - clawed_back;
        self.gives_now().then_some(Gives {
            user,
            price,
            clawed_back,
            held_back,
        })
    }

    /// The state of the stream.
    pub(crate) fn state(&self) -> Object {
        let mut state = Object::new();
        put(&mut state, "captured", self.captured);
        put(&mut state, "amount_minor", number(self.amount_minor));
        put(&mut state, "currency", self.currency.clone());
        put(&mut state, "paid_at_s", self.paid_at_s);
        put(&mut state, "user_id", self.user_id.clone());
        if let Some(price) = &self.price {
            let mut pack = Object::new();
            pack.insert("sku".to_owned(), price.sku.as_str().into());
            pack.insert("credits".to_owned(), number(price.credits));
            put(&mut pack, "expires_at_s", price.expires_at_s);
            put(&mut state, "price", pack);
        }
        put(&mut state, "payer", self.payer);
        put(&mut state, "payer_erased", self.payer_erased);
        put(&mut state, "subscription_id", self.subscription_id.clone());
        let refunds = self.refunds.iter().map(|(id, known)| {
            let mut refund = Object::new();
            refund.insert("amount_minor".to_owned(), number(known.amount_minor));
            put(&mut refund, "failed", known.failed);
            (id.clone(), refund.into())
        });
        put(&mut state, "refunds", refunds.collect::<Object>());
        put(
            &mut state,
            "refunded_total_minor",
            number(self.refunded_total_minor),
        );
        let disputes = self.disputes.iter().map(|(id, known)| {
            let mut dispute = Object::new();
            dispute.insert("stage".to_owned(), known.stage.into());
            put(&mut dispute, "open_minor", number(known.open_minor));
            put(&mut dispute, "lost_minor", number(known.lost_minor));
            put(&mut dispute, "in_currency", known.in_currency.clone());
            (id.clone(), dispute.into())
        });
        put(&mut state, "disputes", disputes.collect::<Object>());
        put(&mut state, "part_of", self.part_of.clone());
        state
    }

    /// The row of `purchases`.
    pub(crate) fn row(&self, id: &str) -> Value {
        let standing = self.standing();
        let captured = |number: Value| if self.captured { number } else { Value::Null };
        json!({
            "purchase_id": id, "user_id": self.user_id, "captured": self.captured,
            "amount_minor": captured(number(self.amount_minor)), "currency": self.currency, "order_id": self.order_id,
            "sku": self.price.as_ref().map(|price| &price.sku),
            "credits": number(self.price.as_ref().map_or(0, |price| price.credits)),
            "subscription_id": self.subscription_id, "payer_erased": self.payer_erased,
            "refunded_minor": number(standing.refunded_minor), "disputed_minor": number(standing.disputed_minor),
            "lost_minor": number(standing.lost_minor), "standing_sequence": self.standing_sequence,
            "part_of": self.part_of, "status": self.status(),
            "paid_at_us": captured(number(i128::from(self.paid_at_s) * 1_000_000)), "recorded_at_us": self.recorded_at_us,
        })
    }

    fn status(&self) -> &'static str {
        let standing = self.standing();
        let gone = sum([standing.refunded_minor, standing.lost_minor]);
        let all = |minor: i128| self.amount_minor > 0 && minor >= self.amount_minor;
        match self {
            Self {
                part_of: Some(_), ..
            } => "merged",
            Self {
                captured: false, ..
            } => "uncaptured",
            _ if all(standing.lost_minor) => "lost",
            _ if all(gone) => "refunded",
            _ if standing.disputed_minor > 0 => "disputed",
            _ if gone > 0 => "partially_refunded",
            _ => "captured",
        }
    }
}

/// A sum of money, minor units, is a number of 64 bits: one beyond all bounds stays at the bound.
fn sum(amounts: impl IntoIterator<Item = i128>) -> i128 {
    let bounds = (i128::from(i64::MIN), i128::from(i64::MAX));
    let add = |sum: i128, amount: i128| (sum + amount).clamp(bounds.0, bounds.1);
    amounts.into_iter().fold(0, add)
}

/// Takes what was missing. False: it is there, and is another.
fn fill<T: Clone + PartialEq>(slot: &mut Option<T>, value: Option<&T>) -> bool {
    match (&slot, value) {
        (None, value) => *slot = value.cloned(),
        (Some(known), Some(value)) => return known == value,
        (Some(_), None) => {}
    }
    true
}
