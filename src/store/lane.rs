//! A lane: one connection that commits what is queued for its shards, batch after batch.
//!
//! The lane owns the commit: a caller that goes away can not cut one in half. Batches form by themselves: while one
//! is being committed, or its turn is waited for, the next one queues up; a lone unit goes at once.

use std::collections::VecDeque;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::append::append;
use super::batch::{self, Settled};
use super::clock::{ClockCheck, ClockOff};
use super::health::Health;
use super::load::{Locking, load};
use super::plan::{self, Planned};
use super::statements::{StatementError, Statements};
use super::turn::{self, Turns};
use super::unit::{Origin, Outcome, StoreError, Unit, Work};
use crate::postgres::{ConnectOptions, Database, Role, error_chain};

/// The most units in one batch.
pub(super) const BATCH_UNITS: usize = 256;
/// The most bytes of bodies in one batch, so that one transaction stays small whatever is sent.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// How often a batch is run before its units are told that the database is not available.
const BATCH_ATTEMPTS: u8 = 4;
/// How often a unit may leave a batch because it needs more than it knew. Each time teaches it one stream, one home, or
/// more rows of its users: eight times as many of those that burn next, so a handful of rounds is all of them.
const ROUNDS: u8 = 12;
/// How long one attempt may take before its connection is given up and its outcome counts as unknown: by then those who
/// asked were told so, and it is not tried again. This, and nothing else, notices a connection that only seems to be there.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long taking a turn may take: a server that is there gives up waiting for it after a second.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long it may take until a new connection is prepared. Some ten round trips, on a line however slow.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A unit with whoever waits for it.
pub(super) struct Pending {
    pub(super) planned: Planned,
    pub(super) reply: oneshot::Sender<Result<Outcome, StoreError>>,
    /// What its body takes of the queue's bytes, until it is answered.
    #[expect(dead_code, reason = "it is held, and given back when this is dropped")]
    pub(super) room: OwnedSemaphorePermit,
}

pub(super) struct Lane {
    pub(super) number: i32,
    pub(super) turns: Turns,
    pub(super) queue: mpsc::Receiver<Pending>,
    pub(super) database: Database,
    pub(super) shards: u16,
    pub(super) clock: Arc<ClockCheck>,
    pub(super) connection: Option<Connection>,
    pub(super) health: Arc<Health>,
    /// Told of each commit that wrote to the outbox.
    pub(super) work_left: Arc<Notify>,
}

pub(super) struct Connection {
    client: Client,
    statements: Statements,
    /// Whether a transaction is begun and it is the lane's turn in it.
    in_turn: bool,
}

