//! What a lane's session runs: two functions of its own, one for each round trip, and what their errors mean.
//!
//! The texts live in `sql/`, one statement per file. Each takes one array of rows, `$1`. A function runs, in the order of
//! its steps, those for which there are rows: so a batch costs two calls and not a dozen statements, and a lone unit
//! pays only for what it needs. Within a function, as between statements, each step sees what was committed before it
//! began, so what is read is newer than the locks.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use futures_util::future::{try_join_all, try_join4};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Statement};

use super::clock::ClockOff;
use super::rows::RowStatements;
use super::turn;
use crate::postgres::COMMIT_DURABLY;
use crate::projection::READ_MODELS;

/// Everything that a batch runs, prepared once per connection.
pub(super) struct Statements {
    /// Takes and gives one array of rows for each of [`LOAD`]; and takes whether to wait for heads that others locked.
    pub(super) load: Statement,
    pub(super) take_turn: Statement,
    /// Takes [`APPEND_PARAMETERS`].
    pub(super) append: Statement,
    pub(super) rows: RowStatements,
    pub(super) models: Models,
}

/// Which read models follow which events.
pub(super) struct Models {
    bits: HashMap<&'static str, i32>,
}

/// A step of round trip (a): what it takes, what it gives and under which name.
struct Read {
    takes: &'static str,
    gives: &'static str,
    name: &'static str,
    sql: &'static str,
}

/// The first step of round trip (a), for a batch that waits for nobody.
const FREE_HEADS: &str = include_str!("sql/lock_free_heads.sql");

/// Round trip (a): the locks, then the reads.
const LOAD: [Read; 5] = [
    Read {
        takes: "smallint",
        gives: "pg_temp.head_row",
        name: "locked",
        sql: include_str!("sql/lock_heads.sql"),
    },
    Read {
        takes: "pg_temp.delivery_key",
        gives: "pg_temp.tried_row",
        name: "tried",
        sql: include_str!("sql/lock_retried.sql"),
    },
    Read {
        takes: "pg_temp.delivery_key",
        gives: "pg_temp.delivery_key",
        name: "stored",
        sql: include_str!("sql/select_inbox.sql"),
    },
    Read {
        takes: "pg_temp.request_key",
        gives: "pg_temp.answered_row",
        name: "answered",
        sql: include_str!("sql/select_requests.sql"),
    },
    Read {
        takes: "pg_temp.stream_key",
        gives: "pg_temp.found_row",
        name: "loaded",
        sql: include_str!("sql/select_streams.sql"),
    },
];
/// What it gives beside: what time it is at the database, once it has read.
pub(super) const AT_DATABASE: &str = "at_database";
/// The number of the parameter that says whether heads are waited for.
const WAITS: usize = LOAD.len() + 1;

/// How a batch is committed, as `set_session.sql` says; also where a pooler took back what it said.
const SYNCHRONOUS_COMMIT: &str =
    "coalesce(nullif(current_setting('credit_ledger.synchronous_commit', true), ''), 'on')";

/// What round trip (b) takes, in the order of the function's parameters.
pub(super) const APPEND_PARAMETERS: [&str; 16] = [
    "pg_temp.inbox_row[]",
    "pg_temp.seen_row[]",
    "pg_temp.retried_row[]",
    "pg_temp.request_row[]",
    "pg_temp.event_row[]",
    "pg_temp.personal_row[]",
    "pg_temp.erased_row[]",
    "pg_temp.outbox_row[]",
    "pg_temp.stream_row[]",
    "pg_temp.stream_row[]",
    "pg_temp.lot_row[]",
    "pg_temp.lot_key[]",
    "pg_temp.hold_row[]",
    "pg_temp.settlement_row[]",
    "pg_temp.head_row[]",
    "integer",
];
/// The numbers of those that the read models are made of: the events, and which models any of them concerns.
const EVENTS: usize = 5;
const MODELS: usize = 16;

