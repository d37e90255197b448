//! `audit verify`: the living database is judged as an export is, and by what an export does not show.

use std::sync::Arc;

use credit_ledger::app::providers;
use credit_ledger::audit::verify::signatures::{DELIVERY_SIGNATURE_INVALID, Signatures};
use credit_ledger::audit::verify::{self, Verified};
use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Database};
use credit_ledger::provider::Providers;
use credit_ledger_verify::check::Trust;
use credit_ledger_verify::report::{Verdict, checks};

use credit_ledger::projection::READ_MODELS;

use crate::crash::service::DataDir;
use crate::export::told;
use crate::support::app::{CLERK_SECRET, config};
use crate::support::deliveries::{captured, payment, unique};
use crate::support::seals::key;
use crate::support::{Options, TestApp, cluster, eventually};

/// The providers of the tests, with other settings.
fn providers_with(
    configure: impl Fn(&mut credit_ledger::config::Config) + Send + Sync + 'static,
) -> Providers {
    let options = Options {
        configure: Arc::new(configure),
        ..Options::default()
    };
    providers(&config("none", &options)).unwrap()
}

async fn judge(database: &Database, providers: Option<&Providers>) -> Verified {
    let trust = Trust::of_keys(vec![key().public()]);
    verify::verify(database, trust, providers, &mut |_, _| {})
        .await
        .unwrap()
}

#[tokio::test]
async fn an_honest_ledger_is_clean() {
    let app = told().await;
    let providers = providers_with(|_| {});
    let Verified { report, signatures } = judge(&app.database, Some(&providers)).await;
    assert_eq!(report.findings, vec![]);
    assert_eq!(report.verdict(), Verdict::Clean);
    let events = app.count("select count(*) from events").await;
    let deliveries = app.count("select count(*) from inbox").await;
    assert_eq!(report.events, events.unsigned_abs());
    let erased = app
        .count("select count(*) from inbox where body = ''")
        .await;
    assert_eq!(
        signatures,
        Some(Signatures {
            hold: (deliveries - erased).unsigned_abs(),
            erased: erased.unsigned_abs(),
            ..Signatures::default()
        })
    );
    app.stop().await;
}

/// A table that is put in another's place does not show a moment that began before: so they are held before it begins.
#[tokio::test]
async fn the_read_models_are_held_before_anything_is_looked_at() {
    let app = TestApp::start().await;
    let mut other = app.sql().await;
    let sql = app.sql().await;
    // Whoever begins to look looks here first.
    let blocking = other.transaction().await.unwrap();
    let lock = "lock table heads in access exclusive mode";
    blocking.batch_execute(lock).await.unwrap();
    let database = app.database.clone();
    let judging = tokio::spawn(async move { judge(&database, None).await });
    let names = READ_MODELS.map(|model| model.name);
    let held = "select count(*) from pg_locks
         where granted and mode = 'AccessShareLock' and relation = any($1::text[]::regclass[]::oid[])
           and pid = (select pid from pg_locks where not granted and relation = 'heads'::regclass)";
    eventually("all are held", async || {
        let held = sql.query_one(held, &[&names.as_slice()]).await.unwrap();
        (held.get::<_, i64>(0) == i64::try_from(names.len()).unwrap()).then_some(())
    })
    .await;
    blocking.rollback().await.unwrap();
    assert_eq!(judging.await.unwrap().report.findings, vec![]);
    app.stop().await;
}

#[tokio::test]
async fn a_ledger_that_is_written_meanwhile_is_clean() {
    let app = told().await;
    let writing = async {
        for n in 0..100 {
            let user_id = format!("user_{}", n % 5);
            app.deliver(Source::Razorpay, &captured(&payment(Some(&user_id))))
                .await;
            if n % 20 == 0 {
                app.seal_all().await;
            }
        }
    };
    let judging = async {
        for _ in 0..5 {
            assert_eq!(judge(&app.database, None).await.report.findings, vec![]);
        }
    };
    tokio::join!(writing, judging);
    app.stop().await;
}

