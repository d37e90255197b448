//! Feeds the checks from the folder of an export.
//!
//! Reads what the manifest lists and nothing else, line by line, so in constant memory. Only what keeps it from reading at all
//! is an error; whatever it reads that can not be is a finding.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::check::{Checker, Extent, Trust};
use crate::fold::said;
use crate::json;
use crate::manifest::{Content, FILE, FileEntry, Format, Manifest, Scope, VERSION};
use crate::record::{EventRecord, SealRecord};
use crate::report::{Finding, Report, Shown, checks};

/// The longest line, bytes. An event is far shorter: the body that may become one is limited to 1 MiB.
pub const LINE_MAX_BYTES: usize = 16 << 20;
/// The longest manifest, bytes: some hundred thousand files.
pub const MANIFEST_MAX_BYTES: u64 = 64 << 20;

/// Why an export, or the file of a witness, can not be judged.
#[derive(Debug)]
pub enum ReadError {
    /// A file can not be read.
    Io(PathBuf, io::Error),
    /// The manifest, or a line of a witness, is not what it should be.
    Unreadable(PathBuf, String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unreadable(path, what) => write!(f, "{}: {}", path.display(), Shown(what)),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads the manifest of an export that can be judged.
///
/// # Errors
/// [`ReadError`]: there is none, it is of another version, or the export is not of JSON lines.
pub fn manifest(folder: &Path) -> Result<Manifest, ReadError> {
    let path = folder.join(FILE);
    let text = read_bounded(&path).map_err(|error| ReadError::Io(path.clone(), error))?;
    let unreadable = |what: String| ReadError::Unreadable(path.clone(), what);
    if text.len() as u64 > MANIFEST_MAX_BYTES {
        return Err(unreadable("it is too long".to_owned()));
    }
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    if manifest.version != VERSION {
        return Err(unreadable(format!("its version is not «{VERSION}»")));
    }
    if manifest.format != Format::Ndjson {
        return Err(unreadable(
            "only an export as ndjson can be verified".to_owned(),
        ));
    }
    Ok(manifest)
}

/// At most one byte more than a manifest may have.
fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut file = plain(path)?.take(MANIFEST_MAX_BYTES + 1);
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Opens a file of an export: no link that leads out of its folder, and no pipe or device that never ends.
fn plain(path: &Path) -> io::Result<File> {
    if std::fs::symlink_metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no plain file",
        ))
    }
}

/// Reads what a witness was told: a [`SealRecord`] a line. Give `trust` its keys first.
///
/// # Errors
/// [`ReadError`]: a file that can not be read says nothing about a roll-back.
pub fn witness(path: &Path, trust: &mut Trust) -> Result<(), ReadError> {
    let entry = |error| ReadError::Io(path.to_owned(), error);
    let mut lines = File::open(path).map(Lines::of).map_err(entry)?;
    while let Some(line) = lines.next_line().map_err(entry)? {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let seal: SealRecord = serde_json::from_slice(line).map_err(|error| {
            let what = format!("line {}: {error}", lines.number);
            ReadError::Unreadable(path.to_owned(), what)
        })?;
        trust.witness(&seal);
    }
    Ok(())
}

/// Judges an export.
///
/// # Errors
/// [`ReadError`], when it can not be judged.
pub fn verify(folder: &Path, trust: Trust) -> Result<Report, ReadError> {
    let manifest = manifest(folder)?;
    let mut checker = Checker::new(Extent::from(&manifest), trust);
    let mut reader = Reader {
        folder,
        manifest: &manifest,
        checker: &mut checker,
    };
    reader.log();
    for content in Content::ALL {
        match content {
            Content::Seals | Content::Events => {}
            Content::Deliveries => {
                reader.each(content, |checker, record| checker.delivery(&record, None));
            }
            Content::Streams => reader.each(content, |checker, record| checker.stream(&record)),
            _ => reader.each(content, |checker, json::Object(row)| {
                checker.row(content, &row);
            }),
        }
    }
    Ok(checker.finish())
}

struct Reader<'a> {
    folder: &'a Path,
    manifest: &'a Manifest,
    checker: &'a mut Checker,
}

