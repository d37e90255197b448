//! The store: the only module that opens a transaction.
//!
//! A [`Unit`] is what one delivery or one call wants committed, all or nothing. [`Ledger::execute`] hands it to a
//! lane; a lane takes whatever is queued the moment it is free (no timers) and commits it as one batch:
//!
//! | round trip | what is done, in this order | why the boundary |
//! |---|---|---|
//! | (a) load | `begin` · lock the heads · lock the inbox rows that are tried again · read inbox keys, requests, streams, and what users' states leave out · the time, to compare ours with | all reads are newer than the lock, so what is decided on can not change |
//! | (b) append | inbox rows · requests · new streams · events · personal data · outbox · streams · lots · holds · heads · read models · `commit` | decided in memory in between |
//!
//! Each is a call of a function of the lane's session (`statements`): what it takes are arrays of rows, and it runs only
//! the statements for which there are rows.
//!
//! Every statement of (b) must succeed for its `commit` to be one: after a failed statement PostgreSQL turns the
//! pipelined `commit` into a rollback. The only failures that two instances can cause each other are the primary
//! keys of `inbox`, `streams` and `requests` (another shard took the key in the same moment); then the batch runs again, and
//! the key answers.
//!
//! (a) does not wait for a head that somebody else has: then it ends at once, and its lane, which has seen that it is
//! not alone, takes turns (`turn`) with the lanes of the same number of other instances for a while. That is one
//! round trip more, before (a), and it is the one that waits. A batch is formed after it, of all that is queued by
//! then: batches are large when lanes are in each other's way, and none is held up by a small one that was formed too
//! early. In its turn, (a) waits for heads, in the order of shards, so that nobody starves. An instance that had to wait
//! for a turn gives everything to its first lane until it is alone again.
//!
//! Must never decide by a clock that was not compared, lock a head after (a), take a turn after a head was locked, rely on
//! a turn for what is right, remember that a key was absent, or answer before the commit.
//!
//! In reading order: [`mod@unit`], [`home`], `ledger` (the queue in front of the lanes), `lane` (connection, batches,
//! retries), `clock` (the time that batches are decided at), `turn`, `plan` (what to lock and read), `load` and [`rows`]
//! (a), `batch` (decisions in memory), `append` (b), [`backlog`] (what commits left to do).

mod append;
pub mod backlog;
mod backoff;
mod batch;
mod cause;
mod clock;
mod composites;
mod fate;
mod health;
pub mod home;
mod lane;
mod ledger;
mod load;
mod plan;
pub mod rows;
mod statements;
mod turn;
pub mod unit;

pub use backlog::Backlog;
pub use backoff::LONGEST_WAIT;
pub use clock::{ClockCheck, ClockOff};
pub use fate::PARKED;
pub use ledger::{Ledger, LedgerSettings};
pub use statements::StatementError;
pub use unit::{
    Answer, Answering, Came, Delivered, Operator, Origin, Outcome, Recorded, Request, Retry,
    StoreError, Unit, Work,
};
