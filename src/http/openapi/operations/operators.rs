//! What operators look at and repair.

use serde_json::{Value, json};

use super::super::{NO_BLANKS, credits, delivery_status};
use crate::http::admin;
use crate::http::openapi::operation::{Operation, get, post};
use crate::http::problem::Code;
use crate::recover;

pub(super) fn all() -> Vec<Operation> {
    vec![
        get("/v1/admin/overview", "getOverview", "Is anything waiting?")
            .answers::<admin::Overview>(200, "How much there is of everything."),
        get("/v1/admin/inbox", "listInbox", "Deliveries")
            .query(
                "status",
                &json!(delivery_status()),
                "What became of them; `parked` when nobody says.",
            )
            .lists::<admin::Delivery>("A page of them."),
        get(
            "/v1/admin/purchases",
            "listUnresolved",
            "Purchases that wait for somebody",
        )
        .needs_query(
            "status",
            &json!({ "type": "string", "enum": ["unclaimed", "unpriced"] }),
            "`unclaimed`: nobody's. `unpriced`: fits nothing in the catalog.",
        )
        .lists::<admin::OwnedPurchase>("A page of them."),
        post(
            "/v1/admin/inbox/{source}/{event_id}/retry",
            "retryDelivery",
            "Try a delivery again, now",
        )
        .takes("Retry", act(json!({}), &["reason"]))
        .such_as(json!({ "reason": "ticket 4711" }))
        .answers::<admin::Retried>(200, "What has become of it.")
        .may_repeat(200)
        .refuses(&[Code::UnknownProvider, Code::DeliveryNotFound]),
        post(
            "/v1/admin/recover",
            "recover",
            "Find what should have credits and has none, and repair it",
        )
        .query(
            "dry_run",
            &json!({ "type": "boolean", "default": false }),
            "Only look, and write nothing.",
        )
        .limit(recover::LIMIT_DEFAULT.into(), recover::LIMIT_MAX.into())
        .cursor()
        .may_take("Sweep", act(json!({}), &[]))
        .such_as(json!({ "reason": "the catalog was mended" }))
        .answers::<admin::Swept>(200, "What was found and done."),
        post(
            "/v1/admin/purchases/{purchase_id}/resolve",
            "resolvePurchase",
            "Say whose a purchase is, what it buys, or both",
        )
        .about("What is known already is not overruled.")
        .takes("Resolution", act(resolution(), &["reason"]))
        .such_as(json!({ "user_id": "user_2abc", "reason": "ticket 4711" }))
        .answers::<admin::Resolved>(200, "The purchase as it is now.")
        .may_repeat(200)
        .refuses(&[
            Code::PurchaseNotFound,
            Code::AlreadyClaimed,
            Code::AlreadyPriced,
        ]),
    ]
}

/// What an operator does has a reason.
fn act(mut members: Value, required: &[&str]) -> Value {
    members["reason"] = json!({
        "type": "string",
        "minLength": 1,
        "maxLength": 500,
        "pattern": r"\S",
        "description": "Why. It goes into the history with the key's name, for ever: no secrets, no personal data. \
                        Needed for whatever changes something.",
    });
    json!({
        "type": "object",
        "required": required,
        "properties": members,
        "additionalProperties": false,
    })
}

fn resolution() -> Value {
    json!({
        "user_id": {
            "type": ["string", "null"],
            "minLength": 1,
            "maxLength": 255,
            "pattern": NO_BLANKS,
            "description": "Whose it is.",
        },
        "sku": {
            "type": ["string", "null"],
            "description": "A pack of the catalog, whatever was paid. Not beside `credits`.",
        },
        "credits": {
            "oneOf": [credits(0), { "type": "null" }],
            "description": "Plain credits; 0: it buys nothing.",
        },
    })
}
