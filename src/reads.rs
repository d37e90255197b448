//! Reads of the read models: one prepared `SELECT` each, from a pool of their own.
//!
//! The texts live with the tables, in `projections/`; what operators see of the log and the inbox is in `reads/`. Nothing
//! here may write, and no rule may depend on it.

mod admin;
mod erasure;
mod event;
mod log;
mod lots;
mod settled;

use std::time::Duration;

use chrono::{DateTime, Utc};
use deadpool_postgres::{Object, Pool, PoolError};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::ledger::SubscriptionKey;
use crate::postgres::{Late, Lent, READING, within};
use crate::store::StatementError;
pub use admin::{
    Count, EndRow, InboxRow, LATEST, LastDelivery, OUTCOMES, Parked, StatusCount, Unresolved,
    UserCounts,
};
pub use erasure::PayerRow;
pub use lots::{LotRow, OriginRow};

/// How long the database may take to say that it is there.
const PING: Duration = Duration::from_secs(2);

/// The database can not answer now.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection in time.
    #[error("no connection: {0}")]
    Pool(#[from] PoolError),
    /// None in time.
    #[error(transparent)]
    Late(#[from] Late),
    /// The query failed.
    #[error("the query failed: {0}")]
    Query(#[from] tokio_postgres::Error),
    /// Rows beside a state could not be read now.
    #[error("the query failed: {0}")]
    Rows(StatementError),
    /// The database holds what this version can not read.
    #[error("a stored value can not be read")]
    Unreadable,
}

/// Reads with the service's role.
#[derive(Clone)]
pub struct Reads {
    pool: Pool,
}

/// A user with the account.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether one thing happened"
)]
pub struct UserRow {
    /// Whether anything is known of the user.
    pub known: bool,
    /// Whether the identity provider said that the user signed up.
    pub registered: bool,
    /// Whether the identity provider said that the user is gone.
    pub deleted: bool,
    /// Whether the personal data was erased.
    pub erased: bool,
    /// The plan.
    pub plan: Option<String>,
    /// The primary e-mail address.
    pub email: Option<String>,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// The account.
    pub balance: BalanceRow,
}

/// A user in a list of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedUser {
    /// Who.
    pub user_id: String,
    /// When the user registered; the beginning of 1970: never so far.
    pub listed_at: DateTime<Utc>,
    /// The user with the account.
    pub user: UserRow,
}

/// An account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BalanceRow {
    /// Credits that are the user's.
    pub balance: i64,
    /// Credits set aside.
    pub held: i64,
    /// Credits owed.
    pub debt: i64,
    /// The place in the user's stream of the event that changed it last; 0: none did.
    pub version: i64,
    /// When credits may end or a hold may time out, seconds since 1970: from then on the rest of it may not be so any more.
    pub due_at_s: Option<i64>,
}

/// A movement of credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRow {
    /// Its place in the user's stream.
    pub sequence: i64,
    /// Its shard.
    pub shard: i16,
    /// Its place in the shard.
    pub position: i64,
    /// The event's type.
    pub event_type: String,
    /// How the balance changed.
    pub delta: i64,
    /// The balance after it.
    pub balance: i64,
    /// The purchase that it is about.
    pub purchase_id: Option<String>,
    /// Who caused it.
    pub source: String,
    /// The provider's event behind it.
    pub provider_event_id: Option<String>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// The lots that it took from or gave back to, JSON.
    pub slices: Option<String>,
    /// The entry that it reverses, or the hold that it ends.
    pub about: Option<String>,
    /// What the caller said of it.
    pub reason: Option<String>,
    /// The caller's own id of it.
    pub reference: Option<String>,
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurchaseRow {
    /// `<provider>:<payment id>`.
    pub purchase_id: String,
    /// Whose it is; none: unclaimed.
    pub user_id: Option<String>,
    /// What has become of the payment.
    pub status: String,
    /// What was charged, in minor units.
    pub amount_minor: i64,
    /// The currency charged.
    pub currency: String,
    /// The provider's order.
    pub order_id: Option<String>,
    /// What was bought; none: unpriced.
    pub sku: Option<String>,
    /// What it gives.
    pub credits: i64,
    /// How much of the money went back, in minor units.
    pub refunded_minor: i64,
    /// When it was paid.
    pub paid_at: DateTime<Utc>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// A user with a proven e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerRow {
    /// Who.
    pub user_id: String,
    /// The version of the profile that has the address, JSON.
    pub profile: Option<String>,
}

impl Reads {
    /// Reads through this pool.
    pub const fn new(pool: Pool) -> Self {
        Self { pool }
    }

