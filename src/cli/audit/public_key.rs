//! `audit public-key`: the key that seals are verified with, for auditors.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::Config;

pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let seals = config.seals.as_ref().context("SEAL_KEY is not set")?;
    print!("{}", seals.key.public().to_pem()?);
    Ok(ExitCode::SUCCESS)
}
