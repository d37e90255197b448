//! A file of an export in one of the formats: records in, lines out, one at a time.
//!
//! Nothing here knows what the records mean.

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::Path;

use credit_ledger_verify::{Hash, manifest};
use serde::Serialize;
use serde_json::{Map, Value};

use super::digested::{Digested, Left};
#[cfg(feature = "parquet")]
use super::parquet::Rows;
use crate::audit::tables::Column;

/// How the files of an export are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A JSON object per line. What `credit-ledger-verify` reads.
    Ndjson,
    /// The same columns, with a line of their names first. Null is empty; lists are JSON.
    Csv,
    /// The same columns in Parquet, compressed with Snappy.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// How names of files end.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
        }
    }

    /// The lines of a file before its first record.
    pub(super) const fn header_lines(self) -> u64 {
        match self {
            Self::Ndjson => 0,
            Self::Csv => 1,
            #[cfg(feature = "parquet")]
            Self::Parquet => 0,
        }
    }

    /// Whether what is there of a file can be written on. A Parquet file that was not ended can not even be read.
    pub const fn grows(self) -> bool {
        match self {
            Self::Ndjson | Self::Csv => true,
            #[cfg(feature = "parquet")]
            Self::Parquet => false,
        }
    }

    /// The last record of a file from an earlier run, and how many there are. `None`: none can be read.
    pub fn last_record(self, left: &Left, columns: &[Column]) -> Option<(Map<String, Value>, u64)> {
        let records = left.lines.checked_sub(self.header_lines())?;
        let record = match self {
            Self::Ndjson => serde_json::from_str(&left.last).ok()?,
            Self::Csv => {
                let mut reader = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .from_reader(left.last.as_bytes());
                let cells = reader.records().next()?.ok()?;
                if cells.len() != columns.len() {
                    return None;
                }
                let names = columns.iter().map(|column| column.name.to_owned());
                names.zip(cells.iter().map(Value::from)).collect()
            }
            #[cfg(feature = "parquet")]
            Self::Parquet => return None,
        };
        Some((record, records))
    }
}

impl From<Format> for manifest::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv,
            #[cfg(feature = "parquet")]
            Format::Parquet => Self::Parquet,
        }
    }
}

/// A file that is being written.
pub struct Lines {
    file: Open,
    records: u64,
    /// A line while it is made: written in one go.
    line: Vec<u8>,
}

enum Open {
    Ndjson(Digested),
    Csv(Box<csv::Writer<Digested>>),
    #[cfg(feature = "parquet")]
    Parquet(Box<Rows>),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: Hash,
}

impl Lines {
    /// A new file in the place of whatever was there.
    pub fn create(format: Format, path: &Path, columns: &'static [Column]) -> io::Result<Self> {
        let file = Digested::create(path)?;
        let file = match format {
            Format::Ndjson => Open::Ndjson(file),
            Format::Csv => {
                let mut writer = csv_writer(file);
                writer.write_record(columns.iter().map(|column| column.name))?;
                Open::Csv(Box::new(writer))
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => Open::Parquet(Box::new(Rows::create(file, columns)?)),
        };
        Ok(Self {
            file,
            records: 0,
            line: vec![],
        })
    }

    /// Goes on with a file that has so many records.
    pub fn go_on(format: Format, left: Left, records: u64) -> io::Result<Self> {
        let file = left.go_on()?;
        let file = match format {
            Format::Ndjson => Open::Ndjson(file),
            Format::Csv => Open::Csv(Box::new(csv_writer(file))),
            #[cfg(feature = "parquet")]
            Format::Parquet => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(Self {
            file,
            records,
            line: vec![],
        })
    }

    /// Adds a record.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        match &mut self.file {
            Open::Ndjson(file) => {
                self.line.clear();
                serde_json::to_writer(&mut self.line, record)?;
                self.line.push(b'\n');
                file.write_all(&self.line)?;
            }
            Open::Csv(writer) => {
                writer.write_record(
                    cells_of(record)?
                        .iter()
                        .map(|cell| cell_text(cell).into_owned()),
                )?;
            }
            #[cfg(feature = "parquet")]
            Open::Parquet(rows) => rows.write(cells_of(record)?)?,
        }
        self.records += 1;
        Ok(())
    }

    /// Ends the file and brings it to the disk.
    pub fn close(self) -> io::Result<Written> {
        let file = match self.file {
            Open::Ndjson(file) => file,
            Open::Csv(writer) => writer
                .into_inner()
                .map_err(|error| io::Error::other(error.to_string()))?,
            #[cfg(feature = "parquet")]
            Open::Parquet(rows) => rows.close()?,
        };
        let (bytes, sha256) = file.close()?;
        Ok(Written {
            records: self.records,
            bytes,
            sha256,
        })
    }
}

fn csv_writer(file: Digested) -> csv::Writer<Digested> {
    // The names were written by hand, once for the whole file.
    csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(file)
}

/// A record's values in the order of its columns. What begins with another record begins with that one's.
pub(super) fn cells_of(record: &impl Serialize) -> io::Result<Vec<Value>> {
    let Value::Object(record) = serde_json::to_value(record)? else {
        return Err(io::Error::other("a record is no object"));
    };
    let mut cells = Vec::with_capacity(record.len());
    for (index, (_, value)) in record.into_iter().enumerate() {
        match value {
            Value::Object(inner) if index == 0 => {
                cells.extend(inner.into_iter().map(|(_, value)| value));
            }
            value => cells.push(value),
        }
    }
    Ok(cells)
}

/// A value as text.
pub(super) fn cell_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "".into(),
        Value::String(text) => text.into(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string().into()
        }
    }
}
