//! Rebuilds compare before they switch: what was wrong with the live table is found, named and mended, and nobody waits.

use std::time::Duration;

use credit_ledger::ledger::Source;
use credit_ledger::projection::rebuild::{self, Comparison, Differences, Rebuilt, RowDifferences};
use credit_ledger::projection::{READ_MODELS, ReadModel};
use credit_ledger::provider::sample::SamplePayment;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::crash::service::DataDir;
use crate::support::app::{SERVICE_KEY, answer};
use crate::support::deliveries::{captured, created, payment, user};
use crate::support::search::columns_with;
use crate::support::{Options, TestApp, eventually};

/// Two users who signed up and bought something.
async fn history(app: &TestApp) {
    for number in 1..=2 {
        let user_id = format!("user_{number}");
        let paid = SamplePayment {
            payment_id: format!("pay_{number}"),
            order_id: Some(format!("order_{number}")),
            ..payment(Some(&user_id))
        };
        app.deliver(Source::Clerk, &created(&user(&user_id))).await;
        app.deliver(Source::Razorpay, &captured(&paid)).await;
    }
    // A payer's address is kept while nobody knows whose the purchase is.
    let nobodys = SamplePayment {
        payment_id: "pay_3".to_owned(),
        email: Some("payer@example.com".to_owned()),
        ..payment(None)
    };
    app.deliver(Source::Razorpay, &captured(&nobodys)).await;
    app.idle().await;
}

async fn again(app: &TestApp, name: &str) -> Rebuilt {
    rebuild::rebuild(&app.database, name, &mut |_, _| {})
        .await
        .unwrap()
}

async fn check(app: &TestApp, name: &str) -> Rebuilt {
    rebuild::check(&app.database, name, &mut |_, _| {})
        .await
        .unwrap()
}

