//! What each route takes and answers. A new route is one more of these, in the file of who uses it; the tests name a
//! route that is missing here, a code that no route has, and a path that is not in the URL map.

mod backend;
mod credits;
mod log;
mod operators;

use serde_json::{Value, json};

use super::operation::{Operation, get, post};
use crate::http::problem::Code;
use crate::http::{account, health, metrics, payments, webhooks};

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    [
        webhook(),
        user(),
        backend::all(),
        credits::all(),
        operators::all(),
        log::all(),
        service(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn webhook() -> Vec<Operation> {
    vec![
        post("/webhooks/{provider}", "receiveWebhook", "Take a delivery")
            .about(
                "The raw body, signed as the provider does: Clerk's `svix-*` headers, `Stripe-Signature`, \
                 `X-Razorpay-Signature`. At most 1 MiB. The answer comes when what it says is durable; a duplicate is a \
                 success.",
            )
            .takes(
                "ProviderEvent",
                json!({ "type": "object", "description": "An event as the provider sends it." }),
            )
            .answers::<webhooks::Received>(200, "It is stored.")
            .may_repeat(200)
            .refuses(&[
                Code::InvalidSignature,
                Code::UnknownProvider,
                Code::ProviderNotConfigured,
            ]),
    ]
}

fn user() -> Vec<Operation> {
    let deleted = [Code::UserDeleted];
    vec![
        post("/v1/payments/verify", "verifyPayment", "Verify a checkout")
            .about(
                "What the provider's checkout gave the browser. It does not matter whether the webhook was faster: \
                 whoever comes second gets the first one's result (`already_processed`).",
            )
            .takes("Checkout", checkout())
            .such_as(json!({
                "razorpay_order_id": "order_2abc",
                "razorpay_payment_id": "pay_2abc",
                "razorpay_signature": "0123…",
            }))
            .answers_either::<payments::Verified, payments::NotPaid>(
                200,
                "`success` says whether the payment is recorded and the session's.",
            )
            .answers::<payments::NotPaid>(202, "Nobody knows of the money yet: ask again.")
            .asks_again(202)
            .refuses(&[
                Code::InvalidSignature,
                Code::NotYourPurchase,
                Code::ImpersonationRefused,
                Code::ProviderNotConfigured,
            ]),
        get("/v1/me", "getMe", "The user with the account")
            .about("A user who was not heard of yet has `registered: false` and no credits.")
            .answers::<account::User>(200, "The session's user.")
            .refuses(&deleted),
        get("/v1/me/balance", "getMyBalance", "The account")
            .answers::<account::Balance>(200, "The account.")
            .refuses(&deleted),
        get("/v1/me/entries", "listMyEntries", "The movements of credits")
            .lists::<account::Entry>("A page of them.")
            .refuses(&deleted),
        get("/v1/me/purchases", "listMyPurchases", "The purchases")
            .lists::<account::Purchase>("A page of them.")
            .refuses(&deleted),
    ]
}

fn checkout() -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    json!({
        "description": "What the checkout of Razorpay or of Stripe gave the browser.",
        "oneOf": [
            {
                "title": "Razorpay",
                "type": "object",
                "required": ["razorpay_order_id", "razorpay_payment_id", "razorpay_signature"],
                "properties": {
                    "razorpay_order_id": text,
                    "razorpay_payment_id": text,
                    "razorpay_signature": text,
                },
                "additionalProperties": false,
            },
            {
                "title": "Stripe",
                "type": "object",
                "required": ["stripe_session_id"],
                "properties": { "stripe_session_id": text },
                "additionalProperties": false,
            },
        ],
    })
}

fn service() -> Vec<Operation> {
    vec![
        get("/health/live", "getLive", "Does the process answer?")
            .answers::<health::Health>(200, "It does."),
        get("/health/ready", "getReady", "May work be sent here?")
            .answers::<health::Health>(200, "It may."),
        get(
            "/metrics",
            "getMetrics",
            "What the instance says of itself in numbers",
        )
        .about("For Prometheus. What the database does not say in time is `NaN`.")
        .success(
            200,
            "The text format of Prometheus.",
            metrics::TEXT_FORMAT,
            &json!({ "type": "string" }),
        ),
        get("/openapi.json", "getDescription", "This description").success(
            200,
            "OpenAPI 3.1.",
            "application/json",
            &json!({ "type": "object" }),
        ),
        get("/docs", "getDocs", "This description, for people").success(
            200,
            "A page that loads nothing from elsewhere.",
            "text/html; charset=utf-8",
            &json!({ "type": "string" }),
        ),
    ]
}
