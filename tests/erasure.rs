//! Erasure: after it nothing in the database or the log has the person's names and addresses, and all else is as it was.

mod late;
mod merged;
mod steps;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use credit_ledger::audit::export::{self, Format, Request};
use credit_ledger::ledger::Source;
use credit_ledger::projection::{READ_MODELS, rebuild};
use credit_ledger::provider::sample::stripe::StripeSale;
use credit_ledger::provider::sample::{self, SamplePayment, SampleUser};
use credit_ledger::provider::sign::SignedDelivery;
use credit_ledger_verify::manifest::Scope;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::TestApp;
use crate::support::app::{Answer, SERVICE_KEY, answer};
use crate::support::deliveries::{
    captured, clerk, created, order_paid, payment, razorpay, sale, stripe_event, told, unique,
    updated, user,
};
use crate::support::folder::Folder;
use crate::support::integrity::assert_log_is_whole;
use crate::support::search::{Log, columns_with};

/// What is nobody else's: in the names and in every address of [`Person`].
const TRACES: [&str; 3] = ["nadelöhr", "zoë", "nadel."];

/// A user whose data can be told from that of others.
struct Person {
    before: SampleUser,
    now: SampleUser,
}

impl Person {
    fn new(user_id: &str) -> Self {
        let before = SampleUser {
            email: Some("nadel.old@example.com".to_owned()),
            first_name: Some("Zoë".to_owned()),
            last_name: Some("Nadelöhr".to_owned()),
            ..user(user_id)
        };
        let now = SampleUser {
            email: Some("Nadel.Zoë@example.com".to_owned()),
            updated_at: before.updated_at + TimeDelta::days(1),
            ..before.clone()
        };
        Self { before, now }
    }

    fn email(&self) -> Option<String> {
        self.now.email.clone()
    }

    async fn sign_up(&self, app: &TestApp) {
        deliver(app, Source::Clerk, &created(&self.before), "recorded").await;
        deliver(app, Source::Clerk, &updated(&self.now), "recorded").await;
    }
}

async fn deliver(app: &TestApp, source: Source, delivery: &SignedDelivery, status: &str) {
    app.deliver(source, delivery)
        .await
        .assert_ok(&json!({ "status": status }));
}

async fn erase(app: &TestApp, user_id: &str) -> Answer {
    let request = app.request(Method::DELETE, &format!("/v1/users/{user_id}"));
    answer(request.bearer_auth(SERVICE_KEY)).await
}

/// Asks for it and waits until it is done.
async fn erase_now(app: &TestApp, user_id: &str) {
    erase(app, user_id)
        .await
        .assert_ok(&json!({"deleted": true, "erased": false}));
    app.idle().await;
    assert_eq!(
        app.get(&format!("/v1/users/{user_id}")).await.body["erased"],
        true
    );
}

/// Where a person's data is.
async fn traces(app: &TestApp) -> BTreeSet<String> {
    let sql = app.sql().await;
    let mut found = BTreeSet::new();
    for trace in TRACES {
        found.extend(columns_with(&sql, trace).await);
    }
    found
}

async fn assert_no_trace(app: &TestApp) {
    assert_eq!(traces(app).await, BTreeSet::new());
}

/// The chain, the replay, and that every read model comes out as it is.
async fn assert_whole(app: &TestApp) {
    assert_log_is_whole(app).await;
    app.assert_audit_is_clean().await;
    for model in READ_MODELS {
        let before = rows(app, model.name).await;
        rebuild::rebuild(&app.database, model.name, &mut |_, _| {})
            .await
            .unwrap();
        assert_eq!(rows(app, model.name).await, before, "{}", model.name);
    }
    app.assert_audit_is_clean().await;
}

/// What proves each delivery, and what became of it.
async fn evidence(app: &TestApp) -> Value {
    rows(
        app,
        "(select source, key, body_sha256, headers, secret, outcome from inbox) as evidence",
    )
    .await
}

