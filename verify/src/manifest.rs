//! What an export says of itself: `manifest.json`, written last, so a folder without one is no export.
//!
//! Nobody signs a manifest. It tells accidents from exports; what was changed on purpose is told by the seals.

use serde::{Deserialize, Serialize};

use crate::Hash;
use crate::record::EndRecord;

/// The name of the manifest's file.
pub const FILE: &str = "manifest.json";
/// What [`Manifest::version`] says.
pub const VERSION: &str = "credit-ledger export v1";

/// The manifest of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`].
    pub version: String,
    /// When it was made, microseconds since 1970-01-01 UTC.
    pub made_at_us: i64,
    /// Whose history it is.
    pub scope: Scope,
    /// How the lines are written.
    pub format: Format,
    /// Where every shard ended when it was made, by shard. All of it is in the export, if the scope is the whole.
    pub ends: Vec<EndRecord>,
    /// The last seal in it; 0: none.
    pub last_seal: i64,
    /// The other files. Those of the same content follow each other in the order in which they are to be read.
    pub files: Vec<FileEntry>,
}

/// Whose history an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Everybody's: the whole log.
    Whole,
    /// The stream of this user, and those of the user's purchases.
    User(String),
}

/// How the lines of an export are written. Only the first can be verified; the others are for spreadsheets and tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// Comma-separated, a header line first.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the folder of the export: no path.
    pub name: String,
    /// What is in it.
    pub content: Content,
    /// How many records it has.
    pub lines: u64,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of it.
    #[serde(with = "hex::serde")]
    pub sha256: Hash,
}

/// What a file of an export holds. Each content has at least one file, be it empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// [`crate::record::SealRecord`]s by number; of one user: [`crate::record::ProvenSeal`]s by number.
    Seals,
    /// [`crate::record::EventRecord`]s seal by seal, then what is not sealed, each part by shard and position; of one
    /// user: [`crate::record::ProvenEvent`]s by shard and position.
    Events,
    /// [`crate::record::DeliveryRecord`]s in any order.
    Deliveries,
    /// [`crate::record::StreamRecord`]s in any order.
    Streams,
    /// Rows of the table `lots`, in any order: part of the state of users.
    Lots,
    /// Rows of the table `holds`, in any order.
    Holds,
    /// Rows of the table `settlements`, in any order.
    Settlements,
    /// Rows of the read model `balance`, in any order.
    Balance,
    /// Rows of the read model `users`, in any order, without personal data.
    Users,
    /// Rows of the read model `purchases`, in any order, without personal data.
    Purchases,
    /// Rows of the read model `entries`, in any order.
    Entries,
}

impl Content {
    /// Every content, in the order in which an export is read.
    pub const ALL: [Self; 11] = [
        Self::Seals,
        Self::Events,
        Self::Deliveries,
        Self::Streams,
        Self::Lots,
        Self::Holds,
        Self::Settlements,
        Self::Balance,
        Self::Users,
        Self::Purchases,
        Self::Entries,
    ];

    /// The name, as in a manifest and of the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seals => "seals",
            Self::Events => "events",
            Self::Deliveries => "deliveries",
            Self::Streams => "streams",
            Self::Lots => "lots",
            Self::Holds => "holds",
            Self::Settlements => "settlements",
            Self::Balance => "balance",
            Self::Users => "users",
            Self::Purchases => "purchases",
            Self::Entries => "entries",
        }
    }
}
