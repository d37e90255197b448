//! Purchases that name nobody, matched by the payer's e-mail address.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use credit_ledger::ledger::{PurchaseId, Source, UserId};
use credit_ledger::provider::sample::{self, SamplePayment, SampleUser};
use credit_ledger::upkeep::matching::{self, Candidate, Look};
use serde_json::{Value, json};

use super::{only_told, operator, restart, restless, until};
use crate::support::deliveries::{
    captured, clerk, created, deleted, order_paid, payment, unique, updated, user,
};
use crate::support::integrity::assert_log_is_whole;
use crate::support::load::{deliver_all, tally};
use crate::support::{Options, TestApp};

const ASHA: &str = "asha@example.com";

/// A payment that names nobody.
fn paid_by(email: &str) -> SamplePayment {
    SamplePayment {
        email: Some(email.to_owned()),
        ..payment(None)
    }
}

fn owner(user_id: &str, email: &str) -> SampleUser {
    SampleUser {
        email: Some(email.to_owned()),
        ..user(user_id)
    }
}

fn purchase_id(paid: &SamplePayment) -> PurchaseId {
    PurchaseId::new(Source::Razorpay, &paid.payment_id).unwrap()
}

async fn pay(app: &TestApp, paid: &SamplePayment) {
    app.deliver(Source::Razorpay, &captured(paid))
        .await
        .assert_ok(&json!({"status": "recorded"}));
}

async fn sign_up(app: &TestApp, who: &SampleUser) {
    app.deliver(Source::Clerk, &created(who))
        .await
        .assert_ok(&json!({"status": "recorded"}));
}

/// Whose the purchase is.
async fn user_of(app: &TestApp, paid: &SamplePayment) -> Option<String> {
    let sql = "select user_id from purchases where purchase_id = $1";
    let id = purchase_id(paid);
    let row = app.sql().await.query_one(sql, &[&id.as_str()]).await;
    row.unwrap().get(0)
}

async fn assert_unclaimed(app: &TestApp, paid: &SamplePayment) {
    app.idle().await;
    assert_eq!(user_of(app, paid).await, None);
    let events = app.events("purchase", purchase_id(paid).as_str()).await;
    assert_eq!(events, ["PaymentCaptured"]);
}

async fn assert_claimed(app: &TestApp, paid: &SamplePayment, user_id: &str) {
    app.idle().await;
    assert_eq!(user_of(app, paid).await.as_deref(), Some(user_id));
    let events = app.events("purchase", purchase_id(paid).as_str()).await;
    assert_eq!(events, ["PaymentCaptured", "PurchaseClaimed"]);
    let sql = "select source, payload->>'by', metadata::text from events
                where aggregate_id = $1 and event_type = 'PurchaseClaimed'";
    let id = purchase_id(paid);
    let row = app
        .sql()
        .await
        .query_one(sql, &[&id.as_str()])
        .await
        .unwrap();
    assert_eq!((row.get(0), row.get(1)), ("system", "verified_email"));
    assert_eq!(row.get::<_, &str>(2), "{}");
}

