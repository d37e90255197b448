//! `credit-ledger-verify`: the verdict on an export, from the export, a public key and nothing else.

use std::path::PathBuf;
use std::process::ExitCode;

use credit_ledger_verify::check::Trust;
use credit_ledger_verify::export;
use credit_ledger_verify::report::{Report, Verdict};
use credit_ledger_verify::seal::PublicKey;
use serde::Serialize;

const HELP: &str = "\
Judges an export of a credit ledger: no database, no secrets, no trust in whoever made it.

Usage: credit-ledger-verify <folder> --key <file> [options]

  <folder>          the export, as NDJSON: the folder with manifest.json
  --key <file>      a public key that may have signed seals, in PEM; once for each
  --no-key          verify no signature; then the export is only compared with itself
  --witness <file>  what an outside witness was told: a seal a line, as the service hands them out
  --json            print the report as JSON
  --help, --version

Exit code: 0 all agrees, 1 something does not, 2 it can not be judged.
";

/// The report, and what it comes to.
#[derive(Serialize)]
struct Judged<'a> {
    verdict: Verdict,
    #[serde(flatten)]
    report: &'a Report,
}

/// What the command line asks for.
struct Asked {
    folder: PathBuf,
    keys: Vec<PathBuf>,
    witness: Option<PathBuf>,
    no_key: bool,
    json: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(what) => {
            eprintln!("credit-ledger-verify: {what}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let Some(asked) = ask().map_err(|error| format!("{error}; see --help"))? else {
        return Ok(ExitCode::SUCCESS);
    };
    let report = judge(&asked)?;
    if asked.json {
        let judged = Judged {
            verdict: report.verdict(),
            report: &report,
        };
        let json = serde_json::to_string_pretty(&judged).map_err(|error| error.to_string())?;
        println!("{json}");
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(report.exit_code()))
}

fn judge(asked: &Asked) -> Result<Report, String> {
    let mut keys = Vec::new();
    for path in &asked.keys {
        let pem = std::fs::read_to_string(path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        keys.push(
            PublicKey::from_pem(&pem).map_err(|error| format!("{} {error}", path.display()))?,
        );
    }
    let mut trust = Trust::of_keys(keys);
    trust.waived = asked.no_key;
    if let Some(path) = &asked.witness {
        export::witness(path, &mut trust).map_err(|error| error.to_string())?;
    }
    export::verify(&asked.folder, trust).map_err(|error| error.to_string())
}

/// Nothing: it was only asked for help.
fn ask() -> Result<Option<Asked>, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut folder, mut keys, mut witness, mut no_key, mut json) =
        (None, vec![], None, false, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("key") => keys.push(PathBuf::from(parser.value()?)),
            Long("no-key") => no_key = true,
            Long("witness") if witness.is_none() => witness = Some(PathBuf::from(parser.value()?)),
            Long("json") => json = true,
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            Short('V') | Long("version") => {
                println!("credit-ledger-verify {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Value(path) if folder.is_none() => folder = Some(PathBuf::from(path)),
            _ => return Err(argument.unexpected()),
        }
    }
    if no_key && !keys.is_empty() {
        return Err("--key and --no-key exclude each other".into());
    }
    let folder = folder.ok_or("which folder?")?;
    Ok(Some(Asked {
        folder,
        keys,
        witness,
        no_key,
        json,
    }))
}
