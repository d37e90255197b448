//! The read models: given events, when they are applied in whatever chunks, then these rows; and rebuilding.

use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Role};
use credit_ledger::projection::{READ_MODELS, ReadModel, rebuild};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::support::deliveries::{captured, created, deleted, order_paid, payment, updated, user};
use crate::support::{TestApp, cluster};

/// An event of the stream `$1/$2`, as JSON, with its profile if it has personal data.
struct Given(&'static str, &'static str, Value, Option<Value>);

fn of_user(id: &'static str, payload: Value) -> Given {
    Given("user", id, payload, None)
}

fn of_purchase(id: &'static str, payload: Value) -> Given {
    Given("purchase", id, payload, None)
}

fn with_profile(id: &'static str, payload: Value, profile: Value) -> Given {
    Given("user", id, payload, Some(profile))
}

/// Applies the events in chunks of every size from 1 up and expects the same rows each time.
async fn expect(model: &str, given: Vec<Given>, then: Value) {
    let model = ReadModel::find(model).unwrap();
    let database = cluster::fresh_database().await;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let count = given.len();
    insert(&client, given).await;
    for chunk in 1..=count {
        client
            .batch_execute(&format!("truncate {}", model.name))
            .await
            .unwrap();
        apply(&client, model, count, chunk).await;
        // Twice is once: a batch that was applied already changes nothing.
        apply(&client, model, count, chunk).await;
        assert_eq!(
            rows(&client, model.name).await,
            then,
            "in chunks of {chunk}"
        );
    }
}

async fn insert(client: &Client, given: Vec<Given>) {
    let sql = "insert into events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata,
                                   shard, position, recorded_at, source, provider_event_id, hash)
               select $1, $2, 1 + count(*) filter (where aggregate_type = $1 and aggregate_id = $2), $3::json->>'type', '1.0',
                      $3::json, '{}', 0, 1 + count(*), timestamptz '2026-11-21 00:00:00Z' + count(*) * interval '1 second',
                      'razorpay', 'evt_1', decode(repeat('00', 32), 'hex')
                 from events
               returning sequence";
    for Given(aggregate_type, aggregate_id, payload, profile) in given {
        let sql = sql.replace("$3", &format!("'{payload}'"));
        let sequence: i64 = client
            .query_one(&sql, &[&aggregate_type, &aggregate_id])
            .await
            .unwrap()
            .get(0);
        if let Some(profile) = profile {
            let sql = format!(
                "insert into personal values ('{aggregate_type}', '{aggregate_id}', {sequence}, '\\x00', '{profile}')"
            );
            client.batch_execute(&sql).await.unwrap();
        }
    }
}

async fn apply(client: &Client, model: ReadModel, count: usize, chunk: usize) {
    let sql = model.history_sql();
    for first in (1..=count).step_by(chunk) {
        let last = i64::try_from(first + chunk - 1).unwrap();
        let first = i64::try_from(first).unwrap();
        client
            .execute(&sql, &[&0_i16, &first, &last, &model.handles()])
            .await
            .unwrap();
    }
}

async fn rows(client: &Client, table: &str) -> Value {
    let sql = format!("select coalesce(json_agg(t order by t::text), '[]')::text from {table} t");
    let text: String = client.query_one(&sql, &[]).await.unwrap().get(0);
    serde_json::from_str(&text).unwrap()
}

fn bonus(balance: i64) -> Value {
    json!({"type": "SignupBonusGranted", "credits": 20, "delta": 20, "balance": balance})
}

fn purchased(credits: i64, balance: i64) -> Value {
    json!({"type": "CreditsPurchased", "purchase_id": "razorpay:pay_1", "credits": credits, "delta": credits, "balance": balance})
}

#[tokio::test]
async fn balance_is_the_account_after_the_newest_event() {
    let mut indebted = purchased(5, 40);
    indebted["held"] = json!(7);
    indebted["debt"] = json!(0);
    let given = vec![
        of_user("a", json!({"type": "UserRegistered", "plan": "free"})),
        of_user("a", bonus(20)),
        of_user("b", bonus(20)),
        of_user("a", purchased(500, 520)),
        of_user("b", indebted),
        of_user("b", json!({"type": "UserDeleted"})),
        of_user("c", json!({"type": "UserDeleted"})),
    ];
    let then = json!([
        {"user_id": "a", "balance": 520, "held": 0, "debt": 0, "version": 3},
        {"user_id": "b", "balance": 40, "held": 7, "debt": 0, "version": 2},
    ]);
    expect("balance", given, then).await;
}

