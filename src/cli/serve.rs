//! `serve`: answer until told to stop.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{load_with, told_to_stop};
use crate::app::{Application, system_clock};

/// Flags of `serve`; each wins over the environment and the file.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where the embedded database lives.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<String>,
}

pub async fn run(arguments: Arguments, file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let flags = [
        ("LISTEN", arguments.listen),
        ("DATA_DIR", arguments.data_dir),
    ];
    let config = load_with(file, &flags)?;
    open_many_files();
    let set_up = config.set_up();
    let application = Application::build(config, system_clock()).await?;
    tracing::info!(
        address = %application.address(),
        database = application.database().target(),
        "serving; {set_up}"
    );
    application.run_until(told_to_stop()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Lets this process have as many connections as the system allows it at most: the usual limit, 1024 files, is for programs
/// that wait with `select`. Where that is refused there are fewer.
fn open_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}
