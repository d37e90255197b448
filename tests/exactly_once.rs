//! One fact, one effect: whatever is repeated, races, is shuffled, waits for a lock, loses its connection or meets a
//! stopping service.

mod days;
mod stops;
mod waits;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use credit_ledger::ledger::{Source, UserId};
use credit_ledger::provider::sample::SamplePayment;
use credit_ledger::provider::sign::SignedDelivery;
use credit_ledger::store::home;
use futures_util::future::{join, join_all};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::deliveries::{captured, clerk, created, order_paid, payment, unique, user};
use crate::support::integrity::assert_log_is_whole;
use crate::support::load::{Sent, deliver_all, repeated, tally};
use crate::support::{Options, TestApp, eventually};

const CONNECTIONS: usize = 64;

/// Some instances on one database.
async fn instances(number: usize) -> Vec<TestApp> {
    let mut apps = vec![TestApp::start().await];
    while apps.len() < number {
        apps.push(TestApp::start_on(apps[0].database.clone(), Options::default()).await);
    }
    apps
}

async fn stop(apps: Vec<TestApp>) {
    for app in apps {
        app.stop().await;
    }
}

async fn deliver_to(apps: &[TestApp], sent: &[Sent]) -> BTreeMap<String, usize> {
    let apps: Vec<&TestApp> = apps.iter().collect();
    tally(&deliver_all(&apps, sent, CONNECTIONS).await)
}

fn statuses(expected: &[(&str, usize)]) -> BTreeMap<String, usize> {
    expected
        .iter()
        .map(|(status, count)| ((*status).to_owned(), *count))
        .collect()
}

