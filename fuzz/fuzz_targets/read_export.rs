#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credit_ledger_fuzz::audit::read_export(bytes));
