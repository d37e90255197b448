//! What auditors are shown of the database: for each content of an export its columns, and for each table that is worked
//! out from the events the statement that reads it.
//!
//! NDJSON names the columns in every line, CSV in its first one, Parquet in its schema.

use credit_ledger_verify::manifest::{Content, Scope};

/// The states of streams.
pub const SELECT_STREAMS: &str = include_str!("sql/select_streams.sql");

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

/// What a column holds. Any may be null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// A signed number of 16, 32 or 64 bits.
    Integer,
    /// A number of microseconds since 1970-01-01 UTC; the database has a time under the name without its `_us`.
    Time,
    /// Yes or no.
    Boolean,
    /// JSON that is no plain value; in CSV and Parquet as text.
    Json,
}

const fn text(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Text,
    }
}

const fn integer(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Integer,
    }
}

const fn time(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Time,
    }
}

const fn boolean(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Boolean,
    }
}

const fn json(name: &'static str) -> Column {
    Column {
        name,
        kind: Kind::Json,
    }
}

/// A table that is worked out from the events, as rows of its columns.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Which.
    pub content: Content,
    /// Reads it.
    pub sql: &'static str,
    /// What `$1` of the statement chooses rows by; null chooses all.
    pub chosen_by: ChosenBy,
}

/// What rows of a table are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// `text`: whose they are.
    User,
    /// `text[]`: of which purchases they are.
    Purchases,
}

const fn table(content: Content, sql: &'static str, chosen_by: ChosenBy) -> Table {
    Table {
        content,
        sql,
        chosen_by,
    }
}

/// All of them.
pub const TABLES: [Table; 7] = [
    table(
        Content::Lots,
        include_str!("sql/select_lots.sql"),
        ChosenBy::User,
    ),
    table(
        Content::Holds,
        include_str!("sql/select_holds.sql"),
        ChosenBy::User,
    ),
    table(
        Content::Settlements,
        include_str!("sql/select_settlements.sql"),
        ChosenBy::User,
    ),
    table(
        Content::Balance,
        include_str!("sql/select_balance.sql"),
        ChosenBy::User,
    ),
    table(
        Content::Users,
        include_str!("sql/select_users.sql"),
        ChosenBy::User,
    ),
    table(
        Content::Purchases,
        include_str!("sql/select_purchases.sql"),
        ChosenBy::Purchases,
    ),
    table(
        Content::Entries,
        include_str!("sql/select_entries.sql"),
        ChosenBy::User,
    ),
];

/// The columns of a content. Events and seals of one user's history say more: how the rest of the log vouches for them.
pub const fn columns(content: Content, scope: &Scope) -> &'static [Column] {
    match (content, scope) {
        (Content::Seals, Scope::Whole) => SEALS,
        (Content::Seals, Scope::User(_)) => &PROVEN_SEALS,
        (Content::Events, Scope::Whole) => EVENTS,
        (Content::Events, Scope::User(_)) => &PROVEN_EVENTS,
        (Content::Deliveries, _) => DELIVERIES,
        (Content::Streams, _) => STREAMS,
        (Content::Lots, _) => LOTS,
        (Content::Holds, _) => HOLDS,
        (Content::Settlements, _) => SETTLEMENTS,
        (Content::Balance, _) => BALANCE,
        (Content::Users, _) => USERS,
        (Content::Purchases, _) => PURCHASES,
        (Content::Entries, _) => ENTRIES,
    }
}

const PROVEN_SEALS: [Column; SEALS.len() + 1] = joined(SEALS, &[json("path")]);
const PROVEN_EVENTS: [Column; EVENTS.len() + 2] =
    joined(EVENTS, &[text("previous"), json("proof")]);

const fn joined<const N: usize>(first: &[Column], more: &[Column]) -> [Column; N] {
    let mut all = [text(""); N];
    let mut index = 0;
    while index < N {
        all[index] = if index < first.len() {
            first[index]
        } else {
            more[index - first.len()]
        };
        index += 1;
    }
    all
}

const SEALS: &[Column] = &[
    integer("seal"),
    time("sealed_at_us"),
    integer("events"),
    text("root"),
    json("ends"),
    text("head"),
    text("key_id"),
    text("signature"),
];

const EVENTS: &[Column] = &[
    integer("shard"),
    integer("position"),
    text("aggregate_type"),
    text("aggregate_id"),
    integer("sequence"),
    text("event_type"),
    text("event_version"),
    text("payload"),
    text("metadata"),
    time("recorded_at_us"),
    text("source"),
    text("provider_event_id"),
    text("hash"),
];

const DELIVERIES: &[Column] = &[
    text("source"),
    text("key"),
    text("provider_event_id"),
    text("body_sha256"),
    text("headers"),
    text("secret"),
    time("received_at_us"),
    text("outcome"),
    text("reason"),
    json("led_to"),
    boolean("erased"),
];

const STREAMS: &[Column] = &[
    integer("shard"),
    text("aggregate_type"),
    text("aggregate_id"),
    integer("version"),
    text("state"),
];

const LOTS: &[Column] = &[
    text("user_id"),
    integer("lot"),
    integer("shard"),
    text("kind"),
    integer("priority"),
    integer("expires_at_s"),
    text("purchase_id"),
    integer("amount"),
    integer("remaining"),
    integer("contested"),
    integer("expired"),
    integer("counted"),
];

const HOLDS: &[Column] = &[
    integer("shard"),
    integer("position"),
    text("user_id"),
    integer("times_out_at_s"),
];

const SETTLEMENTS: &[Column] = &[integer("shard"), integer("position"), text("settlement")];

const BALANCE: &[Column] = &[
    text("user_id"),
    integer("balance"),
    integer("held"),
    integer("debt"),
    integer("version"),
];

const USERS: &[Column] = &[
    text("user_id"),
    boolean("registered"),
    boolean("deleted"),
    boolean("erasure_requested"),
    boolean("erased"),
    boolean("bonus"),
    text("plan"),
    integer("plan_sequence"),
    integer("profile_sequence"),
    time("registered_at_us"),
    time("deleted_at_us"),
];

const PURCHASES: &[Column] = &[
    text("purchase_id"),
    text("user_id"),
    boolean("captured"),
    integer("amount_minor"),
    text("currency"),
    text("order_id"),
    text("sku"),
    integer("credits"),
    text("subscription_id"),
    boolean("payer_erased"),
    integer("refunded_minor"),
    integer("disputed_minor"),
    integer("lost_minor"),
    integer("standing_sequence"),
    text("part_of"),
    text("status"),
    time("paid_at_us"),
    time("recorded_at_us"),
];

const ENTRIES: &[Column] = &[
    text("user_id"),
    integer("sequence"),
    integer("shard"),
    integer("position"),
    text("type"),
    integer("delta"),
    integer("balance"),
    text("purchase_id"),
    text("source"),
    text("provider_event_id"),
    time("recorded_at_us"),
    json("slices"),
    text("about"),
    text("reason"),
    text("reference"),
];
