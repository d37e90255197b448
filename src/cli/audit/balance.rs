//! `audit balance`: what a user had at a time, and how it came to that.

use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};

use crate::app::system_now;
use crate::audit::balance::{self, Report, Sum};
use crate::cli::{exit, with_database, with_progress};
use crate::config::Config;
use crate::ledger::UserId;
use crate::ledger::command::Hold;
use crate::ledger::lots::{Lot, total};
use crate::reads::LATEST;

/// Flags of `audit balance`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The user.
    #[arg(value_parser = user_id)]
    user_id: UserId,
    /// The time, for example 2026-01-31T12:00:00Z. Default: now.
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    at: Option<DateTime<Utc>>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.to_string())
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text).ok();
    time.map(|time| time.to_utc())
        .filter(|time| (DateTime::UNIX_EPOCH..=LATEST).contains(time))
        .ok_or_else(|| "must be a time like 2026-01-31T12:00:00Z".to_owned())
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let (user_id, json) = (arguments.user_id, arguments.json);
    let at = arguments.at.unwrap_or_else(system_now);
    let found = with_database(&config, |database| async move {
        let looking = Box::pin(balance::balance(&database, &user_id, at));
        match with_progress("reading", async |_| looking.await).await? {
            Some(report) => Ok(report),
            None => bail!("no event is about user {user_id}"),
        }
    });
    let report = found.await?;
    if json {
        println!("{:#}", to_json(&report));
    } else {
        for line in lines(&report) {
            println!("{line}");
        }
    }
    Ok(exit(report.sums_up()))
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn shown_s(time_s: i64) -> String {
    DateTime::from_timestamp(time_s, 0).map_or_else(
        || time_s.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::Secs, true),
    )
}

/// A sum with its name.
type Named = (&'static str, Sum);

const fn came(report: &Report) -> [Named; 4] {
    let of = &report.came_of;
    [
        ("granted", of.granted),
        ("bought", of.bought),
        ("restored", of.restored),
        ("reversed", of.reversed),
    ]
}

const fn went(report: &Report) -> [Named; 3] {
    let of = &report.came_of;
    [
        ("spent", of.spent),
        ("expired", of.expired),
        ("clawed_back", of.clawed_back),
    ]
}

fn to_json(report: &Report) -> Value {
    let account = report.account;
    let all = came(report).into_iter().chain(went(report));
    let sum = |(name, sum): Named| {
        let value = json!({"credits": sum.credits, "times": sum.times});
        (name.to_owned(), value)
    };
    let mut came_of: serde_json::Map<String, Value> = all.map(sum).collect();
    came_of.insert("total".to_owned(), json!(report.came_of.total()));
    came_of.insert("sums_up".to_owned(), json!(report.sums_up()));
    json!({
        "user_id": report.user_id,
        "at": shown(report.at),
        "balance": account.balance,
        "held": account.held,
        "available": account.available(),
        "debt": account.debt,
        "contested_debt": report.contested_debt(),
        "version": report.version,
        "holds": report.holds.iter().map(hold).collect::<Vec<_>>(),
        "lots": report.lots.iter().map(lot).collect::<Vec<_>>(),
        "came_of": came_of,
    })
}

fn hold(hold: &Hold) -> Value {
    json!({
        "hold_id": hold.hold_id,
        "credits": total(&hold.slices),
        "expires_at": shown_s(hold.times_out_at_s),
        "reason": hold.note.reason,
        "reference": hold.note.reference,
    })
}

fn lot(lot: &Lot) -> Value {
    json!({
        "lot_id": lot.id,
        "kind": lot.terms.kind,
        "priority": lot.terms.priority,
        "amount": lot.terms.amount,
        "remaining": lot.remaining,
        "contested": lot.contested,
        "expires_at": lot.terms.expires_at_s.map(shown_s),
        "purchase_id": lot.terms.purchase_id,
    })
}

fn lines(report: &Report) -> Vec<String> {
    let account = report.account;
    let mut lines = vec![
        format!(
            "{} at {}, version {}",
            report.user_id,
            shown(report.at),
            report.version
        ),
        format!(
            "balance {}, held {}, available {}, debt {}",
            account.balance,
            account.held,
            account.available(),
            account.debt
        ),
    ];
    lines.extend(report.lots.iter().map(lot_line));
    lines.extend(report.holds.iter().map(hold_line));
    lines.push(came_of(report));
    lines
}

fn lot_line(lot: &Lot) -> String {
    let terms = &lot.terms;
    let contested = Some(lot.contested).filter(|contested| !contested.is_zero());
    let parts = [
        Some(format!(
            "lot {}: {} of {}",
            lot.id, lot.remaining, terms.amount
        )),
        contested.map(|contested| format!("{contested} contested")),
        Some(terms.kind.as_str().to_owned()),
        Some(format!("priority {}", terms.priority)),
        terms
            .expires_at_s
            .map(|ends| format!("ends {}", shown_s(ends))),
        terms.purchase_id.as_ref().map(|id| format!("of {id}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn hold_line(hold: &Hold) -> String {
    let credits = total(&hold.slices);
    let ends = shown_s(hold.times_out_at_s);
    format!("hold {}: {credits}, times out {ends}", hold.hold_id)
}

/// All that came less all that went, and what that is.
fn came_of(report: &Report) -> String {
    let sum = |(name, sum): &Named| format!("{} {}", name.replace('_', " "), sum.credits);
    let join = |sums: &[Named], between: &str| {
        let parts: Vec<String> = sums.iter().map(sum).collect();
        parts.join(between)
    };
    let account = report.account;
    let total = report.came_of.total();
    let owed = Some(account.owed()).filter(|owed| !owed.is_zero());
    let contested = Some(report.contested_debt()).filter(|contested| *contested > 0);
    let parts = [
        Some(format!(
            "{} - {} = {total}",
            join(&came(report), " + "),
            join(&went(report), " - ")
        )),
        owed.map(|owed| format!(" = balance {} - owed {owed}", account.balance)),
        contested.map(|contested| format!("; {contested} of the debt is contested")),
        (!report.sums_up()).then(|| ": DOES NOT SUM UP".to_owned()),
    ];
    parts.into_iter().flatten().collect()
}
