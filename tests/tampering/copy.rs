//! A copy of the sealed ledger's database, in the hands of somebody who may do anything.

use credit_ledger::postgres::{ConnectOptions, Database};
use serde_json::Value;
use tokio_postgres::Client;

use super::dice::Dice;
use crate::support::cluster;
use crate::support::deliveries::unique;

/// A database without any guard.
pub struct Copy {
    pub database: Database,
    pub sql: Client,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub table: String,
    pub name: String,
    /// As `format_type` says it.
    pub kind: String,
}

/// A value that was changed, and how to change it back.
pub struct Changed {
    /// The row as JSON, before and after.
    pub before: Value,
    pub after: Value,
    undo: String,
    was: Option<String>,
}

impl Copy {
    /// Of a database that nobody uses.
    pub async fn of(template: &str) -> Self {
        let settings = cluster::settings(&format!("{template}_{}", unique("copy")));
        let name = settings.database.clone().unwrap();
        let copy = cluster::fresh_database().await.sibling(&name);
        assert!(copy.create(Some(template)).await.unwrap());
        // Opened anew: roles are a matter of each database.
        let database = Database::open(&settings).await.unwrap();
        let sql = database.connect_as_login(&ConnectOptions::default()).await;
        let copy = Self {
            sql: sql.unwrap(),
            database,
        };
        copy.lift_guards().await;
        copy
    }

    /// What a superuser does first.
    async fn lift_guards(&self) {
        self.run("alter table events disable trigger all").await;
        self.run("alter table seals disable trigger all").await;
        self.drop_constraints("c").await;
    }

    /// So that keys can be there twice. The service needs them; the verdict does not.
    pub async fn lift_keys(&self) {
        self.drop_constraints("up").await;
    }

    async fn drop_constraints(&self, kinds: &str) {
        self.run(&format!(
            "do $$ declare command text; begin
               for command in
                 select format('alter table %s drop constraint %I', conrelid::regclass, conname)
                   from pg_constraint
                  where position(contype::text in '{kinds}') > 0 and connamespace = 'public'::regnamespace
               loop execute command; end loop;
             end $$"
        ))
        .await;
    }

    pub async fn run(&self, statements: &str) {
        self.sql
            .batch_execute(statements)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }

    pub async fn count(&self, query: &str) -> i64 {
        self.sql.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Every column of every table that somebody writes.
    pub async fn columns(&self) -> Vec<Column> {
        let columns = "select c.relname::text, a.attname::text, format_type(a.atttypid, null)
                         from pg_class c join pg_attribute a on a.attrelid = c.oid
                        where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
                          and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
                        order by c.relname, a.attnum";
        let rows = self.sql.query(columns, &[]).await.unwrap();
        let columns = rows.iter().map(|row| Column {
            table: row.get(0),
            name: row.get(1),
            kind: row.get(2),
        });
        columns.collect()
    }

    /// Rows of a table, wherever they are, as PostgreSQL names the place.
    pub async fn rows(&self, table: &str, condition: &str) -> Vec<String> {
        let query = format!("select ctid::text from {table} where {condition} order by ctid");
        let rows = self.sql.query(&query, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Shard and position of every event.
    pub async fn places(&self) -> Vec<(i64, i64)> {
        let query = "select shard::bigint, position from events order by shard, position";
        let rows = self.sql.query(query, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }

    /// Changes one value of one row.
    pub async fn change(&self, column: &Column, place: &str, dice: &mut Dice) -> Changed {
        let Column { table, name, kind } = column;
        let query =
            format!("select {name}::text, to_json(t)::text from {table} t where ctid = '{place}'");
        let row = self.sql.query_one(&query, &[]).await.unwrap();
        let (was, before): (Option<String>, String) = (row.get(0), row.get(1));
        let new = other(kind, was.as_deref(), dice);
        let set = format!(
            "update {table} t set {name} = $1::text::{kind} where ctid = '{place}' returning ctid::text, to_json(t)::text"
        );
        let row = self.sql.query_one(&set, &[&new]).await;
        let row = row.unwrap_or_else(|error| panic!("{table}.{name} = {new}: {error:?}"));
        let (place, after): (String, String) = (row.get(0), row.get(1));
        Changed {
            before: serde_json::from_str(&before).unwrap(),
            after: serde_json::from_str(&after).unwrap(),
            undo: format!("update {table} set {name} = $1::text::{kind} where ctid = '{place}'"),
            was,
        }
    }

    /// As it was.
    pub async fn undo(&self, changed: Changed) {
        let done = self.sql.execute(&changed.undo, &[&changed.was]).await;
        assert_eq!(done.unwrap(), 1);
    }
}

/// Another value of a type, as text: where there is one, the same with a bit or a digit changed.
fn other(kind: &str, was: Option<&str>, dice: &mut Dice) -> String {
    let Some(was) = was else {
        return match kind {
            "text" => "x",
            "bigint" | "smallint" | "integer" => "7",
            "timestamp with time zone" => "2026-11-21 00:00:00Z",
            "boolean" => "true",
            "json" | "jsonb" => "[1]",
            other => panic!("of what is null of type {other} there is no other value yet"),
        }
        .to_owned();
    };
    match kind {
        "text" => text(&dice.flip(&was.into())),
        "bigint" | "smallint" | "integer" => text(&dice.flip(&was.parse::<i64>().unwrap().into())),
        "boolean" => if was == "true" { "false" } else { "true" }.to_owned(),
        "timestamp with time zone" => format!("{was} ").replace("+00 ", "+00:00:01"),
        "json" => other_json(was, dice),
        "jsonb" => format!("[{was}]"),
        "bytea" | "bytea[]" | "smallint[]" | "bigint[]" => other_digit(was, dice),
        other => panic!("of type {other} there is no other value yet"),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// JSON in which one bit is another and which still is JSON.
fn other_json(was: &str, dice: &mut Dice) -> String {
    loop {
        let Value::String(other) = dice.flip(&was.into()) else {
            unreachable!("texts stay texts")
        };
        if serde_json::from_str::<Value>(&other).is_ok() {
            return other;
        }
    }
}

/// One digit is another. Of an array without elements: one that has an element.
fn other_digit(was: &str, dice: &mut Dice) -> String {
    let digits: Vec<usize> = was
        .char_indices()
        .filter(|(_, digit)| digit.is_ascii_hexdigit())
        .map(|(place, _)| place)
        .collect();
    if digits.is_empty() {
        return "{1}".to_owned();
    }
    let place = digits[dice.below(digits.len())];
    let digit = char::from(was.as_bytes()[place]).to_digit(16).unwrap();
    let other = char::from_digit(if digit == 9 { 8 } else { digit ^ 1 }, 16).unwrap();
    format!("{}{other}{}", &was[..place], &was[place + 1..])
}
