//! Whoever made the export means harm to whoever judges it.

use std::fs;
use std::path::Path;

use credit_ledger_verify::export::{self, ReadError};
use credit_ledger_verify::manifest::{Content, Scope};
use credit_ledger_verify::report::checks::{FILE_DIFFERS, STATE_DIFFERS, UNREADABLE};

use super::ledger::{Folder, key, sound, trust};
use super::proof::{event_answer, seals_answer};
use super::{assert_found, checks};

#[test]
fn what_others_wrote_can_not_look_like_a_verdict() {
    let spoof = "x\u{1b}[2J\nverdict     clean\u{1b}[8m\u{202e}\r";
    let mut export = sound();
    spoof.clone_into(&mut export.deliveries[4].outcome);
    spoof.clone_into(&mut export.deliveries[4].key);
    spoof.clone_into(&mut export.seals[0].key_id);
    spoof.clone_into(&mut export.streams[0].aggregate_id);
    export.scope = Scope::User(spoof.to_owned());
    let text = export.judge(trust()).to_string();
    assert!(text.contains("\\u{1b}[2J\\nverdict"), "{text}");
    let control = |character: char| character.is_control() && character != '\n';
    assert!(
        !text.contains(control) && !text.contains('\u{202e}'),
        "{text:?}"
    );
    let verdicts = text.lines().filter(|line| line.starts_with("verdict"));
    assert_eq!(verdicts.count(), 1, "{text}");

    let folder = Folder::new();
    fs::write(
        folder.0.join("manifest.json"),
        format!(
            "{{\"version\":\"\",\"{}\":1}}",
            "\\u001b[2J\\nverdict     clean"
        ),
    )
    .unwrap();
    let error = export::verify(&folder.0, trust()).unwrap_err().to_string();
    assert!(
        !error.contains('\u{1b}') && !error.contains('\n'),
        "{error:?}"
    );
}

#[cfg(unix)]
#[test]
fn only_plain_files_are_read() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    sound().write(&folder.0);
    let balance = folder.0.join("balance.ndjson");
    let outside = elsewhere.0.join("balance.ndjson");
    fs::rename(&balance, &outside).unwrap();
    std::os::unix::fs::symlink(&outside, &balance).unwrap();
    let report = export::verify(&folder.0, trust()).unwrap();
    assert!(checks(&report).contains(&FILE_DIFFERS), "{report}");
    assert!(report.to_string().contains("no plain file"), "{report}");
    // Whoever opened this would wait for ever.
    fs::remove_file(&balance).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&balance).status();
    assert!(made.unwrap().success());
    let report = export::verify(&folder.0, trust()).unwrap();
    assert!(report.to_string().contains("no plain file"), "{report}");

    let manifest = folder.0.join("manifest.json");
    fs::rename(&manifest, elsewhere.0.join("manifest.json")).unwrap();
    std::os::unix::fs::symlink(elsewhere.0.join("manifest.json"), &manifest).unwrap();
    let error = export::verify(&folder.0, trust()).unwrap_err();
    assert!(matches!(error, ReadError::Io(..)), "{error}");
}

#[test]
fn a_manifest_has_a_bound() {
    let folder = Folder::new();
    let file = fs::File::create(folder.0.join("manifest.json")).unwrap();
    file.set_len(export::MANIFEST_MAX_BYTES + 1).unwrap();
    let error = export::verify(&folder.0, trust()).unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
}

#[test]
fn a_name_that_comes_twice_is_not_read_as_the_last_one() {
    let mut export = sound();
    export.streams[2].state = export.streams[2]
        .state
        .replacen('{', "{\"balance\":999,", 1);
    assert!(checks(&export.judge(trust())).contains(&STATE_DIFFERS));

    let folder = Folder::new();
    let mut manifest = sound().write(&folder.0);
    let path = folder.0.join("balance.ndjson");
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen('{', "{\"balance\":999,", 1);
    fs::write(&path, &text).unwrap();
    let mut files = manifest.files.iter_mut();
    let file = files.find(|file| file.content == Content::Balance).unwrap();
    file.bytes = text.len() as u64;
    file.sha256 = super::ledger::sha256(&text);
    super::ledger::write_manifest(&folder.0, &manifest);
    let report = export::verify(&folder.0, trust()).unwrap();
    assert!(checks(&report).contains(&UNREADABLE), "{report}");
}

#[test]
fn nothing_is_erased_where_nobody_was() {
    let mut export = sound();
    export.deliveries[0].erased = true;
    let found = [credit_ledger_verify::report::checks::DELIVERY_DIFFERS];
    assert_found("erased", &export.judge(trust()), &found);
}

/// A fuzzer can not find a signature, so it is given what is sound. `FUZZ_SEEDS=write` writes it anew.
#[test]
fn the_seeds_of_the_fuzzer_are_sound() {
    let folder = Folder::new();
    let manifest = sound().write(&folder.0);
    let mut export = Vec::new();
    for file in &manifest.files {
        export.extend(format!("@{}\n", file.content.as_str()).into_bytes());
        export.extend(fs::read(folder.0.join(&file.name)).unwrap());
    }
    let mut witness = Vec::new();
    for seal in sound().seals {
        witness.extend(serde_json::to_vec(&seal).unwrap());
        witness.push(b'\n');
    }
    let key = key().public().to_pem().unwrap().into_bytes();
    for (seed, bytes) in [
        ("read_export/sound", export),
        (
            "read_proof/event.json",
            event_answer().to_string().into_bytes(),
        ),
        (
            "read_proof/seals.json",
            seals_answer().to_string().into_bytes(),
        ),
        ("read_witness/seals", witness),
        ("read_witness/key.pem", key),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/seeds")
            .join(seed);
        if std::env::var_os("FUZZ_SEEDS").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let same = fs::read(&path).unwrap() == bytes;
        assert!(same, "{seed}: write it anew with FUZZ_SEEDS=write");
    }
}
