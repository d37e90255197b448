//! Looks for a text wherever it may be: every column of every table, as text and as bytes, and every line of the log.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use credit_ledger::cli::log_filter;
use tokio_postgres::Client;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, reload};

/// The columns that have the text, in any case, as `table.column`; what is not ASCII in it is also sought as JSON may
/// escape it.
pub async fn columns_with(sql: &Client, text: &str) -> BTreeSet<String> {
    let columns = "select c.table_schema::text, c.table_name::text, c.column_name::text, c.data_type::text
                     from information_schema.columns c
                     join information_schema.tables t using (table_schema, table_name)
                    where table_schema not in ('pg_catalog', 'information_schema') and t.table_type = 'BASE TABLE'";
    let spellings = spellings(text);
    let mut found = BTreeSet::new();
    let columns = sql.query(columns, &[]).await.unwrap();
    assert!(columns.len() > 100, "all columns are looked at");
    for column in columns {
        let [schema, table, name, of_type] = [0, 1, 2, 3].map(|n| column.get::<_, String>(n));
        let as_text = if of_type == "bytea" {
            format!("encode(\"{name}\", 'escape')")
        } else {
            format!("encode(convert_to(\"{name}\"::text, 'UTF8'), 'escape')")
        };
        let query = format!(
            "select exists (select from {schema}.\"{table}\" cross join unnest($1::text[]) as spelling
                             where position(lower(encode(convert_to(spelling, 'UTF8'), 'escape')) in lower({as_text})) > 0)"
        );
        let row = sql.query_one(&query, &[&spellings]).await.unwrap();
        if row.get(0) {
            found.insert(format!("{table}.{name}"));
        }
    }
    found
}

/// As it is, and with everything escaped that is not ASCII.
fn spellings(text: &str) -> Vec<String> {
    let escaped = text.encode_utf16().map(|unit| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    });
    vec![
        text.to_owned(),
        text.replace('@', "\\u0040"),
        escaped.collect(),
    ]
}

/// What the program logs while this is held, of all tests that run in this process. One test may hold it.
pub struct Log(());

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// Says how much is kept.
type SetLevels = Box<dyn Fn(&str) + Send + Sync>;
static LEVELS: OnceLock<SetLevels> = OnceLock::new();

impl Log {
    /// Keeps everything that is logged from now on by a program that says much.
    pub fn keep() -> Self {
        let set = LEVELS.get_or_init(|| {
            let (filter, handle) = reload::Layer::new(log_filter("off"));
            let log = tracing_subscriber::fmt::layer()
                .with_ansi(false)
                .with_writer(|| Lines)
                .with_filter(filter);
            tracing_subscriber::registry().with(log).init();
            Box::new(move |levels| handle.reload(log_filter(levels)).unwrap())
        });
        set("debug");
        Self(())
    }

    /// The lines with this text, in any case.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        let Self(()) = self;
        let text = text.to_lowercase();
        let lines = String::from_utf8_lossy(&LINES.lock().unwrap()).into_owned();
        let lines = lines
            .lines()
            .filter(|line| line.to_lowercase().contains(&text));
        lines.map(str::to_owned).collect()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(set) = LEVELS.get() {
            set("off");
        }
    }
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
