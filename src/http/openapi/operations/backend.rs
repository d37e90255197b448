//! What backends see of users, and that they may delete one.

use serde_json::json;

use crate::http::openapi::operation::{Operation, delete, get};
use crate::http::problem::Code;
use crate::http::{account, users};

pub(super) fn all() -> Vec<Operation> {
    let unknown = [Code::UserNotFound];
    vec![
        get("/v1/users", "listUsers", "Users, all or by e-mail address")
            .query(
                "email",
                &json!({ "type": "string", "maxLength": 320 }),
                "Only those with this address, in any case. An address may be of several users.",
            )
            .lists::<users::KnownUser>("A page of them."),
        delete("/v1/users/{user_id}", "deleteUser", "Delete a user and erase the personal data")
            .about(
                "What the identity provider's deletion does, and the user's personal data is erased, soon after the \
                 answer. Credits stay; nothing revives the user.",
            )
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
