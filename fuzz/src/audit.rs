//! What the targets of the auditor do: exports, answers with proofs and files of witnesses, whatever is in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use credit_ledger_verify::check::Trust;
use credit_ledger_verify::export;
use credit_ledger_verify::manifest::{self, Content, FileEntry, Format, Manifest, Scope};
use credit_ledger_verify::proof::Answer;
use credit_ledger_verify::record::{EndRecord, EventRecord, SealRecord};
use credit_ledger_verify::seal::{PublicKey, SealKey};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// A line that begins with this names the file of an export that follows it.
const SECTION: u8 = b'@';
/// The section that is the manifest itself. Without it one is made that fits the other files.
const MANIFEST: &str = "manifest";

/// A folder that goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("credit-ledger-fuzz-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Who signed the seeds.
fn key() -> PublicKey {
    SealKey::from_seed(&[7; 32]).public()
}

/// The files of an export, each behind a line `@<content>`: it is judged, and what is said of it can not look like
/// anything else.
pub fn read_export(bytes: &[u8]) {
    let folder = Folder::new();
    write_export(&folder.0, bytes);
    let Ok(report) = export::verify(&folder.0, Trust::of_keys(vec![key()])) else {
        return;
    };
    let text = report.to_string();
    assert_plain(&text);
    let verdicts = text.lines().filter(|line| line.starts_with("verdict"));
    assert_eq!(verdicts.count(), 1, "{text}");
}

/// Whether an export is clean.
pub fn is_clean(bytes: &[u8]) -> bool {
    let folder = Folder::new();
    write_export(&folder.0, bytes);
    export::verify(&folder.0, Trust::of_keys(vec![key()]))
        .is_ok_and(|report| report.exit_code() == 0)
}

/// An answer with a proof, as whoever asked the service wrote it to a file.
pub fn read_proof(bytes: &[u8]) {
    let Some(answer) = Answer::read(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    for finding in answer.judge(&[key()]) {
        assert_plain(&finding.to_string());
    }
    assert_plain(&answer.to_string());
}

/// The file of a witness, and the same bytes as a public key.
pub fn read_witness(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.0.join("witness");
    fs::write(&path, bytes).expect("a file");
    for keys in [vec![], vec![key()]] {
        let mut trust = Trust::of_keys(keys);
        if let Err(error) = export::witness(&path, &mut trust) {
            assert_plain(&error.to_string());
        }
    }
    let _ = PublicKey::from_pem(&String::from_utf8_lossy(bytes));
}

fn assert_plain(text: &str) {
    let odd = |character: char| character.is_control() && character != '\n';
    assert!(!text.contains(odd), "{text:?}");
}

fn write_export(folder: &Path, bytes: &[u8]) {
    let mut sections: Vec<(&str, Vec<u8>)> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.split_first() {
            Some((&SECTION, name)) => {
                let name = std::str::from_utf8(name).unwrap_or_default().trim();
                sections.push((name, Vec::new()));
            }
            _ => {
                if let Some((_, file)) = sections.last_mut() {
                    file.extend(line);
                }
            }
        }
    }
    let section = |name: &str| sections.iter().find(|(other, _)| *other == name);
    if let Some((_, text)) = section(MANIFEST) {
        fs::write(folder.join(manifest::FILE), text).expect("a manifest");
    }
    let mut files = Vec::new();
    for content in Content::ALL {
        let lines = section(content.as_str()).map_or(&[][..], |(_, lines)| lines);
        let name = format!("{}.ndjson", content.as_str());
        fs::write(folder.join(&name), lines).expect("a file");
        files.push(FileEntry {
            name,
            content,
            lines: lines.split_inclusive(|byte| *byte == b'\n').count() as u64,
            bytes: lines.len() as u64,
            sha256: Sha256::digest(lines).into(),
        });
    }
    if section(MANIFEST).is_none() {
        let lines =
            |content: Content| section(content.as_str()).map_or(&[][..], |(_, lines)| lines);
        let made = made(files, lines(Content::Seals), lines(Content::Events));
        let text = serde_json::to_vec(&made).expect("a manifest");
        fs::write(folder.join(manifest::FILE), text).expect("a manifest");
    }
}

/// A manifest of these files that goes as far as their last seal and their last events.
fn made(files: Vec<FileEntry>, seals: &[u8], events: &[u8]) -> Manifest {
    let last = records(seals)
        .last()
        .map_or(0, |seal: SealRecord| seal.seal);
    let mut ends: BTreeMap<i16, EndRecord> = BTreeMap::new();
    for event in records::<EventRecord>(events) {
        let (shard, position, hash) = (event.shard, event.position, event.hash);
        let end = EndRecord {
            shard,
            position,
            hash,
        };
        let before = ends.entry(shard).or_insert(end);
        if before.position < position {
            *before = end;
        }
    }
    Manifest {
        version: manifest::VERSION.to_owned(),
        made_at_us: 0,
        scope: Scope::Whole,
        format: Format::Ndjson,
        ends: ends.into_values().collect(),
        last_seal: last,
        files,
    }
}

/// Those lines that can be read.
fn records<T: DeserializeOwned>(lines: &[u8]) -> impl Iterator<Item = T> {
    lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}
