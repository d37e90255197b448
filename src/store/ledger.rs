//! The queue in front of the lanes: what the rest of the program calls.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::clock::ClockCheck;
use super::health::Health;
use super::home;
use super::lane::{self, BATCH_UNITS, Lane, Pending};
use super::plan::Planned;
use super::turn::{Company, Turns};
use super::unit::{Origin, Outcome, StoreError, Unit};
use crate::postgres::{ConnectOptions, Database, Role};

/// How many bytes of bodies may wait in front of each lane, however few deliveries that is, whether or not somebody
/// still waits for the answer. What requests hold themselves is bounded where they are read.
const QUEUE_BYTES: usize = 32 * 1024 * 1024;

/// How the lanes are laid out.
#[derive(Debug, Clone, Copy)]
pub struct LedgerSettings {
    /// Lanes of this instance, 1 to 16: connections that commit side by side.
    pub lanes: usize,
    /// How many units may wait in front of each lane before more are refused.
    pub queue: usize,
    /// How far this instance's clock and the database's may differ: beyond it nothing is decided. `None`: they are not
    /// compared, for tests that move clocks.
    pub clocks_differ_max: Option<Duration>,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            lanes: 2,
            queue: 1024,
            // Far more than clocks that are looked after, and a tenth of what providers' signatures allow.
            clocks_differ_max: Some(Duration::from_secs(30)),
        }
    }
}

/// The log, as the rest of the program sees it: hand in a unit, get what became of it.
pub struct Ledger {
    lanes: Vec<Queue>,
    shards: u16,
    health: Arc<Health>,
    clock: Arc<ClockCheck>,
    work_left: Arc<Notify>,
    company: Company,
}

/// What waits in front of a lane. Of the units the last quarter is kept for deliveries: what others ask for may come again
/// when they want it, what a provider says must not be late.
struct Queue {
    units: mpsc::Sender<Pending>,
    /// The bytes that may still come.
    room: Arc<Semaphore>,
}

impl Queue {
    fn put(
        &self,
        planned: Planned,
        reply: oneshot::Sender<Result<Outcome, StoreError>>,
    ) -> Result<(), StoreError> {
        let most = self.units.max_capacity();
        let is_delivery = matches!(planned.unit.origin, Origin::Delivery(_));
        if !is_delivery && self.waiting() >= most - most / 4 {
            return Err(StoreError::Overloaded);
        }
        let bytes = u32::try_from(lane::body_bytes(&planned.unit)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| StoreError::Overloaded)?;
        let pending = Pending {
            planned,
            reply,
            room,
        };
        self.units.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => StoreError::Stopping,
        })
    }

    fn waiting(&self) -> usize {
        self.units.max_capacity() - self.units.capacity()
    }

    fn is_full(&self) -> bool {
        self.units.capacity() == 0
    }

    /// Whether more waits than the next batch takes.
    fn is_behind(&self) -> bool {
        self.waiting() >= BATCH_UNITS.min(self.units.max_capacity() / 2).max(1)
    }
}

