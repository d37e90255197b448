//! The program, as an auditor runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::ledger::{Folder, key, sound};

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_credit-ledger-verify"));
    let output = program.args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn an_export_a_public_key_and_the_program_are_enough() {
    let (export, keys) = (Folder::new(), Folder::new());
    sound().write(&export.0);
    let pem = keys.0.join("public.pem");
    fs::write(&pem, key().public().to_pem().unwrap()).unwrap();
    let witness = keys.0.join("seals.ndjson");
    let told = sound()
        .seals
        .iter()
        .map(|seal| serde_json::to_string(seal).unwrap() + "\n")
        .collect::<String>();
    fs::write(&witness, told).unwrap();
    let (folder, pem, witness) = (path(&export.0), path(&pem), path(&witness));

    let (code, text, _) = run(&[folder, "--key", pem, "--witness", witness]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("verdict     clean") && text.contains("2 seals are those"),
        "{text}"
    );

    let (code, text, _) = run(&[folder, "--key", pem, "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (code, &json["verdict"], &json["events"]),
        (0, &"clean".into(), &14.into())
    );

    assert_eq!(run(&[folder]).0, 2);
    assert_eq!(run(&[folder, "--no-key"]).0, 0);

    let mut damaged = sound();
    damaged.events[0].metadata.push(' ');
    damaged.write(&export.0);
    let (code, text, _) = run(&[folder, "--key", pem]);
    assert_eq!(code, 1);
    assert!(
        text.contains("hash_differs shard 0 position 1 user/user_1: "),
        "{text}"
    );
}

#[test]
fn what_can_not_be_judged_is_no_verdict() {
    let folder = Folder::new();
    let here = path(&folder.0);
    for arguments in [
        vec![],
        vec![here],
        vec![here, "--key"],
        vec![here, "--key", "nowhere.pem"],
        vec![here, "--no-key", "--witness", "nowhere.ndjson"],
        vec![here, here],
        vec!["--what"],
    ] {
        let (code, _, error) = run(&arguments);
        assert_eq!(code, 2, "{arguments:?}");
        assert!(error.starts_with("credit-ledger-verify: "), "{error}");
    }
    assert_eq!(run(&["--help"]).0, 0);
    assert_eq!(run(&["--version"]).0, 0);
}
