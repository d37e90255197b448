//! The command line's entry. What it can do is in `credit_ledger::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    credit_ledger::cli::run()
}
