//! What each route takes and answers. A new route is one more of these, in the file of who uses it; the tests name a
//! route that is missing here, a code that no route has, and a path that is not in the URL map.

use serde_json::{Value, json};

use super::operation::{Operation, get, post};
use super::{credits, delivery_status};
use crate::http::problem::Code;
use crate::http::{account, admin, health, payments, users, webhooks};
use crate::recover;

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    [webhook(), user(), backend(), operators(), service()]
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

fn backend() -> Vec<Operation> {
    let unknown = [Code::UserNotFound];
    vec![
        get("/v1/users", "listUsers", "Users, all or by e-mail address")
            .query(
                "email",
                &json!({ "type": "string", "maxLength": 320 }),
                "Only those with this address, in any case. An address may be of several users.",
            )
            .lists::<users::KnownUser>("A page of them."),
        Operation::new("DELETE", "/v1/users/{user_id}", "deleteUser", "Delete a user")
            .about("What the identity provider's deletion does. Credits stay; nothing revives the user.")
            .answers::<users::Deleted>(200, "The user is deleted.")
            .may_repeat(200)
            .refuses(&unknown),
        get("/v1/users/{user_id}", "getUser", "A user with the account")
            .answers::<users::KnownUser>(200, "The user.")
            .refuses(&unknown),
        get(
            "/v1/users/{user_id}/balance",
            "getBalance",
            "A user's account",
        )
        .query(
            "at",
            &json!({ "type": "string", "format": "date-time" }),
            "At this time: of a past one what the account was, of one to come what is known to end until then.",
        )
        .answers_either::<account::Balance, account::BalanceAt>(200, "The account.")
        .refuses(&unknown),
        get(
            "/v1/users/{user_id}/entries",
            "listEntries",
            "A user's movements of credits",
        )
        .lists::<account::Entry>("A page of them.")
        .refuses(&unknown),
        get(
            "/v1/users/{user_id}/purchases",
            "listPurchases",
            "A user's purchases",
        )
        .lists::<account::Purchase>("A page of them.")
        .refuses(&unknown),
        get(
            "/v1/users/{user_id}/lots",
            "listLots",
            "A user's credits by how they came",
        )
        .lists::<account::ShownLot>("A page of them.")
        .refuses(&unknown),
    ]
}

fn operators() -> Vec<Operation> {
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
        .takes("Act", act(json!({}), &["reason"]))
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
        .answers::<admin::Swept>(200, "What was found and done."),
        post(
            "/v1/admin/purchases/{purchase_id}/resolve",
            "resolvePurchase",
            "Say whose a purchase is, what it buys, or both",
        )
        .about("What is known already is not overruled.")
        .takes("Resolution", act(resolution(), &["reason"]))
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
        "user_id": { "type": ["string", "null"], "description": "Whose it is." },
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

fn service() -> Vec<Operation> {
    vec![
        get("/health/live", "getLive", "Does the process answer?")
            .answers::<health::Health>(200, "It does."),
        get("/health/ready", "getReady", "May work be sent here?")
            .answers::<health::Health>(200, "It may.")
            .refuses(&[Code::Unavailable]),
        get("/openapi.json", "getDescription", "This description").success(
            200,
            "OpenAPI 3.1.",
            "application/json",
            &json!({ "type": "object" }),
        ),
    ]
}
