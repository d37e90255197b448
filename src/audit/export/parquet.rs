//! Records as a Parquet file: groups of rows, compressed with Snappy.
//!
//! Holds the rows of one group, which is bounded by their number and their size.

use std::io;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde_json::Value;

use super::digested::Digested;
use super::lines::cell_text;
use crate::audit::tables::{Column, Kind};

/// The most rows of a group.
const GROUP_ROWS: usize = 50_000;
/// About the most bytes of a group, before it is compressed.
const GROUP_BYTES: usize = 32 * 1024 * 1024;

/// A file that is being written.
pub struct Rows {
    writer: SerializedFileWriter<Digested>,
    columns: &'static [Column],
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl Rows {
    /// A new file.
    pub fn create(file: Digested, columns: &'static [Column]) -> io::Result<Self> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
        let schema = schema(columns).map_err(failed)?;
        let writer =
            SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build()));
        Ok(Self {
            writer: writer.map_err(failed)?,
            columns,
            rows: vec![],
            bytes: 0,
        })
    }

    /// Adds a row.
    pub fn write(&mut self, row: Vec<Value>) -> io::Result<()> {
        self.bytes += row
            .iter()
            .map(|cell| cell.as_str().map_or(8, str::len))
            .sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= GROUP_ROWS || self.bytes >= GROUP_BYTES {
            self.end_group().map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the file.
    pub fn close(mut self) -> io::Result<Digested> {
        if !self.rows.is_empty() {
            self.end_group().map_err(failed)?;
        }
        self.writer.into_inner().map_err(failed)
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let mut group = self.writer.next_row_group()?;
        for index in 0..self.columns.len() {
            let Some(mut column) = group.next_column()? else {
                break;
            };
            let cells = || {
                rows.iter()
                    .filter_map(|row| row.get(index))
                    .filter(|cell| !cell.is_null())
            };
            let there: Vec<i16> = rows
                .iter()
                .map(|row| i16::from(row.get(index).is_some_and(|cell| !cell.is_null())))
                .collect();
            match column.untyped() {
                ColumnWriter::Int64ColumnWriter(writer) => {
                    let numbers: Vec<i64> = cells().filter_map(Value::as_i64).collect();
                    writer.write_batch(&numbers, Some(&there), None)?;
                }
                ColumnWriter::BoolColumnWriter(writer) => {
                    let flags: Vec<bool> = cells().filter_map(Value::as_bool).collect();
                    writer.write_batch(&flags, Some(&there), None)?;
                }
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let texts: Vec<ByteArray> = cells()
                        .map(|cell| ByteArray::from(&*cell_text(cell)))
                        .collect();
                    writer.write_batch(&texts, Some(&there), None)?;
                }
                _ => return Err(ParquetError::General("a column of no kind".to_owned())),
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }
}

fn schema(columns: &[Column]) -> Result<Type, ParquetError> {
    let mut fields = Vec::with_capacity(columns.len());
    for Column { name, kind } in columns {
        let (physical, logical) = match kind {
            Kind::Text | Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Integer | Kind::Time => (Physical::INT64, None),
            Kind::Boolean => (Physical::BOOLEAN, None),
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        fields.push(Arc::new(field.build()?));
    }
    Type::group_type_builder("record")
        .with_fields(fields)
        .build()
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape of a function for map_err"
)]
fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error.to_string())
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;
    use serde_json::json;

    use super::super::lines::{Format, Lines};
    use crate::audit::tables::columns;
    use credit_ledger_verify::manifest::{Content, Scope};

    /// Rows of every kind of column, nulls among them, in more than one group.
    #[test]
    fn what_is_written_is_read_back() {
        let name = format!("credit-ledger-{}.parquet", std::process::id());
        let path = std::env::temp_dir().join(name);
        let columns = columns(Content::Deliveries, &Scope::Whole);
        let mut lines = Lines::create(Format::Parquet, &path, columns).unwrap();
        let rows = i64::try_from(super::GROUP_ROWS).unwrap() + 10;
        for number in 0..rows {
            let odd = number % 2 == 1;
            lines
                .write(&json!({
                    "source": "stripe", "key": format!("evt_{number}"), "provider_event_id": "evt",
                    "body_sha256": "00", "headers": "{}", "secret": "0123abcd", "received_at_us": number,
                    "outcome": "recorded", "reason": odd.then_some("why"), "led_to": [[1, number]], "erased": odd,
                }))
                .unwrap();
        }
        let written = lines.close().unwrap();
        assert_eq!(written.records, rows.unsigned_abs());
        let file = std::fs::File::open(&path).unwrap();
        assert_eq!(written.bytes, file.metadata().unwrap().len());
        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!(reader.num_row_groups(), 2);
        let schema = reader.metadata().file_metadata().schema();
        let names = schema.get_fields().iter().map(|field| field.name());
        assert!(names.eq(columns.iter().map(|column| column.name)));
        let mut number = 0;
        for row in reader.get_row_iter(None).unwrap() {
            let row = row.unwrap();
            assert_eq!(row.get_string(1).unwrap(), &format!("evt_{number}"));
            assert_eq!(row.get_long(6).unwrap(), number);
            assert_eq!(row.get_string(8).is_ok(), number % 2 == 1);
            assert_eq!(row.get_string(9).unwrap(), &format!("[[1,{number}]]"));
            assert_eq!(row.get_bool(10).unwrap(), number % 2 == 1);
            number += 1;
        }
        assert_eq!(number, rows);
        std::fs::remove_file(path).unwrap();
    }
}
