//! `audit verify`: the checks, on the living database.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use credit_ledger_verify::check::Trust;
use credit_ledger_verify::export::witness;
use credit_ledger_verify::report::{Report, Verdict};
use credit_ledger_verify::seal::PublicKey;
use serde::Serialize;

use crate::app;
use crate::audit::verify::signatures::Signatures;
use crate::audit::verify::{self, Verified};
use crate::cli::{with_database, with_progress};
use crate::config::Config;

/// Flags of `audit verify`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A public key that may have signed seals, in PEM; once for each. Default: the one of `SEAL_KEY`. With neither the
    /// verdict is not clean.
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Verify no signature; then the history is only compared with itself.
    #[arg(long, conflicts_with = "keys")]
    no_key: bool,
    /// What an outside witness was told: a seal a line, as it was handed out.
    #[arg(long, value_name = "FILE")]
    witness: Option<PathBuf>,
    /// Verify the signature of every stored delivery once more, with the secrets of the settings.
    #[arg(long)]
    signatures: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// What the report comes to, the report, and what was found of deliveries' signatures.
#[derive(Serialize)]
struct Shown<'a> {
    verdict: Verdict,
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries_signed: Option<&'a Signatures>,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let trust = trust(&arguments, &config)?;
    let providers = arguments
        .signatures
        .then(|| app::providers(&config))
        .transpose()?;
    let verified = with_database(&config, async |database| {
        let verified = with_progress("verifying", async |bar| {
            verify::verify(&database, trust, providers.as_ref(), &mut |done, of| {
                bar.set_length(of);
                bar.set_position(done);
            })
            .await
        })
        .await;
        Ok(verified?)
    })
    .await?;
    print(&verified, arguments.json)?;
    Ok(ExitCode::from(verified.report.exit_code()))
}

fn trust(arguments: &Arguments, config: &Config) -> anyhow::Result<Trust> {
    let mut keys = Vec::new();
    for path in &arguments.keys {
        let named = || path.display().to_string();
        let pem = std::fs::read_to_string(path).with_context(named)?;
        keys.push(PublicKey::from_pem(&pem).with_context(named)?);
    }
    if keys.is_empty() && !arguments.no_key {
        keys.extend(config.seals.as_ref().map(|seals| seals.key.public()));
    }
    let mut trust = Trust::of_keys(keys);
    trust.waived = arguments.no_key;
    if let Some(path) = &arguments.witness {
        witness(path, &mut trust)?;
    }
    Ok(trust)
}

fn print(verified: &Verified, json: bool) -> anyhow::Result<()> {
    let Verified { report, signatures } = verified;
    if json {
        let shown = Shown {
            verdict: report.verdict(),
            report,
            deliveries_signed: signatures.as_ref(),
        };
        println!("{}", serde_json::to_string_pretty(&shown)?);
        return Ok(());
    }
    if let Some(signatures) = signatures {
        println!("{}", line(signatures));
    }
    print!("{report}");
    Ok(())
}

fn line(signatures: &Signatures) -> String {
    let Signatures {
        hold,
        fail,
        erased,
        api_answers,
        retired,
        retired_secrets,
    } = signatures;
    let mut line = format!(
        "deliveries  {hold} signatures hold, {fail} do not; {erased} bodies erased, {api_answers} answers of APIs, \
         {retired} by secrets that are not set any more"
    );
    for (secret, deliveries) in retired_secrets {
        // Writing to a String can not fail.
        let _ = write!(line, "\n            {secret}: {deliveries}");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn secrets_that_are_gone_are_named() {
        let signatures = Signatures {
            hold: 3,
            retired: 2,
            retired_secrets: BTreeMap::from([("stripe 0123abcd".to_owned(), 2)]),
            ..Signatures::default()
        };
        assert_eq!(
            line(&signatures),
            "deliveries  3 signatures hold, 0 do not; 0 bodies erased, 0 answers of APIs, 2 by secrets that are not set \
             any more\n            stripe 0123abcd: 2"
        );
    }
}