impl<'a> Reader<'a> {
    /// The files of a content.
    fn files(&mut self, content: Content) -> Files<'a> {
        let entries = self
            .manifest
            .files
            .iter()
            .filter(|file| file.content == content);
        let waiting: VecDeque<&FileEntry> = entries.collect();
        if waiting.is_empty() {
            let what = format!("there is no file of {}", content.as_str());
            self.checker
                .finding(Finding::new(checks::FILE_DIFFERS, what));
        }
        Files {
            folder: self.folder,
            waiting,
            open: None,
        }
    }

    /// Seals and events, seal by seal.
    fn log(&mut self) {
        let (mut seals, mut events) = (self.files(Content::Seals), self.files(Content::Events));
        if let Scope::User(_) = self.manifest.scope {
            while let Some(seal) = seals.next(self.checker) {
                self.checker.proven_seal(&seal);
            }
            while let Some(event) = events.next(self.checker) {
                self.checker.proven_event(&event);
            }
            return;
        }
        let mut next: Option<EventRecord> = events.next(self.checker);
        while let Some(seal) = seals.next::<SealRecord>(self.checker) {
            self.checker.seal(&seal);
            while let Some(event) = next.take_if(|event| seal.covers(event)) {
                self.checker.event(&event);
                next = events.next(self.checker);
            }
        }
        while let Some(event) = next.take() {
            self.checker.event(&event);
            next = events.next(self.checker);
        }
    }

    /// The records of a content, one after another.
    fn each<T: DeserializeOwned>(&mut self, content: Content, take: impl Fn(&mut Checker, T)) {
        let mut files = self.files(content);
        while let Some(record) = files.next(self.checker) {
            take(self.checker, record);
        }
    }
}

/// Files that follow each other.
struct Files<'a> {
    folder: &'a Path,
    waiting: VecDeque<&'a FileEntry>,
    open: Option<(&'a FileEntry, Lines)>,
}

impl Files<'_> {
    /// The next record. What can not be read is a finding, and left out.
    fn next<T: DeserializeOwned>(&mut self, checker: &mut Checker) -> Option<T> {
        loop {
            let Some((entry, lines)) = &mut self.open else {
                let entry = self.waiting.pop_front()?;
                // A name is no path: nothing outside of the folder is read.
                let is_name = Path::new(&entry.name)
                    .file_name()
                    .is_some_and(|name| name == entry.name.as_str());
                match is_name.then(|| plain(&self.folder.join(&entry.name))) {
                    Some(Ok(file)) => self.open = Some((entry, Lines::of(file))),
                    Some(Err(error)) => differs(checker, entry, &error.to_string()),
                    None => differs(checker, entry, "its name is a path"),
                }
                continue;
            };
            match lines.next_line() {
                Ok(Some(line)) => match serde_json::from_slice(line) {
                    Ok(record) => return Some(record),
                    Err(error) => {
                        let what =
                            format!("{} line {}: {}", entry.name, lines.number, said(&error));
                        checker.finding(Finding::new(checks::UNREADABLE, what));
                    }
                },
                Ok(None) => {
                    if let Some(what) = lines.differs(entry) {
                        differs(checker, entry, &what);
                    }
                    self.open = None;
                }
                Err(error) => {
                    let what = format!("line {}: {error}", lines.number);
                    differs(checker, entry, &what);
                    self.open = None;
                }
            }
        }
    }
}

fn differs(checker: &mut Checker, entry: &FileEntry, what: &str) {
    checker.finding(Finding::new(
        checks::FILE_DIFFERS,
        format!("{}: {what}", entry.name),
    ));
}

/// The lines of a file, and what its manifest says of it, as it is read.
struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
    number: u64,
    bytes: u64,
    sha256: Sha256,
}

impl Lines {
    fn of(file: File) -> Self {
        Self {
            file: BufReader::with_capacity(1 << 16, file),
            line: Vec::new(),
            number: 0,
            bytes: 0,
            sha256: Sha256::new(),
        }
    }

    /// The next line. One that is too long ends the reading: what is behind it can not be told apart.
    fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        loop {
            let read = self.file.fill_buf()?;
            if read.is_empty() {
                break;
            }
            let end = read.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(read.len(), |end| end + 1);
            self.line.extend_from_slice(&read[..taken]);
            self.file.consume(taken);
            if end.is_some() {
                break;
            }
            if self.line.len() > LINE_MAX_BYTES {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the line is too long",
                ));
            }
        }
        if self.line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += self.line.len() as u64;
        self.sha256.update(&self.line);
        Ok(Some(&self.line))
    }

    fn differs(&self, entry: &FileEntry) -> Option<String> {
        if (self.number, self.bytes) != (entry.lines, entry.bytes) {
            return Some(format!(
                "it has {} lines and {} bytes, the manifest says {} and {}",
                self.number, self.bytes, entry.lines, entry.bytes
            ));
        }
        let differs = self.sha256.clone().finalize().as_slice() != entry.sha256;
        differs.then(|| "its SHA-256 is not the one of the manifest".to_owned())
    }
}
