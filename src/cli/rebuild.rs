//! `rebuild`: make read models again from the log, while the service runs.

use std::process::ExitCode;

use clap::Args;

use super::{with_database, with_progress};
use crate::config::Config;
use crate::projection::{READ_MODELS, rebuild};

/// Flags of `rebuild`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Which read models. Default: all.
    names: Vec<String>,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let names = if arguments.names.is_empty() {
        READ_MODELS
            .iter()
            .map(|model| model.name.to_owned())
            .collect()
    } else {
        arguments.names
    };
    with_database(&config, |database| async move {
        for name in names {
            let rebuilt = with_progress("rebuilding", async |bar| {
                rebuild::rebuild(&database, &name, &mut |done, of| {
                    bar.set_length(of.unsigned_abs());
                    bar.set_position(done.unsigned_abs());
                })
                .await
            })
            .await?;
            println!("{}: made from {} events", rebuilt.name, rebuilt.positions);
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