#[tokio::test]
async fn entries_are_all_movements() {
    let slices = json!([{"lot": 3, "credits": 5, "kind": "paid", "amount": 500}]);
    let given = vec![
        of_user("a", json!({"type": "UserRegistered", "plan": "free"})),
        of_user("a", bonus(20)),
        of_user("a", purchased(500, 520)),
        of_user(
            "a",
            json!({"type": "CreditsSpent", "credits": 5, "slices": slices, "reason": "image",
                            "reference": "job-1", "delta": -5, "balance": 515}),
        ),
        of_user(
            "a",
            json!({"type": "HoldReleased", "hold_id": "0-9", "credits": 5, "returned": slices, "delta": 0,
                            "balance": 515}),
        ),
    ];
    let common = json!({"user_id": "a", "shard": 0, "source": "razorpay", "provider_event_id": "evt_1", "slices": null,
               "about": null, "reason": null, "reference": null});
    let entry = |more: Value| {
        let mut entry = common.clone();
        entry
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        entry
    };
    let then = json!([
        entry(
            json!({"sequence": 2, "position": 2, "type": "SignupBonusGranted", "delta": 20, "balance": 20,
                     "purchase_id": null, "recorded_at": "2026-11-21T00:00:01+00:00"})
        ),
        entry(
            json!({"sequence": 3, "position": 3, "type": "CreditsPurchased", "delta": 500, "balance": 520,
                     "purchase_id": "razorpay:pay_1", "recorded_at": "2026-11-21T00:00:02+00:00"})
        ),
        entry(
            json!({"sequence": 4, "position": 4, "type": "CreditsSpent", "delta": -5, "balance": 515,
                     "purchase_id": null, "recorded_at": "2026-11-21T00:00:03+00:00", "slices": slices,
                     "reason": "image", "reference": "job-1"})
        ),
        entry(
            json!({"sequence": 5, "position": 5, "type": "HoldReleased", "delta": 0, "balance": 515,
                     "purchase_id": null, "recorded_at": "2026-11-21T00:00:04+00:00", "slices": slices,
                     "about": "0-9"})
        ),
    ]);
    expect("entries", given, then).await;
}

#[tokio::test]
async fn purchases_are_completed_by_later_events() {
    let captured = |user: Value, price: Value| {
        let mut event = json!({"type": "PaymentCaptured", "amount_minor": 49900, "currency": "INR",
                               "order_id": "order_1", "paid_at_s": 1_795_000_000});
        if !user.is_null() {
            event["user_id"] = user;
        }
        if !price.is_null() {
            event["price"] = price;
        }
        event
    };
    let price = json!({"sku": "credits_500", "credits": 500});
    let mut by_email = of_purchase("razorpay:pay_3", captured(Value::Null, Value::Null));
    by_email.3 = Some(json!({"email": "A@example.com"}));
    let mut erased = of_purchase("razorpay:pay_4", captured(Value::Null, Value::Null));
    erased.3 = Some(json!({"email": "gone@example.com"}));
    let given = vec![
        of_purchase("razorpay:pay_1", captured(json!("a"), price.clone())),
        of_purchase("razorpay:pay_2", captured(Value::Null, Value::Null)),
        by_email,
        erased,
        of_purchase(
            "razorpay:pay_2",
            json!({"type": "PurchaseClaimed", "user_id": "b", "by": "provider"}),
        ),
        of_purchase(
            "razorpay:pay_2",
            json!({"type": "PurchasePriced", "price": price}),
        ),
        of_purchase("razorpay:pay_4", json!({"type": "PayerErased"})),
    ];
    let row = |n: i64, user: Value, sku: Value, credits: i64, payer_email: Value| {
        json!({"purchase_id": format!("razorpay:pay_{n}"), "user_id": user, "captured": true, "status": "captured",
               "amount_minor": 49900, "currency": "INR", "order_id": "order_1", "sku": sku, "credits": credits,
               "subscription_id": null, "payer_email": payer_email, "payer_erased": n == 4, "refunded_minor": 0, "disputed_minor": 0,
               "lost_minor": 0, "standing_sequence": 0, "part_of": null,
               "paid_at": "2026-11-18T11:06:40+00:00", "recorded_at": format!("2026-11-21T00:00:0{}+00:00", n - 1)})
    };
    let then = json!([
        row(1, json!("a"), json!("credits_500"), 500, Value::Null),
        row(2, json!("b"), json!("credits_500"), 500, Value::Null),
        row(3, Value::Null, Value::Null, 0, json!("A@example.com")),
        row(4, Value::Null, Value::Null, 0, Value::Null),
    ]);
    expect("purchases", given, then).await;
}

