//! The traps that `tests/README.md` lists: each names a test, and that test is there.

use std::fs;
use std::path::Path;

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_trap_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("tests/README.md")).unwrap();
    let (_, table) = readme.split_once("## Traps").unwrap();
    let mut all = String::new();
    sources(&root.join("tests"), &mut all);
    sources(&root.join("src"), &mut all);
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    let tests: Vec<&str> = rows.filter_map(|line| line.split('`').nth(1)).collect();
    assert!(tests.len() >= 30, "{}", tests.len());
    for test in tests {
        assert_eq!(all.matches(&format!("fn {test}(")).count(), 1, "{test}");
    }
}
