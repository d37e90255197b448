//! Who may ask, and how often: API keys of the database, and rate limits.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use credit_ledger::access::RateLimitSettings;
use credit_ledger::access::Scope;
use credit_ledger::access::issued::{KEY_BYTES, NewKey};
use credit_ledger::access::registry;
use credit_ledger::ledger::Source;
use credit_ledger::postgres::{ConnectOptions, Role};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::crash::service::DataDir;
use crate::routes::headers::assert_private;
use crate::support::app::{ADMIN_KEY, Answer, SERVICE_KEY, answer};
use crate::support::cluster;
use crate::support::deliveries::{created, user};
use crate::support::seals::sealing;
use crate::support::{Options, TestApp, eventually};

/// A key of this name, kept in the application's database. Each `byte` makes another one.
pub async fn keep(app: &TestApp, byte: u8, name: &str, scopes: &[Scope]) -> NewKey {
    let key = NewKey::of(&[byte; KEY_BYTES]);
    let owner = app.sql_as(Role::Owner).await;
    let now = chrono::Utc::now();
    registry::create(&owner, &key, &name.parse().unwrap(), scopes, now)
        .await
        .unwrap();
    key
}

pub async fn revoke(app: &TestApp, key: &NewKey) {
    let owner = app.sql_as(Role::Owner).await;
    let revoked = registry::revoke(&owner, key.prefix(), chrono::Utc::now()).await;
    assert!(revoked.unwrap().unwrap().revoked_at.is_some());
}

async fn ask(app: &TestApp, method: Method, path: &str, key: &str) -> Answer {
    answer(app.request(method, path).bearer_auth(key)).await
}

async fn users(app: &TestApp, key: &NewKey) -> Answer {
    ask(app, Method::GET, "/v1/users", key.reveal()).await
}

