//! `audit`: check the history, and look back. One file per question.

mod balance;
mod export;
mod public_key;
mod verify;
mod what_if;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{exit, with_database, with_progress};
use crate::audit::replay::{self, Report};
use crate::config::Config;

/// How many differences are listed; all are counted.
const LISTED: usize = 100;

/// Flags of `audit`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    check: Check,
}

#[derive(Debug, Subcommand)]
enum Check {
    /// Tell the whole history again through postgres-es and compare it with everything that is stored.
    Replay,
    /// Verify the whole history, its seals and all that is stored beside it.
    Verify(verify::Arguments),
    /// Write the history as files, with what proves it; no personal data is in them.
    Export(export::Arguments),
    /// What a user had at a time, and how it came to that, from the events alone.
    Balance(balance::Arguments),
    /// Print the public key that seals are verified with, in PEM.
    PublicKey,
    /// What users would have under another catalog, sign-up bonus or order of burning.
    WhatIf(what_if::Arguments),
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    match arguments.check {
        Check::Verify(arguments) => verify::run(arguments, config).await,
        Check::Export(arguments) => export::run(arguments, config).await,
        Check::Balance(arguments) => balance::run(arguments, config).await,
        Check::WhatIf(arguments) => what_if::run(arguments, config).await,
        Check::Replay => {
            let report = with_database(&config, |database| async move {
                let report = with_progress("replaying", async |bar| {
                    replay::replay(&database, &mut |seen, of| {
                        bar.set_length(of);
                        bar.set_position(seen);
                    })
                    .await
                })
                .await;
                Ok(report?)
            })
            .await?;
            print(&report);
            Ok(exit(report.differences.is_empty()))
        }
        Check::PublicKey => public_key::run(&config),
    }
}

/// Says what was seen and what does not agree.
pub fn print(report: &Report) {
    for difference in report.differences.iter().take(LISTED) {
        println!("{difference}");
    }
    println!(
        "{} events, {} users, {} purchases: {}",
        report.events,
        report.users,
        report.purchases,
        match report.differences.len() {
            0 => "the history agrees with everything that is stored".to_owned(),
            1 => "1 difference".to_owned(),
            n => format!("{n} differences"),
        }
    );
}