/// Round trip (b): the number of the parameter that a step takes, and the step. The read models follow.
const APPEND: [(usize, &str); 16] = [
    (1, include_str!("sql/insert_inbox.sql")),
    (2, include_str!("sql/count_deliveries.sql")),
    (3, include_str!("sql/update_retried.sql")),
    (4, include_str!("sql/insert_requests.sql")),
    // With the other keys that another instance may have taken, before what would be in vain.
    (9, include_str!("sql/insert_streams.sql")),
    (EVENTS, include_str!("sql/insert_events.sql")),
    (6, include_str!("sql/insert_personal.sql")),
    (7, include_str!("sql/delete_personal.sql")),
    (8, include_str!("sql/insert_outbox.sql")),
    (10, include_str!("sql/update_streams.sql")),
    (11, include_str!("sql/upsert_lots.sql")),
    (12, include_str!("sql/delete_lots.sql")),
    (13, include_str!("sql/insert_holds.sql")),
    (14, include_str!("sql/delete_holds.sql")),
    (14, include_str!("sql/insert_settlements.sql")),
    (15, include_str!("sql/update_heads.sql")),
];

impl Statements {
    pub(super) async fn prepare(client: &Client) -> Result<Self, Error> {
        let (load, append) = (load_function(), append_function());
        let made = [
            COMMIT_DURABLY,
            include_str!("sql/set_session.sql"),
            include_str!("sql/create_row_types.sql"),
            &load,
            &append,
            turn::FUNCTION,
        ];
        // Polled in this order, so sent in this order, in one go. So is what follows.
        try_join_all(made.map(|sql| client.batch_execute(sql))).await?;
        learn_types(client).await?;
        let call = |function: &str, parameters: usize| {
            let parameters: Vec<String> = (1..=parameters).map(|n| format!("${n}")).collect();
            format!(
                "select * from pg_temp.{function}({})",
                parameters.join(", ")
            )
        };
        let append = call("append_batch", APPEND_PARAMETERS.len());
        let (load, take_turn) = (call("load_batch", WAITS), call("take_turn", 1));
        let (load, take_turn, append, rows) = try_join4(
            client.prepare(&load),
            client.prepare(&take_turn),
            client.prepare(&append),
            RowStatements::prepare(client),
        )
        .await?;
        Ok(Self {
            load,
            take_turn,
            append,
            rows,
            models: Models::new(),
        })
    }
}

/// Looks up the types of all rows at once. Preparing a statement would look up one after the other: some seventy round
/// trips, which a slow line does not have the time for.
async fn learn_types(client: &Client) -> Result<(), Error> {
    let reads = LOAD.iter().flat_map(|read| [read.takes, read.gives]);
    let rows = reads.map(|name| format!("{name}[]"));
    let rows = rows.chain(APPEND_PARAMETERS.map(str::to_owned));
    let ours: BTreeSet<String> = rows.filter(|name| name.starts_with("pg_temp.")).collect();
    let learnt = ours.into_iter().map(async |name| {
        // The client remembers what it has seen.
        client.prepare(&format!("select null::{name}")).await
    });
    try_join_all(learnt).await.map(drop)
}

impl Models {
    fn new() -> Self {
        let mut bits = HashMap::new();
        for model in READ_MODELS {
            for event_type in model.handles() {
                *bits.entry(event_type).or_default() |= model.bit();
            }
        }
        Self { bits }
    }

    /// The bits of those that follow events of this type.
    pub(super) fn that_follow(&self, event_type: &str) -> i32 {
        self.bits.get(event_type).copied().unwrap_or(0)
    }
}

fn load_function() -> String {
    let takes = LOAD.iter().map(|read| format!("{}[]", read.takes));
    let gives = LOAD
        .iter()
        .map(|read| format!("out {} {}[]", read.name, read.gives));
    let waits = "boolean".to_owned();
    let time = format!("out {AT_DATABASE} timestamptz");
    let parameters: Vec<String> = takes.chain([waits]).chain(gives).chain([time]).collect();
    let mut body = String::new();
    for (number, read) in (1..).zip(&LOAD) {
        let Read { gives, name, .. } = read;
        let rows = |sql: &str| {
            format!("{name} := array(select row(item.*)::{gives} from (\n{sql}) as item);")
        };
        let sql = rows(&with_parameter(read.sql, number));
        if number == 1 {
            // Nothing may be read under some of the locks, and none may be waited for after another of a higher shard.
            let free = rows(FREE_HEADS);
            let _ = writeln!(
                body,
                "if cardinality($1) > 0 then if ${WAITS} then {sql} else {free} if cardinality({name}) < cardinality($1) then return; end if; end if; end if;"
            );
        } else {
            let _ = writeln!(body, "if cardinality(${number}) > 0 then {sql} end if;");
        }
    }
    let _ = writeln!(body, "{AT_DATABASE} := clock_timestamp();");
    function("load_batch", &parameters, "", &body)
}

