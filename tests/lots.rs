//! Lots over HTTP: the order in which they burn, when they end, where credits come back to, and what was when.

mod as_of;
mod burning;
mod ending;
mod many;
mod money;
mod story;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, TimeZone as _, Utc};
use serde_json::{Value, json};

use crate::support::app::Answer;
use crate::support::integrity::assert_log_is_whole;
use crate::support::{Options, TestApp};

/// Looks for nothing by itself: what shows is what reads and commands make of it.
fn blind() -> Options {
    Options {
        configure: Arc::new(|config| config.upkeep_every = Duration::from_hours(1)),
        ..Options::default()
    }
}

/// The next whole second but a few: a time that both clocks can stand still at.
fn begin() -> DateTime<Utc> {
    let now_s = Utc::now().timestamp() + 5;
    Utc.timestamp_opt(now_s, 0).unwrap()
}

/// An instance whose clock stands still at a whole second.
async fn still() -> (TestApp, DateTime<Utc>) {
    let app = TestApp::start_with(blind()).await;
    app.looked_once().await;
    let begin = begin();
    app.stop_clock(begin);
    (app, begin)
}

/// Two instances on one database, whose clocks stand still at the same whole second.
async fn two_still() -> ([TestApp; 2], DateTime<Utc>) {
    let (one, begin) = still().await;
    let other = TestApp::start_on(one.database.clone(), blind()).await;
    other.looked_once().await;
    other.stop_clock(begin);
    ([one, other], begin)
}

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Gives credits on these terms beside the default ones.
async fn grant(app: &TestApp, user_id: &str, amount: i64, terms: &Value) -> Answer {
    let mut body = json!({"amount": amount, "reason": "a test"});
    let terms = terms.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(terms);
    let path = format!("/v1/users/{user_id}/grants");
    let granted = app.post_new(&path, &body).await;
    granted.assert_ok(&json!({"granted": amount}));
    granted
}

/// Gives credits that end at a time.
async fn grant_until(app: &TestApp, user_id: &str, amount: i64, ends: DateTime<Utc>) {
    grant(app, user_id, amount, &json!({"expires_at": shown(ends)})).await;
}

/// Sets credits aside for some seconds.
async fn hold(app: &TestApp, user_id: &str, amount: i64, expires_in_s: i64) -> String {
    let body = json!({"amount": amount, "expires_in_s": expires_in_s});
    let placed = app
        .post_new(&format!("/v1/users/{user_id}/holds"), &body)
        .await;
    assert_eq!(placed.status, 201, "{placed:?}");
    placed.text("hold_id")
}

async fn capture(app: &TestApp, hold_id: &str, amount: i64) -> Answer {
    let path = format!("/v1/holds/{hold_id}/capture");
    app.post_new(&path, &json!({"amount": amount})).await
}

async fn release(app: &TestApp, hold_id: &str) -> Answer {
    let path = format!("/v1/holds/{hold_id}/release");
    app.post_new(&path, &json!({})).await
}

async fn reverse(app: &TestApp, entry_id: &str, amount: i64) -> Answer {
    let path = format!("/v1/spends/{entry_id}/reverse");
    app.post_new(&path, &json!({"amount": amount})).await
}

/// Every row of a list, page by page.
async fn walk(app: &TestApp, path: &str, limit: usize) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app.get(&format!("{path}?limit={limit}{cursor}")).await;
        assert_eq!(page.status, 200, "{page:?}");
        let items = page.body["items"].as_array().unwrap();
        rows.extend(items.iter().cloned());
        match page.body["next_cursor"].as_str() {
            Some(next) => {
                assert_eq!(items.len(), limit, "a page before the last is full");
                cursor = format!("&cursor={next}");
            }
            None => return rows,
        }
    }
}

/// The lots of a user, the newest first. Whatever they are, they hold what can be spent or is contested, and nothing else.
async fn lots(app: &TestApp, user_id: &str) -> Vec<Value> {
    let lots = walk(app, &format!("/v1/users/{user_id}/lots"), 200).await;
    let [_, _, available, _] = app.account(user_id).await;
    let free: i64 = lots
        .iter()
        .map(|lot| number(lot, "remaining") - number(lot, "contested"))
        .sum();
    assert!(free >= available, "{free} of {lots:?}");
    if lots.iter().all(|lot| number(lot, "contested") == 0) {
        assert_eq!(free, available, "{lots:?}");
    }
    assert!(lots.iter().all(|lot| number(lot, "remaining") > 0));
    lots
}

/// What the lots of a user still hold, by their ids.
async fn remaining(app: &TestApp, user_id: &str) -> Vec<(i64, i64)> {
    let lots = lots(app, user_id).await;
    let remaining = lots
        .iter()
        .map(|lot| (number(lot, "lot_id"), number(lot, "remaining")));
    let mut remaining: Vec<(i64, i64)> = remaining.collect();
    remaining.sort_unstable();
    remaining
}

/// The newest entry of a user.
async fn last_entry(app: &TestApp, user_id: &str) -> Value {
    let page = app
        .get(&format!("/v1/users/{user_id}/entries?limit=1"))
        .await;
    page.body["items"][0].clone()
}

/// Which lots an entry moved how many credits of, in its order.
fn slices(entry: &Value) -> Vec<(i64, i64)> {
    let slices = entry["slices"].as_array().unwrap();
    slices
        .iter()
        .map(|slice| (number(slice, "lot_id"), number(slice, "credits")))
        .collect()
}

#[track_caller]
fn number(row: &Value, name: &str) -> i64 {
    row[name]
        .as_i64()
        .unwrap_or_else(|| panic!("{name} of {row}"))
}

/// What must hold after every scenario.
async fn assert_whole(app: &TestApp) {
    assert_log_is_whole(app).await;
    app.assert_audit_is_clean().await;
}