    /// What time it is at the database, if it answers. That others have all the sessions is no fault of its.
    pub async fn database_time(&self) -> Result<DateTime<Utc>, ReadError> {
        let sql = "select clock_timestamp()";
        let rows = self.query_within(PING, sql, &[]).await?;
        Ok(rows.first().ok_or_else(missing_row)?.try_get(0)?)
    }

    /// A user and the account; `known` is false when there is neither, and no purchase names the user.
    pub async fn user(&self, user_id: &str, now: DateTime<Utc>) -> Result<UserRow, ReadError> {
        let rows = self
            .query(include_str!("../projections/users/get.sql"), &[&user_id])
            .await?;
        let mut user = user(rows.first().ok_or_else(missing_row)?)?;
        user.balance = self.settled(user_id, user.balance, now).await?;
        Ok(user)
    }

    /// Users before a time of registration and an id, newest first; of an e-mail address, in any case, or all whom the
    /// identity provider or a plan made known.
    pub async fn users(
        &self,
        email: Option<&str>,
        before: (DateTime<Utc>, &str),
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<ListedUser>, ReadError> {
        let (time, user_id) = before;
        let rows = if let Some(email) = email {
            let sql = include_str!("../projections/users/page_by_email.sql");
            self.query(sql, &[&time, &user_id, &limit, &email]).await?
        } else {
            let sql = include_str!("../projections/users/page.sql");
            self.query(sql, &[&time, &user_id, &limit]).await?
        };
        let mut users = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut listed = listed_user(row)?;
            let balance = listed.user.balance;
            listed.user.balance = self.settled(&listed.user_id, balance, now).await?;
            users.push(listed);
        }
        Ok(users)
    }

