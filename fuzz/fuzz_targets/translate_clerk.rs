#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| credit_ledger_fuzz::translate(
    &credit_ledger_fuzz::CLERK,
    bytes
));
