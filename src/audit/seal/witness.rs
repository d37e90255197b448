//! Those who are told of every seal, so that what was sealed is known outside of the database: a file, and a server of
//! somebody else's.
//!
//! A file goes on behind its last whole line, so each instance has its own. A server is told in order and at least once,
//! by one instance at a time; how far is noted in the table `witnesses`. Must never tell of a seal that contradicts what
//! was told before.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use credit_ledger_verify::record::SealRecord;
use deadpool_postgres::{GenericClient, Object};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use super::{RolledBack, SealError, Sealer, rows};
use crate::outbound::{OutboundError, WitnessApi};
use crate::postgres::{Late, Lent};

/// The most seals that are read, and written or sent, at once.
pub const SEALS_AT_ONCE: i64 = 500;
/// How long telling a server may take before what was told is noted.
const TELLING_MAX: Duration = Duration::from_secs(20);
/// The longest that a turn may take, with what is read and noted.
const TURN: Duration = Duration::from_mins(1);
/// The longest line that is believed to be a seal: 1024 shards have 120 KiB.
const LINE_MAX_BYTES: u64 = 1024 * 1024;
/// What is read of the end of a file at first: 16 shards have 2 KiB a line.
const TAIL_BYTES: u64 = 64 * 1024;
/// What a server answers that knows another seal of that number.
const CONFLICT: u16 = 409;

/// Why a witness file can not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can not be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: Error,
    },
    /// Its last line is no seal.
    #[error("{0}: the last line is no seal")]
    NoSeal(PathBuf),
    /// Somebody else is writing it. Each instance needs a file of its own.
    #[error("{0}: another process has it open")]
    InUse(PathBuf),
}

/// Where every seal is written, a line of JSON each.
#[derive(Debug, Clone)]
pub struct WitnessFile {
    path: PathBuf,
}

/// The file, open and ours.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: File,
    last: Option<SealRecord>,
}

impl WitnessFile {
    /// The file at a path. It is made when it is first needed.
    pub const fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Opens it behind its last whole line. What follows that was cut off while it was written, and is removed.
    ///
    /// # Errors
    /// [`FileError`]
    pub async fn open(&self) -> Result<OpenFile, SealError> {
        let path = self.path.clone();
        blocking(move || open(path)).await
    }
}

impl OpenFile {
    /// The seal in its last line.
    pub const fn last(&self) -> Option<&SealRecord> {
        self.last.as_ref()
    }

    /// Adds these, durably, and gives the number of the last seal in it (0: none).
    ///
    /// # Errors
    /// [`FileError`]: then some of them may be in it. [`RolledBack`] when they do not follow what is in it.
    pub async fn append(self, seals: Vec<SealRecord>) -> Result<i64, SealError> {
        let mut number = self.last.as_ref().map_or(0, |last| last.seal);
        let mut lines = Vec::new();
        for seal in &seals {
            number += 1;
            if seal.seal != number {
                return Err(RolledBack::Gone(number).into());
            }
            serde_json::to_writer(&mut lines, seal).map_err(|_| SealError::Unreadable)?;
            lines.push(b'\n');
        }
        if !lines.is_empty() {
            blocking(move || append(self, &lines)).await?;
        }
        Ok(number)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, SealError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|_| SealError::CutOff)??)
}

fn open(path: PathBuf) -> Result<OpenFile, FileError> {
    let there = path.exists();
    let opened = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .open(&path);
    let mut file = opened.map_err(|error| io(&path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(FileError::InUse(path)),
        Err(TryLockError::Error(error)) => return Err(io(&path, error)),
    }
    if !there {
        sync_folder(&path).map_err(|error| io(&path, error))?;
    }
    let last = match last_line(&mut file).map_err(|error| io(&path, error))? {
        None => None,
        Some(line) => {
            let seal = serde_json::from_slice(&line);
            Some(seal.map_err(|_| FileError::NoSeal(path.clone()))?)
        }
    };
    Ok(OpenFile { path, file, last })
}

fn append(mut open: OpenFile, lines: &[u8]) -> Result<(), FileError> {
    let appended = open.file.metadata().and_then(|before| {
        let written = open.file.write_all(lines);
        let written = written.and_then(|()| open.file.sync_data());
        if written.is_err() {
            // No room, mostly. Whoever reads the file finds no torn line, and what may not be on the disk is written again.
            let _ = open.file.set_len(before.len());
        }
        written
    });
    appended.map_err(|error| io(&open.path, error))
}

fn io(path: &Path, error: Error) -> FileError {
    FileError::Io {
        path: path.to_owned(),
        error,
    }
}

/// A new file is there for good when its folder is.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().filter(|one| !one.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// The last whole line, without its end. What follows it is cut off.
fn last_line(file: &mut File) -> std::io::Result<Option<Vec<u8>>> {
    let length = file.seek(SeekFrom::End(0))?;
    for most in [TAIL_BYTES, 2 * LINE_MAX_BYTES] {
        let from = length.saturating_sub(most);
        file.seek(SeekFrom::Start(from))?;
        let mut tail = Vec::new();
        (&*file).take(most).read_to_end(&mut tail)?;
        let line_end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n');
        let end = line_end(&tail);
        let before = end.and_then(|end| line_end(&tail[..end]));
        match (end, before) {
            (Some(end), before) if before.is_some() || from == 0 => {
                let whole = from + end as u64 + 1;
                if whole < length {
                    file.set_len(whole)?;
                }
                tail.truncate(end);
                return Ok(Some(tail.split_off(before.map_or(0, |before| before + 1))));
            }
            (None, _) if from == 0 => {
                file.set_len(0)?;
                return Ok(None);
            }
            _ => {}
        }
    }
    Err(Error::new(ErrorKind::InvalidData, "a line is too long"))
}

/// A server that is told.
pub struct WitnessUrl {
    api: WitnessApi,
    /// What the table `witnesses` knows it by; nothing can be read from it.
    pub(super) name: String,
    lock: i64,
    /// The seal of which it said last that it knows another; 0: it did not.
    other: AtomicI64,
}

/// What a turn of telling a server came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It knows every seal.
    Done,
    /// It is to be told more.
    More,
    /// Another instance is at it, so this one has not looked.
    Elsewhere,
}

