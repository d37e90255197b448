//! The schema, and that the database itself keeps the log append-only.

use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use credit_ledger::projection::READ_MODELS;

use crate::support::deliveries::{captured, created, payment, user};
use crate::support::{Options, TestApp, cluster};

async fn catalogue(database: &Database) -> Vec<String> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let read_models: Vec<&str> = READ_MODELS.iter().map(|model| model.name).collect();
    let rows = client
        .query(include_str!("support/catalogue.sql"), &[&read_models])
        .await
        .unwrap();
    rows.iter().map(|row| row.get("line")).collect()
}

#[tokio::test]
async fn current_sql_is_the_sum_of_the_migrations() {
    let migrated = cluster::fresh_database().await;
    let current = cluster::empty_database().await;
    let client = current
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    client
        .batch_execute(include_str!("../schema/current.sql"))
        .await
        .unwrap();
    let (migrated, current) = (catalogue(&migrated).await, catalogue(&current).await);
    assert!(
        migrated
            .iter()
            .any(|line| line.starts_with("constraint inbox.inbox_pkey"))
    );
    assert_eq!(migrated, current);
}

#[tokio::test]
async fn nobody_changes_the_log() {
    let app = TestApp::start().await;
    app.deliver(Source::Clerk, &created(&user("user_1"))).await;
    let refused = [
        "update events set payload = '{}'",
        "update events set hash = hash",
        "delete from events",
        "truncate events",
        "truncate events, inbox",
    ];
    let sessions = [
        ("superuser", app.sql().await),
        ("owner", app.sql_as(Role::Owner).await),
        ("app", app.sql_as(Role::App).await),
        ("auditor", app.sql_as(Role::Auditor).await),
    ];
    for (name, session) in &sessions {
        for statement in refused {
            let error = session.batch_execute(statement).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "42501", "{name}: {statement}");
        }
    }
    let superuser = &sessions[0].1;
    superuser
        .batch_execute("set session_replication_role = replica")
        .await
        .unwrap();
    for statement in refused {
        let error = superuser.batch_execute(statement).await.unwrap_err();
        assert_eq!(
            error.code().unwrap().code(),
            "42501",
            "replica: {statement}"
        );
    }
    assert_eq!(app.count("select count(*) from events").await, 2);
    app.stop().await;
}

#[tokio::test]
async fn the_service_may_only_add_to_the_log_and_the_auditor_only_read() {
    let database = cluster::fresh_database().await;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    let sql = "select c.relname::text as table_name, privilege,
                      has_table_privilege('credit_ledger_app', c.oid, privilege) as app,
                      has_table_privilege('credit_ledger_auditor', c.oid, privilege) as auditor
                 from pg_class c, unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) as privilege
                where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'";
    let rows = client.query(sql, &[]).await.unwrap();
    assert!(rows.len() >= 5 * 18, "all tables are looked at");
    for row in rows {
        let (table, privilege): (String, String) = (row.get("table_name"), row.get("privilege"));
        let app = match table.as_str() {
            "ledger" | "read_models" | "refinery_schema_history" | "api_keys" => "SELECT",
            "events" | "homes" | "requests" | "settlements" | "seals" => "SELECT INSERT",
            "heads" => "SELECT UPDATE",
            "personal" | "outbox" | "holds" => "SELECT INSERT DELETE",
            "lots" => "SELECT INSERT UPDATE DELETE",
            "inbox" | "streams" | "balance" | "entries" | "purchases" | "users" | "witnesses" => {
                "SELECT INSERT UPDATE"
            }
            other => panic!("{other}: say here what the service may do with it"),
        };
        let app = app.split(' ').any(|allowed| allowed == privilege);
        assert_eq!(
            row.get::<_, bool>("app"),
            app,
            "app: {privilege} on {table}"
        );
        assert_eq!(
            row.get::<_, bool>("auditor"),
            privilege == "SELECT" && table != "api_keys",
            "auditor: {privilege} on {table}"
        );
    }
}

#[tokio::test]
async fn every_sql_file_prepares() {
    let database = cluster::fresh_database().await;
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await
        .unwrap();
    client
        .batch_execute(include_str!("../src/store/sql/create_row_types.sql"))
        .await
        .unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut prepared = 0;
    for folder in [
        "src/access/sql",
        "src/postgres/sql",
        "src/store/sql",
        "src/audit",
        "projections",
    ] {
        for file in sql_files(&root.join(folder)) {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            let sql = std::fs::read_to_string(&file).unwrap();
            assert!(sql.starts_with("-- "), "{} has a header", file.display());
            let statements = match name.as_str() {
                "table.sql" | "set_session.sql" | "create_row_types.sql" => continue,
                "apply.sql" => {
                    let model = file
                        .parent()
                        .unwrap()
                        .file_name()
                        .unwrap()
                        .to_str()
                        .unwrap();
                    let model =
                        credit_ledger::projection::ReadModel::find(model).unwrap_or_else(|| {
                            panic!("{model} is in projections/ and not in the registry")
                        });
                    vec![model.live_sql(), model.history_sql()]
                }
                _ => vec![sql],
            };
            for statement in statements {
                let result = client.prepare(&statement).await;
                assert!(result.is_ok(), "{}: {:?}", file.display(), result.err());
                prepared += 1;
            }
        }
    }
    assert!(prepared >= 13 + 2 + 4 * 2 + 5, "{prepared} were found");
}

fn sql_files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sql_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn an_event_is_found_by_the_id_that_its_provider_gave_it() {
    let app = TestApp::start().await;
    let delivery = captured(&payment(Some("user_1")));
    let event_id = delivery
        .headers
        .iter()
        .find(|(name, _)| *name == "x-razorpay-event-id")
        .unwrap()
        .1
        .clone();
    app.deliver(Source::Razorpay, &delivery).await;
    let sql = "select e.event_type
                 from inbox i
                 cross join unnest(i.shards, i.positions) as led_to(shard, position)
                 join events e on e.shard = led_to.shard and e.position = led_to.position
                where i.provider_event_id = $1
                order by e.shard, e.position";
    let rows = app.sql().await.query(sql, &[&event_id]).await.unwrap();
    let types: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(types, ["PaymentCaptured", "CreditsPurchased"]);
    let sql = "select count(*) from events where source = 'razorpay' and provider_event_id = $1";
    let count: i64 = app
        .sql()
        .await
        .query_one(sql, &[&event_id])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 2);
    app.stop().await;
}

#[tokio::test]
async fn eight_instances_may_start_at_once_on_an_empty_database() {
    let database = cluster::empty_database().await;
    let starts = (0..8).map(|_| TestApp::start_on(database.clone(), Options::default()));
    let apps = futures_util::future::join_all(starts).await;
    let sign_up = created(&user("user_1"));
    for app in &apps {
        assert_eq!(app.deliver(Source::Clerk, &sign_up).await.status, 200);
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let migrations = std::fs::read_dir(root.join("schema/migrations")).unwrap();
    assert_eq!(
        apps[0]
            .count("select count(*) from refinery_schema_history")
            .await,
        i64::try_from(migrations.count()).unwrap()
    );
    assert_eq!(apps[0].count("select count(*) from events").await, 2);
    for app in apps {
        app.stop().await;
    }
}
