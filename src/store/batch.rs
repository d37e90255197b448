//! A batch in memory: what it must lock and read, and what follows once that is known.
//!
//! Units are decided one after another, each on the result of the one before, so a hot user is no brake. Nothing
//! here does I/O; [`settle`] is a function of the units, what was loaded, and the time.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::append::{Append, EndRow, EventRow, InboxRow, StreamRow};
use super::chain::{self, Link};
use super::home::{self, Shard};
use super::load::{Head, Loaded};
use super::statements::StatementError;
use super::unit::{Delivered, Origin, Outcome, Unit, Work};
use crate::ledger::event::EVENT_VERSION;
use crate::ledger::{
    self, Emitted, Event, Purchase, PurchaseId, Rejection, Source, States, StreamId, User, UserId,
};

/// A unit on its way, with what earlier rounds learned that it needs.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) unit: Unit,
    /// Streams that reading showed to be needed.
    more: Vec<StreamId>,
    /// Homes that reading showed to be elsewhere than supposed.
    homes: HashMap<PurchaseId, Shard>,
    /// How often it left a batch.
    pub(super) rounds: u8,
}

impl Planned {
    pub(super) fn new(unit: Unit) -> Self {
        Self {
            unit,
            more: Vec::new(),
            homes: HashMap::new(),
            rounds: 0,
        }
    }

    /// The streams it needs and the shards they should live in.
    pub(super) fn streams(&self, shards: u16) -> Vec<(StreamId, Shard)> {
        let Work::Apply(command) = &self.unit.work else {
            return vec![];
        };
        let streams = command.streams();
        let user_home = streams.iter().find_map(|stream| match stream {
            StreamId::User(id) => Some(home::of_user(id, shards)),
            StreamId::Purchase(_) => None,
        });
        let supposed = |stream: StreamId| {
            let shard = match &stream {
                StreamId::User(id) => home::of_user(id, shards),
                StreamId::Purchase(id) => self
                    .homes
                    .get(id)
                    .copied()
                    .or(user_home)
                    .unwrap_or_else(|| home::of_unclaimed(id, shards)),
            };
            (stream, shard)
        };
        streams
            .into_iter()
            .chain(self.more.iter().cloned())
            .map(supposed)
            .collect()
    }
}

/// What a batch locks and reads.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) shards: BTreeSet<Shard>,
    pub(super) streams: BTreeSet<StreamId>,
    pub(super) inbox: BTreeSet<(String, String)>,
    supposed: HashMap<StreamId, Shard>,
}

/// Plans a batch. A purchase that two units suppose in different shards belongs to the first.
pub(super) fn plan<'a>(units: impl Iterator<Item = &'a Planned>, shards: u16) -> Plan {
    let mut plan = Plan::default();
    for planned in units {
        for (stream, shard) in planned.streams(shards) {
            plan.shards.insert(shard);
            plan.supposed.entry(stream.clone()).or_insert(shard);
            plan.streams.insert(stream);
        }
        if let Origin::Delivery(delivered) = &planned.unit.origin {
            plan.inbox.insert(inbox_key(delivered));
        }
    }
    plan
}

fn inbox_key(delivered: &Delivered) -> (String, String) {
    (delivered.source.as_str().to_owned(), delivered.key.clone())
}

/// What a batch comes to.
pub(super) struct Settled {
    /// What to write.
    pub(super) append: Append,
    /// For each unit its outcome, true once the writes are committed; or `None`: it must be planned again, with
    /// what it now knows.
    pub(super) outcomes: Vec<Option<Outcome>>,
}

/// Decides every unit of a batch.
pub(super) fn settle(
    units: &mut [&mut Planned],
    plan: &Plan,
    loaded: Loaded,
    now: DateTime<Utc>,
) -> Result<Settled, StatementError> {
    let mut working = Working::new(plan, loaded, now)?;
    let mut outcomes = Vec::with_capacity(units.len());
    for planned in units {
        outcomes.push(working.settle_one(planned)?);
    }
    Ok(Settled {
        append: working.into_append()?,
        outcomes,
    })
}

struct Slot<S> {
    shard: Shard,
    version: i64,
    state: S,
    changed: bool,
}

/// The streams of a batch while it is decided.
struct Working {
    users: HashMap<UserId, Slot<User>>,
    purchases: HashMap<PurchaseId, Slot<Purchase>>,
    heads: HashMap<Shard, Head>,
    moved: HashSet<Shard>,
    homes: HashMap<PurchaseId, Shard>,
    stored: HashSet<(String, String)>,
    now: DateTime<Utc>,
    append: Append,
}