fn rows(rebuilt: &Rebuilt) -> &RowDifferences {
    match rebuilt.comparison.as_ref().map(|one| &one.differences) {
        Some(Differences::Rows(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

async fn state(client: &Client, table: &str) -> String {
    let sql = format!("select coalesce(json_agg(t order by t::text), '[]')::text from {table} t");
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// Read model, what is done to its table, how many rows then differ, are missing and are too many, and the first of them.
const DAMAGES: &[(&str, &str, [i64; 3], &str)] = &[
    (
        "balance",
        "update balance set balance = 7, held = 1 where user_id = 'user_1'",
        [1, 0, 0],
        "user_id user_1: balance is 7, the history says 520; held is 1, the history says 0",
    ),
    (
        "balance",
        "delete from balance where user_id = 'user_2'",
        [0, 1, 0],
        "user_id user_2: is missing",
    ),
    (
        "balance",
        "insert into balance values ('user_x', 5, 0, 0, 1)",
        [0, 0, 1],
        "user_id user_x: is too many",
    ),
    (
        "entries",
        "update entries set delta = delta + 1, reason = 'because' where user_id = 'user_2' and sequence = 3",
        [1, 0, 0],
        "user_id user_2, sequence 3: delta is 501, the history says 500; reason is because, the history says null",
    ),
    (
        "entries",
        "update entries set slices = '[1]'",
        [4, 0, 0],
        "user_id user_1, sequence 2: slices is [1], the history says null",
    ),
    (
        "entries",
        "delete from entries where user_id = 'user_1' and sequence = 2",
        [0, 1, 0],
        "user_id user_1, sequence 2: is missing",
    ),
    (
        "entries",
        "update entries set sequence = 99 where user_id = 'user_1' and sequence = 2",
        [0, 1, 1],
        "user_id user_1, sequence 2: is missing",
    ),
    (
        "purchases",
        "update purchases set paid_at = null, refunded_minor = 100 where purchase_id = 'razorpay:pay_1'",
        [1, 0, 0],
        "purchase_id razorpay:pay_1: refunded_minor is 100, the history says 0; status is partially_refunded, \
         the history says captured; paid_at is null, the history says 2026-11-18 11:06:40+00",
    ),
    (
        "purchases",
        "update purchases set payer_email = 'other@example.com' where purchase_id = 'razorpay:pay_3'",
        [1, 0, 0],
        "purchase_id razorpay:pay_3: payer_email differs (personal data)",
    ),
    (
        "purchases",
        "delete from purchases where purchase_id = 'razorpay:pay_2'",
        [0, 1, 0],
        "purchase_id razorpay:pay_2: is missing",
    ),
    (
        "purchases",
        "update purchases set purchase_id = 'razorpay:pay_0' where purchase_id = 'razorpay:pay_1'",
        [0, 1, 1],
        "purchase_id razorpay:pay_0: is too many",
    ),
    (
        "users",
        "update users set plan = 'gold', email = 'other@example.com', first_name = null, last_name = 'Eve'
          where user_id = 'user_1'",
        [1, 0, 0],
        "user_id user_1: plan is gold, the history says free; email differs (personal data); \
         first_name differs (personal data); last_name differs (personal data)",
    ),
    (
        "users",
        "delete from users where user_id = 'user_1'",
        [0, 1, 0],
        "user_id user_1: is missing",
    ),
    (
        "users",
        "insert into users select other.* from users, jsonb_populate_record(users, '{\"user_id\": \"user_x\"}') as other
          where users.user_id = 'user_1'",
        [0, 0, 1],
        "user_id user_x: is too many",
    ),
];

#[tokio::test]
async fn what_was_changed_is_found_named_and_mended() {
    let app = TestApp::start().await;
    history(&app).await;
    let client = app.sql().await;
    for (name, damage, counts, first) in DAMAGES {
        let before = state(&client, name).await;
        client.batch_execute(damage).await.unwrap();
        let damaged = state(&client, name).await;
        let checked = check(&app, name).await;
        assert_eq!(
            state(&client, name).await,
            damaged,
            "a check changes nothing"
        );
        let rebuilt = again(&app, name).await;
        assert_eq!(checked, rebuilt, "{damage}");
        assert!(rebuilt.was_broken(), "{damage}");
        let found = rows(&rebuilt);
        let seen = [found.differing, found.missing, found.surplus];
        assert_eq!((seen, &*found.first[0].to_string()), (*counts, *first));
        assert_eq!(found.total(), i64::try_from(found.first.len()).unwrap());
        let said = format!("{rebuilt:?}");
        for personal in ["example.com", "Asha", "Rao", "Eve"] {
            assert!(!said.contains(personal), "{said}");
        }
        assert_eq!(state(&client, name).await, before, "{damage}");
        let clean = again(&app, name).await;
        assert!(
            !clean.was_broken() && rows(&clean).total() == 0,
            "{clean:?}"
        );
    }
    for model in READ_MODELS {
        let named = |(name, ..): &&(&str, &str, [i64; 3], &str)| *name == model.name;
        assert!(DAMAGES.iter().filter(named).count() >= 3, "{}", model.name);
    }
    app.assert_audit_is_clean().await;
    app.stop().await;
}

#[tokio::test]
async fn all_rows_are_counted_and_the_first_are_listed() {
    let app = TestApp::start().await;
    history(&app).await;
    let strangers = "insert into balance select 'x' || to_char(n, '00'), 5, 0, 0, 1 from generate_series(1, 25) as n";
    app.sql().await.batch_execute(strangers).await.unwrap();
    let rebuilt = again(&app, "balance").await;
    let found = rows(&rebuilt);
    assert_eq!((found.surplus, found.first.len()), (25, rebuild::LISTED));
    assert_eq!(found.first[0].to_string(), "user_id x 01: is too many");
    assert_eq!(found.first[19].to_string(), "user_id x 20: is too many");
    app.stop().await;
}

#[tokio::test]
async fn a_table_that_is_gone_or_has_another_key_is_made_again() {
    let app = TestApp::start().await;
    history(&app).await;
    let client = app.sql().await;
    let before = state(&client, "balance").await;
    client.batch_execute("drop table balance").await.unwrap();
    assert_eq!(again(&app, "balance").await.comparison, None);
    assert_eq!(state(&client, "balance").await, before);
    let other_key =
        "alter table balance drop constraint balance_pkey, add primary key (user_id, version)";
    client.batch_execute(other_key).await.unwrap();
    let rebuilt = again(&app, "balance").await;
    let differences = rebuilt.comparison.as_ref().map(|one| &one.differences);
    assert_eq!(differences, Some(&Differences::OtherKey));
    assert!(rebuilt.was_broken());
    assert!(!again(&app, "balance").await.was_broken());
    app.stop().await;
}

/// A function that lets nobody pass while somebody has the advisory lock of its number. A session's `lock_timeout` does
/// not end the wait.
const GATE: &str = "
    create function gate(number bigint) returns boolean language plpgsql volatile as $$
    begin
      while not pg_try_advisory_lock_shared(number) loop
        perform pg_sleep(0.01);
      end loop;
      perform pg_advisory_unlock_shared(number);
      return true;
    end $$";

/// While the owner fills the new table, the first gate holds it up; while it reads the live one, the second. The service
/// passes freely.
const GATED_READS: &str = "
    alter table balance enable row level security, force row level security;
    create policy service on balance to credit_ledger_app using (true) with check (true);
    create policy rebuild on balance to credit_ledger_owner using (gate(2));
    select pg_advisory_lock(1), pg_advisory_lock(2)";

/// The read model of a release to come: one column more.
fn changed() -> ReadModel {
    let model = ReadModel::find("balance").unwrap();
    let column = "user_id text collate \"C\" not null,";
    let more = format!("{column} passed boolean not null default gate(1),");
    let table_sql = model.table_sql.replace(column, &more);
    assert_ne!(table_sql, model.table_sql);
    ReadModel {
        version: model.version + 1,
        table_sql: table_sql.leak(),
        ..model
    }
}

async fn held_up(app: &TestApp, statement: &str) {
    eventually("the rebuild is held up", async || {
        let waiting = format!(
            "select count(*) from pg_stat_activity where application_name = 'credit-ledger rebuild'
                and wait_event = 'PgSleep' and query like '%{statement}%' and datname = current_database()"
        );
        (app.count(&waiting).await > 0).then_some(())
    })
    .await;
}

async fn ten_are_recorded(app: &TestApp) {
    for n in 0..10 {
        let paid = payment(Some(&format!("user_{n}")));
        let answer = app.deliver(Source::Razorpay, &captured(&paid)).await;
        answer.assert_ok(&json!({"status": "recorded"}));
    }
}

#[tokio::test]
async fn an_instance_goes_on_while_another_makes_a_changed_read_model() {
    let app = TestApp::start().await;
    history(&app).await;
    let gatekeeper = app.sql().await;
    gatekeeper.batch_execute(GATE).await.unwrap();
    gatekeeper.batch_execute(GATED_READS).await.unwrap();
    let mut models = READ_MODELS;
    models[0] = changed();
    let database = app.database.clone();
    let starting =
        tokio::spawn(async move { rebuild::bring_models_up_to_date(&database, &models).await });
    for (number, statement) in [(1, "with batch as"), (2, "full join")] {
        held_up(&app, statement).await;
        ten_are_recorded(&app).await;
        assert!(!starting.is_finished());
        let open = format!("select pg_advisory_unlock({number})");
        gatekeeper.batch_execute(&open).await.unwrap();
    }
    let rebuilt = starting.await.unwrap().unwrap();
    let [
        Rebuilt {
            name,
            positions,
            comparison,
        },
    ] = &*rebuilt
    else {
        panic!("only one has changed: {rebuilt:?}");
    };
    assert_eq!((*name, *positions), (models[0].name, 3 + 4 + 2 * 20 + 2));
    // What was recorded since the snapshot is in neither table of it.
    let expected = Comparison {
        made_by: models[0].version - 1,
        same_sql: false,
        differences: Differences::Rows(RowDifferences::default()),
    };
    assert_eq!(comparison.as_ref(), Some(&expected));
    assert!(!rebuilt[0].was_broken());
    ten_are_recorded(&app).await;
    assert_eq!(
        app.count("select count(*) from balance where passed").await,
        10
    );
    assert_eq!(app.balance("user_1").await, 20 + 500 * 4);
    app.assert_audit_is_clean().await;
    app.stop().await;
}

/// What a rebuild of the users leaves that is cut off.
const CUT_OFF: &str = "create table rebuild.users as select * from users";
const LEFT: &str = "select count(*) from pg_tables where schemaname = 'rebuild'";

#[tokio::test]
async fn what_a_cut_off_rebuild_left_goes_with_the_next_start() {
    let app = TestApp::start().await;
    let someone = user("user_1");
    let email = someone.email.clone().unwrap();
    app.deliver(Source::Clerk, &created(&someone)).await;
    app.sql().await.batch_execute(CUT_OFF).await.unwrap();
    let database = app.database.clone();
    app.stop().await;

    rebuild::bring_up_to_date(&database).await.unwrap();
    let app = TestApp::start_on(database, Options::default()).await;
    let erase = app.request(Method::DELETE, "/v1/users/user_1");
    let erased = answer(erase.bearer_auth(SERVICE_KEY)).await;
    erased.assert_ok(&json!({"deleted": true}));
    app.idle().await;
    let found = columns_with(&app.sql().await, &email).await;
    assert!(found.is_empty(), "{found:?}");
    app.stop().await;
}

#[tokio::test]
async fn a_rebuild_that_fails_leaves_nothing() {
    let app = TestApp::start().await;
    history(&app).await;
    let unreadable = "alter table users enable row level security, force row level security;
                      create policy rebuild on users to credit_ledger_owner using (plan_sequence / 0 = 1)";
    app.sql().await.batch_execute(unreadable).await.unwrap();
    for checked in [true, false] {
        let failed = if checked {
            rebuild::check(&app.database, "users", &mut |_, _| {}).await
        } else {
            rebuild::rebuild(&app.database, "users", &mut |_, _| {}).await
        };
        assert!(failed.is_err(), "{failed:?}");
        assert_eq!(app.count(LEFT).await, 0, "checked: {checked}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_start_with_nothing_to_make_waits_for_no_rebuild() {
    let app = TestApp::start().await;
    history(&app).await;
    let at_work = app.sql().await;
    at_work.batch_execute(CUT_OFF).await.unwrap();
    // "credits" in ASCII: what a rebuild holds from its beginning to its end.
    let lock = "select pg_advisory_lock(x'63726564697473'::bigint)";
    at_work.batch_execute(lock).await.unwrap();
    let start = async || {
        let started = rebuild::bring_up_to_date(&app.database);
        timeout(Duration::from_mins(1), started).await
    };
    let rebuilt = start().await.expect("it does not wait").unwrap();
    assert_eq!((rebuilt, app.count(LEFT).await), (vec![], 1));
    let unlock = "select pg_advisory_unlock(x'63726564697473'::bigint)";
    at_work.batch_execute(unlock).await.unwrap();
    let rebuilt = start().await.unwrap().unwrap();
    assert_eq!((rebuilt, app.count(LEFT).await), (vec![], 0));
    app.stop().await;
}

#[tokio::test]
async fn a_start_counts_what_differs_and_lists_nothing() {
    let app = TestApp::start().await;
    history(&app).await;
    let damage = "update read_models set version = 0 where name = 'balance'; delete from balance";
    app.sql().await.batch_execute(damage).await.unwrap();
    let rebuilt = rebuild::bring_up_to_date(&app.database).await.unwrap();
    let expected = RowDifferences {
        missing: 2,
        ..RowDifferences::default()
    };
    assert_eq!(rebuilt.len(), 1);
    assert_eq!(rows(&rebuilt[0]), &expected);
    app.stop().await;
}

/// The header names every event, so a new one changed the digests of files in which nothing else did.
#[tokio::test]
async fn a_table_of_an_earlier_release_with_the_same_sql_is_left_alone() {
    let app = TestApp::start().await;
    let mut earlier = 0;
    for model in READ_MODELS {
        for noted in model.noted_as {
            let sql = "update read_models set digest = $2 where name = $1";
            let sql = app.sql().await.execute(sql, &[&model.name, noted]).await;
            assert_eq!(sql.unwrap(), 1);
            earlier += 1;
        }
    }
    assert_eq!(earlier, 2);
    let rebuilt = rebuild::bring_up_to_date(&app.database).await.unwrap();
    assert_eq!(rebuilt, []);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_what_was_wrong_and_ends_with_1() {
    let data = DataDir::new();
    let service = data.serve();
    let url = format!("http://{}", service.address);
    for user_id in ["user_1", "user_2"] {
        let send = [
            "send",
            "clerk",
            "user.created",
            "--user",
            user_id,
            "--url",
            &url,
        ];
        assert!(data.said(&send, 0).contains("recorded"));
    }
    let clean = "balance: made from 4 events\n  the live table: 0 differences\n";
    assert_eq!(data.said(&["rebuild", "balance"], 0), clean);
    let damage =
        "update users set email = 'somebody@example.org', plan = 'gold' where user_id = 'user_2';
                  delete from balance";
    data.sql().await.batch_execute(damage).await.unwrap();
    let said = data.said(&["rebuild", "--check"], 1);
    assert_eq!(
        said,
        "balance: compared with 4 events\n  \
           the live table: rows that differ: 0, missing: 2, too many: 0\n  \
           user_id user_1: is missing\n  \
           user_id user_2: is missing\n\
         purchases: compared with 4 events\n  \
           the live table: 0 differences\n\
         users: compared with 4 events\n  \
           the live table: rows that differ: 1, missing: 0, too many: 0\n  \
           user_id user_2: plan is gold, the history says free; email differs (personal data)\n\
         entries: compared with 4 events\n  \
           the live table: 0 differences\n"
    );
    assert_eq!(service.balance("user_1").await, 0);
    assert_eq!(
        data.said(&["rebuild"], 1),
        said.replace("compared with", "made from")
    );
    assert_eq!(service.balance("user_1").await, 20);
    data.said(&["rebuild", "--check"], 0);
    data.said(&["rebuild", "nothing"], 1);
    let older =
        "update read_models set version = 2 where name = 'users'; update users set plan = 'gold'";
    data.sql().await.batch_execute(older).await.unwrap();
    let said = data.said(&["rebuild", "users"], 0);
    assert!(said.contains("made by version 2 of other SQL"), "{said}");
    drop(service);
}