/// Waits until the application answers so.
pub async fn until(app: &TestApp, key: &NewKey, status: u16) {
    eventually(&format!("{status} for {key:?}"), || async {
        (users(app, key).await.status == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_is_good_from_its_making_to_its_revocation() {
    let app = TestApp::start().await;
    app.deliver(Source::Clerk, &created(&user("user_1")))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let all = [Scope::CreditsRead, Scope::CreditsWrite];
    let key = keep(&app, 1, "shop", &all).await;
    until(&app, &key, 200).await;
    let other = NewKey::of(&[2; KEY_BYTES]);
    users(&app, &other)
        .await
        .assert_problem(401, "unauthenticated");

    // One that was made while the service runs, with scopes of its own.
    let reader = keep(&app, 3, "shop", &[Scope::CreditsRead]).await;
    until(&app, &reader, 200).await;
    ask(&app, Method::DELETE, "/v1/users/user_1", reader.reveal())
        .await
        .assert_problem(403, "insufficient_scope");
    for (path, key) in [("/v1/admin/overview", &key), ("/v1/admin/inbox", &reader)] {
        ask(&app, Method::GET, path, key.reveal())
            .await
            .assert_problem(403, "insufficient_scope");
    }

    // What is done with it is recorded with its name.
    let deleted = ask(&app, Method::DELETE, "/v1/users/user_1", key.reveal()).await;
    assert_eq!(deleted.status, 200);
    let by_shop = "select count(*) from events where metadata->>'principal' = 'shop'
                      and event_type in ('UserDeleted', 'ErasureRequested')";
    assert_eq!(app.count(by_shop).await, 2);

    // Another instance knows it, too, and the settings' keys go on.
    let second = TestApp::start_on(app.database.clone(), Options::default()).await;
    until(&second, &key, 200).await;
    assert_eq!(second.get("/v1/users").await.status, 200);

    // A revoked key is refused by all; the name's other key is not.
    revoke(&app, &key).await;
    until(&app, &key, 401).await;
    until(&second, &key, 401).await;
    assert_eq!(users(&app, &reader).await.status, 200);
    app.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_key_of_a_settings_name_is_that_principal() {
    let app = TestApp::start().await;
    let key = keep(&app, 1, "admin", &[Scope::Admin]).await;
    until(&app, &key, 200).await;
    let overview = ask(&app, Method::GET, "/v1/admin/overview", key.reveal()).await;
    assert_eq!(overview.status, 200);
    app.stop().await;
}

/// Notes how whatever writes to these tables is committed, at its commit.
const NOTE_COMMITS: &str = "
    create table commits (what text, how text);
    create function note_commit() returns trigger language plpgsql security definer as $$ begin
        insert into commits values (tg_table_name || ' ' || lower(tg_op), current_setting('synchronous_commit'));
        return null;
    end $$;
    create constraint trigger noted after insert or update on api_keys deferrable initially deferred
        for each row execute function note_commit();
    create constraint trigger noted after insert on seals deferrable initially deferred
        for each row execute function note_commit();
    create constraint trigger noted after update on heads deferrable initially deferred
        for each row execute function note_commit()";

/// A crash or a failover must not make a revoked key good again, nor take back what a witness was told of.
#[tokio::test]
async fn what_somebody_is_told_of_is_committed_durably_whatever_the_default_is() {
    for (default, how) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let database = cluster::fresh_database().await;
        let name = database.name();
        let set = format!("alter database \"{name}\" set synchronous_commit = {default}");
        let options = ConnectOptions::default();
        let login = database.connect_as_login(&options).await.unwrap();
        login.batch_execute(&set).await.unwrap();
        login.batch_execute(NOTE_COMMITS).await.unwrap();
        let app = TestApp::start_on(database, sealing()).await;
        let key = keep(&app, 1, "shop", &[Scope::Audit]).await;
        revoke(&app, &key).await;
        app.grant("user_1", 1).await;
        app.seal_all().await;
        let sql = app.sql().await;
        let noted = "select distinct what, how from commits order by what";
        let noted = sql.query(noted, &[]).await.unwrap();
        let noted: Vec<(&str, &str)> = noted.iter().map(|row| (row.get(0), row.get(1))).collect();
        let all = [
            "api_keys insert",
            "api_keys update",
            "heads update",
            "seals insert",
        ];
        assert_eq!(noted, all.map(|what| (what, how)), "{default}");
        app.stop().await;
    }
}

/// Counts how often the service reads its keys: the table is a function behind a view.
const COUNT_READINGS: &str = "
    alter table api_keys rename to kept_keys;
    create sequence readings;
    create function read_keys() returns setof kept_keys language sql security definer
        as $$ select nextval('readings'); select * from kept_keys $$;
    create view api_keys as select * from read_keys();
    grant select on api_keys to credit_ledger_app";

#[tokio::test]
async fn guessing_costs_the_database_nothing() {
    let app = TestApp::start().await;
    app.sql().await.batch_execute(COUNT_READINGS).await.unwrap();
    let readings = "select case when is_called then last_value else 0 end from readings";

    // What has not the form of a key is no reason to look.
    for text in ["guess", "cl_guess", &app.token("user_1"), SERVICE_KEY] {
        let _ = ask(&app, Method::GET, "/v1/users", text).await;
    }
    assert_eq!(app.count(readings).await, 0);

    let started = Instant::now();
    for round in 0..10 {
        let guesses = (0..20).map(|byte| {
            let guess = NewKey::of(&[round * 20 + byte; KEY_BYTES]);
            let app = &app;
            async move { users(app, &guess).await.status }
        });
        for status in join_all(guesses).await {
            assert_eq!(status, 401);
        }
    }
    let most = i64::try_from(started.elapsed().as_secs()).unwrap() + 1;
    let read = app.count(readings).await;
    assert!((1..=most).contains(&read), "{read} in {most} s");
    app.stop().await;
}

#[tokio::test]
async fn a_known_key_goes_on_while_the_keys_can_not_be_read() {
    let app = TestApp::start().await;
    let key = keep(&app, 1, "shop", &[Scope::CreditsRead]).await;
    until(&app, &key, 200).await;
    let hide = "revoke select on api_keys from credit_ledger_app";
    app.sql().await.batch_execute(hide).await.unwrap();
    // One that is not known may have been made since, so nobody says that it is not.
    until(&app, &NewKey::of(&[2; KEY_BYTES]), 503).await;
    assert_eq!(users(&app, &key).await.status, 200);
    assert_eq!(app.get("/v1/users").await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn without_keys_to_judge_by_nobody_is_let_in_but_the_settings_keys() {
    let app = TestApp::start().await;
    let key = keep(&app, 1, "shop", &[Scope::CreditsRead]).await;
    let sql = app.sql().await;
    let hide = "revoke select on api_keys from credit_ledger_app";
    sql.batch_execute(hide).await.unwrap();
    let refused = users(&app, &key).await;
    refused.assert_problem(503, "unavailable");
    assert!(refused.headers.contains_key("retry-after"));
    assert_eq!(app.get("/v1/users").await.status, 200);
    let show = "grant select on api_keys to credit_ledger_app";
    sql.batch_execute(show).await.unwrap();
    until(&app, &key, 200).await;
    app.stop().await;
}

#[tokio::test]
async fn the_table_holds_no_key_and_takes_nothing_else() {
    let app = TestApp::start().await;
    let key = keep(&app, 1, "shop", &[Scope::CreditsRead]).await;
    let all = "select count(*) from api_keys where prefix || name || encode(digest, 'hex') || scopes::text like $1";
    let secret = format!("%{}%", &key.reveal()[15..]);
    let row = app.sql().await.query_one(all, &[&secret]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);

    let owner = app.sql_as(Role::Owner).await;
    for (change, constraint) in [
        ("prefix = 'sk_0123456789ab'", "api_keys_prefix"),
        ("name = 'Shop'", "api_keys_name"),
        ("name = ''", "api_keys_name"),
        ("digest = ''", "api_keys_digest"),
        ("scopes = '{}'", "api_keys_scopes"),
    ] {
        let sql = format!("update api_keys set {change}");
        let error = owner.batch_execute(&sql).await.unwrap_err();
        let violated = error.as_db_error().unwrap().constraint();
        assert_eq!(violated, Some(constraint), "{change}");
    }
    // The service itself makes none.
    let service = app.sql_as(Role::App).await;
    for sql in [
        "update api_keys set revoked_at = now()",
        "delete from api_keys",
        "insert into api_keys select * from api_keys",
    ] {
        let error = service.batch_execute(sql).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
    app.stop().await;
}

#[tokio::test]
async fn there_are_only_so_many_keys() {
    let app = TestApp::start().await;
    let fill = format!(
        "insert into api_keys (prefix, name, digest, scopes, created_at, revoked_at)
         select 'cl_' || lpad(to_hex(n), 12, '0'), 'shop', sha256(n::text::bytea), '{{audit}}', now(),
                case when n > {max} - 1 then now() end
           from generate_series(1, {max} + 100) as n",
        max = registry::LIVE_MAX
    );
    app.sql().await.batch_execute(&fill).await.unwrap();
    let last = keep(&app, 1, "shop", &[Scope::CreditsRead]).await;
    until(&app, &last, 200).await;
    let owner = app.sql_as(Role::Owner).await;
    let more = NewKey::of(&[2; KEY_BYTES]);
    let (name, now) = ("shop".parse().unwrap(), chrono::Utc::now());
    let make = registry::create(&owner, &more, &name, &[Scope::Audit], now);
    assert!(make.await.unwrap_err().to_string().contains("1000 keys"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_and_revoked_on_the_command_line() {
    let data = DataDir::new();
    // Before there is anything.
    let early = data.said(&["keys", "list"], 1);
    assert!(early.contains("credit-ledger migrate"), "{early}");

    let service = data.serve();
    assert_eq!(data.said(&["keys", "list"], 0), "no keys\n");
    let create = [
        "keys",
        "create",
        "shop",
        "--scope",
        "credits:read",
        "--scope",
        "audit",
    ];
    let said = data.said(&create, 0);
    let (key, note) = said.split_once('\n').unwrap();
    assert!(key.starts_with("cl_") && key.len() == 79, "{said}");
    assert_eq!(note, "a key of shop; it is shown this once:\n");
    let status = async |status: u16| {
        eventually("the service knows", || async {
            let url = format!("http://{}/v1/users", service.address);
            let request = service.client.get(url).bearer_auth(key);
            (request.send().await.unwrap().status() == status).then_some(())
        })
        .await;
    };
    status(200).await;

    let prefix = &key[..15];
    let listed = data.said(&["keys", "list"], 0);
    assert!(
        listed.starts_with(&format!("{prefix}  shop  credits:read,audit  created 20")),
        "{listed}"
    );
    assert!(
        !listed.contains(&key[15..]) && !listed.contains("revoked"),
        "{listed}"
    );
    let digest = "select encode(digest, 'hex') from api_keys";
    let digest: String = data
        .sql()
        .await
        .query_one(digest, &[])
        .await
        .unwrap()
        .get(0);
    assert!(!listed.contains(&digest) && !said.contains(&digest));

    let revoked = data.said(&["keys", "revoke", prefix], 0);
    assert!(
        revoked.starts_with(prefix) && revoked.contains("  revoked 20"),
        "{revoked}"
    );
    status(401).await;
    // Again, by the whole key: the same.
    assert_eq!(data.said(&["keys", "revoke", key], 0), revoked);
    assert_eq!(data.said(&["keys", "list"], 0), revoked);

    for (arguments, code) in [
        (&["keys", "revoke", "cl_000000000000"][..], 1),
        (&["keys", "revoke", "shop"], 2),
        (&["keys", "create", "shop"], 2),
        (&["keys", "create", "Shop", "--scope", "audit"], 2),
        (&["keys", "create", "shop", "--scope", "everything"], 2),
        (&["keys", "list", "--limit", "0"], 2),
    ] {
        data.said(arguments, code);
    }
    drop(service);
}

fn limited(limits: RateLimitSettings) -> Options {
    Options {
        configure: Arc::new(move |config| config.rate_limits = limits),
        ..Options::default()
    }
}

/// One request a second, and this many at once.
const BURST: usize = 5;

fn one_a_second(per_key: bool, per_address: bool, trusted_proxies: usize) -> RateLimitSettings {
    let one = NonZeroU32::new(1);
    RateLimitSettings {
        per_key: one.filter(|_| per_key),
        per_address: one.filter(|_| per_address),
        burst: NonZeroU32::new(u32::try_from(BURST).unwrap()),
        trusted_proxies,
    }
}

/// Asks until something else than a success comes, which must be a refusal, and not before the burst is used up.
async fn ask_until_refused(what: &str, ask: impl AsyncFn() -> Answer) {
    let started = Instant::now();
    let mut taken = 0;
    let refused = loop {
        let answer = ask().await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    refused.assert_problem(429, "rate_limited");
    let gained = usize::try_from(started.elapsed().as_secs()).unwrap() + 1;
    assert!((BURST..=BURST + gained).contains(&taken), "{what}: {taken}");
    assert_eq!(refused.headers["retry-after"], "1", "{what}");
    assert_private(&refused);
}

#[tokio::test]
async fn a_key_and_a_user_may_ask_only_so_often() {
    let app = TestApp::start_with(limited(one_a_second(true, false, 0))).await;
    ask_until_refused("a key", async || app.get("/v1/users").await).await;
    ask_until_refused("a user", async || app.get_as("user_1", "/v1/me").await).await;
    // Whoever else asks is not concerned: neither another key nor another user, from the same address.
    assert_eq!(app.get_as_operator("/v1/users").await.status, 200);
    assert_eq!(app.get_as("user_2", "/v1/me").await.status, 200);
    // A name is counted, whichever of its keys is used.
    let key = keep(&app, 1, "shop", &[Scope::CreditsRead]).await;
    let other = keep(&app, 2, "shop", &[Scope::CreditsRead]).await;
    eventually("the name is used up", || async {
        (users(&app, &key).await.status == 429).then_some(())
    })
    .await;
    users(&app, &other)
        .await
        .assert_problem(429, "rate_limited");
    app.stop().await;
}

#[tokio::test]
async fn an_address_may_ask_only_so_often() {
    let app = TestApp::start_with(limited(one_a_second(false, true, 0))).await;
    // A header that nobody trusted wrote changes nothing.
    let ask = async |n: usize| {
        let request = app.request(Method::GET, "/v1/users");
        let from = format!("192.0.2.{n}");
        answer(
            request
                .bearer_auth(SERVICE_KEY)
                .header("x-forwarded-for", from),
        )
        .await
    };
    let number = std::cell::Cell::new(0);
    ask_until_refused("an address", async || {
        number.set(number.get() + 1);
        ask(number.get()).await
    })
    .await;
    // Whatever is asked for, with whatever key or none, and also where there is nothing.
    for (path, key) in [
        ("/v1/users", ADMIN_KEY),
        ("/v1/me", "nobody"),
        ("/nothing", SERVICE_KEY),
    ] {
        eventually("it is refused", || async {
            (app.request(Method::GET, path)
                .bearer_auth(key)
                .send()
                .await
                .unwrap()
                .status()
                == 429)
                .then_some(())
        })
        .await;
    }
    // But providers, whose signature is the gate, and whoever looks after the instance.
    for n in 0..2 * BURST {
        let sign_up = created(&user(&format!("user_{n}")));
        app.deliver(Source::Clerk, &sign_up)
            .await
            .assert_ok(&json!({"status": "recorded"}));
        app.post("/webhooks/clerk", &[], "{}")
            .await
            .assert_problem(400, "invalid_signature");
        for path in ["/health/live", "/health/ready"] {
            assert_eq!(answer(app.request(Method::GET, path)).await.status, 200);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_the_address_is_the_one_that_it_names() {
    let app = TestApp::start_with(limited(one_a_second(false, true, 1))).await;
    let ask = async |forwarded: &str| {
        let request = app.request(Method::GET, "/v1/users");
        let request = request.header("x-forwarded-for", forwarded);
        answer(request.bearer_auth(SERVICE_KEY)).await
    };
    let number = std::cell::Cell::new(0);
    ask_until_refused("a client", async || {
        // What the client itself wrote before it is worth nothing.
        number.set(number.get() + 1);
        ask(&format!("10.0.0.{}, 192.0.2.1", number.get())).await
    })
    .await;
    assert_eq!(ask("192.0.2.1, 192.0.2.2").await.status, 200);
    app.stop().await;
}
