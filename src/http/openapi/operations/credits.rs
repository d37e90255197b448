//! What backends do with credits. The bodies are what the modules of `http::credits` take.

use serde_json::{Value, json};

use super::super::{NO_BLANKS, SCHEMAS, credits, lot_kind};
use crate::http::body::BULK_BYTES_MAX;
use crate::http::credits as acts;
use crate::http::credits::{
    HOLD_DEFAULT_S, HOLD_MAX_S, ITEMS_MAX, NAME_MAX_CHARS, REASON_MAX_CHARS,
};
use crate::http::openapi::operation::{Operation, post, put};
use crate::http::problem::Code;
use crate::ledger::lots::{LotKind, PRIORITY_DEFAULT};

pub(super) fn all() -> Vec<Operation> {
    let mut all = uses();
    all.extend(gifts());
    all.push(bulk());
    all
}

/// Spends and holds.
fn uses() -> Vec<Operation> {
    vec![
        post("/v1/users/{user_id}/spends", "spend", "Use credits")
            .about("Never more than are available, whoever else spends at the same time.")
            .keyed()
            .takes("Spend", object(&["amount"], &spend()))
            .such_as(json!({ "amount": 5, "reason": "a report", "reference": "job-17" }))
            .answers::<acts::Spent>(200, "The credits are used.")
            .then(200, "reverseSpend", "entry_id")
            .may_repeat(200)
            .refuses(&[Code::InsufficientCredits]),
        post(
            "/v1/users/{user_id}/holds",
            "hold",
            "Set credits aside for running work",
        )
        .about("Then capture what was used, or release it. It times out by itself.")
        .keyed()
        .takes("Hold", object(&["amount"], &hold()))
        .such_as(json!({ "amount": 30, "expires_in_s": 600, "reference": "job-18" }))
        .answers::<acts::Placed>(201, "They are set aside.")
        .then(201, "captureHold", "hold_id")
        .then(201, "releaseHold", "hold_id")
        .may_repeat(201)
        .refuses(&[Code::InsufficientCredits]),
        post(
            "/v1/holds/{hold_id}/capture",
            "captureHold",
            "Use what a hold set aside",
        )
        .about("What is not used is given up.")
        .keyed()
        .may_take(
            "Capture",
            object(&[], &json!({ "amount": all_if_absent() })),
        )
        .such_as(json!({ "amount": 12 }))
        .answers::<acts::Captured>(200, "They are used.")
        .then(200, "reverseSpend", "entry_id")
        .may_repeat(200)
        .refuses(&[Code::HoldNotFound, Code::HoldResolved, Code::AmountTooLarge]),
        post(
            "/v1/holds/{hold_id}/release",
            "releaseHold",
            "Give up what a hold set aside",
        )
        .keyed()
        .may_take("Release", object(&[], &json!({})))
        .answers::<acts::Released>(200, "They are available again.")
        .may_repeat(200)
        .refuses(&[Code::HoldNotFound, Code::HoldResolved]),
        post(
            "/v1/spends/{entry_id}/reverse",
            "reverseSpend",
            "Give back what a spend used",
        )
        .about("Once. What comes back is what it was before: in the same lots, with the same end.")
        .keyed()
        .may_take(
            "Reverse",
            object(
                &[],
                &json!({ "amount": all_if_absent(), "reason": or_null(reason()) }),
            ),
        )
        .such_as(json!({ "amount": 2, "reason": "the report was empty" }))
        .answers::<acts::Reversed>(200, "They are the user's again.")
        .may_repeat(200)
        .refuses(&[
            Code::SpendNotFound,
            Code::AlreadyReversed,
            Code::AmountTooLarge,
            Code::BalanceTooLarge,
        ]),
    ]
}

/// What is given.
fn gifts() -> Vec<Operation> {
    vec![
        post("/v1/users/{user_id}/grants", "grant", "Give credits")
            .keyed()
            .takes("Grant", object(&["amount", "reason"], &grant()))
            .such_as(json!({ "amount": 50, "reason": "sorry for the delay", "kind": "promo" }))
            .answers::<acts::Granted>(200, "The user has them.")
            .may_repeat(200)
            .refuses(&[Code::BalanceTooLarge]),
        put(
            "/v1/users/{user_id}/plan",
            "changePlan",
            "Set the plan, with bonus credits",
        )
        .about("Where it is that plan already, nothing follows: no bonus either.")
        .may_be_keyed()
        .takes("ChangePlan", object(&["plan"], &plan()))
        .such_as(json!({ "plan": "pro", "bonus_credits": 100 }))
        .answers::<acts::Planned>(200, "It is the user's plan.")
        .may_repeat(200)
        .refuses(&[Code::BalanceTooLarge]),
        post(
            "/v1/users/{user_id}/referral",
            "refer",
            "Reward a recommendation",
        )
        .about("Both sides, once for each user who came.")
        .keyed()
        .takes(
            "Refer",
            object(&["referred_by"], &json!({ "referred_by": user_id() })),
        )
        .such_as(json!({ "referred_by": "user_3def" }))
        .answers::<acts::Referred>(200, "Both are rewarded.")
        .may_repeat(200)
        .refuses(&[
            Code::AlreadyReferred,
            Code::ReferralNotConfigured,
            Code::BalanceTooLarge,
        ]),
    ]
}