impl States for Working {
    fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id).map(|slot| &slot.state)
    }
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase> {
        self.purchases.get(id).map(|slot| &slot.state)
    }
}

impl Working {
    fn new(plan: &Plan, loaded: Loaded, now: DateTime<Utc>) -> Result<Self, StatementError> {
        let mut working = Self {
            users: HashMap::new(),
            purchases: HashMap::new(),
            heads: loaded.heads,
            moved: HashSet::new(),
            homes: loaded.homes,
            stored: loaded.inbox,
            now,
            append: Append::default(),
        };
        let mut streams = loaded.streams;
        for (stream, supposed) in &plan.supposed {
            let shard = match stream {
                StreamId::Purchase(id) => working.homes.get(id).copied().unwrap_or(*supposed),
                StreamId::User(_) => *supposed,
            };
            if !working.heads.contains_key(&shard) {
                continue; // Lives in a shard that is not locked: whoever needs it is planned again.
            }
            let stored = streams.remove(&(stream.clone(), shard));
            match stream {
                StreamId::User(id) => {
                    working.users.insert(id.clone(), Slot::read(shard, stored)?);
                }
                StreamId::Purchase(id) => {
                    working
                        .purchases
                        .insert(id.clone(), Slot::read(shard, stored)?);
                }
            }
        }
        Ok(working)
    }

    fn settle_one(&mut self, planned: &mut Planned) -> Result<Option<Outcome>, StatementError> {
        if let Origin::Delivery(delivered) = &planned.unit.origin
            && !self.stored.insert(inbox_key(delivered))
        {
            self.append.count_delivery(delivered);
            return Ok(Some(Outcome::Duplicate));
        }
        let outcome = match &planned.unit.work {
            Work::Ignore { reason } => self.keep(&planned.unit, Outcome::Ignored, Some(reason)),
            Work::Park { reason } => self.keep(&planned.unit, Outcome::Parked, Some(reason)),
            Work::Apply(command) => match ledger::decide(command, self) {
                Ok(emitted) if emitted.is_empty() => {
                    self.keep(&planned.unit, Outcome::Duplicate, None)
                }
                Ok(emitted) => self.record(&planned.unit, emitted)?,
                Err(Rejection::Refused(error)) => self.refuse(&planned.unit, error),
                Err(Rejection::Needs(stream)) => {
                    if let Origin::Delivery(delivered) = &planned.unit.origin {
                        self.stored.remove(&inbox_key(delivered));
                    }
                    self.learn(planned, stream);
                    return Ok(None);
                }
            },
        };
        Ok(Some(outcome))
    }

    /// Tells a unit what it needs beyond what it knew.
    fn learn(&self, planned: &mut Planned, stream: StreamId) {
        planned.rounds = planned.rounds.saturating_add(1);
        if let StreamId::Purchase(id) = &stream
            && let Some(shard) = self.homes.get(id)
        {
            planned.homes.insert(id.clone(), *shard);
            return;
        }
        if !planned.more.contains(&stream) {
            planned.more.push(stream);
        }
    }

    fn refuse(&mut self, unit: &Unit, error: ledger::LedgerError) -> Outcome {
        match &unit.origin {
            // A fact that a rule refuses is not lost: it waits with its reason.
            Origin::Delivery(_) => self.keep(unit, Outcome::Parked, Some(&error.to_string())),
            Origin::Session { .. } => Outcome::Refused(error),
        }
    }

    fn record(&mut self, unit: &Unit, emitted: Vec<Emitted>) -> Result<Outcome, StatementError> {
        let first = self.append.events.len();
        let caused = Caused::by(&unit.origin);
        for one in emitted {
            self.push(one, &caused)?;
        }
        let led_to = self.append.events[first..]
            .iter()
            .map(|event| (event.shard, event.position))
            .collect();
        if let Origin::Delivery(delivered) = &unit.origin {
            self.append.inbox.push(InboxRow {
                delivered: delivered.clone(),
                outcome: "recorded",
                reason: None,
                led_to,
            });
        }
        Ok(Outcome::Recorded)
    }

    fn keep(&mut self, unit: &Unit, outcome: Outcome, reason: Option<&str>) -> Outcome {
        if let Origin::Delivery(delivered) = &unit.origin {
            self.append.inbox.push(InboxRow {
                delivered: delivered.clone(),
                outcome: match outcome {
                    Outcome::Ignored => "ignored",
                    Outcome::Parked => "parked",
                    Outcome::Duplicate | Outcome::Recorded | Outcome::Refused(_) => "duplicate",
                },
                reason: reason.map(str::to_owned),
                led_to: vec![],
            });
        }
        outcome
    }

