//! What a user had at any moment, asked afterwards, and what will be left at one to come.
//!
//! `AS_OF_SEED` repeats a run of the random history.

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::audit::balance;
use credit_ledger::ledger::{Credits, Source, UserId, lots};
use credit_ledger::provider::sample::{self, SamplePayment};
use credit_ledger::provider::sign::{self, SignedDelivery};
use credit_ledger::upkeep::settling;
use proptest::prelude::{Just, Strategy, prop_oneof};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::money::{pay, refund};
use super::{
    assert_whole, blind, capture, grant, grant_until, hold, number, release, reverse, seconds,
    shown, still,
};
use crate::support::TestApp;
use crate::support::app::{Answer, CLERK_SECRET, SERVICE_KEY, answer};
use crate::support::deliveries::{unique, user};
use crate::support::random::play_some;

const USER: &str = "user_1";

async fn balance_at(app: &TestApp, at: &str) -> Answer {
    app.get(&format!("/v1/users/{USER}/balance?at={at}")).await
}

/// The account at a time, with its version.
async fn account_at(app: &TestApp, at: DateTime<Utc>) -> [i64; 5] {
    let answer = balance_at(app, &shown(at)).await;
    answer.assert_ok(&json!({"user_id": USER, "at": shown(at)}));
    account(&answer.body)
}

/// The account now, with its version.
async fn account_now(app: &TestApp) -> [i64; 5] {
    account(&app.get(&format!("/v1/users/{USER}/balance")).await.body)
}

/// What the auditor works out from the events alone: the account at a time, with its version.
async fn audited_at(app: &TestApp, at: DateTime<Utc>) -> [i64; 5] {
    let user_id = UserId::parse(USER).unwrap();
    let report = balance::balance(&app.database, &user_id, at).await;
    let report = report.unwrap().unwrap();
    assert!(report.sums_up(), "{report:?}");
    let lots = report.lots.iter().map(|lot| lot.remaining.get());
    let holds = report
        .holds
        .iter()
        .map(|hold| lots::total(&hold.slices).get());
    let account = report.account;
    assert_eq!(lots.chain(holds).sum::<i64>(), account.balance.get());
    let [balance, held, debt] = [account.balance, account.held, account.debt].map(Credits::get);
    [balance, held, account.available(), debt, report.version]
}

fn account(body: &Value) -> [i64; 5] {
    ["balance", "held", "available", "debt", "version"].map(|name| number(body, name))
}

/// Of many moments so many are between those that the auditor is asked about.
const AUDITED_EVERY: usize = 12;

/// Something that happens, some time after what happened before.
#[derive(Debug, Clone)]
enum Act {
    Grant {
        lasts_s: Option<i64>,
        priority: u8,
    },
    Pay,
    /// Half of the money of the last payment goes back.
    Refund,
    Spend(i64),
    /// Gives back some of the last spend.
    Reverse,
    Hold {
        lasts_s: i64,
    },
    /// Uses a part of the last hold, if it is still there.
    Capture,
    Release,
    /// The identity provider has news. No credits move, and nothing that ended is written down.
    Rename,
    /// What ended is written down.
    Upkeep,
}

fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let lasts = prop_oneof![
        Just(None),
        (1..120i64).prop_map(Some),
        (1..120i64).prop_map(Some)
    ];
    let act = prop_oneof![
        4 => (lasts, 99..=101u8).prop_map(|(lasts_s, priority)| Act::Grant { lasts_s, priority }),
        1 => Just(Act::Pay),
        1 => Just(Act::Refund),
        3 => (1..300i64).prop_map(Act::Spend),
        1 => Just(Act::Reverse),
        3 => (1..60i64).prop_map(|lasts_s| Act::Hold { lasts_s }),
        1 => Just(Act::Capture),
        1 => Just(Act::Release),
        2 => Just(Act::Rename),
        1 => Just(Act::Upkeep),
    ];
    proptest::collection::vec((0..40i64, act), 40..60)
}

/// The newest payment, spend and hold.
#[derive(Default)]
struct Newest {
    paid: Option<SamplePayment>,
    spend: Option<String>,
    hold: Option<String>,
}