#[tokio::test]
async fn purchases_show_how_their_money_stands() {
    let id = |n: i64| -> &'static str {
        ["stripe:pi_0", "stripe:pi_1", "stripe:pi_2", "stripe:pi_3"][usize::try_from(n).unwrap()]
    };
    let captured = json!({"type": "PaymentCaptured", "amount_minor": 900, "currency": "USD",
                          "paid_at_s": 1_795_000_000, "user_id": "a", "subscription_id": "sub_1"});
    let refunded = |n: i64| json!({"type": "PaymentRefunded", "refund_id": "re_1", "amount_minor": n, "after": {"refunded_minor": n}});
    let disputed = json!({"type": "PaymentDisputed", "dispute_id": "du_1", "stage": 0, "amount_minor": 300,
                          "after": {"refunded_minor": 100, "disputed_minor": 300}});
    let lost = json!({"type": "DisputeLost", "dispute_id": "du_1", "stage": 1, "amount_minor": 800,
                      "after": {"refunded_minor": 100, "lost_minor": 800}});
    let failed =
        json!({"type": "RefundFailed", "refund_id": "re_1", "amount_minor": 900, "after": {}});
    let given = vec![
        of_purchase(id(0), refunded(100)),
        of_purchase(id(0), captured.clone()),
        of_purchase(id(0), disputed),
        of_purchase(id(0), lost),
        of_purchase(id(1), captured.clone()),
        of_purchase(id(1), refunded(900)),
        of_purchase(id(1), failed),
        of_purchase(id(2), captured),
        of_purchase(
            id(2),
            json!({"type": "PaymentMerged", "into": "stripe:in_2"}),
        ),
        of_purchase(id(3), refunded(100)),
    ];
    let row = |n: i64, status: &str, standing: (i64, i64, i64), second: i64| {
        let known = n != 3;
        let only = |value: Value| if known { value } else { Value::Null };
        json!({"purchase_id": id(n), "user_id": only(json!("a")), "captured": known, "status": status,
               "amount_minor": only(json!(900)), "currency": only(json!("USD")), "order_id": null, "sku": null,
               "credits": 0, "subscription_id": only(json!("sub_1")), "payer_email": null,
               "payer_erased": false, "refunded_minor": standing.0, "disputed_minor": 0, "lost_minor": standing.1,
               "standing_sequence": standing.2, "part_of": if n == 2 { json!("stripe:in_2") } else { Value::Null },
               "paid_at": only(json!("2026-11-18T11:06:40+00:00")),
               "recorded_at": format!("2026-11-21T00:00:0{second}+00:00")})
    };
    let then = json!([
        row(0, "refunded", (100, 800, 4), 0),
        row(1, "captured", (0, 0, 3), 4),
        row(2, "merged", (0, 0, 0), 7),
        row(3, "uncaptured", (100, 0, 1), 9),
    ]);
    expect("purchases", given, then).await;
}

