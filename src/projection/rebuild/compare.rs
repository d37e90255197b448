//! A table in the making, row by row beside the live table whose place it is to take.
//!
//! Both are read in one snapshot, in which both stand on the same events. Reads of the live table lock out nobody. Which
//! columns there are the catalogue says, so a new read model needs nothing here. Must never show personal data: of those
//! columns it only says that they differ.

use std::fmt;

use tokio_postgres::{GenericClient, Row};

use super::{ReadModel, RebuildError};

/// How many rows are listed; all are counted.
pub const LISTED: usize = 20;
/// The most characters of a value that are shown.
const SHOWN_CHARS: usize = 200;
/// Columns of which no value is shown, in whatever read model.
const PERSONAL: [&str; 4] = ["email", "first_name", "last_name", "payer_email"];

/// What the live table was, beside what its events say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The version of the SQL that had made the live table.
    pub made_by: i32,
    /// It is the SQL of today, so that the tables must be equal.
    pub same_sql: bool,
    /// What differs.
    pub differences: Differences,
}

impl Comparison {
    /// Whether the live table was not what it had to be. One that other SQL made may differ.
    pub fn is_broken(&self) -> bool {
        self.same_sql && !self.differences.is_none()
    }
}

/// How two tables differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Differences {
    /// They have other primary keys, so no row is the counterpart of another.
    OtherKey,
    /// Row by row.
    Rows(RowDifferences),
}

impl Differences {
    /// Whether the tables are equal.
    pub fn is_none(&self) -> bool {
        match self {
            Self::OtherKey => false,
            Self::Rows(rows) => rows.total() == 0,
        }
    }
}

/// Rows that differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowDifferences {
    /// Rows of which some columns differ.
    pub differing: i64,
    /// Rows that the live table lacks.
    pub missing: i64,
    /// Rows that the live table should not have.
    pub surplus: i64,
    /// The first of them in the order of the key, at most [`LISTED`]; none where no list was asked for.
    pub first: Vec<RowDifference>,
}

impl RowDifferences {
    /// How many rows there are of which something is not equal.
    pub const fn total(&self) -> i64 {
        self.differing + self.missing + self.surplus
    }
}

/// A row that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDifference {
    /// The columns of its key, with their values.
    pub key: Vec<(String, String)>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The live table lacks it.
    Missing,
    /// The live table should not have it.
    Surplus,
    /// These columns have other values.
    Columns(Vec<ColumnDifference>),
}

/// A column that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDifference {
    /// Its name.
    pub column: String,
    /// The live value and the one that the events give; `None`: personal data, which is not shown.
    pub values: Option<(Option<String>, Option<String>)>,
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherKey => write!(f, "another primary key"),
            Self::Rows(rows) if rows.total() == 0 => write!(f, "0 differences"),
            Self::Rows(rows) => write!(
                f,
                "rows that differ: {}, missing: {}, too many: {}",
                rows.differing, rows.missing, rows.surplus
            ),
        }
    }
}

impl fmt::Display for RowDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (column, value)) in self.key.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{column} {value}")?;
        }
        match &self.fault {
            Fault::Missing => write!(f, ": is missing"),
            Fault::Surplus => write!(f, ": is too many"),
            Fault::Columns(columns) => columns.iter().enumerate().try_for_each(|(index, one)| {
                let mark = if index == 0 { ":" } else { ";" };
                write!(f, "{mark} {one}")
            }),
        }
    }
}

impl fmt::Display for ColumnDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        match &self.values {
            None => write!(f, "{} differs (personal data)", self.column),
            Some((live, history)) => write!(
                f,
                "{} is {}, the history says {}",
                self.column,
                shown(live),
                shown(history)
            ),
        }
    }
}

/// A column that both tables have.
struct Column {
    name: String,
    quoted: String,
    is_key: bool,
    as_text: bool,
}

impl Column {
    fn differs(&self) -> String {
        let cast = if self.as_text { "::text" } else { "" };
        let name = &self.quoted;
        format!("live.{name}{cast} is distinct from made.{name}{cast}")
    }

    /// Its value in one of the tables; null where it may not be shown.
    fn shown(&self, table: &str) -> String {
        if PERSONAL.contains(&&*self.name) {
            "null".to_owned()
        } else {
            format!("left({table}.{}::text, {SHOWN_CHARS})", self.quoted)
        }
    }
}

/// Compares the table of a rebuild with the live one, if there is one. `snapshot` sees one moment, in which both stand on
/// the same events. `list`: read the first rows that differ, for which both tables are read once more.
pub(super) async fn compare(
    snapshot: &impl GenericClient,
    model: ReadModel,
    list: bool,
) -> Result<Option<Comparison>, RebuildError> {
    let sql = include_str!("../sql/select_version.sql");
    let made = snapshot.query_opt(sql, &[&model.name]).await?;
    let Some(made) = made.filter(|row| row.get("there")) else {
        return Ok(None);
    };
    let (made_by, digest): (i32, &str) = (made.get("version"), made.get("digest"));
    Ok(Some(Comparison {
        made_by,
        same_sql: model.is_of(made_by, digest),
        differences: differences(snapshot, model.name, list).await?,
    }))
}