fn renamed(app: &TestApp) -> SignedDelivery {
    let mut someone = user(USER);
    someone.updated_at = app.now();
    let body = sample::clerk_user_updated(&someone).to_string();
    let secret = SecretString::from(CLERK_SECRET);
    sign::svix(&secret, &unique("msg_"), app.now(), body).unwrap()
}

async fn act(app: &TestApp, act: Act, newest: &mut Newest) {
    match act {
        Act::Grant { lasts_s, priority } => {
            let ends = lasts_s.map(|lasts_s| shown(second(app.now()) + seconds(lasts_s)));
            let terms = json!({"priority": priority, "expires_at": ends});
            grant(app, USER, 30, &terms).await;
        }
        Act::Pay => newest.paid = Some(pay(app).await),
        Act::Refund => {
            if let Some(paid) = newest.paid.take() {
                refund(app, &paid, 24_950, 0).await;
            }
        }
        Act::Spend(amount) => {
            let spent = app.spend(USER, amount).await;
            if spent.status == 200 {
                newest.spend = Some(spent.text("entry_id"));
            }
        }
        Act::Reverse => {
            if let Some(id) = newest.spend.take() {
                reverse(app, &id, 1)
                    .await
                    .assert_ok(&json!({"reversed": 1}));
            }
        }
        Act::Hold { lasts_s } => {
            let [.., available, _] = app.account(USER).await;
            if available > 0 {
                newest.hold = Some(hold(app, USER, (available / 3).max(1), lasts_s).await);
            }
        }
        Act::Capture => {
            if let Some(id) = newest.hold.take() {
                assert_ne!(capture(app, &id, 1).await.status, 500);
            }
        }
        Act::Release => {
            if let Some(id) = newest.hold.take() {
                assert_ne!(release(app, &id).await.status, 500);
            }
        }
        Act::Rename => {
            let answer = app.deliver(Source::Clerk, &renamed(app)).await;
            answer.assert_ok(&json!({"status": "recorded"}));
        }
        Act::Upkeep => assert!(settling::due(&app.app()).await),
    }
}

fn second(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap()
}

/// Moves the clock on, a second at a time, and remembers what the user has at each and just before it.
async fn pass(app: &TestApp, until: DateTime<Utc>, seen: &mut Vec<(DateTime<Utc>, [i64; 4])>) {
    let mut next = second(app.now());
    while next < until {
        next += seconds(1);
        for moment in [next - TimeDelta::microseconds(1), next] {
            app.stop_clock(moment);
            seen.push((moment, app.account(USER).await));
        }
    }
}

/// Whatever was seen at a moment is what it is said to have been, however late it was written down what ended.
#[test]
fn a_past_balance_is_what_it_was() {
    play_some("AS_OF_SEED", &acts(), async |acts| {
        let (app, begin) = still().await;
        grant(&app, USER, 20, &json!({})).await;
        let mut seen = Vec::new();
        let mut newest = Newest::default();
        for (waits_s, next) in acts {
            pass(&app, second(app.now()) + seconds(waits_s), &mut seen).await;
            // Between two seconds, so that what was seen was seen before or after it.
            app.move_clock(TimeDelta::milliseconds(500));
            act(&app, next, &mut newest).await;
            seen.push((app.now(), app.account(USER).await));
            app.move_clock(TimeDelta::milliseconds(1));
        }
        assert_eq!(account_at(&app, begin - seconds(1)).await, [0; 5]);
        let check = async || {
            for (number, (at, then)) in seen.iter().enumerate() {
                let account = account_at(&app, *at).await;
                assert_eq!(account[..4], *then, "at {at}");
                if number % AUDITED_EVERY == 0 {
                    assert_eq!(audited_at(&app, *at).await, account, "at {at}");
                }
            }
        };
        check().await;
        assert_eq!(audited_at(&app, begin - seconds(1)).await, [0; 5]);
        assert_eq!(account_at(&app, app.now()).await, account_now(&app).await);

        // What will be left, and what then is.
        let mut to_come = Vec::new();
        for wait_s in 0..130 {
            let at = second(app.now()) + seconds(wait_s);
            let account = account_at(&app, at).await;
            assert_eq!(audited_at(&app, at).await, account, "at {at}");
            let [balance, held, available, debt, _] = account;
            to_come.push((at, [balance, held, available, debt]));
        }
        let now = app.now();
        for (at, expected) in to_come.into_iter().filter(|(at, _)| *at >= now) {
            app.stop_clock(at);
            assert_eq!(app.account(USER).await, expected, "at {at}");
            seen.push((at, expected));
        }
        assert!(settling::due(&app.app()).await);
        let check = async || {
            for (number, (at, then)) in seen.iter().enumerate() {
                let account = account_at(&app, *at).await;
                assert_eq!(account[..4], *then, "at {at}, later");
                if number % AUDITED_EVERY == 0 {
                    assert_eq!(audited_at(&app, *at).await, account, "at {at}, later");
                }
            }
        };
        check().await;
        assert_whole(&app).await;
        app.assert_own_rules_come_to_the_same().await;
        app.stop().await;
    });
}