impl Ledger {
    /// Opens the lanes. They end, after finishing what was accepted, when the `Ledger` is dropped; the returned
    /// handles say when that is.
    ///
    /// # Errors
    /// [`StoreError`] when the database does not answer or was made by another program.
    pub async fn start(
        database: &Database,
        settings: LedgerSettings,
        clock: Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StoreError> {
        let shards = read_shards(database).await?;
        let clock = Arc::new(ClockCheck::new(clock, settings.clocks_differ_max));
        let health = Arc::new(Health::new());
        let work_left = Arc::new(Notify::new());
        let company = Company::default();
        let mut lanes = Vec::new();
        let mut ended = Vec::new();
        let connecting = (0..settings.lanes.clamp(1, 16)).map(|_| lane::connect(database));
        for (number, connected) in join_all(connecting).await.into_iter().enumerate() {
            let (sender, queue) = mpsc::channel(settings.queue.max(1));
            let lane = Lane {
                number: i32::try_from(number).unwrap_or(0),
                turns: Turns::of(company.clone()),
                queue,
                database: database.clone(),
                shards,
                clock: Arc::clone(&clock),
                connection: connected.ok(),
                health: Arc::clone(&health),
                work_left: Arc::clone(&work_left),
            };
            lanes.push(Queue {
                units: sender,
                room: Arc::new(Semaphore::new(QUEUE_BYTES)),
            });
            ended.push(tokio::spawn(lane.run()));
        }
        let ledger = Self {
            lanes,
            shards,
            health,
            clock,
            work_left,
            company,
        };
        Ok((ledger, ended))
    }

    /// Commits a unit, together with whatever else is waiting, and says what became of it. Dropping the future
    /// does not undo the unit.
    ///
    /// # Errors
    /// [`StoreError`]: not committed, or not known to be. The same unit may be handed in again at any time.
    pub async fn execute(&self, unit: Unit) -> Result<Outcome, StoreError> {
        let planned = Planned::new(unit);
        let lane = self.lane_of(&planned);
        let (reply, answer) = oneshot::channel();
        self.lanes[lane].put(planned, reply)?;
        answer.await.unwrap_or(Err(StoreError::Stopping))
    }

    /// Whether a unit was told, no longer ago than this, that the database is not available, and none was committed
    /// since.
    pub fn gave_up_within(&self, window: Duration) -> bool {
        self.health.gave_up_within(window)
    }

    /// Whether no lane takes any more: then whatever comes can be refused before it is looked at.
    pub fn is_full(&self) -> bool {
        self.lanes_in_use().iter().all(Queue::is_full)
    }

    /// Whether more waits for a lane than it commits at once.
    pub fn is_behind(&self) -> bool {
        self.lanes_in_use().iter().any(Queue::is_behind)
    }

    fn lanes_in_use(&self) -> &[Queue] {
        let used = if self.company.is_there() {
            1
        } else {
            self.lanes.len()
        };
        &self.lanes[..used]
    }

    /// This instance's clock, as compared with the database's.
    pub const fn clock(&self) -> &Arc<ClockCheck> {
        &self.clock
    }

    /// Waits until a batch of this instance left work behind ([`Backlog`](super::Backlog)), at once if one did since the
    /// last call.
    pub async fn work_left(&self) {
        self.work_left.notified().await;
    }

    /// A lane serves some shards, so that two lanes of an instance seldom wait for each other. What touches no
    /// shard goes where its twins go. With other instances on the database, all of them are the first lane's.
    fn lane_of(&self, planned: &Planned) -> usize {
        if self.company.is_there() {
            return 0;
        }
        let shards = planned.streams(self.shards).into_iter();
        let first = shards
            .map(|(_, shard)| usize::try_from(shard).unwrap_or(0))
            .min();
        let number = first.unwrap_or_else(|| match &planned.unit.origin {
            Origin::Delivery(delivered) => usize::from(delivered.body_sha256[0]),
            Origin::Retry(_)
            | Origin::Request(_)
            | Origin::Session { .. }
            | Origin::Backend { .. }
            | Origin::Operator(_)
            | Origin::System => 0,
        });
        number % self.lanes.len()
    }
}

async fn read_shards(database: &Database) -> Result<u16, StoreError> {
    let unavailable = |error: &dyn std::fmt::Display| StoreError::Unavailable(error.to_string());
    let client = database
        .connect(Role::App, &ConnectOptions::default())
        .await
        .map_err(|error| unavailable(&error))?;
    let row = client
        .query_one(include_str!("sql/select_ledger.sql"), &[])
        .await
        .map_err(|error| unavailable(&error))?;
    let (shards, home_function): (i16, i16) = (row.get("shards"), row.get("home_function"));
    if home_function != home::HOME_FUNCTION {
        let reason = format!("this database routes by rule {home_function}, this program by 1");
        return Err(StoreError::Failed(reason));
    }
    if !row.get::<_, bool>("may_make_types") {
        let reason = "grant the right TEMPORARY on this database to the role credit_ledger_app: sessions of the service \
                      make types and functions of their own";
        return Err(StoreError::Failed(reason.to_owned()));
    }
    u16::try_from(shards).map_err(|error| StoreError::Failed(error.to_string()))
}
