//! Every quirk of Stripe's objects by itself, and one payload of every kind.

use super::super::sample::stripe::{self as sample, StripeSale};
use super::super::stripe::{BadAnswer, SessionStatus, session_from_api};
use super::*;
use crate::ledger::command::{DisputeStanding, RefundPayment};

mod api;
mod disputes;
mod invoices;
mod payloads;
mod payments;
mod subscriptions;
mod verified;

const AT_S: i64 = 1_795_000_000;

/// A sale of the pack of 500 credits.
fn sale() -> StripeSale {
    StripeSale {
        tail: "1".to_owned(),
        amount_minor: 4900,
        currency: "usd".to_owned(),
        user_id: Some("user_1".to_owned()),
        sku: None,
        price_id: None,
        email: Some("payer@example.com".to_owned()),
        created_at: Utc.timestamp_opt(AT_S, 0).unwrap(),
    }
}

fn event(event_type: &str, object: &Value) -> Value {
    sample::envelope(event_type, "evt_1", sale().created_at, object)
}

fn says(event_type: &str, object: &Value) -> Translated {
    stripe_says(&event(event_type, object))
}

fn ignored(reason: &str) -> Translated {
    Translated::Ignore(reason.to_owned())
}

/// One line that says all that a test may want to compare.
fn shown(translated: Translated) -> String {
    let option = |name: &str, value: Option<String>| {
        value.map_or_else(String::new, |value| format!(" {name}={value}"))
    };
    match translated {
        Translated::Apply(Command::CapturePayment(capture)) => {
            assert_eq!((capture.claimant, capture.order_id), (None, None));
            let email = capture.payer.and_then(|payer| profile_of(&payer).email);
            let refunded = capture.refunded_total_minor;
            format!(
                "capture {} {} {}{}{}{}{}{}{}",
                capture.purchase_id,
                capture.money.amount_minor,
                capture.money.currency,
                option("user", capture.user_id.map(String::from)),
                option("sku", capture.price.map(|price| price.sku)),
                option("merges", capture.merges.map(String::from)),
                option("subscription", capture.subscription_id),
                option("refunded", (refunded > 0).then(|| refunded.to_string())),
                option("payer", email),
            )
        }
        Translated::Apply(Command::MergePayments { payment_id, into }) => {
            format!("merge {payment_id} into {into}")
        }
        Translated::Apply(Command::RefundPayment(RefundPayment {
            purchase_id,
            refund,
            refunded_total_minor,
        })) => match refund {
            Some(refund) => {
                assert_eq!(refunded_total_minor, 0);
                let failed = if refund.failed { " failed" } else { "" };
                let (id, amount) = (refund.refund_id, refund.amount_minor);
                format!("refund {purchase_id} {id} {amount}{failed}")
            }
            None => format!("refund {purchase_id} total {refunded_total_minor}"),
        },
        Translated::Apply(Command::DisputePayment(dispute)) => {
            let (stage, id) = (dispute.stage.0, dispute.dispute_id);
            let standing = match dispute.standing {
                DisputeStanding::Open { amount_minor } => format!("open {amount_minor}"),
                DisputeStanding::Won => "won".to_owned(),
                DisputeStanding::Lost { amount_minor } => format!("lost {amount_minor}"),
            };
            format!("dispute {} {id} {stage} {standing}", dispute.purchase_id)
        }
        Translated::Apply(Command::ChangeSubscription(change)) => {
            assert_eq!(change.base_plan, "free");
            let (version, plan) = (change.version, change.plan);
            format!(
                "subscription {} {} {}/{}{}",
                change.subscription_id,
                change.user_id,
                version.created_s,
                version.rank,
                option("plan", plan)
            )
        }
        Translated::AwaitSubscriber { change } => {
            let nobody = UserId::parse("NOBODY").unwrap();
            shown(Translated::Apply(Command::ChangeSubscription(
                change.owned_by(nobody),
            )))
        }
        Translated::Ignore(reason) => format!("ignore {reason}"),
        Translated::Park(reason) => format!("park {reason}"),
        Translated::Apply(other) => panic!("not a command of Stripe's: {other:?}"),
    }
}
