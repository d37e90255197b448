//! The lots that a user has now, with the entry that each came with.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::settled::{settle, snapshot};
use super::{ReadError, Reads};
use crate::ledger::lots::Lot;
use crate::postgres::{Lent, in_time};
use crate::store::rows::{self, RowStatements};

const ORIGINS: &str = include_str!("sql/select_origins.sql");

/// A lot with credits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LotRow {
    /// The lot.
    pub lot: Lot,
    /// What it came with; none where the read model is being made again.
    pub origin: Option<OriginRow>,
}

/// The entry that a lot came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginRow {
    /// Its shard.
    pub shard: i16,
    /// Its place in the shard.
    pub position: i64,
    /// Who caused it.
    pub source: String,
    /// The provider's event behind it.
    pub provider_event_id: Option<String>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

impl Reads {
    /// The lots of a user that came before an event, the newest first.
    pub async fn lots(
        &self,
        user_id: &str,
        before: i64,
        limit: i64,
        now: DateTime<Utc>,
    ) -> Result<Vec<LotRow>, ReadError> {
        let mut session = Lent::of(&self.pool).await?;
        let lots = in_time(&self.pool, page(&mut session, user_id, before, limit, now)).await?;
        session.give_back();
        lots
    }

    /// The entries of a user that lots came with. They never change.
    pub async fn origins(
        &self,
        user_id: &str,
        lots: &[i64],
    ) -> Result<HashMap<i64, OriginRow>, ReadError> {
        if lots.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.query(ORIGINS, &[&user_id, &lots]).await?;
        rows.iter().map(origin).collect()
    }
}

async fn page(
    connection: &mut Object,
    user_id: &str,
    before: i64,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<LotRow>, ReadError> {
    let statements = RowStatements::cached(connection).await?;
    let snapshot = snapshot(connection).await?;
    let now_s = now.timestamp();
    let Some(user) = settle(&snapshot, &statements, user_id, now_s).await? else {
        return Ok(vec![]);
    };
    let here = user.lots.open().iter();
    let mut lots: Vec<Lot> = here.filter(|lot| lot.id < before).cloned().collect();
    let known: HashSet<i64> = user.lots.open().iter().map(|lot| lot.id).collect();
    let statement = snapshot
        .prepare_cached(include_str!("sql/page_lots.sql"))
        .await?;
    let known_ids: Vec<i64> = known.into_iter().collect();
    let params: [&(dyn ToSql + Sync); 5] = [&user_id, &before, &limit, &now_s, &known_ids];
    for row in snapshot.query(&statement, &params).await? {
        lots.push(rows::lot(&row)?);
    }
    lots.sort_by_key(|lot| std::cmp::Reverse(lot.id));
    lots.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let ids: Vec<i64> = lots.iter().map(|lot| lot.id).collect();
    let statement = snapshot.prepare_cached(ORIGINS).await?;
    let origins = snapshot.query(&statement, &[&user_id, &ids]).await?;
    let origins: Result<HashMap<_, _>, _> = origins.iter().map(origin).collect();
    let mut origins = origins?;
    snapshot.commit().await?;
    let row = |lot: Lot| LotRow {
        origin: origins.remove(&lot.id),
        lot,
    };
    Ok(lots.into_iter().map(row).collect())
}

fn origin(row: &Row) -> Result<(i64, OriginRow), ReadError> {
    let origin = OriginRow {
        shard: row.try_get("shard")?,
        position: row.try_get("position")?,
        source: row.try_get("source")?,
        provider_event_id: row.try_get("provider_event_id")?,
        recorded_at: row.try_get("recorded_at")?,
    };
    Ok((row.try_get("sequence")?, origin))
}
