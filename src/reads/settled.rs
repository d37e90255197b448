//! What a user has at a time: the account after the last event until then, with what ended and what timed out by then,
//! whether that is written down already or not.
//!
//! For most users nothing is due, and the read model says it. For the others the rules themselves say it, on the state and
//! the rows of one snapshot. For a past time the last event before it is found by halving: positions in a stream are dense
//! and their times only grow.

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Transaction};
use serde::Deserialize as _;
use tokio_postgres::{IsolationLevel, Row};

use super::{BalanceRow, ReadError, Reads};
use crate::ledger::event::UserEvent;
use crate::ledger::lots::Wanted;
use crate::ledger::user::UserCommand;
use crate::ledger::{Account, LedgerError, User, UserId};
use crate::postgres::{Lent, in_time};
use crate::store::StatementError;
use crate::store::rows::{RowStatements, WantedRows};

/// How many movements after a time are read at once, to see whether they only write down what was so before.
const NEXT_MOVEMENTS: i64 = 100;
/// How often rows may be asked for. Twice are the most that settling needs.
const ROUNDS: usize = 4;

impl Reads {
    /// The account as it is now, of what the read model says it was after the last event.
    pub(super) async fn settled(
        &self,
        user_id: &str,
        row: BalanceRow,
        now: DateTime<Utc>,
    ) -> Result<BalanceRow, ReadError> {
        if row
            .due_at_s
            .is_none_or(|due_at_s| due_at_s > now.timestamp())
        {
            return Ok(row);
        }
        let user = self.user_at(user_id, now.timestamp()).await?;
        Ok(user.map_or(row, |user| of_account(user.account, row.version)))
    }

    /// A user's state as it is at a time that is not past; `None`: there is no stream.
    async fn user_at(&self, user_id: &str, at_s: i64) -> Result<Option<User>, ReadError> {
        let mut session = Lent::of(&self.pool).await?;
        let user = in_time(&self.pool, Box::pin(user_at(&mut session, user_id, at_s))).await?;
        session.give_back();
        user
    }

    /// What a user had or will have at a time. `None`: there was nothing of the user.
    pub async fn balance_at(
        &self,
        user_id: &str,
        at: DateTime<Utc>,
    ) -> Result<Option<BalanceRow>, ReadError> {
        let mut session = Lent::of(&self.pool).await?;
        let balance = in_time(&self.pool, Box::pin(balance_at(&mut session, user_id, at))).await?;
        session.give_back();
        balance
    }
}

async fn user_at(
    connection: &mut Object,
    user_id: &str,
    at_s: i64,
) -> Result<Option<User>, ReadError> {
    let statements = RowStatements::cached(connection).await?;
    let snapshot = snapshot(connection).await?;
    let user = settle(&snapshot, &statements, user_id, at_s).await?;
    snapshot.commit().await?;
    Ok(user)
}

async fn balance_at(
    connection: &mut Object,
    user_id: &str,
    at: DateTime<Utc>,
) -> Result<Option<BalanceRow>, ReadError> {
    let statements = RowStatements::cached(connection).await?;
    let snapshot = snapshot(connection).await?;
    let stored = match last_before(&snapshot, user_id, at).await? {
        None => None,
        Some(last) => {
            let mut row = account_after(&snapshot, user_id, last.sequence).await?;
            if last.newest {
                let user = settle(&snapshot, &statements, user_id, at.timestamp()).await?;
                row = user.map_or(row, |user| of_account(user.account, row.version));
            }
            Some(row)
        }
    };
    snapshot.commit().await?;
    Ok(stored)
}

/// One moment of the database, for several queries.
pub(super) async fn snapshot(connection: &mut Object) -> Result<Transaction<'_>, ReadError> {
    Ok(connection
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?)
}

/// The last event of a stream that counts at a time.
struct Last {
    sequence: i64,
    /// No credits moved after it.
    newest: bool,
}

