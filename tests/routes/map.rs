//! The URL map, filled in: every test of all routes takes them from the program's own table.

use credit_ledger::http::Entry;

/// The shard of the user of these tests, which has no other events before theirs.
pub const SHARD_OF_USER_1: &str = "3";

/// A path of the map with its parameters filled in.
pub fn concrete(entry: &Entry) -> String {
    let path = entry
        .path
        .replace("{provider}", "razorpay")
        .replace("{user_id}", "user_1")
        .replace("{purchase_id}", "razorpay:pay_1")
        .replace("{source}", "clerk")
        .replace("{event_id}", "msg_1")
        .replace("{hold_id}", "0-1")
        .replace("{entry_id}", "0-1")
        .replace("{type}", "user")
        .replace("{id}", "user_1")
        // Where the first event of `user_1` is.
        .replace("{shard}", SHARD_OF_USER_1)
        .replace("{position}", "1")
        .replace("{first}", "1")
        .replace("{second}", "1");
    assert!(!path.contains('{'), "a new parameter in {path}");
    path
}

/// What a path needs behind it to be answered.
pub fn needed_query(entry: &Entry) -> &'static str {
    match entry.path {
        "/v1/admin/purchases" => "status=unclaimed",
        "/v1/audit/events" => "shard=0",
        _ => "",
    }
}
