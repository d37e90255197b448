//! The README's worked example, played step by step.

use chrono::{DateTime, TimeDelta, Utc};
use credit_ledger::ledger::Source;
use credit_ledger::provider::sample::SamplePayment;
use serde_json::{Value, json};

use super::money::{pay, refund};
use super::{
    assert_whole, capture, grant, grant_until, last_entry, lots, number, reverse, shown, still,
};
use crate::support::TestApp;
use crate::support::deliveries::{created, user};

const USER: &str = "user_1";
const README: &str = include_str!("../../README.md");

/// A line of the table.
#[derive(Debug)]
struct Step {
    day: i64,
    account: [i64; 4],
    /// Names and what is left, in the order of burning.
    lots: Vec<(String, i64)>,
}

impl Step {
    fn parse(line: &str) -> Self {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |cell: usize| cells[cell].parse::<i64>().unwrap();
        let lots = cells[8].split(", ").filter(|lot| !lot.is_empty());
        let lots = lots.map(|lot| {
            let (name, left) = lot.split_once(' ').unwrap();
            (name.to_owned(), left.parse().unwrap())
        });
        Self {
            day: number(2),
            account: [number(4), number(5), number(6), number(7)],
            lots: lots.collect(),
        }
    }
}

fn steps() -> Vec<Step> {
    let (_, example) = README.split_once("### A worked example").unwrap();
    let (example, _) = example.split_once("\n## ").unwrap();
    let lines = example.lines().filter(|line| {
        let first = line.trim_start_matches("| ").chars().next();
        line.starts_with("| ") && first.is_some_and(|first| first.is_ascii_digit())
    });
    lines.map(Step::parse).collect()
}

/// What was made that later steps are about.
#[derive(Default)]
struct Made {
    paid: Option<SamplePayment>,
    hold_id: String,
    entry_id: String,
}

/// Does what the line with this number says. Gives the name of the lot that came with it, if one did.
async fn play(
    app: &TestApp,
    begin: DateTime<Utc>,
    step: usize,
    made: &mut Made,
) -> Option<&'static str> {
    match step {
        1 => {
            let answer = app.deliver(Source::Clerk, &created(&user(USER))).await;
            answer.assert_ok(&json!({"status": "recorded"}));
            // Upkeep looks for a purchase of that address now, and then no more.
            app.idle().await;
            return Some("A");
        }
        2 => {
            made.paid = Some(pay(app).await);
            return Some("P");
        }
        3 => {
            grant_until(app, USER, 100, begin + TimeDelta::days(10)).await;
            return Some("B");
        }
        4 => made.hold_id = super::hold(app, USER, 110, 3 * 24 * 3600).await,
        5 => {
            let answer = capture(app, &made.hold_id, 40).await;
            answer.assert_ok(&json!({"captured": 40, "released": 70}));
        }
        6 => {
            let answer = app.spend(USER, 90).await;
            answer.assert_ok(&json!({"spent": 90}));
            made.entry_id = answer.text("entry_id");
        }
        7 => {
            let answer = reverse(app, &made.entry_id, 50).await;
            answer.assert_ok(&json!({"reversed": 50}));
        }
        8 => assert_ne!(last_entry(app, USER).await["type"], "CreditsExpired"),
        9 => refund(app, made.paid.as_ref().unwrap(), 24_950, 0).await,
        10 => app.spend(USER, 200).await.assert_ok(&json!({"spent": 200})),
        11 => refund(app, made.paid.as_ref().unwrap(), 24_950, 24_950).await,
        12 => {
            grant(app, USER, 200, &json!({})).await;
            return Some("C");
        }
        _ => panic!("nobody knows how to play step {step}"),
    }
    None
}

/// The place of a shown lot in the order of burning.
fn burns(lot: &Value) -> (i64, String, bool, i64) {
    let never = "9999".to_owned();
    let ends = lot["expires_at"].as_str().map_or(never, str::to_owned);
    (
        number(lot, "priority"),
        ends,
        lot["kind"] == "paid",
        number(lot, "lot_id"),
    )
}

#[tokio::test]
async fn the_worked_example_is_what_happens() {
    let (app, begin) = still().await;
    let steps = steps();
    assert_eq!(steps.len(), 12);
    let mut made = Made::default();
    let mut names: Vec<(i64, &str)> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let number_of_step = index + 1;
        app.stop_clock(begin + TimeDelta::days(step.day));
        let name = play(&app, begin, number_of_step, &mut made).await;
        let mut open = lots(&app, USER).await;
        open.sort_by_key(burns);
        let ids = open.iter().map(|lot| number(lot, "lot_id"));
        if let (Some(name), Some(newest)) = (name, ids.max()) {
            names.push((newest, name));
        }
        let shown = open.iter().map(|lot| {
            let id = number(lot, "lot_id");
            let (_, name) = names.iter().find(|(known, _)| *known == id).unwrap();
            ((*name).to_owned(), number(lot, "remaining"))
        });
        assert_eq!(
            shown.collect::<Vec<_>>(),
            step.lots,
            "step {number_of_step}"
        );
        assert_eq!(
            app.account(USER).await,
            step.account,
            "step {number_of_step}"
        );
    }
    // And afterwards it is known what was, after the last step of each day.
    for (index, step) in steps.iter().enumerate() {
        if steps
            .get(index + 1)
            .is_some_and(|next| next.day == step.day)
        {
            continue;
        }
        let at = shown(begin + TimeDelta::days(step.day));
        let then = app.get(&format!("/v1/users/{USER}/balance?at={at}")).await;
        let account = ["balance", "held", "available", "debt"].map(|name| number(&then.body, name));
        assert_eq!(account, step.account, "day {}", step.day);
    }
    assert_whole(&app).await;
    app.stop().await;
}

fn members(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

/// The answer that the README shows and that begins like this.
fn example(begin: &str) -> Value {
    let line = README.lines().find(|line| line.starts_with(begin));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no line begins with {begin}"))).unwrap()
}

#[tokio::test]
async fn the_readme_shows_lots_and_past_balances_as_they_are() {
    let (app, begin) = still().await;
    pay(&app).await;
    let page = app.get(&format!("/v1/users/{USER}/lots")).await.body;
    let shown_page = example("{\"items\":[{\"lot_id\"");
    assert_eq!(members(&shown_page), members(&page));
    assert_eq!(members(&shown_page["items"][0]), members(&page["items"][0]));
    let at = shown(begin);
    let balance = app.get(&format!("/v1/users/{USER}/balance?at={at}")).await;
    let line = README
        .lines()
        .find(|line| line.contains("\"version\":4,\"at\":"));
    let shown_balance: Value = serde_json::from_str(line.unwrap()).unwrap();
    assert_eq!(members(&shown_balance), members(&balance.body));
    app.stop().await;
}