/// 1,000 deliveries that all say the same: the first is recorded, the rest are counted.
async fn one_effect(number: usize, sent: &[Sent]) -> Vec<TestApp> {
    assert_eq!(sent.len(), 1000);
    let apps = instances(number).await;
    assert_eq!(
        deliver_to(&apps, sent).await,
        statuses(&[("duplicate", 999), ("recorded", 1)])
    );
    assert_eq!(
        apps[0]
            .count("select sum(deliveries)::bigint from inbox")
            .await,
        1000
    );
    assert_eq!(
        apps[0]
            .count("select count(*) from inbox where outcome = 'recorded'")
            .await,
        1
    );
    assert_log_is_whole(&apps[0]).await;
    apps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_sign_ups_are_one() {
    for number in [1, 3] {
        let apps = one_effect(
            number,
            &repeated(Source::Clerk, &created(&user("user_1")), 1000),
        )
        .await;
        assert_eq!(
            apps[0].events("user", "user_1").await,
            ["UserRegistered", "SignupBonusGranted"]
        );
        assert_eq!(apps[0].balance("user_1").await, 20);
        stop(apps).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_payments_are_one() {
    for number in [1, 3] {
        let delivery = captured(&payment(Some("user_1")));
        let apps = one_effect(number, &repeated(Source::Razorpay, &delivery, 1000)).await;
        assert_eq!(apps[0].events("user", "user_1").await, ["CreditsPurchased"]);
        assert_eq!(apps[0].balance("user_1").await, 500);
        stop(apps).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_events_of_one_payment_are_one() {
    let payment = payment(Some("user_1"));
    let twins = [
        (Source::Razorpay, captured(&payment)),
        (Source::Razorpay, order_paid(&payment)),
    ];
    let sent: Vec<Sent> = twins.iter().cycle().take(1000).cloned().collect();
    let apps = one_effect(3, &sent).await;
    assert_eq!(apps[0].balance("user_1").await, 500);
    assert_eq!(
        apps[0]
            .count("select count(*) from inbox where deliveries = 500")
            .await,
        2
    );
    assert_eq!(
        apps[0]
            .events("purchase", &format!("razorpay:{}", payment.payment_id))
            .await,
        ["PaymentCaptured"]
    );
    stop(apps).await;
}

fn ignored() -> SignedDelivery {
    clerk(
        &unique("msg_"),
        json!({"type": "session.created", "data": {"id": "sess_1"}}).to_string(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_equal_ignored_deliveries_are_kept_once() {
    let apps = instances(3).await;
    let sent = repeated(Source::Clerk, &ignored(), 1000);
    assert_eq!(
        deliver_to(&apps, &sent).await,
        statuses(&[("duplicate", 999), ("ignored", 1)])
    );
    assert_eq!(
        apps[0].count("select deliveries::bigint from inbox").await,
        1000
    );
    assert_eq!(
        apps[0]
            .count("select sum(position)::bigint from heads")
            .await,
        0
    );
    stop(apps).await;
}

/// No shard is locked here, so batches of the instances meet in the inbox alone, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_take_each_others_keys_all_get_through() {
    let apps = instances(3).await;
    let deliveries: Vec<Sent> = (0..400).map(|_| (Source::Clerk, ignored())).collect();
    let rounds = apps.iter().enumerate().map(|(number, app)| {
        let mut sent = deliveries.clone();
        sent.rotate_left(number * 7);
        async move { tally(&deliver_all(&[app], &sent, CONNECTIONS).await) }
    });
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    for (status, count) in join_all(rounds).await.into_iter().flatten() {
        *total.entry(status).or_default() += count;
    }
    assert_eq!(total, statuses(&[("duplicate", 800), ("ignored", 400)]));
    assert_eq!(
        apps[0]
            .count("select count(*) from inbox where deliveries = 3")
            .await,
        400
    );
    stop(apps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hot_user_over_three_instances_stays_exact() {
    let apps = instances(3).await;
    let mut sent: Vec<Sent> = (0..600)
        .map(|_| (Source::Razorpay, captured(&payment(Some("user_1")))))
        .collect();
    sent.insert(300, (Source::Clerk, created(&user("user_1"))));
    assert_eq!(
        deliver_to(&apps, &sent).await,
        statuses(&[("recorded", 601)])
    );
    assert_eq!(apps[0].balance("user_1").await, 600 * 500 + 20);
    assert_eq!(
        apps[0]
            .count("select max(sequence) from events where aggregate_type = 'user'")
            .await,
        602
    );
    assert_log_is_whole(&apps[0]).await;
    apps[0].assert_audit_is_clean().await;
    stop(apps).await;
}

fn bare(payment: &SamplePayment) -> SamplePayment {
    SamplePayment {
        user_id: None,
        sku: None,
        ..payment.clone()
    }
}

/// What names nobody lives in a shard of its own, what names a user in the user's: whichever comes first decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_that_races_for_its_home_has_one() {
    let apps = instances(3).await;
    for round in 0..60 {
        let named = payment(Some(&format!("user_{round}")));
        let (first, second, third) = (
            captured(&bare(&named)),
            order_paid(&named),
            captured(&named),
        );
        let (a, (b, c)) = join(
            apps[round % 3].deliver(Source::Razorpay, &first),
            join(
                apps[(round + 1) % 3].deliver(Source::Razorpay, &second),
                apps[(round + 2) % 3].deliver(Source::Razorpay, &third),
            ),
        )
        .await;
        let answers = tally(&[a, b, c]);
        assert!(
            answers["recorded"] <= 2,
            "{answers:?}: at most the capture and its claim"
        );
        assert_eq!(apps[0].balance(&format!("user_{round}")).await, 500);
    }
    let captures = "select count(*) from events where event_type = 'PaymentCaptured'";
    assert_eq!(apps[0].count(captures).await, 60);
    assert_eq!(
        apps[0]
            .count("select count(*) from streams where aggregate_type = 'purchase'")
            .await,
        60
    );
    assert_eq!(
        apps[0]
            .count("select count(*) from purchases where credits = 500")
            .await,
        60
    );
    let parked = "select count(*) from inbox where outcome = 'parked'";
    assert_eq!(
        apps[0].count(parked).await,
        0,
        "who comes second is told so"
    );
    assert_log_is_whole(&apps[0]).await;
    apps[0].assert_audit_is_clean().await;
    stop(apps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_that_names_two_users_is_one_users() {
    let apps = instances(2).await;
    for round in 0..40 {
        let (one, other) = (format!("user_a{round}"), format!("user_b{round}"));
        let named = payment(Some(&one));
        let renamed = SamplePayment {
            user_id: Some(other.clone()),
            ..named.clone()
        };
        let (first, second) = (captured(&named), order_paid(&renamed));
        let (a, b) = join(
            apps[0].deliver(Source::Razorpay, &first),
            apps[1].deliver(Source::Razorpay, &second),
        )
        .await;
        assert_eq!(
            tally(&[a, b]),
            statuses(&[("duplicate", 1), ("recorded", 1)])
        );
        let mut balances = [apps[0].balance(&one).await, apps[0].balance(&other).await];
        balances.sort_unstable();
        assert_eq!(balances, [0, 500]);
    }
    assert_eq!(
        apps[0]
            .count("select count(*) from streams where aggregate_type = 'purchase'")
            .await,
        40
    );
    assert_log_is_whole(&apps[0]).await;
    stop(apps).await;
}

/// Payments and sign-ups of many users, all different.
fn busy_minute(deliveries: usize) -> Vec<Sent> {
    (0..deliveries)
        .map(|number| {
            let name = format!("user_{}", number / 2);
            match number % 2 {
                0 => (Source::Clerk, created(&user(&name))),
                _ => (Source::Razorpay, captured(&payment(Some(&name)))),
            }
        })
        .collect()
}

/// All of a busy minute is booked, each fact once.
async fn assert_busy_minute_is_booked(app: &TestApp, deliveries: i64) {
    assert_eq!(app.count("select count(*) from inbox").await, deliveries);
    let with_all = format!(
        "select count(*) from balance where balance = 520 having count(*) = {}",
        deliveries / 2
    );
    assert_eq!(app.count(&with_all).await, deliveries / 2);
    assert_log_is_whole(app).await;
    app.assert_audit_is_clean().await;
}

/// The bodies of all deliveries that are stored.
async fn stored_bodies(app: &TestApp) -> BTreeSet<Vec<u8>> {
    let rows = app
        .sql()
        .await
        .query("select body from inbox", &[])
        .await
        .unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Sends a whole delivery over a connection of its own. The answer is whatever can be read until its end.
async fn post_raw(address: SocketAddr, provider: &str, delivery: &SignedDelivery) -> TcpStream {
    let length = delivery.body.len();
    let headers: Vec<String> = (delivery.headers.iter())
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = format!(
        "POST /webhooks/{provider} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{}content-length: {length}\r\n\r\n",
        headers.concat()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = [head.as_bytes(), &delivery.body].concat();
    stream.write_all(&request).await.unwrap();
    stream
}

/// Waits until the service has every request that was sent before: with one worker, it takes connections in their
/// order.
async fn until_all_are_in(app: &TestApp) {
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(
        fresh
            .get(app.url("/health/live"))
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

/// Fails unless the answer is a 200 with that status.
async fn assert_status(mut request: TcpStream, status: &str) {
    let mut answer = String::new();
    request.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!(r#""status":"{status}""#)),
        "{answer}"
    );
}
