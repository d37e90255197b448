//! The table of API keys, and the copy of it in memory that requests are judged by.
//!
//! Owns when the table is read. A request costs no round trip while the copy is fresh:
//! - a copy younger than `FRESH` is used as it is, so a revoked key is refused after that time at the latest;
//! - an older one is read again before the answer, and so is any copy that lacks a key that has the form of one; but
//!   never more often than every `MIN_INTERVAL`, so that guessing costs the database nothing, and a reading goes on
//!   when the request that began it ends, so that nobody can keep it from being done;
//! - while the table can not be read, the copy goes on until it is `MAX_AGE` old; then nobody is judged by it.
//!
//! Must never keep or log a key.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use deadpool_postgres::{Pool, PoolError};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_postgres::{Client, Row};

use super::api_key::{Principal, Scope};
use super::issued::{Found, GoodKeys, KeyName, KeyPrefix, NewKey};
use crate::postgres::{COMMIT_DURABLY, Late, Lent, within};

/// A younger copy is used as it is: so long a revoked key may still be good.
const FRESH: Duration = Duration::from_secs(2);
/// Least time between two readings of the table.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// An older copy does not say that a key is unknown: a reading failed since.
const RECENT: Duration = MIN_INTERVAL.saturating_add(READ_WAIT);
/// The oldest copy that is used while the table can not be read.
const MAX_AGE: Duration = Duration::from_secs(30);
/// How long a request waits for the table.
const READ_WAIT: Duration = Duration::from_secs(2);
/// The most keys that may be good at once. Bounds the copy.
pub const LIVE_MAX: i64 = 1000;

/// The table can not be read now, and the copy of it is too old or there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API keys can not be looked up now")]
pub struct KeysUnavailable;

/// The keys that were given out, as far as this instance knows.
pub struct IssuedKeys {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool,
    copy: ArcSwapOption<Snapshot>,
    /// When the table was read last, or tried to be. Whoever holds the lock is the one that reads.
    tried: Arc<Mutex<Option<Instant>>>,
}

struct Snapshot {
    keys: GoodKeys,
    read_at: Instant,
}

/// Why a reading failed; for the log.
#[derive(Debug, thiserror::Error)]
enum ReadingError {
    #[error(transparent)]
    Late(#[from] Late),
    #[error("no connection: {0}")]
    Pool(#[from] PoolError),
    #[error("the query failed: {0}")]
    Query(#[from] tokio_postgres::Error),
}

impl IssuedKeys {
    /// Reads through this pool; nothing yet.
    pub fn new(pool: Pool) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool,
                copy: ArcSwapOption::empty(),
                tried: Arc::default(),
            }),
        }
    }

    /// Whom a key speaks for; none: it is not known.
    ///
    /// # Errors
    /// [`KeysUnavailable`] for what has the form of a key and can not be judged now.
    pub async fn find(&self, presented: &str) -> Result<Option<Arc<Principal>>, KeysUnavailable> {
        match self.judge(presented, FRESH) {
            Some(Found::Principal(principal)) => return Ok(Some(principal)),
            Some(Found::NotAKey) => return Ok(None),
            Some(Found::Unknown) | None => {}
        }
        self.refresh().await;
        if let Some(Found::Principal(principal)) = self.judge(presented, MAX_AGE) {
            return Ok(Some(principal));
        }
        // An older copy can not say that a key is unknown: it may have been made since.
        match self.judge(presented, RECENT) {
            Some(_) => Ok(None),
            None => Err(KeysUnavailable),
        }
    }

    /// What the copy says; none: there is no copy younger than this.
    fn judge(&self, presented: &str, age_max: Duration) -> Option<Found> {
        let copy = self.shared.copy.load();
        let fresh = copy
            .as_ref()
            .filter(|copy| copy.read_at.elapsed() < age_max);
        match fresh {
            Some(copy) => Some(copy.keys.find(presented)),
            // That it is none of our keys is known without them.
            None => {
                Some(GoodKeys::default().find(presented)).filter(|found| *found == Found::NotAKey)
            }
        }
    }

    /// Reads the table, unless that was tried a moment ago; waits for whoever does it already.
    async fn refresh(&self) {
        let mut tried = Arc::clone(&self.shared.tried).lock_owned().await;
        if tried.is_some_and(|tried| tried.elapsed() < MIN_INTERVAL) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let reading = tokio::spawn(async move {
            shared.read_in_time().await;
            *tried = Some(Instant::now());
        });
        // Should it have panicked, the copy is what it was.
        let _ = reading.await;
    }
}

