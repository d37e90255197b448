//! `credit-ledger-verify`: the verdict on an export, from the export, a public key and nothing else.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use credit_ledger_verify::check::Trust;
use credit_ledger_verify::export;
use credit_ledger_verify::proof::{ANSWER_MAX_BYTES, Answer};
use credit_ledger_verify::report::{Finding, Report, Verdict};
use credit_ledger_verify::seal::PublicKey;
use serde::Serialize;

const HELP: &str = "\
Judges an export of a credit ledger: no database, no secrets, no trust in whoever made it.

Usage: credit-ledger-verify <folder> --key <file> [options]
       credit-ledger-verify --proof <file> --key <file>

  <folder>          the export, as NDJSON: the folder with manifest.json
  --key <file>      a public key that may have signed seals, in PEM; once for each
  --no-key          verify no signature; then the export is only compared with itself
  --witness <file>  what an outside witness was told: a seal a line, as the service hands them out; once for each
  --min-seal <n>    the history must go at least as far as this seal
  --all             list every finding, not only the first ones
  --proof <file>    judge an answer of GET /v1/audit/proof/... or /v1/audit/consistency/... instead
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

/// What was found of an answer.
#[derive(Serialize)]
struct Answered {
    verdict: Verdict,
    findings: Vec<Finding>,
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    folder: Option<PathBuf>,
    proof: Option<PathBuf>,
    keys: Vec<PathBuf>,
    witnesses: Vec<PathBuf>,
    min_seal: i64,
    no_key: bool,
    all: bool,
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
    match (&asked.folder, &asked.proof) {
        (Some(folder), None) => judge(folder, &asked),
        (None, Some(answer)) => judge_answer(answer, &asked),
        _ => Err("which folder, or which --proof? see --help".to_owned()),
    }
}

fn judge(folder: &Path, asked: &Asked) -> Result<ExitCode, String> {
    let mut trust = Trust::of_keys(keys(asked)?);
    trust.waived = asked.no_key;
    trust.min_seal = asked.min_seal;
    trust.list_all = asked.all;
    for path in &asked.witnesses {
        export::witness(path, &mut trust).map_err(|error| error.to_string())?;
    }
    let report = export::verify(folder, trust).map_err(|error| error.to_string())?;
    if asked.json {
        print_json(&Judged {
            verdict: report.verdict(),
            report: &report,
        })?;
    } else {
        print!("{report}");
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// An answer without a key shows nothing.
fn judge_answer(path: &Path, asked: &Asked) -> Result<ExitCode, String> {
    let keys = keys(asked)?;
    if keys.is_empty() {
        return Err("--proof needs a --key".to_owned());
    }
    let named = |error| format!("{}: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(named)?;
    let read = file.take(ANSWER_MAX_BYTES).read_to_string(&mut text);
    read.map_err(named)?;
    let answer = Answer::read(&text)
        .ok_or_else(|| format!("{}: it is no answer with a proof", path.display()))?;
    let findings = answer.judge(&keys);
    let verdict = if findings.is_empty() {
        Verdict::Clean
    } else {
        Verdict::Findings
    };
    if asked.json {
        print_json(&Answered { verdict, findings })?;
    } else if findings.is_empty() {
        println!("proven      {answer}, signed by a key that was given");
    } else {
        println!("NOT PROVEN  {answer}");
        for finding in findings {
            println!("FINDING     {finding}");
        }
    }
    Ok(ExitCode::from(u8::from(verdict != Verdict::Clean)))
}

fn print_json(what: &impl Serialize) -> Result<(), String> {
    let json = serde_json::to_string_pretty(what).map_err(|error| error.to_string())?;
    println!("{json}");
    Ok(())
}

fn keys(asked: &Asked) -> Result<Vec<PublicKey>, String> {
    let keys = asked.keys.iter().map(|path| {
        let named = path.display();
        let pem = std::fs::read_to_string(path).map_err(|error| format!("{named}: {error}"))?;
        PublicKey::from_pem(&pem).map_err(|error| format!("{named} {error}"))
    });
    keys.collect()
}

/// Nothing: it was only asked for help.
fn ask() -> Result<Option<Asked>, lexopt::Error> {
    use lexopt::prelude::*;
    let mut asked = Asked::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("key") => asked.keys.push(parser.value()?.into()),
            Long("no-key") => asked.no_key = true,
            Long("witness") => asked.witnesses.push(parser.value()?.into()),
            Long("min-seal") => asked.min_seal = parser.value()?.parse()?,
            Long("all") => asked.all = true,
            Long("proof") if asked.proof.is_none() => asked.proof = Some(parser.value()?.into()),
            Long("json") => asked.json = true,
            Short('h') | Long("help") => {
                print!("{HELP}");
                return Ok(None);
            }
            Short('V') | Long("version") => {
                println!("credit-ledger-verify {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Value(path) if asked.folder.is_none() => asked.folder = Some(path.into()),
            _ => return Err(argument.unexpected()),
        }
    }
    if asked.no_key && !asked.keys.is_empty() {
        return Err("--key and --no-key exclude each other".into());
    }
    Ok(Some(asked))
}