impl WitnessUrl {
    /// The one behind this client.
    pub fn of(api: WitnessApi) -> Self {
        let digest: [u8; 32] = Sha256::digest(api.url()).into();
        let mut number = [0; 8];
        number.copy_from_slice(&digest[..8]);
        Self {
            api,
            name: format!("url:{}", hex::encode(number)),
            lock: i64::from_be_bytes(number),
            other: AtomicI64::new(0),
        }
    }

    /// Whether what it is known to know is what the database has, whose last seal is this one.
    ///
    /// # Errors
    /// [`RolledBack`]
    pub(super) async fn agrees(
        &self,
        client: &impl GenericClient,
        last: i64,
    ) -> Result<(), SealError> {
        let told = rows::told(client, &self.name).await?;
        if told > last {
            return Err(RolledBack::Gone(told).into());
        }
        match self.other.load(Ordering::Relaxed) {
            0 => Ok(()),
            seal => Err(RolledBack::Other(seal).into()),
        }
    }

    /// Tells of these, one after the other, and says how far it came.
    async fn tell(&self, mut told: i64, seals: &[SealRecord]) -> (i64, Result<(), SealError>) {
        let end = Instant::now() + TELLING_MAX;
        for record in seals {
            let seal = told + 1;
            if record.seal != seal {
                return (told, Err(RolledBack::Gone(seal).into()));
            }
            let Ok(json) = serde_json::to_vec(record) else {
                return (told, Err(SealError::Unreadable));
            };
            match self.api.tell(json).await {
                Ok(()) => self.other.store(0, Ordering::Relaxed),
                Err(OutboundError::Refused(CONFLICT)) => {
                    self.other.store(seal, Ordering::Relaxed);
                    return (told, Err(RolledBack::Other(seal).into()));
                }
                Err(error) => return (told, Err(SealError::Witness { seal, error })),
            }
            told = seal;
            if Instant::now() > end {
                break;
            }
        }
        (told, Ok(()))
    }
}

impl Sealer {
    /// Tells the server, if there is one, of the seals that it was not told of, in order: as many as one turn may.
    ///
    /// # Errors
    /// [`SealError`]; what was told is noted, and the next turn begins with the one that was not taken. [`RolledBack`]: it
    /// knows another seal, and nothing is sealed until it takes ours.
    pub async fn tell_server(&self) -> Result<Turn, SealError> {
        let Some(witness) = &self.url else {
            return Ok(Turn::Done);
        };
        let result = self.try_tell(witness).await;
        self.numbers.server_told(&result);
        result
    }

    async fn try_tell(&self, witness: &WitnessUrl) -> Result<Turn, SealError> {
        let mut session = Lent::of(&self.pool).await?;
        let told = timeout(TURN, self.tell_with(witness, &mut session)).await;
        let told = told.map_err(|_| Late)?;
        session.give_back();
        told
    }