impl Lane {
    /// Works until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                match self.queue.recv().await {
                    Some(pending) => waiting.push_back(pending),
                    None => return,
                }
            }
            if self.turns.are_taken() {
                self.take_turn().await;
            }
            // Nothing is waited for between here and the locks, unless it is for a lane that takes no turns.
            while waiting.len() < BATCH_UNITS {
                match self.queue.try_recv() {
                    Ok(pending) => waiting.push_back(pending),
                    Err(_) => break,
                }
            }
            let batch = take_batch(&mut waiting);
            let locking = if self.turns.are_taken() {
                Locking::Wait
            } else {
                Locking::IfFree
            };
            let again = self.commit(batch, locking).await;
            // They were here first, and they know now what they need.
            for pending in again.into_iter().rev() {
                waiting.push_front(pending);
            }
        }
    }

    /// Waits until it is this lane's turn. Whatever goes wrong with that is no matter: then the batch goes without, and
    /// if there is more behind it, the batch will tell.
    async fn take_turn(&mut self) {
        let Some(mut connection) = self.connection.take_if(|one| !one.client.is_closed()) else {
            return;
        };
        let Connection {
            client, statements, ..
        } = &connection;
        let taken = async {
            match turn::begin(client, &statements.take_turn, self.number).await {
                Ok(waited) => Ok(Some(waited)),
                Err(_) => client.batch_execute("rollback").await.map(|()| None),
            }
        };
        let taken = AssertUnwindSafe(taken).catch_unwind();
        let Ok(Ok(Ok(taken))) = timeout(TURN_TIMEOUT, taken).await else {
            return;
        };
        if let Some(waited) = taken {
            self.turns.taken(waited);
        }
        connection.in_turn = taken.is_some();
        self.connection = Some(connection);
    }

    /// Commits a batch and answers its units. Returns those that must be planned again, or that were not tried because
    /// others have their heads.
    async fn commit(&mut self, mut batch: Vec<Pending>, mut locking: Locking) -> Vec<Pending> {
        let mut error = StatementError::Busy("not tried".to_owned());
        for _ in 0..BATCH_ATTEMPTS {
            match self.attempt(&mut batch, locking).await {
                Ok(Some(outcomes)) => {
                    self.health.committed();
                    return answer(batch, outcomes);
                }
                Ok(None) => {
                    self.turns.collided();
                    return batch;
                }
                Err(alone @ (StatementError::Data(..) | StatementError::Panicked)) => {
                    return self.isolate(batch, &alone).await;
                }
                Err(StatementError::Clock(off)) => return refuse(batch, off),
                // Who asked was told so by then.
                Err(over @ (StatementError::Busy(_) | StatementError::Late)) => {
                    error = over;
                    break;
                }
                Err(retry @ (StatementError::Lost(_) | StatementError::Collided(_))) => {
                    error = retry;
                    locking = Locking::Wait;
                }
            }
        }
        // A large batch can collide anew each time; a unit has two keys, and one that was lost is found.
        if matches!(error, StatementError::Collided(_)) && batch.len() > 1 {
            return self.one_by_one(batch).await;
        }
        tracing::warn!(units = batch.len(), %error, "a batch was not committed");
        self.health.gave_up();
        for pending in batch {
            let _ = pending
                .reply
                .send(Err(StoreError::Unavailable(error.to_string())));
        }
        vec![]
    }

    /// Runs the units one by one, so that the one that can not be stored harms no other. If it is a delivery, its
    /// bytes are kept and it waits for somebody who understands it.
    async fn isolate(&mut self, batch: Vec<Pending>, error: &StatementError) -> Vec<Pending> {
        if batch.len() > 1 {
            return self.one_by_one(batch).await;
        }
        let mut again = Vec::new();
        for mut pending in batch {
            let unit = &mut pending.planned.unit;
            tracing::error!(origin = ?unit.origin, %error, "a unit can not be stored");
            let delivery = matches!(unit.origin, Origin::Delivery(_) | Origin::Retry(_));
            if delivery && matches!(unit.work, Work::Apply(_)) {
                let reason = match error {
                    StatementError::Data(state, _) => format!("database_refused {state}"),
                    _ => "panicked".to_owned(),
                };
                unit.work = Work::Park {
                    reason,
                    waits_for: None,
                };
                again.push(pending);
            } else {
                let _ = pending
                    .reply
                    .send(Err(StoreError::Failed(error.to_string())));
            }
        }
        again
    }

    async fn one_by_one(&mut self, batch: Vec<Pending>) -> Vec<Pending> {
        let mut again = Vec::new();
        for pending in batch {
            again.extend(Box::pin(self.commit(vec![pending], Locking::Wait)).await);
        }
        again
    }

    /// One transaction over the batch. On an error nothing was committed, except that after
    /// [`StatementError::Lost`], [`StatementError::Late`] and [`StatementError::Panicked`] it may have been. `None`: nothing was tried, because others have a head.
    async fn attempt(
        &mut self,
        batch: &mut [Pending],
        mut locking: Locking,
    ) -> Result<Option<Vec<Option<Outcome>>>, StatementError> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.client.is_closed() => connection,
            _ => connect(&self.database).await?,
        };
        if mem::take(&mut connection.in_turn) {
            locking = Locking::WaitInTurn;
        }
        let run = transact(
            &connection,
            batch,
            self.shards,
            &self.clock,
            locking,
            &self.work_left,
        );
        let run = AssertUnwindSafe(run).catch_unwind();
        let result = match timeout(ATTEMPT_TIMEOUT, run).await {
            Ok(Ok(result)) => result,
            // Its connection goes, and with it what was not committed. What was is found when it is run again.
            Ok(Err(_)) => return Err(StatementError::Panicked),
            Err(_) => {
                self.database.give_up(connection.client);
                return Err(StatementError::Late);
            }
        };
        if !matches!(result, Err(StatementError::Lost(_))) {
            self.connection = Some(connection);
        }
        result
    }
}

