//! Erasure cut off anywhere, done twice, and begun without anybody asking.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use credit_ledger::config::Config;
use credit_ledger::ledger::{Command, PurchaseId, Source, UserId};
use credit_ledger::store::{Origin, Outcome, Unit, Work};
use serde_json::json;

use super::{Person, assert_no_trace, assert_whole, deliver, erase, erase_now, lived, traces};
use crate::support::deliveries::{created, deleted, user};
use crate::support::{Options, TestApp, eventually};

fn user_id() -> UserId {
    UserId::parse("user_zoe").unwrap()
}

pub(super) async fn apply(app: &TestApp, command: Command) -> Outcome {
    let unit = Unit {
        origin: Origin::System,
        work: Work::Apply(command),
    };
    app.app().ledger.execute(unit).await.unwrap()
}

/// Lets some of the purchases forget who paid.
async fn erase_payers(app: &TestApp, most: i64) {
    let sql = "select purchase_id from purchases order by purchase_id limit $1";
    for row in app.sql().await.query(sql, &[&most]).await.unwrap() {
        let erase = Command::ErasePayer {
            purchase_id: PurchaseId::parse(row.get::<_, String>(0)).unwrap(),
            user_id: user_id(),
        };
        assert_eq!(apply(app, erase.clone()).await, Outcome::Recorded);
        assert_eq!(apply(app, erase).await, Outcome::Duplicate);
    }
}

#[tokio::test]
async fn whoever_comes_next_goes_on_where_an_erasure_was_cut_off() {
    const BODIES: &str = "update inbox set body = '', erased_at = now()";
    for steps in 0..6 {
        let app = TestApp::start().await;
        lived(&app, &Person::new("user_zoe")).await;
        let events =
            "select count(*) from events where event_type in ('UserErased', 'PayerErased')";
        // From now on it sees nothing of what is left to do; the next start gives the right back.
        let blind = "revoke select on outbox from credit_ledger_app";
        app.sql().await.batch_execute(blind).await.unwrap();
        erase(&app, "user_zoe")
            .await
            .assert_ok(&json!({"erased": false}));
        match steps {
            1 => erase_payers(&app, 1).await,
            2 => erase_payers(&app, 2).await,
            3.. => erase_payers(&app, 9).await,
            _ => {}
        }
        let some = format!("{BODIES} where key in (select key from inbox order by key limit 5)");
        match steps {
            2 | 3 => app.sql().await.batch_execute(&some).await.unwrap(),
            4.. => app.sql().await.batch_execute(BODIES).await.unwrap(),
            _ => {}
        }
        if steps == 5 {
            let user_id = user_id();
            let last = apply(&app, Command::ConfirmErasure { user_id }).await;
            assert_eq!(last, Outcome::Recorded);
        } else {
            assert!(!traces(&app).await.is_empty(), "after {steps} steps");
        }
        let database = app.database.clone();
        app.stop().await;

        let app = TestApp::start_on(database, Options::default()).await;
        app.idle().await;
        assert_no_trace(&app).await;
        assert_eq!(app.get("/v1/users/user_zoe").await.body["erased"], true);
        assert_eq!(app.count(events).await, 4 + 1, "after {steps} steps");
        assert_whole(&app).await;
        app.stop().await;
    }
}

/// The rows beside a stream go with the event that says so, and not without it.
#[tokio::test]
async fn personal_data_and_its_erasure_are_one_transaction() {
    let app = TestApp::start_blind().await;
    Person::new("user_zoe").sign_up(&app).await;
    let confirm = || Command::ConfirmErasure { user_id: user_id() };
    assert_eq!(
        apply(&app, confirm()).await,
        Outcome::Duplicate,
        "nobody asked"
    );
    erase(&app, "user_zoe")
        .await
        .assert_ok(&json!({"erased": false}));
    let sql = app.sql().await;
    let refuse = "create function refuse_delete() returns trigger language plpgsql as
                    $$ begin raise exception 'no' using errcode = 'integrity_constraint_violation'; end $$;
                  create trigger refuse before delete on personal for each row execute function refuse_delete()";
    sql.batch_execute(refuse).await.unwrap();
    let unit = Unit {
        origin: Origin::System,
        work: Work::Apply(confirm()),
    };
    app.app().ledger.execute(unit).await.unwrap_err();
    assert_eq!(app.count("select count(*) from personal").await, 2);
    assert_eq!(
        app.count("select count(*) from events where event_type = 'UserErased'")
            .await,
        0
    );
    sql.batch_execute("drop trigger refuse on personal")
        .await
        .unwrap();
    assert_eq!(apply(&app, confirm()).await, Outcome::Recorded);
    assert_eq!(apply(&app, confirm()).await, Outcome::Duplicate);
    assert_eq!(app.count("select count(*) from personal").await, 0);
    app.stop().await;
}

