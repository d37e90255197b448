//! The whole log: `seals`, `events-sealed`, and for each shard `events-<shard>` with what no seal covers yet.

use std::collections::BTreeMap;

use credit_ledger_verify::manifest::{Content, Scope};
use credit_ledger_verify::record::{EventRecord, SealRecord};
use serde::Serialize;
use serde_json::{Map, Value};

use super::digested::Left;
use super::lines::{Lines, cells_of};
use super::{ExportError, Writer};
use crate::audit::rows;
use crate::audit::snapshot::SnapshotError;
use crate::audit::tables::columns;
use crate::audit::walk::{self, Walker};

/// The file of the sealed events.
const SEALED: &str = "events-sealed";
const SEALS: &str = "seals";
const SELECT_SHARDS: &str = include_str!("../sql/select_shards.sql");

/// Writes the log. Gives the number of the last seal.
pub(super) async fn write(writer: &mut Writer<'_>) -> Result<i64, ExportError> {
    // What can not be continued is found before anything is touched.
    let mut begun = Begun::find(writer).await?;
    writer.folder.begin()?;
    let seals_behind = begun.seals.as_ref().map_or(0, |seals| seals.last);
    let seals = begun.open(writer, SEALS, Content::Seals, |begun| begun.seals.take())?;
    let has_sealed = begun.sealed.as_ref().map(|sealed| sealed.last);
    let sealed_records = begun.sealed.as_ref().map_or(0, |sealed| sealed.records);
    let sealed = begun.open(writer, SEALED, Content::Events, |begun| begun.sealed.take())?;
    let mut log = LogWriter {
        sealed: Some(sealed),
        seals: Some(seals),
        seals_behind,
        last_seal: 0,
        has_sealed,
        skipped: has_sealed.is_none().then_some(0),
        sealed_records,
        begun: begun.unsealed,
        shard: None,
        writer,
    };
    let snapshot = log.writer.snapshot;
    walk::walk(snapshot, &mut log).await?;
    log.close()
}

/// A file from an earlier run whose last record is in the database.
struct Known<L> {
    left: Left,
    records: u64,
    /// Which record that is.
    last: L,
}

/// What an earlier run left.
struct Begun {
    seals: Option<Known<i64>>,
    sealed: Option<Known<(i16, i64)>>,
    unsealed: BTreeMap<i16, Known<i64>>,
}

impl Begun {
    async fn find(writer: &Writer<'_>) -> Result<Self, ExportError> {
        let mut unsealed = BTreeMap::new();
        for row in writer.snapshot.list(SELECT_SHARDS, &[]).await? {
            let shard: i16 = row.try_get("shard").map_err(SnapshotError::from)?;
            if let Some(Known {
                left,
                records,
                last: (_, last),
            }) = known_events(writer, &stem(shard)).await?
            {
                let known = Known {
                    left,
                    records,
                    last,
                };
                unsealed.insert(shard, known);
            }
        }
        Ok(Self {
            seals: known_seals(writer).await?,
            sealed: known_events(writer, SEALED).await?,
            unsealed,
        })
    }

    /// A file to go on with, or a new one.
    fn open<L>(
        &mut self,
        writer: &mut Writer<'_>,
        stem: &str,
        content: Content,
        known: impl Fn(&mut Self) -> Option<Known<L>>,
    ) -> Result<Lines, ExportError> {
        match known(self) {
            Some(known) => go_on(writer, stem, known),
            None => writer.create(stem, content),
        }
    }
}

fn go_on<L>(writer: &mut Writer<'_>, stem: &str, known: Known<L>) -> Result<Lines, ExportError> {
    writer.count.add(known.records);
    Lines::go_on(writer.folder.format(), known.left, known.records)
        .map_err(|error| ExportError::io(&writer.folder.file(stem), error))
}

fn stem(shard: i16) -> String {
    format!("events-{shard:05}")
}

/// What is left of a file, its last record as it is written, and how many it has.
type LastOf = (Left, Map<String, Value>, u64);

/// What is left of a file, if it has a record.
fn left(writer: &Writer<'_>, stem: &str, content: Content) -> Result<Option<LastOf>, ExportError> {
    let format = writer.folder.format();
    if !format.grows() {
        return Ok(None);
    }
    let path = writer.folder.file(stem);
    let left = Left::of(&path).map_err(|error| ExportError::io(&path, error))?;
    let Some(left) = left else {
        return Ok(None);
    };
    if left.lines <= format.header_lines() {
        return Ok(None);
    }
    match format.last_record(&left, columns(content, &Scope::Whole)) {
        Some((last, records)) => Ok(Some((left, last, records))),
        None => Err(ExportError::Diverged(path)),
    }
}

async fn known_events(
    writer: &Writer<'_>,
    stem: &str,
) -> Result<Option<Known<(i16, i64)>>, ExportError> {
    let Some((left, last, records)) = left(writer, stem, Content::Events)? else {
        return Ok(None);
    };
    let diverged = || ExportError::Diverged(writer.folder.file(stem));
    let shard = number(&last, "shard").and_then(|shard| i16::try_from(shard).ok());
    let (Some(shard), Some(position)) = (shard, number(&last, "position")) else {
        return Err(diverged());
    };
    let before = position.saturating_sub(1);
    let found = writer
        .snapshot
        .list(rows::PAGE_EVENTS, &[&shard, &before, &1_i64])
        .await?;
    let found = found.first().map(rows::event);
    let found = found.transpose().map_err(SnapshotError::from)?;
    if !found.is_some_and(|event| is(&last, &event)) {
        return Err(diverged());
    }
    Ok(Some(Known {
        left,
        records,
        last: (shard, position),
    }))
}