async fn transact(
    connection: &Connection,
    batch: &mut [Pending],
    shards: u16,
    clock: &ClockCheck,
    locking: Locking,
    work_left: &Notify,
) -> Result<Option<Vec<Option<Outcome>>>, StatementError> {
    let Connection {
        client, statements, ..
    } = connection;
    match decide(connection, batch, shards, clock, locking).await {
        Ok(Some(settled)) => {
            // Ends the transaction, one way or the other.
            append(client, statements, &settled.append).await?;
            if !settled.append.outbox.is_empty() {
                work_left.notify_one();
            }
            Ok(Some(settled.outcomes))
        }
        Ok(None) => {
            client.batch_execute("rollback").await?;
            Ok(None)
        }
        Err(error) => {
            client.batch_execute("rollback").await?;
            Err(error)
        }
    }
}

/// Round trip (a), and everything up to (b).
async fn decide(
    connection: &Connection,
    batch: &mut [Pending],
    shards: u16,
    clock: &ClockCheck,
    locking: Locking,
) -> Result<Option<Settled>, StatementError> {
    let plan = plan::plan(batch.iter().map(|pending| &pending.planned), shards);
    let Connection {
        client, statements, ..
    } = connection;
    let Some(loaded) = load(client, statements, &plan, locking).await? else {
        return Ok(None);
    };
    // Read now, and not before the locks were waited for: nothing can come between the comparison and the decision.
    let now = clock
        .agreed(loaded.at_database)
        .map_err(StatementError::Clock)?;
    let mut units: Vec<&mut Planned> = batch
        .iter_mut()
        .map(|pending| &mut pending.planned)
        .collect();
    batch::settle(&mut units, &plan, loaded, now).map(Some)
}

fn answer(batch: Vec<Pending>, outcomes: Vec<Option<Outcome>>) -> Vec<Pending> {
    let mut again = Vec::new();
    for (pending, outcome) in batch.into_iter().zip(outcomes) {
        match outcome {
            // Whoever asked may be gone; what was committed stays.
            Some(outcome) => {
                let _ = pending.reply.send(Ok(outcome));
            }
            None if pending.planned.rounds < ROUNDS => again.push(pending),
            None => {
                let reason = "needs more than any command has".to_owned();
                let _ = pending.reply.send(Err(StoreError::Failed(reason)));
            }
        }
    }
    again
}

/// Nothing is decided by a wrong clock. The log says so once, not for each batch.
fn refuse(batch: Vec<Pending>, off: ClockOff) -> Vec<Pending> {
    for pending in batch {
        let _ = pending.reply.send(Err(StoreError::ClockOff(off)));
    }
    vec![]
}

fn take_batch(waiting: &mut VecDeque<Pending>) -> Vec<Pending> {
    let mut bytes = 0;
    let mut batch = Vec::with_capacity(waiting.len().min(BATCH_UNITS));
    while let Some(next) = waiting.front() {
        bytes += body_bytes(&next.planned.unit);
        let full = batch.len() == BATCH_UNITS || (bytes > BATCH_BYTES && !batch.is_empty());
        if full {
            break;
        }
        batch.extend(waiting.pop_front());
    }
    batch
}

pub(super) fn body_bytes(unit: &Unit) -> usize {
    match &unit.origin {
        Origin::Delivery(delivered) => delivered.body.len(),
        Origin::Retry(_)
        | Origin::Request(_)
        | Origin::Session { .. }
        | Origin::Backend { .. }
        | Origin::Operator(_)
        | Origin::System => 0,
    }
}

/// Connects as the service's role and prepares everything, in few round trips.
///
/// A paused or cut-off instance must not hold a shard: the server ends a session that idles in a transaction, and
/// gives up on one that does not answer. There is no statement time-out: it could cut a commit whose outcome would
/// then not be known.
pub(super) async fn connect(database: &Database) -> Result<Connection, StatementError> {
    let options = ConnectOptions {
        application_name: "credit-ledger lane".to_owned(),
        // Of each lock; longer than two sessions of such an instance, one behind the other, may idle. All that an
        // attempt waits for is bounded by `ATTEMPT_TIMEOUT`.
        lock_timeout: Some(Duration::from_secs(7)),
        idle_in_transaction_session_timeout: Some(Duration::from_secs(3)),
        ..ConnectOptions::default()
    };
    let prepare = async {
        let (client, driving) = database
            .connect_undriven(Role::App, &options)
            .await
            .map_err(|error| StatementError::Busy(error_chain(&error)))?;
        // Which looks up the session's own types.
        let statements = driving.beside(Statements::prepare(&client)).await?;
        Ok(Connection {
            client,
            statements,
            in_turn: false,
        })
    };
    let result = timeout(CONNECT_TIMEOUT, prepare).await;
    result.unwrap_or_else(|_| Err(StatementError::Busy("no answer in time".to_owned())))
}
