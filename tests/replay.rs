//! The auditor's replay: stock postgres-es tells our history, and whatever was changed behind the service's back shows.

use std::collections::HashSet;

use cqrs_es::EventStore as _;
use cqrs_es::persist::PersistedEventStore;
use credit_ledger::audit::replay::facts::Audited as _;
use credit_ledger::audit::replay::{self, Report};
use credit_ledger::ledger::{Purchase, Source, User};
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use credit_ledger::projection::READ_MODELS;
use postgres_es::PostgresEventRepository;
use sqlx::postgres::PgPoolOptions;

use crate::support::TestApp;
use crate::support::deliveries::{captured, created, deleted, order_paid, payment, updated, user};

/// Three users, four purchases; one of them nobody's, one of a user who never registered.
async fn history(app: &TestApp) {
    for id in ["user_1", "user_2", "user_3"] {
        let mut someone = user(id);
        app.deliver(Source::Clerk, &created(&someone)).await;
        someone.updated_at += chrono::TimeDelta::seconds(1);
        app.deliver(Source::Clerk, &updated(&someone)).await;
    }
    for owner in [Some("user_1"), Some("user_2"), Some("user_9"), None] {
        let paid = payment(owner);
        app.deliver(Source::Razorpay, &captured(&paid)).await;
        app.deliver(Source::Razorpay, &order_paid(&paid)).await;
    }
    app.deliver(Source::Clerk, &deleted("user_3")).await;
}

async fn audit(app: &TestApp) -> Report {
    replay::replay(&app.database, &mut |_, _| {}).await.unwrap()
}

#[tokio::test]
async fn an_honest_history_replays_clean() {
    let app = TestApp::start().await;
    let empty = audit(&app).await;
    assert_eq!((empty.events, empty.differences.len()), (0, 0));
    history(&app).await;
    let report = audit(&app).await;
    assert_eq!(report.differences, vec![]);
    assert_eq!((report.users, report.purchases), (4, 4));
    assert_eq!(report.events, 3 * 3 + 4 + 3 + 1);
    app.stop().await;
}