fn restless() -> Options {
    Options {
        configure: Arc::new(|config: &mut Config| {
            config.upkeep_every = Duration::from_millis(20);
            config.erase_after = Some(Duration::ZERO);
        }),
        ..Options::default()
    }
}

/// As a release leaves it that does not know of erasures and wrote the state back.
#[tokio::test]
async fn an_erasure_that_a_state_does_not_know_of_is_not_counted_as_done() {
    let app = TestApp::start_blind().await;
    for user_id in ["user_zoe", "user_second"] {
        Person::new(user_id).sign_up(&app).await;
        erase(&app, user_id)
            .await
            .assert_ok(&json!({"erased": false}));
    }
    let forget = "update streams set state = (state::jsonb - 'erasure_requested')::json where aggregate_id = 'user_zoe'";
    app.sql().await.batch_execute(forget).await.unwrap();
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, restless()).await;
    // It does not keep the one who asked after it waiting either.
    eventually("one of two is done", async || {
        (app.count("select count(*) from outbox").await == 1).then_some(())
    })
    .await;
    let shown = app.get("/v1/users/user_second").await.body;
    assert_eq!(shown["erased"], true);
    let shown = app.get("/v1/users/user_zoe").await.body;
    assert_eq!(shown["erased"], false);
    erase_now(&app, "user_zoe").await;
    assert_no_trace(&app).await;
    app.stop().await;
}

/// A read model that is wrong keeps nobody else waiting.
#[tokio::test]
async fn who_is_listed_though_it_was_asked_for_is_in_nobodys_way() {
    let app = TestApp::start().await;
    Person::new("user_zoe").sign_up(&app).await;
    erase_now(&app, "user_zoe").await;
    let listed = "update users set erasure_requested = false where user_id = 'user_zoe'";
    app.sql().await.batch_execute(listed).await.unwrap();
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, restless()).await;
    Person::new("user_second").sign_up(&app).await;
    erase(&app, "user_second")
        .await
        .assert_ok(&json!({"erased": false}));
    eventually("the other is erased", async || {
        let shown = app.get("/v1/users/user_second").await.body;
        (shown["erased"] == true).then_some(())
    })
    .await;
    assert_no_trace(&app).await;
    app.stop().await;
}

/// A purchase turned out to be somebody else's between looking and doing.
#[tokio::test]
async fn who_paid_is_forgotten_only_for_whom_it_was_asked() {
    let app = TestApp::start_blind().await;
    deliver(
        &app,
        Source::Clerk,
        &created(&user("user_other")),
        "recorded",
    )
    .await;
    let paid = crate::support::deliveries::payment(Some("user_other"));
    let delivery = crate::support::deliveries::captured(&paid);
    deliver(&app, Source::Razorpay, &delivery, "recorded").await;
    let erase_payer = |user_id: &str, payment_id: &str| Command::ErasePayer {
        purchase_id: PurchaseId::parse(format!("razorpay:{payment_id}")).unwrap(),
        user_id: UserId::parse(user_id).unwrap(),
    };
    let before = app.count("select count(*) from events").await;
    Person::new("user_zoe").sign_up(&app).await;
    erase(&app, "user_zoe").await;
    for command in [
        erase_payer("user_other", &paid.payment_id),
        erase_payer("user_zoe", &paid.payment_id),
        erase_payer("user_zoe", "pay_unknown"),
    ] {
        assert_eq!(apply(&app, command).await, Outcome::Duplicate);
    }
    assert_eq!(
        app.count("select count(*) from events").await,
        before + 3 + 2
    );
    app.stop().await;
}

