//! `rebuild`: make read models again from the log, while the service runs, and say how the live tables differed.

use std::process::ExitCode;

use clap::Args;

use super::{exit, with_database, with_progress};
use crate::config::Config;
use crate::projection::READ_MODELS;
use crate::projection::rebuild::{self, Comparison, Differences, Rebuilt};

/// Flags of `rebuild`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which read models. Default: all.
    names: Vec<String>,
    /// Only compare them with what the log says; change nothing.
    #[arg(long)]
    check: bool,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let check = arguments.check;
    let names = if arguments.names.is_empty() {
        READ_MODELS
            .iter()
            .map(|model| model.name.to_owned())
            .collect()
    } else {
        arguments.names
    };
    with_database(&config, |database| async move {
        let mut good = true;
        for name in names {
            let what = if check { "checking" } else { "rebuilding" };
            let rebuilt = with_progress(what, async |bar| {
                let mut progress = |done: i64, of: i64| {
                    bar.set_length(of.unsigned_abs());
                    bar.set_position(done.unsigned_abs());
                };
                if check {
                    rebuild::check(&database, &name, &mut progress).await
                } else {
                    rebuild::rebuild(&database, &name, &mut progress).await
                }
            })
            .await?;
            print(&rebuilt, check);
            good &= !rebuilt.was_broken();
        }
        Ok(exit(good))
    })
    .await
}

fn print(rebuilt: &Rebuilt, check: bool) {
    let done = if check { "compared with" } else { "made from" };
    println!("{}: {done} {} events", rebuilt.name, rebuilt.positions);
    if let Some(comparison) = &rebuilt.comparison {
        for line in lines(comparison) {
            println!("  {line}");
        }
    } else {
        println!("  there was no table");
    }
}

/// How the live table differed, line by line.
fn lines(comparison: &Comparison) -> Vec<String> {
    let Comparison {
        made_by,
        same_sql,
        differences,
    } = comparison;
    let mut lines = vec![if *same_sql {
        format!("the live table: {differences}")
    } else {
        format!(
            "the live table, made by version {made_by} of other SQL, so that it may differ: {differences}"
        )
    }];
    if let Differences::Rows(rows) = differences {
        lines.extend(rows.first.iter().map(ToString::to_string));
        let more = rows.total() - i64::try_from(rows.first.len()).unwrap_or(i64::MAX);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::rebuild::{ColumnDifference, Fault, RowDifference, RowDifferences};

    fn comparison(same_sql: bool, rows: RowDifferences) -> Comparison {
        Comparison {
            made_by: 3,
            same_sql,
            differences: Differences::Rows(rows),
        }
    }

    #[test]
    fn equal_tables_are_one_line() {
        let equal = comparison(true, RowDifferences::default());
        assert_eq!(lines(&equal), ["the live table: 0 differences"]);
    }

    #[test]
    fn rows_are_named_and_personal_values_are_not_shown() {
        let value = |text: &str| Some(text.to_owned());
        let column = |column: &str, values| ColumnDifference {
            column: column.to_owned(),
            values,
        };
        let row = |id: &str, fault| RowDifference {
            key: vec![
                ("user_id".to_owned(), id.to_owned()),
                ("sequence".to_owned(), "7".to_owned()),
            ],
            fault,
        };
        let changed = Fault::Columns(vec![
            column("plan", Some((value("gold"), None))),
            column("email", None),
        ]);
        let rows = RowDifferences {
            differing: 1,
            missing: 1,
            surplus: 20,
            first: vec![
                row("user_1", changed),
                row("user_2", Fault::Missing),
                row("user_3", Fault::Surplus),
            ],
        };
        assert_eq!(
            lines(&comparison(false, rows)),
            [
                "the live table, made by version 3 of other SQL, so that it may differ: rows that differ: 1, missing: 1, too many: 20",
                "user_id user_1, sequence 7: plan is gold, the history says null; email differs (personal data)",
                "user_id user_2, sequence 7: is missing",
                "user_id user_3, sequence 7: is too many",
                "and 19 more",
            ]
        );
    }
}
