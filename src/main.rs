//! The command line's entry. What it can do is in `credit_ledger::cli`.

use std::process::ExitCode;

/// A batch is many small allocations that die together: this allocator takes about a twentieth off a webhook.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    credit_ledger::memory::without_huge_pages();
    credit_ledger::cli::run()
}