async fn rows(app: &TestApp, table: &str) -> Value {
    let sql = format!(
        "select coalesce(json_agg(t order by t::text), '[]')::text from (select * from {table}) as t"
    );
    let row = app.sql().await.query_one(&sql, &[]).await.unwrap();
    serde_json::from_str(row.get(0)).unwrap()
}

/// How many deliveries are stored with their bodies, and how many without.
async fn bodies(app: &TestApp) -> (i64, i64) {
    let kept = "select count(*) from inbox where body <> ''";
    let gone = "select count(*) from inbox where body = '' and erased_at is not null and length(body_sha256) = 32
                  and headers::text <> '' and secret <> ''";
    (app.count(kept).await, app.count(gone).await)
}

/// Whether a delivery still has its body.
async fn has_body(app: &TestApp, delivery: &SignedDelivery) -> bool {
    let sql = app.sql().await;
    let query = "select count(*) from inbox where body = $1";
    let row = sql.query_one(query, &[&delivery.body]).await.unwrap();
    row.get::<_, i64>(0) > 0
}

/// Events that concern nothing here and have the address all the same: a payment that failed, a customer, an e-mail that
/// Clerk sent.
fn ignored(email: &str) -> Vec<(Source, SignedDelivery)> {
    let failed = SamplePayment {
        email: Some(email.to_owned()),
        ..payment(None)
    };
    let mut failed = sample::razorpay_payment_captured(&failed);
    failed["event"] = json!("payment.failed");
    // As PHP and .NET write it.
    let failed = failed.to_string();
    let failed = failed.replace('@', "\\u0040").replace('ë', "\\u00EB");
    let customer =
        json!({"object": "customer", "id": unique("cus_"), "email": email, "name": "Zoë Nadelöhr"});
    let sent = json!({"type": "email.created", "object": "event", "data": {
        "id": unique("ema_"), "body": format!("<p>Zoë,\n\"{}\" is proven.</p>", email.to_uppercase()),
    }});
    vec![
        (Source::Razorpay, razorpay(&unique("evt"), failed)),
        (Source::Stripe, stripe_event("customer.created", &customer)),
        (Source::Clerk, clerk(&unique("msg_"), sent.to_string())),
    ]
}

/// Everything that the person does. Gives how many deliveries that were, and the sign-up.
async fn lived(app: &TestApp, person: &Person) -> (i64, SignedDelivery) {
    let user_id = person.now.user_id.clone();
    let sign_up = created(&person.before);
    deliver(app, Source::Clerk, &sign_up, "recorded").await;
    deliver(app, Source::Clerk, &updated(&person.now), "recorded").await;
    deliver(app, Source::Clerk, &sign_up, "duplicate").await;
    // Old news.
    deliver(app, Source::Clerk, &updated(&person.before), "duplicate").await;
    let email = person.email();
    // Of the user; then one that finds its user by the address; then one that fits nothing and stays nobody's.
    let own = SamplePayment {
        email: Some("nadel.payer@example.com".to_owned()),
        ..payment(Some(&user_id))
    };
    let matched = SamplePayment {
        email: email.clone(),
        ..payment(None)
    };
    let nobodys = SamplePayment {
        email: email.clone(),
        sku: None,
        amount_minor: 7,
        ..payment(None)
    };
    for paid in [&own, &matched, &nobodys] {
        deliver(app, Source::Razorpay, &captured(paid), "recorded").await;
        app.idle().await;
        deliver(app, Source::Razorpay, &order_paid(paid), "duplicate").await;
    }
    let bought = StripeSale {
        email: email.clone(),
        ..sale(Some(&user_id))
    };
    deliver(
        app,
        Source::Stripe,
        &told("checkout.session.completed", &bought),
        "recorded",
    )
    .await;
    deliver(
        app,
        Source::Stripe,
        &told("payment_intent.succeeded", &bought),
        "duplicate",
    )
    .await;
    let ignored = ignored(&email.unwrap());
    for (source, delivery) in &ignored {
        deliver(app, *source, delivery, "ignored").await;
    }
    (3 + 3 * 2 + 2 + 3, sign_up)
}