fn bulk() -> Operation {
    let item = |what: &str, required: &[&str], mut members: Value| {
        members["type"] = json!({ "type": "string", "enum": [what] });
        members["user_id"] = user_id();
        let required = [&["type", "user_id"], required].concat();
        object(&required, &members)
    };
    let items = json!({
        "type": "array",
        "minItems": 1,
        "maxItems": ITEMS_MAX,
        "items": {
            "oneOf": [
                item("spend", &["amount"], spend()),
                item("grant", &["amount", "reason"], grant()),
            ],
        },
    });
    let mode = json!({
        "type": "string",
        "enum": ["each", "atomic"],
        "description": "`each`: every item by itself, with its own outcome. `atomic`: all, or none and the problem of \
                        the first that is refused, with its place in `item`.",
    });
    let with_status = |name: &str| {
        json!({
            "allOf": [
                {
                    "type": "object",
                    "required": ["status"],
                    "properties": { "status": { "type": "integer", "enum": [200] } },
                },
                { "$ref": format!("{SCHEMAS}{name}") },
            ],
        })
    };
    let results = json!({
        "type": "object",
        "required": ["results"],
        "properties": {
            "results": {
                "type": "array",
                "description": "In the order of the items: what each answers by itself, with its `status`.",
                "items": {
                    "anyOf": [
                        with_status("Spent"),
                        with_status("Granted"),
                        { "$ref": format!("{SCHEMAS}Problem") },
                    ],
                },
            },
        },
    });
    post("/v1/bulk", "bulk", "Many spends and grants at once")
        .about(format!(
            "Up to {ITEMS_MAX} items and {BULK_BYTES_MAX} bytes. A try that broke off goes on where it was, under the \
             same key."
        ))
        .keyed()
        .takes("Bulk", object(&["mode", "items"], &json!({ "mode": mode, "items": items }))).such_as(json!({
            "mode": "each",
            "items": [
                { "type": "spend", "user_id": "user_2abc", "amount": 5 },
                { "type": "grant", "user_id": "user_3def", "amount": 10, "reason": "a contest" },
            ],
        }))
        .success(200, "What became of each.", "application/json", &results)
        .may_repeat(200)
        .refuses(&[Code::InsufficientCredits, Code::BalanceTooLarge])
}

/// A body with these members and no others.
fn object(required: &[&str], members: &Value) -> Value {
    json!({
        "type": "object",
        "required": required,
        "properties": members,
        "additionalProperties": false,
    })
}

/// Absent and null are the same.
fn or_null(mut schema: Value) -> Value {
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
    schema
}

fn text(chars_max: usize, description: &str) -> Value {
    json!({
        "type": "string",
        "minLength": 1,
        "maxLength": chars_max,
        "pattern": r"\S",
        "description": description,
    })
}

fn user_id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": NO_BLANKS })
}

fn reason() -> Value {
    text(
        REASON_MAX_CHARS,
        "Why, for the history: no secrets, no personal data.",
    )
}

fn reference() -> Value {
    text(NAME_MAX_CHARS, "The caller's own id of it.")
}

fn all_if_absent() -> Value {
    let mut amount = or_null(credits(1));
    amount["description"] = json!("How many; all when nobody says.");
    amount
}

fn spend() -> Value {
    json!({
        "amount": credits(1),
        "reason": or_null(reason()),
        "reference": or_null(reference()),
        "allow_partial": {
            "type": ["boolean", "null"],
            "default": false,
            "description": "Whether to spend what there is where it is not enough.",
        },
    })
}

fn grant() -> Value {
    let mut kind = json!(lot_kind());
    kind["enum"] = json!([LotKind::Bonus.as_str(), LotKind::Promo.as_str()]);
    kind["default"] = json!(LotKind::Bonus.as_str());
    kind["description"] = json!("What the credits are.");
    json!({
        "amount": credits(1),
        "reason": reason(),
        "expires_at": or_null(second("When they end; never when nobody says.")),
        "kind": or_null(kind),
        "priority": {
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": u8::MAX,
            "default": PRIORITY_DEFAULT,
            "description": "The place in the order of burning: lower first.",
        },
        "actor": or_null(text(NAME_MAX_CHARS, "Who decided it, beside the name of the API key.")),
    })
}

fn hold() -> Value {
    json!({
        "amount": credits(1),
        "expires_in_s": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": HOLD_MAX_S,
            "default": HOLD_DEFAULT_S,
            "description": "After so many seconds it times out by itself.",
        },
        "reason": or_null(reason()),
        "reference": or_null(reference()),
    })
}

fn plan() -> Value {
    let mut bonus = or_null(credits(0));
    bonus["default"] = json!(0);
    bonus["description"] = json!("Given with the plan, if it is another than before.");
    json!({
        "plan": text(NAME_MAX_CHARS, "Its name."),
        "bonus_credits": bonus,
        "bonus_expires_at": or_null(second("When they end; never when nobody says.")),
    })
}

fn second(description: &str) -> Value {
    json!({
        "type": "string",
        "format": "date-time",
        "description": format!("{description} In the future, in whole seconds."),
    })
}
