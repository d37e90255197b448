//! Subscriptions (docs.stripe.com/api/subscriptions/object): which plan one gives. What a period buys is its invoice's
//! business.
//!
//! Events of one subscription come in any order, and several have one second. [`PlanVersion`] goes by that second, then
//! by how far the status is in the life of a subscription: `incomplete` 0, `trialing` 1, `active` 2, `past_due` 3,
//! `unpaid` and `paused` 4, `incomplete_expired` 5, `canceled` 6, then by the event's id.

use super::fields::{Context, Metadata, Missing, id, reference};
use super::{ignore, shown};
use crate::ledger::Command;
use crate::ledger::event::PlanVersion;
use crate::provider::json::Object;
use crate::provider::{Translated, UnownedSubscription};

/// The ranks of what has ended.
const INCOMPLETE_EXPIRED: u8 = 5;
const CANCELED: u8 = 6;

/// Reads every `customer.subscription.*`.
pub(super) fn read(
    subscription: &Object<'_>,
    context: &Context<'_>,
) -> Result<Translated, Missing> {
    let subscription_id = id(subscription)?;
    let status = subscription
        .text("status")
        .ok_or(Missing("data.object.status"))?;
    let (rank, gives) = if context.event_type == "customer.subscription.deleted" {
        (CANCELED, false)
    } else {
        match standing(&status) {
            Some(standing) => standing,
            None => return Ok(ignore(format!("subscription status {}", shown(&status)))),
        }
    };
    let plan = plan(subscription, context);
    // Changed to something that is not sold here: the plan that it gave until now is over.
    let gave = context
        .previous
        .as_ref()
        .and_then(|previous| self::plan(previous, context));
    let user_id = Metadata::of([subscription]).user_id();
    // One that ended may have given its user a plan whose price has left the catalog since.
    let may_end_one = rank >= INCOMPLETE_EXPIRED && user_id.is_some();
    if plan.is_none() && gave.is_none() && !may_end_one {
        return Ok(ignore("subscription to no plan of the catalog"));
    }
    let change = UnownedSubscription {
        subscription_id,
        plan: plan.filter(|_| gives).map(str::to_owned),
        version: PlanVersion {
            created_s: context.created_s.ok_or(Missing("created"))?,
            rank,
            event_id: context.event_id.to_owned(),
        },
        base_plan: context.rules.signup.plan.clone(),
    };
    Ok(match user_id {
        Some(user_id) => Translated::Apply(Command::ChangeSubscription(change.owned_by(user_id))),
        None => Translated::AwaitSubscriber {
            change: Box::new(change),
        },
    })
}

/// The rank of a status, and whether it gives the plan. While a payment is past due Stripe still tries, and it does.
fn standing(status: &str) -> Option<(u8, bool)> {
    Some(match status {
        "incomplete" => (0, false),
        "trialing" => (1, true),
        "active" => (2, true),
        "past_due" => (3, true),
        "unpaid" | "paused" => (4, false),
        "incomplete_expired" => (INCOMPLETE_EXPIRED, false),
        "canceled" => (CANCELED, false),
        _ => return None,
    })
}

/// The plan that a subscription's prices, or else the sku in its metadata, stand for.
fn plan<'a>(subscription: &Object<'_>, context: &Context<'a>) -> Option<&'a str> {
    let items = subscription
        .object("items")
        .map(|items| items.objects("data"))
        .unwrap_or_default();
    let price_ids: Vec<String> = items
        .iter()
        .chain([subscription])
        .flat_map(|item| [reference(item, "price"), reference(item, "plan")])
        .flatten()
        .collect();
    let sku = Metadata::of([subscription]).sku();
    context.rules.catalog.plan(&price_ids, sku.as_deref())
}