#[tokio::test]
async fn many_are_erased_by_several_instances_at_once() {
    let often = || Options {
        configure: Arc::new(|config: &mut Config| config.upkeep_every = Duration::from_millis(20)),
        ..Options::default()
    };
    let app = TestApp::start_with(often()).await;
    let second = TestApp::start_on(app.database.clone(), often()).await;
    let users: Vec<String> = (0..20).map(|n| format!("user_zoe_{n}")).collect();
    for user_id in &users {
        lived(&app, &Person::new(user_id)).await;
    }
    deliver(
        &app,
        Source::Clerk,
        &created(&user("user_other")),
        "recorded",
    )
    .await;
    let asked = users
        .iter()
        .enumerate()
        .map(|(n, user_id)| erase([&app, &second][n % 2], user_id));
    for answer in futures_util::future::join_all(asked).await {
        answer.assert_ok(&json!({"deleted": true}));
    }
    app.idle().await;
    assert_no_trace(&app).await;
    assert_eq!(
        app.count("select count(*) from users where erased").await,
        20
    );
    assert_eq!(
        app.count("select count(*) from inbox where body <> ''")
            .await,
        1
    );
    assert_whole(&app).await;
    second.stop().await;
    app.stop().await;
}

#[tokio::test]
async fn who_was_deleted_long_enough_ago_is_erased_by_itself() {
    let by_policy = |days: u64| Options {
        configure: Arc::new(move |config: &mut Config| {
            config.erase_after = Some(Duration::from_hours(24 * days));
            config.upkeep_every = Duration::from_millis(20);
        }),
        ..Options::default()
    };
    let app = TestApp::start_with(by_policy(30)).await;
    app.stop_clock(app.now());
    deliver(
        &app,
        Source::Clerk,
        &created(&user("user_later")),
        "recorded",
    )
    .await;
    Person::new("user_zoe").sign_up(&app).await;
    deliver(
        &app,
        Source::Clerk,
        &created(&user("user_stays")),
        "recorded",
    )
    .await;
    deliver(&app, Source::Clerk, &deleted("user_zoe"), "recorded").await;
    app.move_clock(TimeDelta::days(20));
    let user_id = UserId::parse("user_later").unwrap();
    assert_eq!(
        apply(&app, Command::DeleteUser { user_id }).await,
        Outcome::Recorded
    );
    app.move_clock(TimeDelta::days(10) - TimeDelta::seconds(1));
    let rounds = app.app().upkeep_rounds();
    eventually("upkeep has looked again", async || {
        (app.app().upkeep_rounds() > rounds + 1).then_some(())
    })
    .await;
    assert_eq!(
        app.count("select count(*) from users where erasure_requested")
            .await,
        0
    );
    app.move_clock(TimeDelta::seconds(1));
    eventually("one is erased", async || {
        (app.count("select count(*) from users where erased").await == 1).then_some(())
    })
    .await;
    app.idle().await;
    assert_no_trace(&app).await;
    let asked =
        "select source || ' ' || aggregate_id from events where event_type = 'ErasureRequested'";
    let row = app.sql().await.query_one(asked, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "system user_zoe");
    for (user_id, erased) in [
        ("user_zoe", true),
        ("user_stays", false),
        ("user_later", false),
    ] {
        let shown = app.get(&format!("/v1/users/{user_id}")).await.body;
        assert_eq!(shown["erased"], erased, "{user_id}");
    }
    // One who asks need not wait.
    erase_now(&app, "user_later").await;
    assert_whole(&app).await;
    app.stop().await;
}

#[tokio::test]
async fn nobody_is_erased_by_itself_unless_it_is_set() {
    let restless = |config: &mut Config| config.upkeep_every = Duration::from_millis(20);
    let app = TestApp::start_with(Options {
        configure: Arc::new(restless),
        ..Options::default()
    })
    .await;
    Person::new("user_zoe").sign_up(&app).await;
    deliver(&app, Source::Clerk, &deleted("user_zoe"), "recorded").await;
    app.move_clock(TimeDelta::days(4000));
    let rounds = app.app().upkeep_rounds();
    eventually("upkeep has looked again", async || {
        (app.app().upkeep_rounds() > rounds + 1).then_some(())
    })
    .await;
    assert_eq!(
        app.count("select count(*) from users where erasure_requested")
            .await,
        0
    );
    app.stop().await;
}
