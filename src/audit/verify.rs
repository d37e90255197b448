//! `audit verify`: the checks of an export, on one moment of the living database, and those that need more than an export
//! shows: bodies, signatures, personal data and its digests, and the tables that only the service reads.
//!
//! The checks themselves are those of [`credit_ledger_verify::check`]: nobody has to trust two judges.

pub mod signatures;
mod stored;

use credit_ledger_verify::check::{Checker, Extent, Trust};
use credit_ledger_verify::manifest::{Content, Scope};
use credit_ledger_verify::record::{EventRecord, SealRecord, StreamRecord};
use credit_ledger_verify::report::{Finding, Report, checks};
use futures_util::TryStreamExt as _;
use tokio_postgres::types::ToSql;

use super::rows::{self, UnreadableRow};
use super::seal;
use super::snapshot::{self, Count, Progress, Snapshot, SnapshotError};
use super::tables::{SELECT_STREAMS, TABLES, columns};
use super::walk::{self, Walker};
use crate::ledger::User;
use crate::postgres::Database;
use crate::provider::Providers;
use signatures::Signatures;

const SELECT_INBOX: &str = include_str!("verify/sql/select_inbox.sql");

/// What was seen, and what does not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// All but signatures of deliveries, which are among its findings where they fail.
    pub report: Report,
    /// The signatures of deliveries, if they were asked for.
    pub signatures: Option<Signatures>,
}

/// Verifies the whole history. `providers`: verify the signature of every stored delivery with their secrets.
///
/// # Errors
/// [`SnapshotError`], when it can not be read.
pub async fn verify(
    database: &Database,
    trust: Trust,
    providers: Option<&Providers>,
    progress: Progress<'_>,
) -> Result<Verified, SnapshotError> {
    let mut connection = snapshot::connect(database).await?;
    let snapshot = Snapshot::begin_with_read_models(&mut connection).await?;
    let client = snapshot.transaction();
    let (mut ends, mut unreadable) = (vec![], vec![]);
    for head in seal::rows::each_head(client).await? {
        match head {
            Ok(end) => ends.push(end),
            Err(row) => unreadable.push(row),
        }
    }
    let extent = Extent {
        scope: Scope::Whole,
        ends,
        last_seal: seal::rows::last_number(client).await?,
    };
    let mut feed = Feed {
        checker: Checker::new(extent, trust),
        count: Count::new(snapshot.count().await?, progress),
    };
    for row in unreadable {
        feed.unreadable(row)?;
    }
    walk::walk(&snapshot, &mut feed).await?;
    let signatures = feed.deliveries(&snapshot, providers).await?;
    feed.streams(&snapshot).await?;
    feed.tables(&snapshot).await?;
    let mut tell = |finding| feed.checker.finding(finding);
    stored::find(&snapshot, &mut tell).await?;
    Ok(Verified {
        report: feed.checker.finish(),
        signatures,
    })
}

/// Feeds the checks.
struct Feed<'a> {
    checker: Checker,
    count: Count<'a>,
}

impl Feed<'_> {
    /// What could be read; of what could not it is told.
    fn readable<T>(&mut self, read: Result<T, UnreadableRow>) -> Option<T> {
        read.map_err(|row| self.checker.finding(row.finding())).ok()
    }

    async fn deliveries(
        &mut self,
        snapshot: &Snapshot<'_>,
        providers: Option<&Providers>,
    ) -> Result<Option<Signatures>, SnapshotError> {
        let mut signatures = providers.map(|providers| (providers, Signatures::default()));
        let mut found = snapshot.stream(SELECT_INBOX, &[]).await?;
        while let Some(row) = found.try_next().await? {
            self.count.add(1);
            let Some(record) = self.readable(rows::delivery(&row)) else {
                continue;
            };
            let Some(body) = self.readable(rows::body(&row)) else {
                continue;
            };
            self.checker.delivery(&record, Some(body));
            if let Some((providers, signatures)) = &mut signatures
                && let Some(finding) = signatures.judge(providers, &record, body)
            {
                self.checker.finding(finding);
            }
        }
        Ok(signatures.map(|(_, signatures)| signatures))
    }

    async fn streams(&mut self, snapshot: &Snapshot<'_>) -> Result<(), SnapshotError> {
        let all: Option<Vec<&str>> = None;
        let mut found = snapshot.stream(SELECT_STREAMS, &[&all, &all]).await?;
        while let Some(row) = found.try_next().await? {
            self.count.add(1);
            let Some(record) = self.readable(rows::stream(&row)) else {
                continue;
            };
            self.checker.stream(&record);
            let due_at_s: Option<i64> = row.try_get("due_at_s")?;
            if due(&record).is_some_and(|due| due != due_at_s) {
                let what = "streams: due_at_s is not when its state changes by itself";
                let finding = Finding::new(checks::STATE_DIFFERS, what);
                self.checker
                    .finding(finding.of(&record.aggregate_type, &record.aggregate_id));
            }
        }
        Ok(())
    }

    async fn tables(&mut self, snapshot: &Snapshot<'_>) -> Result<(), SnapshotError> {
        let all: Option<&str> = None;
        let every: Option<Vec<&str>> = None;
        for table in TABLES {
            let by: &(dyn ToSql + Sync) = match table.content {
                Content::Purchases => &every,
                _ => &all,
            };
            let columns = columns(table.content, &Scope::Whole);
            let mut found = snapshot.stream(table.sql, &[by]).await?;
            while let Some(row) = found.try_next().await? {
                self.count.add(1);
                if let Some(row) = self.readable(rows::table(&row, table.content, columns)) {
                    self.checker.row(table.content, &row);
                }
            }
        }
        Ok(())
    }
}

/// When a state changes by itself. `None`: it can not be read, which is found elsewhere.
#[expect(clippy::option_option, reason = "a state may never change by itself")]
fn due(record: &StreamRecord) -> Option<Option<i64>> {
    if record.aggregate_type != "user" {
        return Some(None);
    }
    let user: User = serde_json::from_str(&record.state).ok()?;
    Some(user.due_at_s())
}

impl Walker for Feed<'_> {
    type Error = SnapshotError;

    fn unreadable(&mut self, row: UnreadableRow) -> Result<(), SnapshotError> {
        self.checker.finding(row.finding());
        self.count.add(1);
        Ok(())
    }

    fn seal(&mut self, seal: &SealRecord) -> Result<(), SnapshotError> {
        self.checker.seal(seal);
        self.count.add(1);
        Ok(())
    }

    fn sealed(&mut self, event: &EventRecord) -> Result<(), SnapshotError> {
        self.checker.event(event);
        self.count.add(1);
        Ok(())
    }

    fn unsealed(&mut self, event: &EventRecord) -> Result<(), SnapshotError> {
        self.sealed(event)
    }
}
