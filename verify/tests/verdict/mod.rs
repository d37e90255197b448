//! What each damage is called, and that it is called nothing else.

mod binary;
mod damage;
mod forgery;
mod hostile;
mod ledger;
mod one_user;
mod proof;
mod rows;
mod trust;

use credit_ledger_verify::report::Report;

/// The checks that found something, without repetition.
fn checks(report: &Report) -> Vec<&'static str> {
    report.found_by_check.keys().copied().collect()
}

#[track_caller]
fn assert_found(what: &str, report: &Report, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(checks(report), expected, "{what}:\n{report}");
}
