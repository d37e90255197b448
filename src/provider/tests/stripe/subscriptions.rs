//! Subscriptions: which plan one gives, and to whom.

use super::*;
use crate::ledger::SubscriptionKey;

fn subscription(status: &str) -> Value {
    let sale = StripeSale {
        price_id: Some("price_1SjE2UIwn4ecfiRIZWn4YDvA".to_owned()),
        ..sale()
    };
    sample::subscription(&sale, status)
}

fn updated(subscription: &Value) -> String {
    shown(says("customer.subscription.updated", subscription))
}

#[test]
fn the_status_says_whether_the_plan_is_given() {
    for (status, rank, plan) in [
        ("incomplete", 0, ""),
        ("trialing", 1, " plan=pro"),
        ("active", 2, " plan=pro"),
        ("past_due", 3, " plan=pro"),
        ("unpaid", 4, ""),
        ("paused", 4, ""),
        ("incomplete_expired", 5, ""),
        ("canceled", 6, ""),
    ] {
        let wanted = format!("subscription sub_1 user_1 {AT_S}/{rank}{plan}");
        for name in ["created", "updated", "paused", "resumed", "trial_will_end"] {
            let name = format!("customer.subscription.{name}");
            assert_eq!(shown(says(&name, &subscription(status))), wanted);
        }
        // The end is the end, whatever status it names.
        assert_eq!(
            shown(says("customer.subscription.deleted", &subscription(status))),
            format!("subscription sub_1 user_1 {AT_S}/6")
        );
    }
    assert_eq!(
        updated(&subscription("tomorrow")),
        "ignore subscription status tomorrow"
    );
}

#[test]
fn events_of_one_second_are_told_apart_by_the_status() {
    let version = |name: &str, status: &str| match says(name, &subscription(status)) {
        Translated::Apply(Command::ChangeSubscription(change)) => change.version,
        other => panic!("{other:?}"),
    };
    let created = version("customer.subscription.created", "incomplete");
    let activated = version("customer.subscription.updated", "active");
    let deleted = version("customer.subscription.deleted", "active");
    assert!(created < activated && activated < deleted);
    assert_eq!(created.event_id, "evt_1");
}

#[test]
fn a_subscription_that_names_nobody_waits_for_its_user() {
    let nobodys = with(subscription("active"), "metadata", json!({}));
    assert_eq!(
        updated(&nobodys),
        format!("subscription sub_1 NOBODY {AT_S}/2 plan=pro")
    );
    assert!(matches!(
        says("customer.subscription.updated", &nobodys),
        Translated::AwaitSubscriber { .. }
    ));
    let subscription = SubscriptionKey::new(Source::Stripe, "sub_1");
    let reason = ParkReason::NoUser(subscription);
    assert_eq!(reason.to_string(), "no_user: stripe:sub_1");
}

#[test]
fn the_plan_is_that_of_the_price_then_that_of_the_sku() {
    let of = |items: Value, metadata: Value| {
        let subscription = with(subscription("active"), "items", json!({"data": items}));
        let read = updated(&with(subscription, "metadata", metadata));
        read.rsplit_once('=')
            .map_or(read.clone(), |(_, plan)| plan.to_owned())
    };
    let pro = "price_1SjE2UIwn4ecfiRIZWn4YDvA";
    let by_sku = json!({"user_id": "u", "sku": "pro_monthly"});
    for item in [
        json!({"price": {"id": pro}}),
        json!({"price": pro}),
        json!({"plan": {"id": pro}}),
    ] {
        assert_eq!(of(json!([item]), json!({"user_id": "u"})), "pro");
        assert_eq!(
            of(
                json!([{"price": "price_other"}, item]),
                json!({"user_id": "u"})
            ),
            "pro"
        );
    }
    assert_eq!(of(json!([]), by_sku.clone()), "pro");
    // This one is sold, and gives no plan.
    let none = "ignore subscription to no plan of the catalog";
    for items in [
        json!([]),
        json!([{"price": "price_pack"}]),
        json!([{"price": "price_other"}]),
    ] {
        assert_eq!(of(items, json!({"user_id": "u", "sku": "pack_500"})), none);
    }
    let top = with(
        without(subscription("active"), "items"),
        "plan",
        json!({"id": pro}),
    );
    assert!(updated(&top).ends_with("plan=pro"));
}

/// From the plan to something that is not sold here: the plan is over, and only this event says so.
#[test]
fn a_change_to_a_foreign_price_ends_the_plan() {
    let foreign = json!({"data": [{"price": {"id": "price_other"}}]});
    let now = with(subscription("active"), "items", foreign);
    assert_eq!(
        updated(&now),
        "ignore subscription to no plan of the catalog"
    );
    let mut body = event("customer.subscription.updated", &now);
    body["data"]["previous_attributes"] = json!({"items": subscription("active")["items"]});
    assert_eq!(
        shown(stripe_says(&body)),
        format!("subscription sub_1 user_1 {AT_S}/2")
    );
}

/// The price may have left the catalog since the plan was given.
#[test]
fn an_end_is_an_end_whatever_the_catalog_says_now() {
    let foreign = json!({"data": [{"price": {"id": "price_other"}}]});
    let ended = with(subscription("canceled"), "items", foreign);
    let deleted = "customer.subscription.deleted";
    assert_eq!(
        shown(says(deleted, &ended)),
        format!("subscription sub_1 user_1 {AT_S}/6")
    );
    let nobodys = with(ended, "metadata", json!({}));
    assert_eq!(
        shown(says(deleted, &nobodys)),
        "ignore subscription to no plan of the catalog"
    );
}

#[test]
fn subscriptions_that_can_not_be_read_are_parked() {
    for name in ["id", "status"] {
        let wanted = format!("park missing_fields: data.object.{name}");
        assert_eq!(
            updated(&with(subscription("active"), name, json!(7))),
            wanted
        );
    }
    let timeless = without(
        event("customer.subscription.updated", &subscription("active")),
        "created",
    );
    assert_eq!(stripe_says(&timeless), parked("created"));
}