#[tokio::test]
async fn users_show_the_newest_profile_until_they_are_gone() {
    let profile = |digest: &str| json!({"digest": digest, "updated_at_ms": 1, "event_id": "msg_1"});
    let registered = json!({"type": "UserRegistered", "plan": "free", "profile": profile("1")});
    let changed = json!({"type": "UserProfileChanged", "profile": profile("2")});
    let old = json!({"email": "old@example.com", "first_name": "Old"});
    let new = json!({"email": "new@example.com", "email_verified": true, "last_name": "New"});
    let given = vec![
        with_profile("a", registered.clone(), old.clone()),
        with_profile("b", registered.clone(), old.clone()),
        with_profile("a", changed.clone(), new.clone()),
        of_user(
            "a",
            json!({"type": "SignupBonusGranted", "credits": 20, "delta": 20, "balance": 20}),
        ),
        of_user("b", json!({"type": "UserDeleted"})),
        // Its personal data was erased.
        of_user("c", registered.clone()),
        // An update came first, so the registration brought no profile.
        with_profile("d", changed.clone(), new),
        of_user("d", json!({"type": "UserRegistered", "plan": "free"})),
        // A newer profile whose data was erased leaves nothing of the older one.
        with_profile("e", registered, old),
        of_user("e", changed),
        // The newest plan that was set counts, also when the registration comes later.
        of_user("f", json!({"type": "PlanChanged", "plan": "pro"})),
        of_user("f", json!({"type": "PlanChanged", "plan": "team"})),
        of_user("f", json!({"type": "UserRegistered", "plan": "free"})),
        of_user("b", json!({"type": "ErasureRequested"})),
        // One who was erased.
        of_user("g", json!({"type": "UserRegistered", "plan": "free"})),
        of_user("g", json!({"type": "UserDeleted"})),
        of_user("g", json!({"type": "ErasureRequested"})),
        of_user("g", json!({"type": "UserErased"})),
    ];
    let deleted_at = |id: &str| match id {
        "b" => json!("2026-11-21T00:00:04+00:00"),
        "g" => json!("2026-11-21T00:00:15+00:00"),
        _ => Value::Null,
    };
    let row = |id: &str,
               email: Value,
               verified: bool,
               first: Value,
               last: Value,
               more: (i64, bool, Value)| {
        json!({"user_id": id, "registered": true, "deleted": more.1, "erasure_requested": id == "b" || id == "g",
               "erased": id == "g", "deleted_at": deleted_at(id), "bonus": id == "a",
               "plan": if id == "f" { "team" } else { "free" },
               "plan_sequence": if id == "f" { 2 } else { 0 }, "email": email,
               "email_verified": verified, "first_name": first, "last_name": last, "profile_sequence": more.0,
               "registered_at": more.2})
    };
    let at = |second: i64| json!(format!("2026-11-21T00:00:0{second}+00:00"));
    let null = || Value::Null;
    let then = json!([
        row(
            "a",
            json!("new@example.com"),
            true,
            null(),
            json!("New"),
            (2, false, at(0))
        ),
        row("b", null(), false, null(), null(), (1, true, at(1))),
        row("c", null(), false, null(), null(), (1, false, at(5))),
        row(
            "d",
            json!("new@example.com"),
            true,
            null(),
            json!("New"),
            (1, false, at(7))
        ),
        row("e", null(), false, null(), null(), (2, false, at(8))),
        row(
            "f",
            null(),
            false,
            null(),
            null(),
            (0, false, json!("2026-11-21T00:00:12+00:00"))
        ),
        row(
            "g",
            null(),
            false,
            null(),
            null(),
            (0, true, json!("2026-11-21T00:00:14+00:00"))
        ),
    ]);
    expect("users", given, then).await;
}

async fn deliver_a_day(app: &TestApp) {
    for n in 0..20 {
        let user_id = format!("user_{n}");
        let paid = payment(Some(&user_id).filter(|_| n % 3 != 0).map(String::as_str));
        let mut someone = user(&user_id);
        app.deliver(Source::Clerk, &created(&someone)).await;
        app.deliver(Source::Razorpay, &captured(&paid)).await;
        app.deliver(Source::Razorpay, &order_paid(&paid)).await;
        someone.updated_at += chrono::TimeDelta::seconds(5);
        someone.first_name = Some(format!("Name {n}"));
        app.deliver(Source::Clerk, &updated(&someone)).await;
        if n % 5 == 0 {
            app.deliver(Source::Clerk, &deleted(&user_id)).await;
        }
    }
}