    async fn tell_with(
        &self,
        witness: &WitnessUrl,
        session: &mut Object,
    ) -> Result<Turn, SealError> {
        let transaction = session.transaction().await?;
        if !rows::lock(&transaction, witness.lock).await? {
            return Ok(Turn::Elsewhere);
        }
        let told = rows::told(&transaction, &witness.name).await?;
        let last = rows::last(&transaction).await?.map_or(0, |last| last.seal);
        if told > last {
            return Err(RolledBack::Gone(told).into());
        }
        let seals = rows::from(&transaction, told + 1, SEALS_AT_ONCE).await?;
        let (now_told, result) = witness.tell(told, &seals).await;
        if now_told > told {
            rows::note_told(&transaction, &witness.name, now_told).await?;
        }
        transaction.commit().await?;
        result.map(|()| {
            if now_told < last {
                Turn::More
            } else {
                Turn::Done
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use credit_ledger_verify::record::EndRecord;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("credit-ledger-witness-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> WitnessFile {
            WitnessFile::at(self.0.join("seals.ndjson"))
        }

        fn text(&self) -> String {
            std::fs::read_to_string(self.0.join("seals.ndjson")).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn seal(seal: i64) -> SealRecord {
        SealRecord {
            seal,
            sealed_at_us: 0,
            events: 1,
            root: [1; 32],
            ends: vec![],
            head: [2; 32],
            key_id: "k".to_owned(),
            signature: [3; 64],
        }
    }

    #[tokio::test]
    async fn a_file_goes_on_behind_its_last_whole_line() {
        let folder = Folder::new("goes-on");
        let file = folder.file();
        assert_eq!(file.open().await.unwrap().last(), None);
        let seals = vec![seal(1), seal(2)];
        assert_eq!(file.open().await.unwrap().append(seals).await.unwrap(), 2);
        let whole = folder.text();
        // Cut off anywhere in what follows: even where only the end of the line is missing.
        let line = serde_json::to_string(&seal(3)).unwrap();
        for cut in [1, line.len() / 2, line.len()] {
            std::fs::write(&file.path, format!("{whole}{}", &line[..cut])).unwrap();
            let open = file.open().await.unwrap();
            assert_eq!(open.last(), Some(&seal(2)));
            assert_eq!(folder.text(), whole);
            assert_eq!(open.append(vec![]).await.unwrap(), 2);
        }
        let open = file.open().await.unwrap();
        assert_eq!(open.append(vec![seal(3)]).await.unwrap(), 3);
        assert_eq!(folder.text(), format!("{whole}{line}\n"));
        // The first line can be cut off, too.
        std::fs::write(&file.path, &line[..9]).unwrap();
        assert_eq!(file.open().await.unwrap().last(), None);
        assert_eq!(folder.text(), "");
    }

    /// The end of a file is read in two steps: a line may be longer than the first.
    #[tokio::test]
    async fn a_line_may_be_longer_than_what_is_read_first() {
        let folder = Folder::new("long");
        let file = folder.file();
        let end = EndRecord {
            shard: 1,
            position: 1,
            hash: [4; 32],
        };
        let long = |number| SealRecord {
            ends: vec![end; 1024],
            ..seal(number)
        };
        for seals in [vec![long(1)], vec![seal(2), long(3)], vec![seal(4)]] {
            let last = seals.last().cloned();
            file.open().await.unwrap().append(seals).await.unwrap();
            let whole = folder.text();
            assert!(whole.len() > usize::try_from(TAIL_BYTES).unwrap());
            for torn in [1, 70_000] {
                std::fs::write(&file.path, format!("{whole}{}", "x".repeat(torn))).unwrap();
                assert_eq!(file.open().await.unwrap().last(), last.as_ref());
                assert_eq!(folder.text(), whole);
            }
        }
    }

    #[tokio::test]
    async fn a_file_takes_nothing_that_does_not_follow() {
        let folder = Folder::new("follows");
        let file = folder.file();
        for seals in [
            vec![seal(2)],
            vec![seal(1), seal(3)],
            vec![seal(1), seal(1)],
        ] {
            let error = file.open().await.unwrap().append(seals).await.unwrap_err();
            assert!(matches!(error, SealError::RolledBack(_)), "{error}");
            assert_eq!(folder.text(), "");
        }
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_left_alone() {
        let folder = Folder::new("else");
        let file = folder.file();
        for text in ["something else\n", "{}\n", "\n"] {
            std::fs::write(&file.path, text).unwrap();
            let error = file.open().await.unwrap_err();
            assert!(
                matches!(error, SealError::File(FileError::NoSeal(_))),
                "{error}"
            );
            assert_eq!(folder.text(), text);
        }
        let large = "x".repeat(usize::try_from(2 * LINE_MAX_BYTES).unwrap() + 1);
        std::fs::write(&file.path, &large).unwrap();
        let error = file.open().await.unwrap_err();
        assert!(
            matches!(error, SealError::File(FileError::Io { .. })),
            "{error}"
        );
        assert_eq!(folder.text().len(), large.len());
    }

    #[tokio::test]
    async fn a_file_has_one_writer() {
        let folder = Folder::new("one-writer");
        let file = folder.file();
        let first = file.open().await.unwrap();
        let error = file.open().await.unwrap_err();
        assert!(
            matches!(error, SealError::File(FileError::InUse(_))),
            "{error}"
        );
        drop(first);
        file.open().await.unwrap();
    }
}