#[tokio::test]
async fn signatures_by_secrets_that_are_gone_are_counted() {
    let app = told().await;
    // A new secret beside the old one changes nothing; without the old one nobody can say.
    let new = "whsec_bmV3LXNlY3JldC1vZi10aGUtdGVzdHMh";
    let rotated = providers_with(|config| {
        config.clerk_webhook_secrets = vec![new.into(), CLERK_SECRET.into()];
    });
    let judged = judge(&app.database, Some(&rotated)).await;
    assert_eq!(
        (judged.report.found, judged.signatures.unwrap().retired),
        (0, 0)
    );

    let retired = providers_with(|config| {
        config.clerk_webhook_secrets = vec![new.into()];
        config.stripe_webhook_secrets = vec![];
    });
    let judged = judge(&app.database, Some(&retired)).await;
    let signatures = judged.signatures.unwrap();
    let gone = app
        .count("select count(*) from inbox where source in ('clerk', 'stripe') and body <> ''")
        .await;
    assert_eq!(judged.report.found, 0);
    assert_eq!(
        (signatures.retired, signatures.fail),
        (gone.unsigned_abs(), 0)
    );
    assert_eq!(signatures.retired_secrets.len(), 2);
    assert_eq!(
        signatures.retired_secrets.values().sum::<u64>(),
        gone.unsigned_abs()
    );
    app.stop().await;
}

/// What is done, which check tells, and a part of what it says.
const TAMPERING: &[(&str, &str, &str)] = &[
        ("update lots set remaining = remaining + 1", checks::ROW_DIFFERS, "lots"),
        ("update lots set kind = 'promo'", checks::ROW_DIFFERS, "lots"),
        ("delete from lots", checks::ROW_MISSING, "lots"),
        ("delete from holds", checks::ROW_MISSING, "hold"),
        ("update holds set times_out_at_s = times_out_at_s + 1", checks::ROW_DIFFERS, "hold"),
        ("update holds set user_id = 'user_x'", checks::ROW_DIFFERS, "hold"),
        ("delete from settlements where settlement = 'captured'", checks::ROW_MISSING, "settle"),
        (
            "update settlements set settlement = 'released' where settlement = 'captured'",
            checks::ROW_DIFFERS,
            "settle",
        ),
        ("update personal set profile = '{}'", checks::ROW_DIFFERS, "personal"),
        ("update personal set salt = decode('00', 'hex')", checks::ROW_DIFFERS, "personal"),
        ("delete from personal where sequence = 1", checks::ROW_MISSING, "personal"),
        ("update personal set sequence = sequence + 50", checks::ROW_DIFFERS, "personal"),
        ("update users set email = 'x@y.z' where not deleted", checks::ROW_DIFFERS, "users"),
        ("update users set last_name = null where not deleted", checks::ROW_DIFFERS, "users"),
        (
            "insert into personal select aggregate_type, aggregate_id, 1, salt, profile from
              (select aggregate_type, aggregate_id from events where event_type = 'UserErased' limit 1) as gone,
              (select salt, profile from personal limit 1) as kept",
            checks::ROW_DIFFERS,
            "still there",
        ),
        ("update users set first_name = 'X' where deleted", checks::ROW_DIFFERS, "users"),
        ("update purchases set payer_email = 'x@y.z' where user_id is null", checks::ROW_DIFFERS, "purchases"),
        ("update purchases set payer_email = null where user_id is null", checks::ROW_DIFFERS, "purchases"),
        ("update purchases set payer_email = 'x@y.z' where user_id is not null", checks::ROW_DIFFERS, "purchases"),
        ("update heads set recorded_at = recorded_at + interval '1 s'", checks::ROW_DIFFERS, "heads"),
        ("delete from heads where shard = 3", checks::ROW_MISSING, "heads"),
        ("insert into heads select 77, 0, hash, recorded_at from heads limit 1", checks::ROW_DIFFERS, "heads"),
        ("delete from requests", checks::ROW_MISSING, "requests"),
        (
            "insert into outbox (kind, aggregate_type, aggregate_id, sequence, created_at)
             values ('match', 'user', 'user_x', 1, now())",
            checks::ROW_DIFFERS,
            "outbox",
        ),
        ("insert into witnesses values ('x', 1000000)", checks::ROW_MISSING, "witness"),
        ("update seals set nodes[1] = sha256('x') where seal = 2", checks::SEAL_BROKEN, "parts of the tree"),
        (
            "update streams set due_at_s = due_at_s + 1 where due_at_s is not null",
            checks::STATE_DIFFERS,
            "due_at_s",
        ),
        ("update streams set due_at_s = 1 where aggregate_type = 'purchase'", checks::STATE_DIFFERS, "due_at_s"),
        ("update inbox set body = body || ' ' where body <> ''", checks::DELIVERY_DIFFERS, "body"),
        ("update inbox set body = ''", checks::DELIVERY_DIFFERS, "body"),
        (
            "update inbox set body = convert_to(replace(convert_from(body, 'UTF8'), 'a', 'b'), 'UTF8'),
                              body_sha256 = sha256(convert_to(replace(convert_from(body, 'UTF8'), 'a', 'b'), 'UTF8'))
              where outcome = 'ignored'",
            DELIVERY_SIGNATURE_INVALID,
            "no signature matches",
        ),
        (
            "update inbox set received_at = received_at + interval '1 hour' where source = 'clerk' and outcome = 'ignored'",
            DELIVERY_SIGNATURE_INVALID,
            "too old",
        ),
        ("update inbox set headers = '[]' where outcome = 'ignored'", DELIVERY_SIGNATURE_INVALID, "headers"),
        ("update inbox set key = key || 'x' where outcome = 'ignored'", DELIVERY_SIGNATURE_INVALID, "another key"),
        (
            "update inbox set provider_event_id = 'x' where outcome = 'ignored'",
            DELIVERY_SIGNATURE_INVALID,
            "another event",
        ),
    ];

