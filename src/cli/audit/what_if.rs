//! `audit what-if`: what users would have under other rules.

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};

use super::LISTED;
use crate::app::system_now;
use crate::audit::what_if::{self, Difference, Refusal, Report, Sums};
use crate::cli::{with_database, with_progress};
use crate::config::{Config, OtherRules};
use crate::ledger::Account;

/// Flags of `audit what-if`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The other rules: the tables [signup], [[catalog]] and [burn]. What it does not say stays as it was.
    #[arg(long, value_name = "FILE")]
    catalog: PathBuf,
    /// How many users and how many refused calls to list; all are counted.
    #[arg(long, value_name = "N", default_value_t = LISTED)]
    limit: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let other = OtherRules::load(&arguments.catalog)?;
    let today = &config.rules.catalog;
    let report = with_database(&config, async |database| {
        let report = with_progress("telling again", async |bar| {
            let mut progress = |told, of| {
                bar.set_length(of);
                bar.set_position(told);
            };
            let now = system_now();
            Box::pin(what_if::what_if(
                &database,
                today,
                &other,
                now,
                arguments.limit,
                &mut progress,
            ))
            .await
        });
        Ok(report.await?)
    })
    .await?;
    if arguments.json {
        println!("{:#}", to_json(&report, arguments.limit));
    } else {
        for line in lines(&report, arguments.limit) {
            println!("{line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn to_json(report: &Report, limit: usize) -> Value {
    let users = report.differences.iter().take(limit);
    let refusals = report.refusals.iter();
    json!({
        "events": report.events,
        "users": report.users,
        "users_that_differ": report.differences.len(),
        "purchases_that_differ": report.purchases,
        "refused": report.refused,
        "old": sums_json(&report.old),
        "new": sums_json(&report.new),
        "items": users.map(difference_json).collect::<Vec<_>>(),
        "refusals": refusals.map(refusal_json).collect::<Vec<_>>(),
    })
}

fn sums_json(sums: &Sums) -> Value {
    json!({"balance": sums.balance, "available": sums.available, "debt": sums.debt})
}

fn difference_json(one: &Difference) -> Value {
    let account = |account: &Account| {
        json!({
            "balance": account.balance,
            "held": account.held,
            "available": account.available(),
            "debt": account.debt,
        })
    };
    json!({"user_id": one.user_id, "old": account(&one.old), "new": account(&one.new)})
}

fn refusal_json(one: &Refusal) -> Value {
    json!({
        "entry_id": one.place,
        "recorded_at": one.recorded_at.to_rfc3339_opts(SecondsFormat::Micros, true),
        "stream": one.stream.to_string(),
        "type": one.event_type,
        "why": one.why.to_string(),
    })
}

fn lines(report: &Report, limit: usize) -> Vec<String> {
    let more = |count: u64, listed: usize| {
        let more = count.saturating_sub(listed as u64);
        (more > 0).then(|| format!("and {more} more"))
    };
    let users = report.differences.iter().take(limit).map(user_line);
    let refused = report.refusals.iter().map(refused_line);
    let differ = report.differences.len();
    let (old, new) = (&report.old, &report.new);
    users
        .chain(more(differ as u64, limit))
        .chain(refused)
        .chain(more(report.refused, report.refusals.len()))
        .chain([
            format!(
                "all: balance {} → {}, available {} → {}, debt {} → {}",
                old.balance, new.balance, old.available, new.available, old.debt, new.debt
            ),
            format!(
                "{} events: {} of {} users would have something else, {} purchases would give other credits, \
                 {} calls would be refused",
                report.events,
                differ, report.users, report.purchases, report.refused
            ),
        ])
        .collect()
}

fn user_line(one: &Difference) -> String {
    let Difference { user_id, old, new } = one;
    format!(
        "{user_id}: balance {} → {}, available {} → {}, debt {} → {}",
        old.balance,
        new.balance,
        old.available(),
        new.available(),
        old.debt,
        new.debt
    )
}

fn refused_line(one: &Refusal) -> String {
    format!(
        "refused: {} of {} at {}: {}",
        one.event_type, one.stream, one.place, one.why
    )
}
