//! `audit export`: the history as files.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use credit_ledger_verify::manifest::Scope;

use crate::app::system_now;
use crate::audit::export::{self, Format, Request};
use crate::cli::{with_database, with_progress};
use crate::config::Config;

/// Flags of `audit export`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to. An export of the same history that is there, finished or not, is brought up to date.
    folder: PathBuf,
    /// Only the history of this user and of the user's purchases, with proofs that it is in the whole.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// How files are written.
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let request = Request {
        folder: arguments.folder,
        scope: arguments.user.map_or(Scope::Whole, Scope::User),
        format: arguments.format,
    };
    let manifest = with_database(&config, async |database| {
        let manifest = with_progress("exporting", async |bar| {
            export::export(&database, &request, system_now(), &mut |done, of| {
                bar.set_length(of);
                bar.set_position(done);
            })
            .await
        })
        .await;
        Ok(manifest?)
    })
    .await?;
    let (mut events, mut records) = (0, 0);
    for file in &manifest.files {
        records += file.lines;
        if file.content == credit_ledger_verify::manifest::Content::Events {
            events += file.lines;
        }
    }
    println!(
        "{}: {events} events, up to seal {}, {records} records in {} files",
        request.folder.display(),
        manifest.last_seal,
        manifest.files.len()
    );
    Ok(ExitCode::SUCCESS)
}
