//! `recover`: the operators' sweep, on the database itself, beside whatever serves it.

use std::process::ExitCode;

use clap::Args;
use futures_util::future::join_all;

use super::{exit, with_database, with_progress};
use crate::app::{App, system_clock};
use crate::config::Config;
use crate::recover::{self, Action, Came, LIMIT_DEFAULT, LIMIT_MAX, Report, Sweep};
use crate::store::Operator;

/// Flags of `recover`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Only say what would be tried; write nothing.
    #[arg(long)]
    dry_run: bool,
    /// How many of each kind to look at.
    #[arg(long, value_name = "N", default_value_t = u32::from(LIMIT_DEFAULT), value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Why. It goes into the history for ever, with your name: no secrets, no personal data.
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
}

/// Who is at the keyboard when the system does not say.
const UNKNOWN_USER: &str = "operator";
/// The longest name of a user of the system that is kept, in bytes.
const USER_MAX_BYTES: usize = 64;

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let operator = match arguments.reason.as_deref().filter(|_| !arguments.dry_run) {
        Some(reason) => Some(Operator::new(
            actor(|name| std::env::var(name).ok()),
            reason,
        )?),
        None => None,
    };
    let limit = arguments.limit;
    let report = with_database(&config, async |database| {
        let (app, lanes) = App::without_door(&config, &database, system_clock()).await?;
        let report = sweep_all(&app, operator, limit).await;
        // The last handle on the queues: what was handed in is finished.
        drop(app);
        join_all(lanes).await;
        Ok(report?)
    })
    .await?;
    print(&report, arguments.dry_run);
    Ok(exit(
        report.actions.iter().all(|one| one.result != Came::Failed),
    ))
}

/// Sweeps until so many of each kind were looked at, or all.
async fn sweep_all(
    app: &App,
    operator: Option<Operator>,
    limit: u32,
) -> Result<Report, recover::RecoverError> {
    with_progress("recovering", async |bar| {
        let mut report = Report::default();
        let (mut left, mut from) = (limit, Some(recover::Cursor::default()));
        while let Some(place) = from.filter(|_| left > 0) {
            let part = u16::try_from(left).unwrap_or(LIMIT_MAX).min(LIMIT_MAX);
            let sweep = Sweep {
                operator: operator.clone(),
                limit: part,
                from: place,
            };
            let before = report.actions.len();
            let mut progress = |looked_at| {
                let seen = u64::try_from(before + looked_at).unwrap_or(u64::MAX);
                bar.set_length(seen);
                bar.set_position(seen);
            };
            report.extend(recover::sweep(app, &sweep, &mut progress).await?);
            left -= u32::from(part);
            from = report.next.clone();
        }
        Ok(report)
    })
    .await
}

/// Whom the history names.
fn actor(env: impl Fn(&str) -> Option<String>) -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| {
        env(name).filter(|user| {
            (1..=USER_MAX_BYTES).contains(&user.len()) && !user.chars().any(char::is_control)
        })
    });
    format!("cli:{}", user.as_deref().unwrap_or(UNKNOWN_USER))
}

fn print(report: &Report, dry_run: bool) {
    for action in &report.actions {
        println!("{}", line(action));
    }
    let found = report.found;
    let count = |came| {
        report
            .actions
            .iter()
            .filter(|one| one.result == came)
            .count()
    };
    println!(
        "found: {} parked, {} without bonus, {} unpriced, {} unclaimed",
        found.parked, found.no_bonus, found.unpriced, found.unclaimed
    );
    if dry_run {
        println!(
            "{} would be tried; nothing was changed",
            count(Came::Planned)
        );
    } else {
        println!(
            "{} done, {} unchanged, {} refused, {} failed",
            count(Came::Done),
            count(Came::Unchanged),
            count(Came::Refused),
            count(Came::Failed)
        );
    }
    if report.next.is_some() {
        println!("there may be more: raise --limit");
    }
}

fn line(action: &Action) -> String {
    let Action {
        kind,
        id,
        action,
        result,
        detail,
    } = action;
    let detail = detail.as_ref().map(|detail| format!(" ({detail})"));
    format!(
        "{} {id}: {} {}{}",
        kind.as_str(),
        action.as_str(),
        result.as_str(),
        detail.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recover::{Deed, Kind};

    #[test]
    fn the_history_names_whoever_the_system_names() {
        let env = |known: &'static [(&str, &str)]| {
            actor(move |name| {
                let found = known.iter().find(|(one, _)| *one == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(env(&[("USER", "asha"), ("LOGNAME", "ben")]), "cli:asha");
        assert_eq!(env(&[("USER", ""), ("LOGNAME", "ben")]), "cli:ben");
        assert_eq!(env(&[("USER", "a\nb")]), "cli:operator");
        assert_eq!(env(&[]), "cli:operator");
    }

    #[test]
    fn an_action_is_one_line() {
        let mut action = Action {
            kind: Kind::Unpriced,
            id: "razorpay:pay_1".to_owned(),
            action: Deed::Price,
            result: Came::Done,
            detail: Some("credits_500".to_owned()),
        };
        assert_eq!(
            line(&action),
            "unpriced razorpay:pay_1: price done (credits_500)"
        );
        action.detail = None;
        assert_eq!(line(&action), "unpriced razorpay:pay_1: price done");
    }
}