#[tokio::test]
async fn whatever_was_changed_is_found_and_named() {
    // What is done, where it shows, what is said to differ.
    let tampering = [
        ("update balance set balance = balance + 1 where user_id = 'user_1'", "user/user_1", "balance"),
        ("delete from balance where user_id = 'user_1'", "user/user_1", "balance"),
        ("insert into balance values ('user_x', 5, 0, 0, 1)", "user/user_x", "existence"),
        ("update balance set held = 1 where user_id = 'user_2'", "user/user_2", "held"),
        ("update balance set debt = 1 where user_id = 'user_2'", "user/user_2", "debt"),
        ("update users set deleted = false where user_id = 'user_3'", "user/user_3", "deleted"),
        ("update users set erased = true where user_id = 'user_3'", "user/user_3", "erased"),
        ("update users set erasure_requested = true where user_id = 'user_3'", "user/user_3", "erasure requested"),
        ("update users set deleted_at = now() where user_id = 'user_3'", "user/user_3", "time of deletion"),
        ("update purchases set payer_erased = true where user_id is null", "purchase/", "payer erased"),
        ("update users set plan = 'gold' where user_id = 'user_1'", "user/user_1", "plan"),
        ("delete from users where user_id = 'user_1'", "user/user_1", "registered"),
        ("delete from entries where user_id = 'user_1' and delta = 20", "user/user_1", "sum of entries"),
        ("update entries set delta = delta + 1 where user_id = 'user_2' and delta = 20", "user/user_2", "sum of entries"),
        ("update entries set balance = 7 where user_id = 'user_1'", "user/user_1", "digest of entries"),
        ("update entries set type = 'x' where user_id = 'user_1'", "user/user_1", "digest of entries"),
        ("update entries set purchase_id = 'x' where user_id = 'user_9'", "user/user_9", "digest of entries"),
        ("update entries set recorded_at = recorded_at + interval '1 day'", "user/user_2", "entries as logged"),
        ("insert into entries select user_id, 99, shard, 99, type, 0, balance, null, source, null, recorded_at
          from entries where user_id = 'user_9'", "user/user_9", "number of entries"),
        ("update balance set version = version + 1 where user_id = 'user_1'", "user/user_1", "version of the balance"),
        ("update users set profile_sequence = 9 where user_id = 'user_1'", "user/user_1", "sequence of the profile"),
        ("update users set registered_at = null where user_id = 'user_1'", "user/user_1", "time of registration"),
        ("update users set registered_at = now() where user_id = 'user_1'", "user/user_1", "time of registration"),
        ("update purchases set amount_minor = 1 where user_id = 'user_9'", "purchase/", "amount"),
        ("update purchases set currency = 'XXX' where user_id = 'user_9'", "purchase/", "currency"),
        ("update purchases set refunded_minor = amount_minor where user_id is null", "purchase/", "status"),
        ("update purchases set order_id = null where user_id = 'user_9'", "purchase/", "order"),
        ("update purchases set paid_at = paid_at + interval '1 s' where user_id = 'user_9'", "purchase/", "time of payment"),
        ("update purchases set recorded_at = now() where user_id = 'user_9'", "purchase/", "time of recording"),
        ("update purchases set credits = 501 where user_id = 'user_2'", "purchase/", "credits"),
        ("update purchases set user_id = 'user_1' where user_id is null", "purchase/", "user"),
        ("delete from purchases where user_id = 'user_9'", "purchase/", "user"),
        ("update purchases set sku = 'other' where user_id = 'user_9'", "purchase/", "sku"),
        ("update streams set version = version + 1 where aggregate_id = 'user_1'", "user/user_1", "stream version"),
        ("delete from streams where aggregate_id = 'user_1'", "user/user_1", "stream version"),
        (
            "update streams set state = replace(state::text, '\"balance\":520', '\"balance\":521')::json where aggregate_id = 'user_1'",
            "user/user_1",
            "state of the stream",
        ),
        // Somebody who may do anything lifts the triggers first.
        (
            "alter table events disable trigger all; delete from events where aggregate_id = 'user_1' and sequence = 4",
            "log",
            "number of events",
        ),
        (
            "alter table events disable trigger all; delete from events where aggregate_id = 'user_1' and sequence = 2",
            "user/user_1",
            "stream without holes",
        ),
        (
            "alter table events disable trigger all; delete from events where aggregate_id = 'user_9'",
            "user/user_9",
            "existence",
        ),
        (
            "alter table events disable trigger all;
             update events set payload = replace(payload::text, '\"balance\":520', '\"balance\":620')::json where aggregate_id = 'user_1'",
            "user/user_1",
            "balance",
        ),
        ("update heads set position = position + 1 where shard = 0", "log", "number of events"),
    ];
    let app = TestApp::start().await;
    history(&app).await;
    let name = app.database.name().to_owned();
    app.stop().await;
    for (sql, at, what) in tampering {
        let (_, report) = audit_after(&name, sql).await;
        let found = report
            .differences
            .iter()
            .any(|one| one.at.starts_with(at) && one.what == what);
        assert!(found, "{sql}\n{:#?}", report.differences);
    }
}

/// What the auditor says of a copy of a database that somebody tampered with.
async fn audit_after(template: &str, sql: &str) -> (Database, Report) {
    let database = app_copy(template).await;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    client.batch_execute(sql).await.unwrap();
    let report = replay::replay(&database, &mut |_, _| {}).await.unwrap();
    (database, report)
}

/// Names and addresses: no event holds them.
const PERSONAL: [(&str, &str); 5] = [
    ("purchases", "payer_email"),
    ("users", "email"),
    ("users", "email_verified"),
    ("users", "first_name"),
    ("users", "last_name"),
];

#[tokio::test]
async fn a_change_of_any_column_of_any_read_model_is_found() {
    let app = TestApp::start().await;
    history(&app).await;
    let models = READ_MODELS.map(|model| model.name);
    // A generated column follows the others, and nobody can write it.
    let columns = "select table_name::text, column_name::text, data_type::text,
                          string_agg(column_name, ', ') over (partition by table_name) as all_columns
                     from information_schema.columns
                    where table_schema = 'public' and table_name = any($1) and is_generated = 'NEVER'
                    order by 1, 2";
    let client = app.sql().await;
    let mut tampered = 0;
    for row in client.query(columns, &[&&models[..]]).await.unwrap() {
        let (table, column, all): (&str, &str, &str) = (row.get(0), row.get(1), row.get(3));
        if PERSONAL.contains(&(table, column)) {
            continue;
        }
        let other = match row.get::<_, &str>(2) {
            "boolean" => format!("not {column}"),
            "text" => format!("coalesce({column}, '') || 'x'"),
            "timestamp with time zone" => {
                format!("coalesce({column}, now()) + interval '1 microsecond'")
            }
            "bigint" | "smallint" => format!("{column} + 100"),
            "jsonb" => format!("coalesce({column}, '[]') || '[1]'"),
            other => panic!("{table}.{column} is of type {other}"),
        };
        let change = format!(
            "create table saved as select {all} from {table};
             update {table} set {column} = {other} where user_id = 'user_1'"
        );
        client.batch_execute(&change).await.unwrap();
        assert_ne!(audit(&app).await.differences, vec![], "{table}.{column}");
        let undo = format!(
            "delete from {table}; insert into {table} ({all}) select {all} from saved; drop table saved"
        );
        client.batch_execute(&undo).await.unwrap();
        tampered += 1;
    }
    assert!(tampered > 25, "{tampered}");
    assert_eq!(audit(&app).await.differences, vec![]);
    app.stop().await;
}

#[tokio::test]
async fn more_differences_than_are_looked_at_again_are_all_reported() {
    let app = TestApp::start().await;
    history(&app).await;
    let name = app.database.name().to_owned();
    app.stop().await;
    let strangers =
        "insert into balance select 'user_x' || n, 5, 0, 0, 1 from generate_series(1, 2500) as n";
    let (_, report) = audit_after(&name, strangers).await;
    let at: HashSet<&str> = report.differences.iter().map(|one| &*one.at).collect();
    assert_eq!((at.len(), report.differences.len()), (2500, 2500));
}

/// Looking at some streams again must not cost what looking at all of them does.
#[tokio::test]
async fn a_second_look_reads_by_key() {
    let app = TestApp::start().await;
    history(&app).await;
    let client = app.sql().await;
    // Whoever can avoid reading a whole table does so now, however small it is.
    client
        .batch_execute("set enable_seqscan = off")
        .await
        .unwrap();
    for (stored, id, reads) in [
        (User::STORED, "user_1", 10),
        (Purchase::STORED, "razorpay:pay_1", 3),
    ] {
        let some = stored.replace("$1", &format!("'{{{id}}}'"));
        let rows = client.query(&format!("explain {some}"), &[]).await.unwrap();
        let plan: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        let whole = plan.iter().any(|line| line.contains("Seq Scan"));
        let by_key = plan
            .iter()
            .filter(|line| line.contains("Index Cond"))
            .count();
        assert!(!whole && by_key == reads, "{}", plan.join("\n"));
    }
    app.stop().await;
}

/// A copy of a database to be tampered with.
async fn app_copy(template: &str) -> Database {
    use crate::support::cluster;
    let copy = cluster::settings(&format!(
        "{template}_{}",
        crate::support::deliveries::unique("copy")
    ));
    let name = copy.database.clone().unwrap();
    let database = cluster::fresh_database().await.sibling(&name);
    assert!(database.create(Some(template)).await.unwrap());
    // Opened anew: roles are a matter of each database.
    Database::open(&copy).await.unwrap()
}

#[tokio::test]
async fn stock_postgres_es_loads_the_same_aggregates() {
    let app = TestApp::start().await;
    history(&app).await;
    let options = app
        .database
        .sqlx_options(Role::Auditor, &ConnectOptions::default());
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    let repository = || PostgresEventRepository::new(pool.clone());
    let users = PersistedEventStore::<_, User>::new_event_store(repository());
    let purchases = PersistedEventStore::<_, Purchase>::new_event_store(repository());

    let streams = "select aggregate_type, aggregate_id, version, state::text as state from streams";
    let rows = app.sql().await.query(streams, &[]).await.unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let (id, state): (String, String) = (row.get("aggregate_id"), row.get("state"));
        let version = usize::try_from(row.get::<_, i64>("version")).unwrap();
        if row.get::<_, &str>("aggregate_type") == "user" {
            let context = users.load_aggregate(&id).await.unwrap();
            assert_eq!(
                context.aggregate,
                serde_json::from_str::<User>(&state).unwrap()
            );
            assert_eq!(context.current_sequence, version);
        } else {
            let context = purchases.load_aggregate(&id).await.unwrap();
            assert_eq!(
                context.aggregate,
                serde_json::from_str::<Purchase>(&state).unwrap()
            );
            assert_eq!(context.current_sequence, version);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn a_replay_beside_a_service_that_writes_is_clean() {
    let app = TestApp::start().await;
    let writing = async {
        for n in 0..200 {
            let user_id = format!("user_{}", n % 5);
            app.deliver(Source::Razorpay, &captured(&payment(Some(&user_id))))
                .await;
        }
    };
    let auditing = async {
        for _ in 0..10 {
            assert_eq!(audit(&app).await.differences, vec![]);
        }
    };
    tokio::join!(writing, auditing);
    app.stop().await;
}