/// Finds it: the last that was recorded until then, and behind it the movements that only write down later what was so by
/// then. Between those may be events that move no credits, which settle nothing.
async fn last_before(
    snapshot: &Transaction<'_>,
    user_id: &str,
    at: DateTime<Utc>,
) -> Result<Option<Last>, ReadError> {
    let sql = include_str!("sql/select_last_event.sql");
    let statement = snapshot.prepare_cached(sql).await?;
    let Some(row) = snapshot.query_opt(&statement, &[&user_id, &at]).await? else {
        return Ok(None);
    };
    let mut sequence: i64 = row.try_get("sequence")?;
    if sequence == 0 {
        return Ok(None);
    }
    let sql = include_str!("sql/select_next_movements.sql");
    let statement = snapshot.prepare_cached(sql).await?;
    loop {
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&user_id, &sequence, &NEXT_MOVEMENTS];
        let rows = snapshot.query(&statement, &params).await?;
        for row in &rows {
            let was_so_at_s = event(row)?.was_so_at_s();
            if was_so_at_s.is_none_or(|at_s| at_s > at.timestamp()) {
                let newest = false;
                return Ok(Some(Last { sequence, newest }));
            }
            sequence = row.try_get("sequence")?;
        }
        if rows.is_empty() {
            let newest = true;
            return Ok(Some(Last { sequence, newest }));
        }
    }
}

/// The account after the last event until a place in the stream that moved credits.
async fn account_after(
    snapshot: &Transaction<'_>,
    user_id: &str,
    sequence: i64,
) -> Result<BalanceRow, ReadError> {
    let sql = include_str!("sql/select_last_movement.sql");
    let statement = snapshot.prepare_cached(sql).await?;
    let Some(row) = snapshot
        .query_opt(&statement, &[&user_id, &sequence])
        .await?
    else {
        return Ok(BalanceRow::default());
    };
    let account = event(&row)?.movement().map(|movement| movement.account);
    Ok(of_account(
        account.unwrap_or_default(),
        row.try_get("sequence")?,
    ))
}

/// A user's state as it is at a time that is not past; `None`: there is no stream.
pub(super) async fn settle(
    snapshot: &Transaction<'_>,
    statements: &RowStatements,
    user_id: &str,
    at_s: i64,
) -> Result<Option<User>, ReadError> {
    let sql = include_str!("sql/select_user_state.sql");
    let statement = snapshot.prepare_cached(sql).await?;
    let Some(row) = snapshot.query_opt(&statement, &[&user_id]).await? else {
        return Ok(None);
    };
    let id = UserId::parse(user_id).map_err(|_| ReadError::Unreadable)?;
    let mut wanted = WantedRows::new();
    for _ in 0..ROUNDS {
        let mut user = read_state(row.try_get("state")?)?;
        if !wanted.is_empty() {
            let mut read = statements.read(&**snapshot, &wanted).await?;
            if let (Some(wanted), Some(read)) = (wanted.get(&id), read.remove(&id)) {
                user.take_in(wanted, read);
            }
        }
        match user.decide(&UserCommand::Settle { at_s }) {
            Ok(events) => {
                for event in &events {
                    user.evolve(event);
                }
                return Ok(Some(user));
            }
            Err(LedgerError::Unread(more)) => {
                let wanted: &mut Wanted = wanted.entry(id.clone()).or_default();
                wanted.add(&more);
            }
            Err(_) => return Err(ReadError::Unreadable),
        }
    }
    Err(ReadError::Unreadable)
}

fn read_state(json: &str) -> Result<User, ReadError> {
    serde_json::from_str(json).map_err(|_| ReadError::Unreadable)
}

fn event(row: &Row) -> Result<UserEvent, ReadError> {
    let payload: &str = row.try_get("payload")?;
    UserEvent::deserialize(&mut serde_json::Deserializer::from_str(payload))
        .map_err(|_| ReadError::Unreadable)
}

fn of_account(account: Account, version: i64) -> BalanceRow {
    BalanceRow {
        balance: account.balance.get(),
        held: account.held.get(),
        debt: account.debt.get(),
        version,
        due_at_s: None,
    }
}

impl From<StatementError> for ReadError {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::Data(..) | StatementError::Panicked => Self::Unreadable,
            StatementError::Lost(_)
            | StatementError::Late
            | StatementError::Collided(_)
            | StatementError::Busy(_)
            | StatementError::Clock(_) => Self::Rows(error),
        }
    }
}