/// Events that move no credits may come between what ended and where that is written down.
#[tokio::test]
async fn what_ended_had_ended_whatever_came_before_it_was_written_down() {
    let (app, begin) = still().await;
    grant(&app, USER, 1, &json!({})).await;
    grant_until(&app, USER, 10, begin + seconds(10)).await;
    hold(&app, USER, 4, 20).await;
    app.stop_clock(begin + seconds(30));
    // A deletion, because a new profile wakes upkeep, which would write down what ended.
    let gone = app.request(Method::DELETE, &format!("/v1/users/{USER}"));
    answer(gone.bearer_auth(SERVICE_KEY))
        .await
        .assert_ok(&json!({"deleted": true}));
    app.stop_clock(begin + seconds(40));
    let moments = [
        (9, [11, 4, 7, 0]),
        (10, [5, 4, 1, 0]),
        (19, [5, 4, 1, 0]),
        (20, [1, 0, 1, 0]),
        (30, [1, 0, 1, 0]),
        (40, [1, 0, 1, 0]),
    ];
    for written in [false, true] {
        for (at_s, expected) in moments {
            let then = account_at(&app, begin + seconds(at_s)).await;
            assert_eq!(then[..4], expected, "at {at_s}, written: {written}");
        }
        assert!(settling::due(&app.app()).await);
    }
    assert_whole(&app).await;
    app.stop().await;
}

/// The version is that of the last movement, as it is of the balance now.
#[tokio::test]
async fn a_version_is_of_the_movement_that_made_the_balance() {
    let (app, begin) = still().await;
    for at_s in [0, 10] {
        app.stop_clock(begin + seconds(at_s));
        grant(&app, USER, 10, &json!({})).await;
        app.stop_clock(begin + seconds(at_s + 1));
        app.deliver(Source::Clerk, &renamed(&app))
            .await
            .assert_ok(&json!({"status": "recorded"}));
    }
    assert_eq!(
        account_at(&app, begin + seconds(5)).await,
        [10, 0, 10, 0, 1]
    );
    assert_eq!(account_now(&app).await, [20, 0, 20, 0, 3]);
    assert_eq!(account_at(&app, app.now()).await, [20, 0, 20, 0, 3]);
    assert_eq!(
        account_at(&app, begin + TimeDelta::days(9999)).await,
        [20, 0, 20, 0, 3]
    );
    app.stop().await;
}

#[tokio::test]
async fn only_a_time_is_a_time_and_only_the_known_have_a_balance() {
    let app = TestApp::start_with(blind()).await;
    balance_at(&app, "2026-01-31T12:00:00Z")
        .await
        .assert_problem(404, "user_not_found");
    grant(&app, USER, 10, &json!({})).await;
    for bad in [
        "",
        "now",
        "0",
        "1795000000",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00%2B25:00",
        "2026-02-30T12:00:00Z",
        "1969-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
        "-2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z&at=2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00Z&limit=1",
    ] {
        let answer = balance_at(&app, bad).await;
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
        answer.assert_problem(400, "invalid_request");
    }
    for (at, balance) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-01-31T12:00:00%2B05:30", 0),
        ("9999-12-31T23:59:59Z", 10),
    ] {
        balance_at(&app, at)
            .await
            .assert_ok(&json!({"balance": balance}));
    }
    app.stop().await;
}