    /// A user's account now; `None`: the user never had credits.
    pub async fn balance(
        &self,
        user_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<BalanceRow>, ReadError> {
        let rows = self
            .query(include_str!("../projections/balance/get.sql"), &[&user_id])
            .await?;
        match rows.first() {
            Some(row) => Ok(Some(self.settled(user_id, balance(row)?, now).await?)),
            None => Ok(None),
        }
    }

    /// A user's movements before a place in the stream, newest first.
    pub async fn entries(
        &self,
        user_id: &str,
        before: i64,
        limit: i64,
    ) -> Result<Vec<EntryRow>, ReadError> {
        let sql = include_str!("../projections/entries/page.sql");
        let rows = self.query(sql, &[&user_id, &before, &limit]).await?;
        rows.iter().map(entry).collect()
    }

    /// One purchase.
    pub async fn purchase(&self, purchase_id: &str) -> Result<Option<PurchaseRow>, ReadError> {
        let sql = include_str!("../projections/purchases/get.sql");
        let rows = self.query(sql, &[&purchase_id]).await?;
        rows.first().map(purchase).transpose()
    }

    /// Those who are there and have proven to own an e-mail address, in any case; at most so many.
    pub async fn owners_of(&self, email: &str, limit: i64) -> Result<Vec<OwnerRow>, ReadError> {
        let sql = include_str!("../projections/users/owners.sql");
        let rows = self.query(sql, &[&email, &limit]).await?;
        rows.iter().map(owner).collect()
    }

    /// The ids of purchases that are nobody's and were paid with an e-mail address, in any case: those after an id.
    pub async fn unclaimed_of_payer(
        &self,
        email: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, ReadError> {
        let sql = include_str!("../projections/purchases/unclaimed_of_payer.sql");
        ids(&self.query(sql, &[&email, &after, &limit]).await?)
    }

    /// Who paid for a provider's subscription first.
    pub async fn subscriber(
        &self,
        subscription: &SubscriptionKey,
    ) -> Result<Option<String>, ReadError> {
        let sql = include_str!("../projections/purchases/subscriber.sql");
        let (provider, id) = subscription.parts();
        user_id(&self.query(sql, &[&id, &provider]).await?)
    }

    /// Who paid first for the subscription that a purchase pays a period of.
    pub async fn subscriber_of(&self, purchase_id: &str) -> Result<Option<String>, ReadError> {
        let sql = include_str!("../projections/purchases/subscriber_of.sql");
        user_id(&self.query(sql, &[&purchase_id]).await?)
    }

    /// The ids of purchases that are nobody's and pay a provider's subscription: those after an id.
    pub async fn unclaimed_of_subscription(
        &self,
        subscription: &SubscriptionKey,
        after: &str,
        limit: i64,
    ) -> Result<Vec<String>, ReadError> {
        let sql = include_str!("../projections/purchases/unclaimed_of_subscription.sql");
        let (provider, id) = subscription.parts();
        let params: [&(dyn ToSql + Sync); 4] = [&id, &provider, &after, &limit];
        ids(&self.query(sql, &params).await?)
    }

    /// A user's purchases before a time and an id, newest first.
    pub async fn purchases(
        &self,
        user_id: &str,
        before: (DateTime<Utc>, &str),
        limit: i64,
    ) -> Result<Vec<PurchaseRow>, ReadError> {
        let sql = include_str!("../projections/purchases/page.sql");
        let rows = self
            .query(sql, &[&user_id, &before.0, &before.1, &limit])
            .await?;
        rows.iter().map(purchase).collect()
    }

    async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ReadError> {
        self.query_within(READING, sql, params).await
    }

    /// A connection may have died while it was idle: then one more is tried. Reads may be repeated. `limit`: of what is
    /// asked, once there is a session for it.
    async fn query_within(
        &self,
        limit: Duration,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ReadError> {
        let mut again = true;
        loop {
            // Large, and part of every request.
            match Box::pin(self.query_once(limit, sql, params)).await {
                Err(ReadError::Query(error)) if error.is_closed() && again => again = false,
                result => return result,
            }
        }
    }

    async fn query_once(
        &self,
        limit: Duration,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ReadError> {
        let session = Lent::of(&self.pool).await?;
        let rows = within(limit, &self.pool, run(&session, sql, params)).await?;
        session.give_back();
        Ok(rows?)
    }
}

async fn run(
    connection: &Object,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = connection.prepare_cached(sql).await?;
    connection.query(&statement, params).await
}

/// Some statements always give one row; if not, the connection is of no use.
fn missing_row() -> ReadError {
    ReadError::Pool(PoolError::Closed)
}

fn user(row: &Row) -> Result<UserRow, ReadError> {
    Ok(UserRow {
        known: row.try_get("known")?,
        registered: row.try_get("registered")?,
        deleted: row.try_get("deleted")?,
        erased: row.try_get("erased")?,
        plan: row.try_get("plan")?,
        email: row.try_get("email")?,
        first_name: row.try_get("first_name")?,
        last_name: row.try_get("last_name")?,
        balance: balance(row)?,
    })
}

fn listed_user(row: &Row) -> Result<ListedUser, ReadError> {
    Ok(ListedUser {
        user_id: row.try_get("user_id")?,
        listed_at: row.try_get("listed_at")?,
        user: user(row)?,
    })
}

fn owner(row: &Row) -> Result<OwnerRow, ReadError> {
    Ok(OwnerRow {
        user_id: row.try_get("user_id")?,
        profile: row.try_get("profile")?,
    })
}

fn balance(row: &Row) -> Result<BalanceRow, ReadError> {
    Ok(BalanceRow {
        balance: row.try_get("balance")?,
        held: row.try_get("held")?,
        debt: row.try_get("debt")?,
        version: row.try_get("version")?,
        due_at_s: row.try_get("due_at_s")?,
    })
}

fn entry(row: &Row) -> Result<EntryRow, ReadError> {
    Ok(EntryRow {
        sequence: row.try_get("sequence")?,
        shard: row.try_get("shard")?,
        position: row.try_get("position")?,
        event_type: row.try_get("type")?,
        delta: row.try_get("delta")?,
        balance: row.try_get("balance")?,
        purchase_id: row.try_get("purchase_id")?,
        source: row.try_get("source")?,
        provider_event_id: row.try_get("provider_event_id")?,
        recorded_at: row.try_get("recorded_at")?,
        slices: row.try_get("slices")?,
        about: row.try_get("about")?,
        reason: row.try_get("reason")?,
        reference: row.try_get("reference")?,
    })
}

fn user_id(rows: &[Row]) -> Result<Option<String>, ReadError> {
    let row = rows.first();
    Ok(row.map(|row| row.try_get("user_id")).transpose()?)
}

fn ids(rows: &[Row]) -> Result<Vec<String>, ReadError> {
    rows.iter()
        .map(|row| Ok(row.try_get("purchase_id")?))
        .collect()
}

fn purchase(row: &Row) -> Result<PurchaseRow, ReadError> {
    Ok(PurchaseRow {
        purchase_id: row.try_get("purchase_id")?,
        user_id: row.try_get("user_id")?,
        status: row.try_get("status")?,
        amount_minor: row.try_get("amount_minor")?,
        currency: row.try_get("currency")?,
        order_id: row.try_get("order_id")?,
        sku: row.try_get("sku")?,
        credits: row.try_get("credits")?,
        refunded_minor: row.try_get("refunded_minor")?,
        paid_at: row.try_get("paid_at")?,
        recorded_at: row.try_get("recorded_at")?,
    })
}