impl Shared {
    async fn read_in_time(&self) {
        let read_at = Instant::now();
        let read = within(READ_WAIT, &self.pool, self.read()).await;
        match read.unwrap_or_else(|late| Err(late.into())) {
            Ok(keys) => self.copy.store(Some(Arc::new(Snapshot { keys, read_at }))),
            Err(error) => tracing::warn!(%error, "the API keys can not be read"),
        }
    }

    async fn read(&self) -> Result<GoodKeys, ReadingError> {
        let session = Lent::of(&self.pool).await?;
        let sql = include_str!("sql/select_live_keys.sql");
        let statement = session.prepare_cached(sql).await?;
        let rows = session.query(&statement, &[&LIVE_MAX]).await?;
        session.give_back();
        let mut keys = GoodKeys::default();
        for row in rows {
            let digest: Vec<u8> = row.try_get("digest")?;
            let scopes: Vec<String> = row.try_get("scopes")?;
            // The table holds no other lengths.
            if let Ok(digest) = digest.try_into() {
                keys.add(
                    row.try_get("prefix")?,
                    digest,
                    row.try_get("name")?,
                    &scopes,
                );
            }
        }
        Ok(keys)
    }
}

/// A key as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// What it is called.
    pub prefix: String,
    /// Whose it is.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it is good no more.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A key was not made, listed or revoked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There are as many good keys as there may be.
    #[error("there are {LIVE_MAX} keys already: revoke those that nobody uses")]
    TooMany,
    /// The database refused.
    #[error("the database: {0}")]
    Database(#[from] tokio_postgres::Error),
}

/// Keeps a new key. `client` acts as the owner.
///
/// # Errors
/// [`RegistryError`]; then the key is good for nothing.
pub async fn create(
    client: &Client,
    key: &NewKey,
    name: &KeyName,
    scopes: &[Scope],
    now: DateTime<Utc>,
) -> Result<(), RegistryError> {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    client.batch_execute(COMMIT_DURABLY).await?;
    let made = client
        .execute(
            include_str!("sql/insert_key.sql"),
            &[
                &key.prefix().as_str(),
                &name.as_str(),
                &key.digest().as_slice(),
                &scopes,
                &now,
                &LIVE_MAX,
            ],
        )
        .await?;
    if made == 0 {
        return Err(RegistryError::TooMany);
    }
    Ok(())
}

/// The keys, those that are good first, then the newest first. `client` acts as the owner.
///
/// # Errors
/// [`RegistryError`].
pub async fn list(client: &Client, limit: i64) -> Result<Vec<ShownKey>, RegistryError> {
    let sql = include_str!("sql/list_keys.sql");
    let rows = client.query(sql, &[&limit]).await?;
    rows.iter().map(shown).collect()
}

/// Revokes a key for ever; none: there is no such key. `client` acts as the owner.
///
/// # Errors
/// [`RegistryError`].
pub async fn revoke(
    client: &Client,
    prefix: &KeyPrefix,
    now: DateTime<Utc>,
) -> Result<Option<ShownKey>, RegistryError> {
    // A crash or a failover must not make it good again.
    client.batch_execute(COMMIT_DURABLY).await?;
    let sql = include_str!("sql/revoke_key.sql");
    let row = client.query_opt(sql, &[&prefix.as_str(), &now]).await?;
    row.as_ref().map(shown).transpose()
}

fn shown(row: &Row) -> Result<ShownKey, RegistryError> {
    Ok(ShownKey {
        prefix: row.try_get("prefix")?,
        name: row.try_get("name")?,
        scopes: row.try_get("scopes")?,
        created_at: row.try_get("created_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}