fn append_function() -> String {
    let mut body =
        format!("perform set_config('synchronous_commit', {SYNCHRONOUS_COMMIT}, true);\n");
    for (number, sql) in APPEND {
        let sql = with_parameter(sql, number);
        let _ = writeln!(body, "if cardinality(${number}) > 0 then\n{sql}; end if;");
    }
    for model in READ_MODELS {
        let sql = model.live_sql();
        let sql = with_parameter(&sql, EVENTS);
        let bit = model.bit();
        let _ = writeln!(body, "if ${MODELS} & {bit} <> 0 then\n{sql}; end if;");
    }
    let parameters = APPEND_PARAMETERS.map(str::to_owned);
    function("append_batch", &parameters, "returns void", &body)
}

fn function(name: &str, parameters: &[String], returns: &str, body: &str) -> String {
    // A name that could be a column's or a parameter's is a column's.
    format!(
        "create function pg_temp.{name}({}) {returns} language plpgsql as $function$\n#variable_conflict use_column\nbegin\n{body}end $function$",
        parameters.join(", ")
    )
}

/// The statement with another number in the place of its only parameter's.
fn with_parameter(sql: &str, number: usize) -> String {
    sql.replace("$1", &format!("${number}"))
}

/// What a failed statement means for its batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The connection is gone. After a `commit` was sent, the outcome is not known.
    #[error("connection lost: {0}")]
    Lost(String),
    /// It took too long. After a `commit` was sent, the outcome is not known.
    #[error("no answer in time")]
    Late,
    /// Another instance was in the way in the same moment: it took a key, which answers when the batch is run again, or
    /// PostgreSQL chose one of two to give way. `0` is the SQLSTATE.
    #[error("another instance was in the way (SQLSTATE {0})")]
    Collided(String),
    /// The database can not take any batch like this now: a lock was held too long, it is starting or stopping, it is
    /// full, its schema is not ours.
    #[error("the database is busy: {0}")]
    Busy(String),
    /// A defect, of the program or of what it is made of. After a `commit` was sent, the outcome is not known.
    #[error("it panicked")]
    Panicked,
    /// Nothing may be decided at this time.
    #[error(transparent)]
    Clock(ClockOff),
    /// The database refuses this batch: something in it can not be stored. The SQLSTATE, and where; never what.
    #[error("SQLSTATE {0} at {1}")]
    Data(String, String),
}

impl From<Error> for StatementError {
    fn from(error: Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return Self::Lost(error.to_string());
        };
        let code = db.code().code();
        let taken = matches!(
            db.constraint(),
            Some("inbox_pkey" | "streams_pkey" | "requests_pkey")
        );
        if *db.code() == SqlState::UNIQUE_VIOLATION && taken {
            return Self::Collided(code.to_owned());
        }
        let message = db.message().to_owned();
        match code {
            "40001" | "40P01" => Self::Collided(code.to_owned()),
            // Terminated by an operator, a crash, or our own idle limit; or a pooler lost the server behind it.
            // Or the session's own statements, functions or types are gone: a pooler discarded them.
            "57P01" | "57P02" | "57P03" | "25P03" | "57P05" | "26000" | "42883" | "42704"
            | "3F000" => Self::Lost(message),
            code if code.starts_with("08") => Self::Lost(message),
            // Aborted by an earlier statement of the pipeline, whose own error says why.
            "25P02" => Self::Busy("an earlier statement failed".to_owned()),
            // Values that can not be stored, constraints, limits of size: of these units, not of the database.
            code if ["21", "22", "23", "54"]
                .iter()
                .any(|class| code.starts_with(class)) =>
            {
                let place = db.constraint().or(db.column()).or(db.table());
                Self::Data(code.to_owned(), place.unwrap_or("a value").to_owned())
            }
            // Locks, resources, disk full, read-only while a standby takes over; and what is wrong for
            // every unit alike: a missing table or right.
            code => Self::Busy(format!("SQLSTATE {code}: {message}")),
        }
    }
}
