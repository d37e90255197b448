//! Whoever may write everything but sign changes the history, the tables beside it, or an export: each change is found and
//! named, on the live database and offline where it can be. What can not be found is said, and why.

mod copy;
mod dice;
mod fields;
mod folder;
mod forge;
mod lines;
mod offline;
mod online;
mod rows;
pub mod sealed;

/// Whoever reads a finding finds it explained.
#[test]
fn every_check_is_explained() {
    let report = include_str!("../verify/src/report.rs");
    let codes = report.split("pub const ").filter_map(|rest| {
        let (_, text) = rest.split_once(": &str = \"")?;
        Some(text.split_once('"')?.0)
    });
    let codes: Vec<&str> = codes.collect();
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        let row = format!("| `{code}` | ");
        assert!(include_str!("../README.md").contains(&row), "{code}");
    }
}