    /// Gives an event its places in stream and shard and its hash, and lets the state follow.
    fn push(&mut self, emitted: Emitted, caused: &Caused) -> Result<(), StatementError> {
        let (shard, sequence) = match (&emitted.stream, &emitted.event) {
            (StreamId::User(id), Event::User(event)) => {
                let slot = self.users.get_mut(id).ok_or_else(not_loaded)?;
                slot.state.evolve(event);
                slot.next()
            }
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                let slot = self.purchases.get_mut(id).ok_or_else(not_loaded)?;
                slot.state.evolve(event);
                let (shard, sequence) = slot.next();
                if sequence == 1 {
                    self.append.homes.push((id.clone(), shard));
                }
                (shard, sequence)
            }
            _ => return Err(not_loaded()),
        };
        let head = self.heads.get_mut(&shard).ok_or_else(not_loaded)?;
        // A clock that jumps back does not take the shard's history with it.
        head.recorded_at = head.recorded_at.max(self.now);
        head.position += 1;
        let payload = serde_json::to_string(&emitted.event).map_err(unwritable)?;
        let event_type = emitted.event.type_name();
        head.hash = chain::link(
            &head.hash,
            &Link {
                shard,
                position: head.position,
                aggregate_type: emitted.stream.aggregate_type(),
                aggregate_id: emitted.stream.aggregate_id(),
                sequence,
                event_type,
                event_version: EVENT_VERSION,
                payload: &payload,
                metadata: &caused.metadata,
                source: caused.source,
                provider_event_id: caused.provider_event_id.as_deref(),
                recorded_at: head.recorded_at,
            },
        );
        self.moved.insert(shard);
        self.append.events.push(EventRow {
            stream: emitted.stream,
            sequence,
            event_type,
            payload,
            metadata: caused.metadata.clone(),
            shard,
            position: head.position,
            recorded_at: head.recorded_at,
            source: caused.source,
            provider_event_id: caused.provider_event_id.clone(),
            hash: head.hash,
            personal: emitted.personal,
        });
        Ok(())
    }

    fn into_append(mut self) -> Result<Append, StatementError> {
        for (id, slot) in self.users {
            slot.write(StreamId::User(id), &mut self.append.streams)?;
        }
        for (id, slot) in self.purchases {
            slot.write(StreamId::Purchase(id), &mut self.append.streams)?;
        }
        for shard in self.moved {
            if let Some(head) = self.heads.remove(&shard) {
                self.append.ends.push(EndRow { shard, head });
            }
        }
        self.append.sort();
        Ok(self.append)
    }
}

impl<S: serde::Serialize + serde::de::DeserializeOwned + Default> Slot<S> {
    fn read(shard: Shard, stored: Option<super::load::Stored>) -> Result<Self, StatementError> {
        let (version, state) = match stored {
            None => (0, S::default()),
            Some(stored) => (
                stored.version,
                serde_json::from_str(&stored.state).map_err(unwritable)?,
            ),
        };
        Ok(Self {
            shard,
            version,
            state,
            changed: false,
        })
    }

    fn next(&mut self) -> (Shard, i64) {
        self.version += 1;
        self.changed = true;
        (self.shard, self.version)
    }

    fn write(self, stream: StreamId, rows: &mut Vec<StreamRow>) -> Result<(), StatementError> {
        if self.changed {
            rows.push(StreamRow {
                stream,
                shard: self.shard,
                version: self.version,
                state: serde_json::to_string(&self.state).map_err(unwritable)?,
            });
        }
        Ok(())
    }
}

/// What every event of a unit says of its cause.
struct Caused {
    source: &'static str,
    provider_event_id: Option<String>,
    metadata: String,
}

impl Caused {
    fn by(origin: &Origin) -> Self {
        match origin {
            Origin::Delivery(delivered) => Self {
                source: delivered.source.as_str(),
                provider_event_id: Some(delivered.provider_event_id.clone()),
                metadata: serde_json::json!({ "inbox": delivered.key }).to_string(),
            },
            Origin::Session { user_id } => Self {
                source: Source::Api.as_str(),
                provider_event_id: None,
                metadata: serde_json::json!({ "session": user_id }).to_string(),
            },
        }
    }
}

fn not_loaded() -> StatementError {
    StatementError::Data(
        "batch".to_owned(),
        "an event for a stream that was not read".to_owned(),
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn unwritable(error: serde_json::Error) -> StatementError {
    StatementError::Data("json".to_owned(), error.to_string())
}