async fn differences(
    snapshot: &impl GenericClient,
    table: &str,
    list: bool,
) -> Result<Differences, RebuildError> {
    let sql = include_str!("../sql/select_shared_columns.sql");
    let rows = snapshot.query(sql, &[&table]).await?;
    let same_key = rows.iter().all(|row| row.get("same_key"));
    let columns: Vec<Column> = rows.iter().map(column).collect();
    let (key, others): (Vec<Column>, Vec<Column>) = columns.into_iter().partition(|c| c.is_key);
    if !same_key || key.is_empty() {
        return Ok(Differences::OtherKey);
    }
    let pairs = pairs(table, &key, &others);
    let counts = format!(
        "select count(*) filter (where live.is_there and made.is_there) as differing,
                count(*) filter (where live.is_there is null) as missing,
                count(*) filter (where made.is_there is null) as surplus {pairs}"
    );
    let counts = snapshot.query_one(&counts, &[]).await?;
    let mut found = RowDifferences {
        differing: counts.get("differing"),
        missing: counts.get("missing"),
        surplus: counts.get("surplus"),
        first: vec![],
    };
    if list && found.total() > 0 {
        let first = format!("{} {pairs} {}", shown(&key, &others), in_order(&key));
        let rows = snapshot.query(&first, &[]).await?;
        found.first = rows
            .iter()
            .map(|row| difference(row, &key, &others))
            .collect();
    }
    Ok(Differences::Rows(found))
}

fn column(row: &Row) -> Column {
    Column {
        name: row.get("name"),
        quoted: row.get("quoted"),
        is_key: row.get("is_key"),
        as_text: row.get("as_text"),
    }
}

/// `from` and `where`: the rows of both tables by their key, those that are not equal.
fn pairs(table: &str, key: &[Column], others: &[Column]) -> String {
    let joined = list(key, " and ", |c| format!("live.{0} = made.{0}", c.quoted));
    let unlike = list(others, "", |c| format!(" or {}", c.differs()));
    format!(
        "from (select true as is_there, * from public.{table}) as live
         full join (select true as is_there, * from rebuild.{table}) as made on {joined}
        where live.is_there is null or made.is_there is null{unlike}"
    )
}

/// `select`: the key, whether the row is there, which columns differ, and their values.
fn shown(key: &[Column], others: &[Column]) -> String {
    let array = |each: &dyn Fn(&Column) -> String, kind: &str| {
        format!("array[{}]::{kind}[]", list(others, ", ", each))
    };
    format!(
        "select array[{}] as key, live.is_there is null as missing, made.is_there is null as surplus,
                {} as differs, {} as live_values, {} as made_values",
        list(key, ", ", |c| format!("coalesce(live.{0}, made.{0})::text", c.quoted)),
        array(&Column::differs, "boolean"),
        array(&|c| c.shown("live"), "text"),
        array(&|c| c.shown("made"), "text"),
    )
}

fn in_order(key: &[Column]) -> String {
    let key = list(key, ", ", |c| {
        format!("coalesce(live.{0}, made.{0})", c.quoted)
    });
    format!("order by {key} limit {LISTED}")
}

fn list(columns: &[Column], between: &str, each: impl Fn(&Column) -> String) -> String {
    columns.iter().map(each).collect::<Vec<_>>().join(between)
}

fn difference(row: &Row, key: &[Column], others: &[Column]) -> RowDifference {
    let values: Vec<String> = row.get("key");
    let names = key.iter().map(|column| column.name.clone());
    let fault = if row.get("missing") {
        Fault::Missing
    } else if row.get("surplus") {
        Fault::Surplus
    } else {
        Fault::Columns(column_differences(row, others))
    };
    RowDifference {
        key: names.zip(values).collect(),
        fault,
    }
}

fn column_differences(row: &Row, others: &[Column]) -> Vec<ColumnDifference> {
    let differs: Vec<bool> = row.get("differs");
    let live: Vec<Option<String>> = row.get("live_values");
    let made: Vec<Option<String>> = row.get("made_values");
    let values = live.into_iter().zip(made);
    others
        .iter()
        .zip(differs)
        .zip(values)
        .filter(|((_, differs), _)| *differs)
        .map(|((column, _), values)| ColumnDifference {
            column: column.name.clone(),
            values: (!PERSONAL.contains(&&*column.name)).then_some(values),
        })
        .collect()
}
