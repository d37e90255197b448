//! Whose turn it is, when lanes of several instances are in each other's way.
//!
//! Lanes of the same number serve the same shards, whatever instance they are of. One that finds a head locked takes
//! turns with the others for a while: it waits for its turn *before* it forms a batch, so that the batch takes in
//! what came meanwhile.
//!
//! A turn keeps no data right, the locks of the heads do that: a lane that did not get its turn in time goes on
//! without. It is taken before any row is locked and ends with the transaction, so nobody who has one waits for
//! somebody who waits for it.

use futures_util::future::try_join;
use postgres_types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::load::BEGIN;

/// For how many batches more turns are taken when nobody else seems to be there any more.
const CALM_BATCHES: u8 = 8;

/// Whether a lane takes turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many batches more it does.
    left: u8,
}

impl Turns {
    pub(super) const fn are_taken(&self) -> bool {
        self.left > 0
    }

    /// Somebody else had locked a head.
    pub(super) const fn collided(&mut self) {
        self.left = CALM_BATCHES;
    }

    /// It was this lane's turn, at once or not.
    pub(super) const fn taken(&mut self, waited: bool) {
        self.left = if waited {
            CALM_BATCHES
        } else {
            self.left.saturating_sub(1)
        };
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
        let mut turns = Turns::default();
        assert!(!turns.are_taken());
        turns.collided();
        for _ in 1..CALM_BATCHES {
            turns.taken(false);
        }
        assert!(turns.are_taken());
        turns.taken(true);
        for _ in 1..CALM_BATCHES {
            turns.taken(false);
            assert!(turns.are_taken());
        }
        turns.taken(false);
        assert!(!turns.are_taken());
    }
}
