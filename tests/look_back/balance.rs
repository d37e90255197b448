//! `audit balance`. That it agrees with what the service says of any moment is in `lots/as_of.rs`.

use chrono::{SecondsFormat, TimeDelta, Utc};
use credit_ledger::audit::balance::{self, CameOf, Report};
use credit_ledger::ledger::{Credits, Source, UserId};
use credit_ledger::provider::sample::{self, SampleDispute};
use serde_json::{Value, json};

use crate::crash::service::DataDir;
use crate::support::TestApp;
use crate::support::deliveries::{captured, created, payment, razorpay, unique, user};

const USER: &str = "user_1";

async fn looked(app: &TestApp) -> Report {
    let user_id = UserId::parse(USER).unwrap();
    let report = balance::balance(&app.database, &user_id, app.now()).await;
    report.unwrap().unwrap()
}

/// What came and what went, each as credits and times.
fn came_of(of: &CameOf) -> Vec<(i64, u64)> {
    let sums = [
        of.granted,
        of.bought,
        of.restored,
        of.reversed,
        of.spent,
        of.expired,
        of.clawed_back,
    ];
    sums.map(|sum| (sum.credits, sum.times)).to_vec()
}

fn account(report: &Report) -> [i64; 4] {
    let account = report.account;
    let [balance, held, debt] = [account.balance, account.held, account.debt].map(Credits::get);
    [balance, held, account.available(), debt]
}

/// Every kind of movement, debt that is owed and debt that is only contested.
#[tokio::test]
async fn a_statement_says_what_came_and_what_went() {
    let app = TestApp::start().await;
    app.deliver(Source::Clerk, &created(&user(USER))).await;
    let paid = payment(Some(USER));
    app.deliver(Source::Razorpay, &captured(&paid)).await;
    let path = format!("/v1/users/{USER}/grants");
    let ends = (Utc::now() + TimeDelta::seconds(600)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let ending = json!({"amount": 30, "reason": "a test", "expires_at": ends, "priority": 200});
    app.post_new(&path, &ending)
        .await
        .assert_ok(&json!({"granted": 30}));
    let held = app.hold(USER, 40).await.text("hold_id");
    app.post_new(&format!("/v1/holds/{held}/capture"), &json!({"amount": 15}))
        .await
        .assert_ok(&json!({"captured": 15}));
    let open = app.hold(USER, 25).await.text("hold_id");
    let spent = app.spend(USER, 100).await.text("entry_id");
    app.post_new(
        &format!("/v1/spends/{spent}/reverse"),
        &json!({"amount": 10}),
    )
    .await
    .assert_ok(&json!({"reversed": 10}));
    let report = looked(&app).await;
    let expected = [(50, 2), (500, 1), (0, 0), (10, 1), (115, 2), (0, 0), (0, 0)];
    assert_eq!(came_of(&report.came_of), expected);
    assert_eq!(account(&report), [445, 25, 420, 0]);
    assert!(report.sums_up() && report.version == 9, "{report:?}");
    let holds: Vec<String> = report
        .holds
        .iter()
        .map(|hold| hold.hold_id.to_string())
        .collect();
    assert_eq!(holds, [open]);
    let lots: Vec<(i64, i64)> = report
        .lots
        .iter()
        .map(|lot| (lot.terms.amount.get(), lot.remaining.get()))
        .collect();
    assert_eq!(lots, [(500, 390), (30, 30)], "in the order of burning");

    // The end of the grant, which nobody has written down, and half of the money contested.
    app.move_clock(TimeDelta::seconds(700));
    app.spend(USER, 300).await.assert_ok(&json!({"spent": 300}));
    let contested = SampleDispute {
        dispute_id: "disp_1".to_owned(),
        amount_minor: 24_950,
        phase: "chargeback",
    };
    let dispute = |event| {
        razorpay(
            &unique("evt"),
            sample::razorpay_dispute(event, &paid, &contested).to_string(),
        )
    };
    app.deliver(Source::Razorpay, &dispute("payment.dispute.created"))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let report = looked(&app).await;
    assert_eq!(account(&report), [90 + 25, 90 + 25, 0, 160]);
    assert_eq!(report.contested_debt(), 160);
    assert!(report.sums_up(), "{report:?}");
    app.deliver(Source::Razorpay, &dispute("payment.dispute.lost"))
        .await
        .assert_ok(&json!({"status": "recorded"}));
    let report = looked(&app).await;
    let expected = [
        (50, 2),
        (500, 1),
        (0, 0),
        (10, 1),
        (415, 3),
        (30, 1),
        (250, 1),
    ];
    assert_eq!(came_of(&report.came_of), expected);
    assert_eq!(account(&report), [25, 25, 0, 160]);
    assert_eq!(report.contested_debt(), 0);
    assert!(report.sums_up(), "{report:?}");
    app.stop().await;
}

#[tokio::test]
async fn whom_only_a_payment_names_has_nothing_and_others_are_unknown() {
    let app = TestApp::start().await;
    let mut unpriced = payment(Some(USER));
    unpriced.sku = Some("no_such_pack".to_owned());
    app.deliver(Source::Razorpay, &captured(&unpriced)).await;
    let report = looked(&app).await;
    assert_eq!((account(&report), report.version), ([0; 4], 0));
    let nobody = UserId::parse("nobody").unwrap();
    let report = balance::balance(&app.database, &nobody, app.now()).await;
    assert_eq!(report.unwrap(), None);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_it_to_people_and_to_programs() {
    let data = DataDir::new();
    let service = data.serve();
    let url = format!("http://{}", service.address);
    let send = [
        "send",
        "clerk",
        "user.created",
        "--user",
        USER,
        "--url",
        &url,
    ];
    data.said(&send, 0);
    let said = data.said(&["audit", "balance", USER], 0);
    let (first, rest) = said.split_once('\n').unwrap();
    assert!(
        first.starts_with("user_1 at 2") && first.ends_with("Z, version 2"),
        "{said}"
    );
    assert_eq!(
        rest,
        "balance 20, held 0, available 20, debt 0\n\
         lot 2: 20 of 20, bonus, priority 100\n\
         granted 20 + bought 0 + restored 0 + reversed 0 - spent 0 - expired 0 - clawed back 0 = 20\n"
    );
    let at = [
        "audit",
        "balance",
        USER,
        "--json",
        "--at",
        "2020-01-31T12:00:00+01:00",
    ];
    let before: Value = serde_json::from_str(&data.said(&at, 0)).unwrap();
    assert_eq!(before["at"], "2020-01-31T11:00:00.000000Z");
    assert_eq!(
        (&before["balance"], &before["version"]),
        (&json!(0), &json!(0))
    );
    let now: Value = serde_json::from_str(&data.said(&at[..4], 0)).unwrap();
    assert_eq!(now["available"], 20);
    assert_eq!(now["lots"][0]["remaining"], 20);
    assert_eq!(
        now["came_of"]["granted"],
        json!({"credits": 20, "times": 1})
    );
    assert_eq!(now["came_of"]["sums_up"], true);
    let unknown = data.said(&["audit", "balance", "nobody"], 1);
    assert_eq!(unknown, "error: no event is about user nobody\n");
    data.said(&["audit", "balance", USER, "--at", "yesterday"], 2);
    drop(service);
}