#[tokio::test]
async fn a_rebuild_comes_out_equal_row_for_row() {
    let app = TestApp::start().await;
    deliver_a_day(&app).await;
    let client = app.sql().await;
    for model in READ_MODELS {
        let before = rows(&client, model.name).await;
        assert!(before.as_array().unwrap().len() >= 10, "{}", model.name);
        let rebuilt = rebuild::rebuild(&app.database, model.name, &mut |_, _| {})
            .await
            .unwrap();
        assert_eq!(
            rebuilt.positions,
            app.count("select sum(position)::bigint from heads").await
        );
        assert_eq!(rows(&client, model.name).await, before, "{}", model.name);
        // Damage is repaired: the table is made from the log, not from itself.
        client
            .batch_execute(&format!("delete from {}", model.name))
            .await
            .unwrap();
        rebuild::rebuild(&app.database, model.name, &mut |_, _| {})
            .await
            .unwrap();
        assert_eq!(rows(&client, model.name).await, before, "{}", model.name);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn read_models_are_rebuilt_while_the_service_writes() {
    let app = TestApp::start().await;
    let writing = async {
        let mut statuses = Vec::new();
        for n in 0..150 {
            let user_id = format!("user_{}", n % 7);
            statuses.push(
                app.deliver(Source::Razorpay, &captured(&payment(Some(&user_id))))
                    .await
                    .status,
            );
        }
        statuses
    };
    let rebuilding = async {
        for _ in 0..3 {
            for model in READ_MODELS {
                rebuild::rebuild(&app.database, model.name, &mut |_, _| {})
                    .await
                    .unwrap();
            }
        }
    };
    let (statuses, ()) = tokio::join!(writing, rebuilding);
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(
        app.count("select sum(balance)::bigint from balance").await,
        150 * 500
    );
    assert_eq!(app.count("select count(*) from entries").await, 150);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn a_read_model_whose_sql_changed_is_rebuilt_at_start() {
    let database = cluster::fresh_database().await;
    let app = TestApp::start_on(database.clone(), crate::support::Options::default()).await;
    deliver_a_day(&app).await;
    app.stop().await;
    let owner = database
        .connect(Role::Owner, &ConnectOptions::default())
        .await
        .unwrap();
    let before = rows(&owner, "balance").await;
    let damage = "update read_models set version = 0, digest = 'of an older release' where name = 'balance';
                  update read_models set version = 99, digest = 'of a newer release' where name = 'users';
                  delete from balance;
                  delete from users;
                  delete from entries";
    owner.batch_execute(damage).await.unwrap();
    let app = TestApp::start_on(database, crate::support::Options::default()).await;
    assert_eq!(rows(&owner, "balance").await, before);
    assert_eq!(
        rows(&owner, "entries").await,
        json!([]),
        "its SQL did not change, so it was left alone"
    );
    assert_eq!(
        rows(&owner, "users").await,
        json!([]),
        "a newer release made it, so it was left alone"
    );
    app.stop().await;
}

/// A release that meets a table of another must know which is the newer one, so a change of SQL raises the version.
#[test]
fn a_read_model_whose_sql_changed_has_a_new_version() {
    let known: Vec<(&str, i32, String)> = READ_MODELS
        .iter()
        .map(|model| (model.name, model.version, model.digest()[..8].to_owned()))
        .collect();
    let pinned = [
        ("balance", 3, "58656dcb"),
        ("purchases", 4, "9f75f46f"),
        ("users", 4, "0cc1dafd"),
        ("entries", 3, "dbca90b5"),
    ];
    let pinned = pinned.map(|(name, version, digest)| (name, version, digest.to_owned()));
    assert_eq!(
        known, pinned,
        "raise the version in src/projection.rs, then pin the new digest here"
    );
}

#[tokio::test]
async fn a_long_reader_holds_up_a_rebuild_and_not_the_service() {
    let app = TestApp::start().await;
    deliver_a_day(&app).await;
    let mut reader = app.sql().await;
    let reading = reader.transaction().await.unwrap();
    reading
        .query("select count(*) from balance", &[])
        .await
        .unwrap();
    let database = app.database.clone();
    let rebuilding =
        tokio::spawn(async move { rebuild::rebuild(&database, "balance", &mut |_, _| {}).await });
    crate::support::eventually("the rebuild waits for the reader", async || {
        let waiting =
            "select count(*) from pg_stat_activity where application_name = 'credit-ledger rebuild'
                          and wait_event_type = 'Lock' and datname = current_database()";
        (app.count(waiting).await > 0).then_some(())
    })
    .await;
    for _ in 0..20 {
        let answer = app
            .deliver(Source::Razorpay, &captured(&payment(Some("user_1"))))
            .await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
    assert!(!rebuilding.is_finished(), "the reader is still there");
    reading.commit().await.unwrap();
    rebuilding.await.unwrap().unwrap();
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// Of a rolling upgrade: instances of the release before write the tables that the first new instance made.
#[tokio::test]
async fn the_release_before_can_write_these_tables() {
    let database = cluster::fresh_database().await;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    for insert in [
        "insert into users (user_id, registered, deleted, bonus, plan, plan_sequence, email, email_verified, first_name,
                            last_name, profile_sequence, registered_at)
         values ('user_1', true, false, true, 'free', 0, null, false, null, null, 0, now())",
        "insert into purchases (purchase_id, user_id, captured, amount_minor, currency, order_id, sku, credits,
                                subscription_id, payer_email, refunded_minor, disputed_minor, lost_minor,
                                standing_sequence, part_of, paid_at, recorded_at)
         values ('stripe:pi_1', 'user_1', true, 599, 'USD', null, null, 0, null, null, 0, 0, 0, 0, null, now(), now())",
    ] {
        client.batch_execute(insert).await.unwrap();
    }
}
