//! The program, as an auditor runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use credit_ledger_verify::manifest::Content;
use serde_json::Value;

use super::ledger::{Export, Folder, built, key, sound, story};
use super::proof::event_answer;

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
fn flags_ask_for_more() {
    let (export, keys) = (Folder::new(), Folder::new());
    let now = sound();
    now.write(&export.0);
    let mut before = story();
    before[12].2["reason"] = "another".into();
    let write = |name: &str, text: String| {
        let path = keys.0.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let told = |name: &str, export: &Export| {
        let lines = export
            .seals
            .iter()
            .map(|seal| serde_json::to_string(seal).unwrap() + "\n");
        write(name, lines.collect())
    };
    let pem = write("public.pem", key().public().to_pem().unwrap());
    let (one, other) = (told("one", &now), told("other", &built(before, &key())));
    let (folder, pem, one, other) = (path(&export.0), path(&pem), path(&one), path(&other));

    for witnesses in [[one, other], [other, one]] {
        let [first, second] = witnesses;
        let (code, text, _) = run(&[
            folder,
            "--key",
            pem,
            "--witness",
            first,
            "--witness",
            second,
        ]);
        assert_eq!(code, 1, "{text}");
        assert!(text.contains("several heads of seal 2"), "{text}");
    }
    assert_eq!(
        run(&[folder, "--key", pem, "--witness", one, "--witness", one]).0,
        0
    );
    assert_eq!(run(&[folder, "--key", pem, "--min-seal", "2"]).0, 0);
    assert_eq!(run(&[folder, "--key", pem, "--min-seal", "3"]).0, 1);
    assert_eq!(run(&[folder, "--key", pem, "--min-seal", "x"]).0, 2);

    let mut flood = sound();
    let balances = flood.rows.get_mut(&Content::Balance).unwrap();
    for index in 0..150 {
        let mut row = balances[0].clone();
        row["user_id"] = format!("nobody_{index}").into();
        balances.push(row);
    }
    flood.write(&export.0);
    let lines = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("FINDING"))
            .count()
    };
    assert_eq!(lines(&run(&[folder, "--key", pem]).1), 101);
    assert_eq!(lines(&run(&[folder, "--key", pem, "--all"]).1), 150);
}

#[test]
fn one_answer_is_judged_by_itself() {
    let folder = Folder::new();
    let (pem, answer) = (folder.0.join("public.pem"), folder.0.join("answer.json"));
    fs::write(&pem, key().public().to_pem().unwrap()).unwrap();
    fs::write(&answer, event_answer().to_string()).unwrap();
    let (pem, answer) = (path(&pem), path(&answer));
    let (code, text, _) = run(&["--proof", answer, "--key", pem]);
    let proven = "shard 0 position 2 user/user_1: SignupBonusGranted is in seal 1";
    assert_eq!(code, 0, "{text}");
    assert!(
        text.starts_with("proven") && text.contains(proven),
        "{text}"
    );
    assert_eq!(run(&["--proof", answer]).0, 2);
    assert_eq!(run(&["--proof", pem, "--key", pem]).0, 2);
    assert_eq!(
        run(&["--proof", answer, path(&folder.0), "--key", pem]).0,
        2
    );

    let mut changed = event_answer();
    changed["event"]["payload"] = "{}".into();
    fs::write(answer, changed.to_string()).unwrap();
    let (code, text, _) = run(&["--proof", answer, "--key", pem]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("NOT PROVEN") && text.contains("hash_differs"),
        "{text}"
    );
    let (code, text, _) = run(&["--proof", answer, "--key", pem, "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["verdict"]), (1, &"findings".into()));
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