#[tokio::test]
async fn nothing_of_a_person_is_left() {
    let log = Log::keep();
    let app = TestApp::start().await;
    let person = Person::new("user_zoe");
    let (lived, sign_up) = lived(&app, &person).await;
    // Somebody else, who must lose nothing.
    deliver(
        &app,
        Source::Clerk,
        &created(&user("user_other")),
        "recorded",
    )
    .await;
    let other = SamplePayment {
        email: Some("other@example.com".to_owned()),
        ..payment(Some("user_other"))
    };
    deliver(&app, Source::Razorpay, &captured(&other), "recorded").await;
    assert_eq!(bodies(&app).await, (lived + 2, 0));
    let there: Vec<&str> = vec![
        "inbox.body",
        "personal.profile",
        "purchases.payer_email",
        "users.email",
        "users.first_name",
        "users.last_name",
    ];
    let there: BTreeSet<String> = there.into_iter().map(str::to_owned).collect();
    assert_eq!(traces(&app).await, there);
    let balance = app.balance("user_zoe").await;
    assert_eq!(balance, 20 + 3 * 500);
    let digests = evidence(&app).await;

    erase_now(&app, "user_zoe").await;

    assert_no_trace(&app).await;
    assert_eq!(bodies(&app).await, (2, lived));
    let others = "select count(*) from personal where aggregate_id = 'user_other'";
    assert_eq!(
        app.count(others).await,
        app.count("select count(*) from personal").await
    );
    assert_eq!(
        evidence(&app).await,
        digests,
        "what proves a delivery stays"
    );
    assert_eq!(app.balance("user_zoe").await, balance);
    let shown = app.get("/v1/users/user_zoe").await.body;
    for (name, value) in [
        ("deleted", json!(true)),
        ("erased", json!(true)),
        ("email", Value::Null),
        ("first_name", Value::Null),
    ] {
        assert_eq!(shown[name], value, "{name}");
    }
    let listed = app.get("/v1/users").await.body;
    let erased = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["user_id"].clone(), one["erased"].clone()));
    assert_eq!(
        erased.collect::<Vec<_>>(),
        [
            (json!("user_other"), json!(false)),
            (json!("user_zoe"), json!(true))
        ]
    );
    assert_whole(&app).await;

    // Who asked is in the history, and asking again changes nothing.
    let asked = "select metadata::text from events where event_type = 'ErasureRequested'";
    let row = app.sql().await.query_one(asked, &[]).await.unwrap();
    assert_eq!(
        row.get::<_, String>(0),
        json!({"principal": "service"}).to_string()
    );
    let events = app.count("select count(*) from events").await;
    let again = erase(&app, "user_zoe").await;
    again.assert_ok(&json!({"deleted": true, "erased": true}));
    assert_eq!(again.headers["idempotency-hit"], "true");
    deliver(&app, Source::Clerk, &sign_up, "duplicate").await;
    app.idle().await;
    assert_eq!(app.count("select count(*) from events").await, events);
    assert_no_trace(&app).await;
    assert_no_trace_in_exports(&app, "user_zoe").await;

    assert_ne!(log.lines_with("credit_ledger").len(), 0);
    for trace in TRACES {
        assert_eq!(log.lines_with(trace), Vec::<String>::new());
    }
    app.stop().await;
}

/// Fresh exports, of all and of the user alone, tell of the user and have nothing of what was erased.
async fn assert_no_trace_in_exports(app: &TestApp, user_id: &str) {
    for scope in [Scope::Whole, Scope::User(user_id.to_owned())] {
        let folder = Folder::new();
        let request = Request {
            folder: folder.0.clone(),
            scope,
            format: Format::Ndjson,
        };
        export::export(&app.database, &request, app.now(), &mut |_, _| {})
            .await
            .unwrap();
        let mut told_of = false;
        for (name, bytes) in folder.files() {
            let text = String::from_utf8(bytes).unwrap().to_lowercase();
            told_of |= text.contains(user_id);
            for trace in TRACES {
                assert!(!text.contains(trace), "{trace} in {name}");
            }
        }
        assert!(told_of);
    }
}

