//! The rows of users that are too much for the state of a stream: lots behind the front, open holds, settlements.
//!
//! Reads what decisions ask for. What is read here was locked before: rows are written by whoever holds the lock of their
//! shard. Who only looks ([`crate::reads`]) reads state and rows in one snapshot.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deadpool_postgres::ClientWrapper;
use futures_util::future::{try_join4, try_join5};
use serde::Deserialize;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, GenericClient, Row, Statement};

use super::statements::StatementError;
use crate::ledger::command::Hold;
use crate::ledger::event::{CreditsHeld, UserEvent};
use crate::ledger::lots::{Lot, LotKind, Terms, Wanted};
use crate::ledger::user::ReadRows;
use crate::ledger::{Credits, Place, PurchaseId, Settlement, UserId};

/// What somebody wants to know of users beyond their states.
pub type WantedRows = BTreeMap<UserId, Wanted>;

/// The statements that read rows.
pub struct RowStatements {
    next: Statement,
    due: Statement,
    named: Statement,
    holds: Statement,
    settlements: Statement,
}

impl RowStatements {
    /// Prepares them for a lane.
    pub async fn prepare(client: &Client) -> Result<Self, Error> {
        Self::by(|sql| client.prepare(sql)).await
    }

    /// Takes them from the statements of a pooled connection.
    pub async fn cached(connection: &ClientWrapper) -> Result<Self, Error> {
        Self::by(|sql| connection.prepare_cached(sql)).await
    }

    async fn by<F>(prepare: impl Fn(&'static str) -> F) -> Result<Self, Error>
    where
        F: Future<Output = Result<Statement, Error>>,
    {
        let (next, due, named, holds, settlements) = try_join5(
            prepare(include_str!("sql/select_next_lots.sql")),
            prepare(include_str!("sql/select_due_lots.sql")),
            prepare(include_str!("sql/select_named_lots.sql")),
            prepare(include_str!("sql/select_due_holds.sql")),
            prepare(include_str!("sql/select_settlements.sql")),
        )
        .await?;
        Ok(Self {
            next,
            due,
            named,
            holds,
            settlements,
        })
    }

    /// Reads what is wanted. Each user who wants something is in the answer.
    pub async fn read(
        &self,
        client: &impl GenericClient,
        wanted: &WantedRows,
    ) -> Result<HashMap<UserId, ReadRows>, StatementError> {
        let asked = Asked::of(wanted);
        let (next, due, named, holds) = try_join4(
            run(
                client,
                &self.next,
                &[&asked.next_users, &asked.next_rows],
                asked.next_users.is_empty(),
            ),
            run(
                client,
                &self.due,
                &[&asked.due_users, &asked.due_until_s],
                asked.due_users.is_empty(),
            ),
            run(
                client,
                &self.named,
                &[
                    &asked.id_users,
                    &asked.ids,
                    &asked.purchase_users,
                    &asked.purchases,
                ],
                asked.id_users.is_empty() && asked.purchase_users.is_empty(),
            ),
            run(
                client,
                &self.holds,
                &[&asked.due_users, &asked.due_until_s],
                asked.due_users.is_empty(),
            ),
        )
        .await?;
        let mut read: HashMap<UserId, ReadRows> = wanted
            .keys()
            .map(|user| (user.clone(), ReadRows::default()))
            .collect();
        take_next(&mut read, wanted, &next)?;
        take_due(&mut read, wanted, &due)?;
        for row in &named {
            let lot = lot(row)?;
            of(&mut read, row)?.lots.lots.push(lot);
        }
        take_holds(&mut read, wanted, &holds)?;
        Ok(read)
    }

    /// Which of these holds and spends are settled.
    pub async fn read_settlements(
        &self,
        client: &impl GenericClient,
        places: &BTreeSet<Place>,
    ) -> Result<HashMap<Place, Settlement>, StatementError> {
        let (shards, positions): (Vec<i16>, Vec<i64>) = places
            .iter()
            .map(|place| (place.shard, place.position))
            .unzip();
        let params: [&(dyn ToSql + Sync); 2] = [&shards, &positions];
        let rows = run(client, &self.settlements, &params, places.is_empty()).await?;
        rows.iter()
            .map(|row| {
                let place = place(row)?;
                let settlement =
                    Settlement::parse(row.try_get("settlement")?).ok_or_else(unreadable)?;
                Ok((place, settlement))
            })
            .collect()
    }
}

async fn run(
    client: &impl GenericClient,
    statement: &Statement,
    params: &[&(dyn ToSql + Sync)],
    nothing: bool,
) -> Result<Vec<Row>, Error> {
    if nothing {
        return Ok(vec![]);
    }
    client.query(statement, params).await
}

/// What is wanted, as columns.
#[derive(Default)]
struct Asked<'a> {
    next_users: Vec<&'a str>,
    next_rows: Vec<i64>,
    due_users: Vec<&'a str>,
    due_until_s: Vec<i64>,
    id_users: Vec<&'a str>,
    ids: Vec<i64>,
    purchase_users: Vec<&'a str>,
    purchases: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(wanted: &'a WantedRows) -> Self {
        let mut asked = Self::default();
        for (user, wanted) in wanted {
            let user = user.as_str();
            if wanted.next > 0 {
                asked.next_users.push(user);
                asked.next_rows.push(i64::from(wanted.next));
            }
            if let Some(until_s) = wanted.due_until_s {
                asked.due_users.push(user);
                asked.due_until_s.push(until_s);
            }
            for id in &wanted.ids {
                asked.id_users.push(user);
                asked.ids.push(*id);
            }
            for purchase in &wanted.purchases {
                asked.purchase_users.push(user);
                asked.purchases.push(purchase.as_str());
            }
        }
        asked
    }
}

/// One row more than asked for comes, if there is one: it says where the rest begins.
fn take_next(
    read: &mut HashMap<UserId, ReadRows>,
    wanted: &WantedRows,
    rows: &[Row],
) -> Result<(), StatementError> {
    let mut seen: HashMap<UserId, u32> = HashMap::new();
    for row in rows {
        let user = user(row)?;
        let seen = seen.entry(user.clone()).or_default();
        *seen += 1;
        let most = wanted.get(&user).map_or(0, |wanted| wanted.next);
        let lot = lot(row)?;
        let rows = &mut of(read, row)?.lots;
        if *seen > most {
            rows.after = Some(lot.key());
        } else {
            rows.lots.push(lot);
        }
    }
    Ok(())
}

/// The one that ends later than asked for says when to look again.
fn take_due(
    read: &mut HashMap<UserId, ReadRows>,
    wanted: &WantedRows,
    rows: &[Row],
) -> Result<(), StatementError> {
    for row in rows {
        let until_s = wanted
            .get(&user(row)?)
            .and_then(|wanted| wanted.due_until_s);
        let lot = lot(row)?;
        let rows = &mut of(read, row)?.lots;
        if lot.terms.expires_at_s > until_s {
            rows.due_after_s = lot.terms.expires_at_s;
        } else {
            rows.lots.push(lot);
        }
    }
    Ok(())
}

fn take_holds(
    read: &mut HashMap<UserId, ReadRows>,
    wanted: &WantedRows,
    rows: &[Row],
) -> Result<(), StatementError> {
    for row in rows {
        let user_id = user(row)?;
        let times_out_at_s: i64 = row.try_get("times_out_at_s")?;
        let until_s = wanted.get(&user_id).and_then(|wanted| wanted.due_until_s);
        let rows = of(read, row)?;
        if Some(times_out_at_s) > until_s {
            rows.hold_due_after_s = Some(times_out_at_s);
        } else {
            let held = held(row.try_get("payload")?).ok_or_else(unreadable)?;
            rows.holds.push(Hold::placed(place(row)?, user_id, held));
        }
    }
    Ok(())
}

fn of<'a>(
    read: &'a mut HashMap<UserId, ReadRows>,
    row: &Row,
) -> Result<&'a mut ReadRows, StatementError> {
    Ok(read.entry(user(row)?).or_default())
}

