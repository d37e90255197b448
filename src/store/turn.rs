//! Whose turn it is, when lanes of several instances are in each other's way.
//!
//! Lanes of the same number serve the same shards, whatever instance they are of. One that finds a head locked takes
//! turns with the others for a while: it waits for its turn *before* it forms a batch, so that the batch takes in
//! what came meanwhile. When it did have to wait, its instance is not alone on the database, and sends everything to
//! its first lane: where instances take turns anyhow, a batch of all that an instance has costs PostgreSQL less than
//! two of half of it.
//!
//! A turn keeps no data right, the locks of the heads do that: a lane that did not get its turn in time goes on
//! without. It is taken before any row is locked and ends with the transaction, so nobody who has one waits for
//! somebody who waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::future::try_join;
use postgres_types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::load::BEGIN;

/// For how many batches more turns are taken when nobody else seems to be there any more.
const CALM_BATCHES: u8 = 8;

/// Whether an instance has company: for how many batches more it believes so.
#[derive(Debug, Clone, Default)]
pub(super) struct Company(Arc<AtomicU8>);

impl Company {
    /// Then the first lane does all the work.
    pub(super) fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn set(&self, left: u8) {
        self.0.store(left, Ordering::Relaxed);
    }

    fn left(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether a lane takes turns.
#[derive(Debug)]
pub(super) struct Turns {
    /// How many batches more it does, whatever the other lanes of its instance do.
    left: u8,
    company: Company,
}

impl Turns {
    pub(super) const fn of(company: Company) -> Self {
        Self { left: 0, company }
    }

    pub(super) fn are_taken(&self) -> bool {
        self.left > 0 || self.company.is_there()
    }

    /// Somebody else had locked a head, maybe only another lane of this instance.
    pub(super) const fn collided(&mut self) {
        self.left = CALM_BATCHES;
    }

    /// It was this lane's turn, at once or not. Only another instance can have had it before.
    pub(super) fn taken(&mut self, waited: bool) {
        if waited {
            self.left = CALM_BATCHES;
            self.company.set(CALM_BATCHES);
        } else {
            self.left = self.left.saturating_sub(1);
            self.company.set(self.company.left().saturating_sub(1));
        }
    }
}

/// The function that waits. Its time-out is far below the one for rows: behind a lane that is stuck there may be work
/// that is not.
pub(super) const FUNCTION: &str = concat!(
    "create function pg_temp.take_turn(integer, out waited boolean) language plpgsql set lock_timeout = '1s' as ",
    "$function$ begin waited := (",
    include_str!("sql/take_turn.sql"),
    "); end $function$"
);

/// Begins a transaction and takes the turn of the lane. True: it had to be waited for.
pub(super) async fn begin(client: &Client, take: &Statement, lane: i32) -> Result<bool, Error> {
    let params: [&(dyn ToSql + Sync); 1] = [&lane];
    let begun = client.batch_execute(BEGIN);
    let turn = client.query_one(take, &params);
    let ((), turn) = try_join(begun, turn).await?;
    turn.try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_taken_until_nobody_was_waited_for_in_a_while() {
        let company = Company::default();
        let mut turns = Turns::of(company.clone());
        assert!(!turns.are_taken());
        turns.collided();
        for _ in 1..CALM_BATCHES {
            turns.taken(false);
            assert!(turns.are_taken());
        }
        assert!(!company.is_there(), "it may be the other lane of the same");
        turns.taken(true);
        for _ in 1..CALM_BATCHES {
            turns.taken(false);
            assert!(turns.are_taken() && company.is_there());
        }
        turns.taken(false);
        assert!(!turns.are_taken() && !company.is_there());
    }

    #[test]
    fn what_one_lane_saw_of_other_instances_all_lanes_know() {
        let company = Company::default();
        let (mut first, mut second) = (Turns::of(company.clone()), Turns::of(company.clone()));
        second.taken(true);
        assert!(first.are_taken() && company.is_there());
        for _ in 0..CALM_BATCHES {
            first.taken(false);
        }
        assert!(!first.are_taken() && !company.is_there());
        assert!(second.are_taken(), "until it went on by itself for as long");
    }
}