#[tokio::test]
async fn a_purchase_finds_the_user_with_the_payers_address_in_either_order() {
    let app = TestApp::start_with(only_told()).await;
    for (registered, paid_with) in [
        ("first@example.com", "first@example.com"),
        ("Second@Example.com", "second@example.COM"),
    ] {
        let (early, late) = (unique("user_"), unique("user_"));
        let paid = paid_by(paid_with);
        sign_up(&app, &owner(&early, registered)).await;
        pay(&app, &paid).await;
        assert_claimed(&app, &paid, &early).await;
        assert_eq!(app.balance(&early).await, 520);

        let paid = paid_by(&format!("x{paid_with}"));
        pay(&app, &paid).await;
        assert_unclaimed(&app, &paid).await;
        sign_up(&app, &owner(&late, &format!("x{registered}"))).await;
        assert_claimed(&app, &paid, &late).await;
        assert_eq!(app.balance(&late).await, 520);
    }
    app.assert_audit_is_clean().await;
    assert_log_is_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn a_profile_that_gains_the_address_later_matches_too() {
    let app = TestApp::start_with(only_told()).await;
    let paid = paid_by(ASHA);
    sign_up(&app, &owner("user_1", "other@example.com")).await;
    pay(&app, &paid).await;
    assert_unclaimed(&app, &paid).await;
    let mut changed = owner("user_1", ASHA);
    changed.updated_at += chrono::TimeDelta::seconds(1);
    app.deliver(Source::Clerk, &updated(&changed)).await;
    assert_claimed(&app, &paid, "user_1").await;
    app.stop().await;
}

/// Each instance looks only after its own commits. If there were a moment in which both sides miss each other, one of
/// these would stay unclaimed.
#[tokio::test]
async fn a_capture_and_a_proven_address_that_race_never_miss_each_other() {
    const ROUNDS: usize = 100;
    let one = TestApp::start_with(only_told()).await;
    let two = TestApp::start_on(one.database.clone(), only_told()).await;
    for round in 0..ROUNDS {
        let email = format!("{}@example.com", unique("racer"));
        let (paid, who) = (paid_by(&email), owner(&unique("user_"), &email));
        let (paying, signing_up) = if round % 2 == 0 {
            (&one, &two)
        } else {
            (&two, &one)
        };
        tokio::join!(pay(paying, &paid), sign_up(signing_up, &who));
    }
    one.idle().await;
    let claimed = "select count(*) from events where event_type = 'PurchaseClaimed'";
    assert_eq!(one.count(claimed).await, i64::try_from(ROUNDS).unwrap());
    let right = "select count(*) from purchases p join users u on u.user_id = p.user_id and p.payer_email is null
                   join balance b on b.user_id = u.user_id and b.balance = 520";
    assert_eq!(one.count(right).await, i64::try_from(ROUNDS).unwrap());
    assert_log_is_whole(&one).await;
    one.assert_audit_is_clean().await;
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn an_address_of_two_users_is_nobodys() {
    let app = TestApp::start_with(only_told()).await;
    sign_up(&app, &owner("user_1", ASHA)).await;
    sign_up(&app, &owner("user_2", "ASHA@example.com")).await;
    let paid = paid_by(ASHA);
    pay(&app, &paid).await;
    assert_unclaimed(&app, &paid).await;
    app.stop().await;
}

#[tokio::test]
async fn an_address_that_is_not_proven_or_whose_user_is_gone_matches_nothing() {
    let app = TestApp::start_with(only_told()).await;
    let paid = paid_by(ASHA);
    pay(&app, &paid).await;
    let mut body = sample::clerk_user_created(&owner("user_1", ASHA));
    body["data"]["email_addresses"][0]["verification"] = Value::Null;
    app.deliver(Source::Clerk, &clerk(&unique("msg_"), body.to_string()))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_unclaimed(&app, &paid).await;

    let paid = paid_by("gone@example.com");
    sign_up(&app, &owner("user_2", "gone@example.com")).await;
    app.deliver(Source::Clerk, &deleted("user_2")).await;
    pay(&app, &paid).await;
    assert_unclaimed(&app, &paid).await;
    app.stop().await;
}

#[tokio::test]
async fn an_address_that_was_given_up_before_anybody_looked_claims_nothing() {
    let app = TestApp::start_blind().await;
    let paid = paid_by(ASHA);
    pay(&app, &paid).await;
    sign_up(&app, &owner("user_1", ASHA)).await;
    let mut changed = owner("user_1", "other@example.com");
    changed.updated_at += chrono::TimeDelta::seconds(1);
    app.deliver(Source::Clerk, &updated(&changed)).await;
    assert_eq!(app.count("select count(*) from outbox").await, 3);
    let app = restart(app).await;
    assert_unclaimed(&app, &paid).await;
    app.stop().await;
}

#[tokio::test]
async fn one_proven_address_claims_every_purchase_that_was_paid_with_it() {
    const PURCHASES: usize = 120; // More than one page.
    let app = TestApp::start_with(only_told()).await;
    let sent: Vec<_> = (0..PURCHASES)
        .map(|_| (Source::Razorpay, captured(&paid_by(ASHA))))
        .collect();
    tally(&deliver_all(&[&app], &sent, 16).await);
    app.idle().await;
    sign_up(&app, &owner("user_1", ASHA)).await;
    app.idle().await;
    let balance = 20 + 500 * i64::try_from(PURCHASES).unwrap();
    assert_eq!(app.balance("user_1").await, balance);
    assert_log_is_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn what_was_committed_before_a_stop_is_matched_after_it() {
    let app = TestApp::start_blind().await;
    let (early, late) = (paid_by(ASHA), paid_by("late@example.com"));
    sign_up(&app, &owner("user_1", ASHA)).await;
    pay(&app, &early).await;
    pay(&app, &late).await;
    sign_up(&app, &owner("user_2", "late@example.com")).await;
    assert_eq!(user_of(&app, &early).await, None);
    assert_eq!(user_of(&app, &late).await, None);
    let app = restart(app).await;
    assert_claimed(&app, &early, "user_1").await;
    assert_claimed(&app, &late, "user_2").await;
    app.stop().await;
}

#[tokio::test]
async fn what_one_instance_left_another_does() {
    let gone = TestApp::start_blind().await;
    let paid = paid_by(ASHA);
    sign_up(&gone, &owner("user_1", ASHA)).await;
    pay(&gone, &paid).await;
    let app = TestApp::start_on(gone.database.clone(), restless()).await;
    assert_claimed(&app, &paid, "user_1").await;
    app.stop().await;
    gone.stop().await;
}

#[tokio::test]
async fn work_that_was_done_and_not_forgotten_is_done_again_without_effect() {
    let app = TestApp::start_with(restless()).await;
    let sql = app.sql().await;
    sql.batch_execute("revoke delete on outbox from credit_ledger_app")
        .await
        .unwrap();
    let paid = paid_by(ASHA);
    sign_up(&app, &owner("user_1", ASHA)).await;
    pay(&app, &paid).await;
    let id = purchase_id(&paid);
    let claimed = "select user_id is not null from purchases where purchase_id = $1";
    until(&app, claimed, &[&id.as_str()]).await;
    assert!(app.count("select count(*) from outbox").await >= 2);
    sql.batch_execute("grant delete on outbox to credit_ledger_app")
        .await
        .unwrap();
    assert_claimed(&app, &paid, "user_1").await;
    app.stop().await;
}

#[tokio::test]
async fn work_is_left_only_where_somebody_may_be_found() {
    let app = TestApp::start_blind().await;
    let mut named = paid_by(ASHA);
    named.user_id = Some("user_1".to_owned());
    pay(&app, &named).await;
    pay(&app, &payment(None)).await;
    assert_eq!(app.count("select count(*) from outbox").await, 0);
    let paid = paid_by(ASHA);
    pay(&app, &paid).await;
    let sql = "select kind, aggregate_type, aggregate_id, sequence, subject from outbox";
    let rows = app.sql().await.query(sql, &[]).await.unwrap();
    assert_eq!(rows.len(), 1);
    let id = purchase_id(&paid);
    assert_eq!(
        (
            rows[0].get("kind"),
            rows[0].get("aggregate_type"),
            rows[0].get("aggregate_id")
        ),
        ("match", "purchase", id.as_str())
    );
    assert_eq!(rows[0].get::<_, i64>("sequence"), 1);
    assert_eq!(rows[0].get::<_, Option<&str>>("subject"), None);
    app.stop().await;
}

#[tokio::test]
async fn an_address_that_was_erased_matches_nothing() {
    let app = TestApp::start_blind().await;
    let paid = paid_by(ASHA);
    sign_up(&app, &owner("user_1", ASHA)).await;
    pay(&app, &paid).await;
    let erase = "delete from personal where aggregate_type = 'purchase'";
    app.sql().await.batch_execute(erase).await.unwrap();
    // Else the user's own row would find it by the read model.
    let forget = "delete from outbox where aggregate_type = 'user'";
    app.sql().await.batch_execute(forget).await.unwrap();
    let app = restart(app).await;
    assert_unclaimed(&app, &paid).await;
    app.stop().await;
}

#[tokio::test]
async fn only_new_addresses_that_pay_for_nothing_are_forgotten_without_a_look_at_each() {
    let app = TestApp::start_blind().await;
    pay(&app, &paid_by("ASHA@example.com")).await;
    pay(&app, &paid_by("erased@example.com")).await;
    let mut named = paid_by("named@example.com");
    named.user_id = Some("user_of_named".to_owned());
    pay(&app, &named).await;
    let forget = "delete from outbox"; // Only the users' rows are looked at below.
    app.sql().await.batch_execute(forget).await.unwrap();
    for (user_id, email) in [
        ("user_1", "one@example.com"),
        ("user_2", ASHA),
        ("user_3", "erased@example.com"),
        ("user_4", "named@example.com"),
        ("user_5", "five@example.com"),
    ] {
        sign_up(&app, &owner(user_id, email)).await;
    }
    let erase = "delete from personal where aggregate_id = 'user_3'";
    app.sql().await.batch_execute(erase).await.unwrap();
    let paid = paid_by("five@example.com");
    pay(&app, &paid).await;

    let sql = app.sql().await;
    let called = "select array_agg(id order by id) from outbox where aggregate_type = 'user'";
    let ids: Vec<i64> = sql.query_one(called, &[]).await.unwrap().get(0);
    let forget = include_str!("../../src/store/sql/delete_unmatched.sql");
    for (looked_at, may_pay) in [(&ids[..1], vec![]), (&ids, vec![ids[1], ids[4]])] {
        let rows = sql.query(forget, &[&looked_at]).await.unwrap();
        let mut found: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        found.sort_unstable();
        assert_eq!(found, may_pay);
    }
    let left = "select aggregate_id from outbox order by id";
    let rows = app.sql().await.query(left, &[]).await.unwrap();
    let left: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["user_2", "user_5", purchase_id(&paid).as_str()]);
    app.stop().await;
}

#[tokio::test]
async fn an_address_among_many_that_pay_for_nothing_finds_its_purchase() {
    const SIGN_UPS: usize = 600; // More than are forgotten at once.
    let app = TestApp::start_blind().await;
    let paid = paid_by(ASHA);
    pay(&app, &paid).await;
    let sent: Vec<_> = (0..SIGN_UPS)
        .map(|_| {
            let user_id = unique("user_");
            let who = owner(&user_id, &format!("{user_id}@example.com"));
            (Source::Clerk, created(&who))
        })
        .collect();
    tally(&deliver_all(&[&app], &sent, 16).await);
    sign_up(&app, &owner("user_1", ASHA)).await;
    let app = restart(app).await;
    assert_claimed(&app, &paid, "user_1").await;
    app.stop().await;
}

#[tokio::test]
async fn an_operator_may_look_again() {
    let app = TestApp::start_with(only_told()).await;
    let paid = paid_by(ASHA);
    let id = purchase_id(&paid);
    pay(&app, &paid).await;
    sign_up(&app, &owner("user_1", ASHA)).await;
    app.idle().await;
    let paid = paid_by(ASHA);
    let second = purchase_id(&paid);
    sign_up(&app, &owner("user_2", ASHA)).await;
    pay(&app, &paid).await;
    assert_unclaimed(&app, &paid).await;

    let shared = app.app();
    let look = async |id| matching::look(&shared, id, operator()).await.unwrap();
    assert_eq!(look(&second).await, Look::Unclaimed(Candidate::Several));
    assert_eq!(look(&id).await, Look::Unclaimed(Candidate::Several));
    // Else upkeep would be faster.
    let revoke = "revoke select on outbox from credit_ledger_app";
    app.sql().await.batch_execute(revoke).await.unwrap();
    app.deliver(Source::Clerk, &deleted("user_1")).await;
    let candidate = matching::candidate(&shared, &second).await.unwrap();
    assert!(
        matches!(candidate, Candidate::One { ref user_id, .. } if user_id.as_str() == "user_2"),
        "{candidate:?}"
    );
    let claimed = Look::Claimed(UserId::parse("user_2").unwrap());
    assert_eq!(look(&second).await, claimed);
    assert_eq!(look(&second).await, Look::Unchanged);
    assert_eq!(look(&id).await, Look::Unchanged, "it is another user's");
    let unknown = PurchaseId::parse("razorpay:pay_unknown").unwrap();
    assert_eq!(look(&unknown).await, Look::Unclaimed(Candidate::Nobody));

    let sql = "select source, metadata::text from events where aggregate_id = $1 and event_type = 'PurchaseClaimed'";
    let row = app
        .sql()
        .await
        .query_one(sql, &[&second.as_str()])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>("source"), "admin");
    let metadata: Value = serde_json::from_str(row.get("metadata")).unwrap();
    assert_eq!(
        metadata,
        json!({"actor": "ops@example.com", "reason": "ticket 7"})
    );
    drop(shared);
    app.stop().await;
}

/// The buyer paid with the address of another user; of Razorpay's two events the second one names the buyer.
#[tokio::test]
async fn a_payment_waits_a_moment_for_the_event_that_names_its_buyer() {
    let app = TestApp::start_with(Options {
        configure: Arc::new(|config| {
            config.match_after = Duration::from_mins(1);
            config.upkeep_every = Duration::from_millis(20);
        }),
        ..Options::default()
    })
    .await;
    sign_up(&app, &owner("user_1", ASHA)).await;
    app.idle().await;
    let (paid, other) = (paid_by(ASHA), paid_by(ASHA));
    pay(&app, &paid).await;
    pay(&app, &other).await;
    let named = SamplePayment {
        user_id: Some("user_2".to_owned()),
        ..paid.clone()
    };
    app.deliver(Source::Razorpay, &order_paid(&named))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    assert_eq!(user_of(&app, &paid).await.as_deref(), Some("user_2"));
    assert_eq!(user_of(&app, &other).await, None);
    app.move_clock(TimeDelta::minutes(2));
    assert_claimed(&app, &other, "user_1").await;
    assert_eq!(app.balance("user_2").await, 500);
    app.stop().await;
}
