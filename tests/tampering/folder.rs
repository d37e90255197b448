//! A copy of an export that is changed, and its manifest made to agree with it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A folder of its own, gone when this is.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!(
            "credit-ledger-tampering-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// All files of another.
    pub fn copy_of(other: &Path) -> Self {
        let copy = Self::new();
        for entry in std::fs::read_dir(other).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
        }
        copy
    }

    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.0.join("manifest.json")).unwrap()).unwrap()
    }

    pub fn write_manifest(&self, manifest: &Value) {
        std::fs::write(self.0.join("manifest.json"), manifest.to_string()).unwrap();
    }

    /// The files of one content, in order.
    pub fn files(&self, content: &str) -> Vec<PathBuf> {
        let manifest = self.manifest();
        let files = manifest["files"].as_array().unwrap().iter();
        files
            .filter(|file| file["content"] == content)
            .map(|file| self.0.join(file["name"].as_str().unwrap()))
            .collect()
    }

    /// Every record of one content.
    pub fn records(&self, content: &str) -> Vec<Value> {
        let texts = self
            .files(content)
            .into_iter()
            .map(|file| std::fs::read_to_string(file).unwrap());
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines
            .map(|line| serde_json::from_str(&line).unwrap())
            .collect()
    }

    /// Puts these in their place.
    pub fn write_records(&self, content: &str, records: &[Value]) {
        let files = self.files(content);
        for file in &files[1..] {
            std::fs::write(file, "").unwrap();
        }
        let lines: Vec<String> = records.iter().map(Value::to_string).collect();
        let end = if lines.is_empty() { "" } else { "\n" };
        std::fs::write(&files[0], lines.join("\n") + end).unwrap();
    }

    /// Changes the records of one content.
    pub fn change(&self, content: &str, change: impl FnOnce(&mut Vec<Value>)) {
        let mut records = self.records(content);
        change(&mut records);
        self.write_records(content, &records);
    }

    /// Lets the manifest say of each file what it is now: whoever can change files can change it, too.
    pub fn mend_manifest(&self) {
        let mut manifest = self.manifest();
        for file in manifest["files"].as_array_mut().unwrap() {
            let bytes = std::fs::read(self.0.join(file["name"].as_str().unwrap())).unwrap();
            file["lines"] = bytes
                .split(|byte| *byte == b'\n')
                .count()
                .saturating_sub(1)
                .into();
            file["bytes"] = bytes.len().into();
            file["sha256"] = hex::encode(Sha256::digest(&bytes)).into();
        }
        self.write_manifest(&manifest);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where every single value of a record is, as JSON pointers.
pub fn places(record: &Value) -> Vec<String> {
    match record {
        Value::Object(members) => {
            let inner = members.iter().map(|(name, value)| (name.clone(), value));
            inner
                .flat_map(|(name, value)| below(&name, value))
                .collect()
        }
        Value::Array(items) => {
            let inner = items.iter().enumerate();
            inner
                .flat_map(|(index, value)| below(&index.to_string(), value))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![String::new()],
    }
}

fn below(name: &str, value: &Value) -> Vec<String> {
    places(value)
        .into_iter()
        .map(|place| format!("/{name}{place}"))
        .collect()
}

/// A place without the numbers in it: of `/ends/3/hash` it is `ends/hash`.
pub fn column(place: &str) -> String {
    let is_name = |name: &&str| !name.is_empty() && name.parse::<usize>().is_err();
    let names: Vec<&str> = place.split('/').filter(is_name).collect();
    names.join("/")
}