fn user(row: &Row) -> Result<UserId, StatementError> {
    UserId::parse(row.try_get::<_, String>("user_id")?).map_err(|_| unreadable())
}

fn place(row: &Row) -> Result<Place, StatementError> {
    Ok(Place {
        shard: row.try_get("shard")?,
        position: row.try_get("position")?,
    })
}

/// A lot as it is stored in a row.
pub fn lot(row: &Row) -> Result<Lot, StatementError> {
    let credits = |name| -> Result<Credits, StatementError> {
        Credits::new(row.try_get(name)?).map_err(|_| unreadable())
    };
    let priority: i16 = row.try_get("priority")?;
    let purchase_id: Option<String> = row.try_get("purchase_id")?;
    let purchase_id = purchase_id.map(PurchaseId::parse).transpose();
    Ok(Lot {
        id: row.try_get("lot")?,
        terms: Terms {
            kind: LotKind::parse(row.try_get("kind")?).ok_or_else(unreadable)?,
            priority: u8::try_from(priority).map_err(|_| unreadable())?,
            expires_at_s: row.try_get("expires_at_s")?,
            purchase_id: purchase_id.map_err(|_| unreadable())?,
            amount: credits("amount")?,
        },
        remaining: credits("remaining")?,
        contested: credits("contested")?,
        expired: credits("expired")?,
        counted: credits("counted")?,
    })
}

/// The hold that an event placed; `None` if it placed none.
fn held(payload: &str) -> Option<CreditsHeld> {
    match UserEvent::deserialize(&mut serde_json::Deserializer::from_str(payload)) {
        Ok(UserEvent::CreditsHeld(held)) => Some(held),
        _ => None,
    }
}

/// Not ours to repair, and nothing of it may be repeated in a log.
fn unreadable() -> StatementError {
    StatementError::Data("value".to_owned(), "a stored lot or hold".to_owned())
}