async fn known_seals(writer: &Writer<'_>) -> Result<Option<Known<i64>>, ExportError> {
    let Some((left, last, records)) = left(writer, SEALS, Content::Seals)? else {
        return Ok(None);
    };
    let number = number(&last, "seal").unwrap_or(i64::MAX);
    let page = walk::seals(writer.snapshot, number.saturating_sub(1)).await?;
    if !page.first().is_some_and(|seal| is(&last, seal)) {
        return Err(ExportError::Diverged(writer.folder.file(SEALS)));
    }
    Ok(Some(Known {
        left,
        records,
        last: number,
    }))
}

/// A number of a record, as JSON or as text.
fn number(record: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = record.get(name)?;
    value
        .as_i64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Whether a written record is this one.
fn is(written: &Map<String, Value>, record: &impl Serialize) -> bool {
    let text = |cells: Vec<Value>| -> Vec<String> {
        cells
            .iter()
            .map(|cell| super::lines::cell_text(cell).into_owned())
            .collect()
    };
    let written = text(written.values().cloned().collect());
    cells_of(record).is_ok_and(|cells| text(cells) == written)
}

/// Writes what a walk comes by.
struct LogWriter<'a, 'w> {
    writer: &'a mut Writer<'w>,
    seals: Option<Lines>,
    sealed: Option<Lines>,
    /// The last seal that is written already.
    seals_behind: i64,
    last_seal: i64,
    has_sealed: Option<(i16, i64)>,
    sealed_records: u64,
    /// How many sealed events come before what is to be written; none: it is not known yet.
    skipped: Option<i64>,
    begun: BTreeMap<i16, Known<i64>>,
    /// The shard whose unsealed events are being written.
    shard: Option<(i16, Lines)>,
}

impl LogWriter<'_, '_> {
    fn close_shard(&mut self) -> Result<(), ExportError> {
        match self.shard.take() {
            Some((shard, lines)) => self.writer.close(&stem(shard), Content::Events, lines),
            None => Ok(()),
        }
    }

    /// Seals and sealed events stand before the rest in the manifest, as they are to be read.
    fn close_sealed(&mut self) -> Result<(), ExportError> {
        // What is said to be sealed is in no seal.
        if self.skipped.is_none() {
            let file = self.writer.folder.file(SEALED);
            return Err(ExportError::Diverged(file));
        }
        if let Some(seals) = self.seals.take() {
            self.writer.close(SEALS, Content::Seals, seals)?;
        }
        if let Some(sealed) = self.sealed.take() {
            self.writer.close(SEALED, Content::Events, sealed)?;
        }
        Ok(())
    }

    fn close(mut self) -> Result<i64, ExportError> {
        self.close_sealed()?;
        self.close_shard()?;
        Ok(self.last_seal)
    }

    fn add(&mut self, to: To, record: &impl Serialize) -> Result<(), ExportError> {
        let (lines, name) = match to {
            To::Seals => (self.seals.as_mut(), SEALS.to_owned()),
            To::Sealed => (self.sealed.as_mut(), SEALED.to_owned()),
            To::Shard(shard) => (self.shard.as_mut().map(|(_, lines)| lines), stem(shard)),
        };
        if let Some(lines) = lines {
            lines
                .write(record)
                .map_err(|error| ExportError::io(&self.writer.folder.file(&name), error))?;
        }
        self.writer.count.add(1);
        Ok(())
    }
}

/// Which file.
#[derive(Clone, Copy)]
enum To {
    Seals,
    Sealed,
    Shard(i16),
}

impl Walker for LogWriter<'_, '_> {
    type Error = ExportError;

    fn has_sealed(&self) -> Option<(i16, i64)> {
        self.has_sealed
    }

    fn skipped(&mut self, events: i64) -> Result<(), ExportError> {
        self.skipped = Some(events);
        if u64::try_from(events) == Ok(self.sealed_records) {
            Ok(())
        } else {
            let file = self.writer.folder.file(SEALED);
            Err(ExportError::Diverged(file))
        }
    }

    fn seal(&mut self, seal: &SealRecord) -> Result<(), ExportError> {
        self.last_seal = seal.seal;
        if seal.seal > self.seals_behind {
            self.add(To::Seals, seal)?;
        }
        Ok(())
    }

    fn sealed(&mut self, event: &EventRecord) -> Result<(), ExportError> {
        self.add(To::Sealed, event)
    }

    fn shard(&mut self, shard: i16, sealed: i64) -> Result<i64, ExportError> {
        self.close_sealed()?;
        self.close_shard()?;
        let known = self.begun.remove(&shard).filter(|known| {
            // Positions are dense: the file begins right behind what is sealed, or it is of an earlier seal.
            i64::try_from(known.records).is_ok_and(|records| known.last - records == sealed)
        });
        let stem = stem(shard);
        let (lines, after) = match known {
            Some(known) => {
                let after = known.last;
                (go_on(self.writer, &stem, known)?, after)
            }
            None => (self.writer.create(&stem, Content::Events)?, sealed),
        };
        self.shard = Some((shard, lines));
        Ok(after)
    }

    fn unsealed(&mut self, event: &EventRecord) -> Result<(), ExportError> {
        self.add(To::Shard(event.shard), event)
    }
}