/// E-mail is not identity: what another user has, too, is theirs until they are erased themselves.
#[tokio::test]
async fn another_user_with_the_same_address_keeps_theirs() {
    let app = TestApp::start().await;
    let (first, second) = (Person::new("user_first"), Person::new("user_second"));
    first.sign_up(&app).await;
    let again = created(&second.now);
    deliver(&app, Source::Clerk, &again, "recorded").await;
    let nobodys = SamplePayment {
        email: second.email(),
        ..payment(None)
    };
    let nobodys = captured(&nobodys);
    deliver(&app, Source::Razorpay, &nobodys, "recorded").await;
    let ignored = ignored(&second.email().unwrap());
    for (source, delivery) in &ignored {
        deliver(&app, *source, delivery, "ignored").await;
    }
    let older = self::ignored("NADEL.old@example.com");
    for (source, delivery) in &older {
        deliver(&app, *source, delivery, "ignored").await;
    }

    erase_now(&app, "user_first").await;

    let theirs = app.get("/v1/users/user_second").await.body;
    assert_eq!(theirs["email"], json!(second.email()));
    assert_eq!(theirs["erased"], false);
    for delivery in ignored
        .iter()
        .map(|(_, delivery)| delivery)
        .chain([&again, &nobodys])
    {
        assert!(has_body(&app, delivery).await);
    }
    for (_, delivery) in &older {
        assert!(
            !has_body(&app, delivery).await,
            "that address was the first one's alone"
        );
    }
    assert_eq!(bodies(&app).await, (5, 5));
    assert_whole(&app).await;

    erase_now(&app, "user_second").await;
    assert_no_trace(&app).await;
    assert_whole(&app).await;
    app.stop().await;
}

/// Two who are to be erased together do not protect each other.
#[tokio::test]
async fn an_address_of_two_goes_with_both() {
    let app = TestApp::start_blind().await;
    Person::new("user_first").sign_up(&app).await;
    deliver(
        &app,
        Source::Clerk,
        &created(&Person::new("user_second").now),
        "recorded",
    )
    .await;
    for (source, delivery) in &ignored("nadel.zoë@EXAMPLE.com") {
        deliver(&app, *source, delivery, "ignored").await;
    }
    for user_id in ["user_first", "user_second"] {
        erase(&app, user_id)
            .await
            .assert_ok(&json!({"erased": false}));
    }
    let database = app.database.clone();
    app.stop().await;
    let app = TestApp::start_on(database, crate::support::Options::default()).await;
    app.idle().await;
    assert_no_trace(&app).await;
    app.stop().await;
}

/// An id that may be anything is not looked for: what the events came of is enough, and nobody else loses a body by it.
#[tokio::test]
async fn short_ids_are_found_by_the_events_alone() {
    let app = TestApp::start().await;
    let person = SampleUser {
        email: None,
        ..Person::new("u1").now
    };
    deliver(&app, Source::Clerk, &created(&person), "recorded").await;
    let paid = SamplePayment {
        payment_id: "pay_1".to_owned(),
        order_id: None,
        // It fits nothing, so that it led to no event of the user.
        sku: None,
        amount_minor: 7,
        email: Some("nadel.payer@example.com".to_owned()),
        ..payment(Some("u1"))
    };
    deliver(&app, Source::Razorpay, &captured(&paid), "recorded").await;
    let other = SamplePayment {
        order_id: Some("u1".to_owned()),
        ..payment(Some("user_other"))
    };
    let other = captured(&other);
    deliver(&app, Source::Razorpay, &other, "recorded").await;
    erase_now(&app, "u1").await;
    assert_no_trace(&app).await;
    assert!(has_body(&app, &other).await);
    assert_whole(&app).await;
    app.stop().await;
}