#[tokio::test]
async fn what_only_the_database_has_is_compared_too() {
    let guards = "alter table events disable trigger all; alter table seals disable trigger all;";
    let app = told().await;
    let template = app.database.name().to_owned();
    app.stop().await;
    let providers = providers_with(|_| {});
    for (sql, check, says) in TAMPERING {
        let database = copy_of(&template).await;
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await
            .unwrap();
        client
            .batch_execute(&format!(
                "{guards} alter table inbox drop constraint inbox_erased_at; {sql}"
            ))
            .await
            .unwrap();
        let report = judge(&database, Some(&providers)).await.report;
        let found = report
            .findings
            .iter()
            .any(|one| one.check == *check && one.what.contains(says));
        assert!(found, "{sql}\n{:#?}", report.findings);
        // What is said of personal data never says what it is.
        let said = serde_json::to_string(&report).unwrap();
        assert!(
            !said.contains("example.com") && !said.contains("x@y.z"),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_the_verdict_is_clean_only_if_none_was_wanted() {
    let data = DataDir::new();
    let service = data.serve();
    let url = format!("http://{}", service.address);
    let send = ["send", "clerk", "user.created", "--user", "user_1"];
    assert!(
        data.said(&[&send[..], &["--url", &url]].concat(), 0)
            .contains("recorded")
    );
    let said = data.said(&["audit", "verify"], 2);
    assert!(said.contains("verdict     UNPROVEN"), "{said}");
    let said = data.said(&["audit", "verify", "--json"], 2);
    assert!(said.contains(r#""verdict": "unproven""#), "{said}");
    let said = data.said(&["audit", "verify", "--no-key"], 0);
    assert!(said.contains("not verified, as was asked"), "{said}");
    let said = data.said(&["audit", "verify", "--no-key", "--json"], 0);
    assert!(said.contains(r#""verdict": "clean""#), "{said}");
    data.said(&["audit", "verify", "--no-key", "--key", "a.pem"], 2);
    drop(service);
}

/// What is done, where it is told of (shard and position, stream), and a part of what is said.
const UNREADABLE: [(&str, bool, bool, &str); 12] = [
    (
        "update events set recorded_at = 'infinity' where event_type = 'CreditsSpent'",
        true,
        true,
        "events: the row of shard",
    ),
    (
        "update events set hash = substr(hash, 2) where event_type = 'UserRegistered'",
        true,
        true,
        "hash has 31 bytes, not 32",
    ),
    (
        "update seals set sealed_at = 'infinity' where seal = 1",
        false,
        false,
        "seals: the row of seal 1 ",
    ),
    (
        "update seals set hashes = hashes[2:] where seal = (select max(seal) from seals)",
        false,
        false,
        "lists of 16 and of 15",
    ),
    (
        "update seals set nodes = array['x'::bytea] where seal = 2",
        false,
        false,
        "nodes has 1 bytes",
    ),
    (
        "update heads set hash = '' where shard = 3",
        true,
        false,
        "heads: the row of shard 3 ",
    ),
    (
        "update inbox set received_at = 'infinity' where source = 'clerk'",
        false,
        false,
        "deliveries: the row of source clerk key ",
    ),
    (
        "update inbox set positions = positions || 7::bigint where outcome = 'recorded'",
        false,
        false,
        "belong together",
    ),
    (
        "alter table streams alter version drop not null; update streams set version = null",
        false,
        true,
        "streams: the row of aggregate_type user",
    ),
    (
        "update users set registered_at = 'infinity'",
        false,
        false,
        "users: the row of user_id user_",
    ),
    (
        "drop index personal_email; update personal set profile = '{\"email\":\"\\u0000\"}' where aggregate_type = 'user'",
        false,
        false,
        "users: can not be compared",
    ),
    (
        "update events set payload = '{\"profile\":{\"digest\":\"\\u0000\"}}' where event_type = 'UserProfileChanged'",
        false,
        false,
        "personal: can not be compared",
    ),
];

#[tokio::test]
async fn what_can_not_be_read_is_told_with_its_place_and_the_rest_is_judged() {
    let unguarded = "alter table events disable trigger all; alter table seals disable trigger all;
                     alter table events drop constraint events_hash;
                     alter table seals drop constraint seals_ends;
                     alter table heads drop constraint heads_hash;
                     alter table inbox drop constraint inbox_positions;
                     delete from requests where idempotency_key = (select min(idempotency_key) from requests);";
    let app = told().await;
    let template = app.database.name().to_owned();
    app.stop().await;
    for (sql, placed, of_stream, says) in UNREADABLE {
        let database = copy_of(&template).await;
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await
            .unwrap();
        let changes = format!("{unguarded} {sql}");
        client.batch_execute(&changes).await.unwrap();
        let report = judge(&database, None).await.report;
        let told = report.findings.iter().find(|one| {
            one.check == checks::UNREADABLE
                && one.what.contains(says)
                && one.position.is_some() == placed
                && one.stream.is_some() == of_stream
        });
        assert!(told.is_some(), "{sql}\n{:#?}", report.findings);
        // The requests are looked at near the end.
        let last = report
            .findings
            .iter()
            .any(|one| one.what.contains("requests"));
        assert!(last || report.found > 100, "{sql}\n{:#?}", report.findings);
    }
}

/// A copy of a database that nobody uses.
async fn copy_of(template: &str) -> Database {
    let copy = cluster::settings(&format!("{template}_{}", unique("copy")));
    let name = copy.database.clone().unwrap();
    let database = cluster::fresh_database().await.sibling(&name);
    assert!(database.create(Some(template)).await.unwrap());
    // Opened anew: roles are a matter of each database.
    Database::open(&copy).await.unwrap()
}
