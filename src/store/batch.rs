//! A batch in memory: what follows from its units once everything is known that they decide on.
//!
//! Units are decided one after another, each on the result of the one before, so a hot user is no brake. Nothing
//! here does I/O; [`settle`] is a function of the units, what was loaded, and the time.

mod erasing;
mod outbox;
mod slot;

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use credit_ledger_verify::chain::{self, Link};

use super::append::{Append, EndRow, EventRow, InboxRow, RequestRow, RetriedRow};
use super::backoff;
use super::cause::Caused;
use super::fate::{Fate, PARKED, Why};
use super::home::Shard;
use super::load::{Answered, Head, Loaded, Tried};
use super::plan::{Plan, Planned, inbox_key, request_key, retry_key};
use super::statements::StatementError;
use super::unit::{Answer, Came, Origin, Outcome, Recorded, Request, Unit, Work};
use crate::ledger::event::{EVENT_VERSION, UserEvent};
use crate::ledger::{
    self, Account, Command, Emitted, Event, LedgerError, Place, Purchase, PurchaseId, Rejection,
    Settlement, States, StreamId, User, UserId,
};
use slot::Slot;

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

/// The streams of a batch while it is decided.
struct Working {
    users: HashMap<UserId, Slot<User>>,
    purchases: HashMap<PurchaseId, Slot<Purchase>>,
    heads: HashMap<Shard, Head>,
    moved: HashSet<Shard>,
    homes: HashMap<PurchaseId, Shard>,
    stored: HashSet<(String, String)>,
    retried: HashMap<(String, String), Tried>,
    answered: HashMap<(String, String), Answered>,
    settlements: HashMap<Place, Settlement>,
    /// Whether personal data of any stream here is not kept any more: seldom, so seldom are the streams looked at for it.
    anyone_erased: bool,
    now: DateTime<Utc>,
    /// When it is in the history: never before the end of a shard of this batch, so that in each stream what is decided
    /// later is also recorded later, whatever the clocks of instances say.
    at: DateTime<Utc>,
    append: Append,
}

impl States for Working {
    fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id).map(|slot| &slot.state)
    }
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase> {
        self.purchases.get(id).map(|slot| &slot.state)
    }
    fn settlement(&self, of: Place) -> Option<Settlement> {
        self.settlements.get(&of).copied()
    }
    fn at_s(&self) -> i64 {
        self.at.timestamp()
    }
}

impl Working {
    fn new(plan: &Plan, loaded: Loaded, now: DateTime<Utc>) -> Result<Self, StatementError> {
        let ends = loaded.heads.values().map(|head| head.recorded_at);
        let at = ends.chain([now]).max().unwrap_or(now);
        let mut working = Self {
            users: HashMap::new(),
            purchases: HashMap::new(),
            heads: loaded.heads,
            moved: HashSet::new(),
            homes: loaded.homes,
            stored: loaded.inbox,
            retried: loaded.retried,
            answered: loaded.requests,
            settlements: loaded.settlements,
            anyone_erased: false,
            now,
            at,
            append: Append {
                now,
                ..Append::default()
            },
        };
        let mut streams = loaded.streams;
        let mut rows = loaded.rows;
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
                    let mut slot: Slot<User> = Slot::read(shard, stored)?;
                    if let (Some(wanted), Some(read)) = (plan.rows.get(id), rows.remove(id)) {
                        slot.state.take_in(wanted, read);
                        // What was read may say that nothing happens as soon as was feared.
                        slot.changed = slot.version > 0;
                    }
                    working.anyone_erased |= slot.state.erasure_requested;
                    working.users.insert(id.clone(), slot);
                }
                StreamId::Purchase(id) => {
                    let slot: Slot<Purchase> = Slot::read(shard, stored)?;
                    working.anyone_erased |= slot.state.payer_erased;
                    working.purchases.insert(id.clone(), slot);
                }
            }
        }
        Ok(working)
    }

    /// `None`: the unit needs more than was locked, and now knows what.
    fn settle_one(&mut self, planned: &mut Planned) -> Result<Option<Outcome>, StatementError> {
        if let Some(outcome) = self.known(&planned.unit.origin)? {
            return Ok(Some(outcome));
        }
        let unit = &planned.unit;
        let outcome = match &unit.work {
            Work::Ignore { reason } => self.keep(unit, Outcome::Ignored, Why::reason(reason)),
            Work::Park { reason, waits_for } => {
                let why = Why {
                    waits_for: waits_for.clone(),
                    ..Why::reason(reason)
                };
                self.keep(unit, Outcome::Parked, why)
            }
            Work::Apply(command) => match ledger::decide(command, self) {
                Ok(emitted) => {
                    let evidence = planned.evidence.as_deref();
                    self.record(unit, evidence, command, emitted)?
                }
                Err(Rejection::Refused(error)) => self.refuse(unit, command, error),
                Err(Rejection::NeedsRows(needed)) => {
                    planned.learn_rows(needed);
                    return Ok(None);
                }
                Err(Rejection::Needs(stream)) => {
                    let home = match &stream {
                        StreamId::Purchase(id) => self.homes.get(id).copied(),
                        StreamId::User(_) => None,
                    };
                    planned.learn(stream, home);
                    return Ok(None);
                }
            },
        };
        Ok(Some(outcome))
    }

    /// What became of the same delivery or request before, in the database or earlier in this batch.
    fn known(&mut self, origin: &Origin) -> Result<Option<Outcome>, StatementError> {
        Ok(match origin {
            Origin::Delivery(delivered) => self.stored.contains(&inbox_key(delivered)).then(|| {
                self.append.count_delivery(delivered);
                Outcome::Duplicate
            }),
            Origin::Retry(retry) => {
                let tried = self.retried.get(&retry_key(retry)).ok_or_else(not_stored)?;
                let waits = tried.outcome == PARKED && tried.attempts == retry.attempts;
                (!waits).then(|| tried.became())
            }
            Origin::Request(request) => request_key(request)
                .and_then(|key| self.answered.get(&key))
                .map(|answered| answered.to(request)),
            Origin::Session { .. }
            | Origin::Backend { .. }
            | Origin::Operator(_)
            | Origin::System => None,
        })
    }

    /// Appends what a command came to. No events: it added nothing to what was known.
    fn record(
        &mut self,
        unit: &Unit,
        evidence: Option<&str>,
        command: &Command,
        emitted: Vec<Emitted>,
    ) -> Result<Outcome, StatementError> {
        let mut recorded = Vec::with_capacity(emitted.len());
        if !emitted.is_empty() {
            let caused = Caused::by(&unit.origin, evidence)?;
            for one in emitted {
                recorded.push(self.push(one, &caused)?);
            }
        }
        if recorded.is_empty() {
            self.erase_again(command);
        }
        let why = Why {
            erases: self.concerns_erased(unit, command),
            ..Why::default()
        };
        let outcome = if recorded.is_empty() {
            Outcome::Duplicate
        } else {
            Outcome::Recorded
        };
        Ok(self.conclude(unit, outcome, why, &recorded))
    }

    fn refuse(&mut self, unit: &Unit, command: &Command, error: LedgerError) -> Outcome {
        match &unit.origin {
            // A fact that a rule refuses is not lost: it waits with its reason.
            Origin::Delivery(_) | Origin::Retry(_) => {
                let why = Why {
                    erases: self.concerns_erased(unit, command),
                    ..Why::reason(error.to_string())
                };
                self.keep(unit, Outcome::Parked, why)
            }
            Origin::Request(_)
            | Origin::Session { .. }
            | Origin::Backend { .. }
            | Origin::Operator(_)
            | Origin::System => self.keep(unit, Outcome::Refused(error), Why::default()),
        }
    }

    fn keep(&mut self, unit: &Unit, outcome: Outcome, why: Why) -> Outcome {
        self.conclude(unit, outcome, why, &[])
    }

    /// Writes down what became of a unit, where its origin has a place for that.
    fn conclude(
        &mut self,
        unit: &Unit,
        outcome: Outcome,
        why: Why,
        recorded: &[Recorded],
    ) -> Outcome {
        match &unit.origin {
            Origin::Delivery(delivered) => {
                self.stored.insert(inbox_key(delivered));
                let due = delivered.received_at + backoff::wait_after(1);
                self.append.inbox.push(InboxRow {
                    delivered: delivered.clone(),
                    fate: Fate::of(&outcome, why, due, recorded),
                });
                outcome
            }
            Origin::Retry(retry) => {
                let attempts = retry.attempts.saturating_add(1);
                let tried = self.retried.get(&retry_key(retry));
                let woken = tried
                    .and_then(|tried| tried.due_at)
                    .filter(|due| Some(*due) != retry.due_at);
                let due = woken.unwrap_or(self.now + backoff::wait_after(attempts));
                let fate = Fate::of(&outcome, why, due, recorded);
                let tried = Tried {
                    outcome: fate.outcome.to_owned(),
                    attempts,
                    due_at: fate.next_attempt_at,
                };
                self.retried.insert(retry_key(retry), tried);
                self.append.retried.push(RetriedRow {
                    retry: retry.clone(),
                    fate,
                });
                outcome
            }
            Origin::Request(request) => {
                let answer = self.answer(request, &outcome, recorded);
                if let Some(key) = request_key(request) {
                    let answered = Answered {
                        digest: request.digest.to_vec(),
                        fields: request.fields.clone(),
                        answer: answer.clone(),
                    };
                    self.answered.insert(key.clone(), answered);
                    self.append.requests.push(RequestRow {
                        key,
                        request: request.clone(),
                        answer: answer.clone(),
                        recorded_at: self.now,
                    });
                }
                Outcome::Answered { answer, hit: false }
            }
            Origin::Session { .. }
            | Origin::Backend { .. }
            | Origin::Operator(_)
            | Origin::System => outcome,
        }
    }

    /// Writes the answer to a request.
    fn answer(&self, request: &Request, outcome: &Outcome, recorded: &[Recorded]) -> Answer {
        let account = |id: &UserId| {
            let slot = self.users.get(id);
            slot.map_or_else(Account::default, |slot| slot.state.account)
        };
        (request.answer)(match outcome {
            Outcome::Refused(error) => Err(error),
            _ => Ok(Came {
                events: recorded,
                account: &account,
            }),
        })
    }

    /// Gives an event its places in stream and shard and its hash, and lets the state follow.
    fn push(&mut self, emitted: Emitted, caused: &Caused) -> Result<Recorded, StatementError> {
        let (shard, sequence) = match (&emitted.stream, &emitted.event) {
            (StreamId::User(id), Event::User(event)) => {
                let slot = self.users.get_mut(id).ok_or_else(not_loaded)?;
                slot.state.evolve(event);
                self.anyone_erased |= slot.state.erasure_requested;
                slot.next()
            }
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                let slot = self.purchases.get_mut(id).ok_or_else(not_loaded)?;
                slot.state.evolve(event);
                self.anyone_erased |= slot.state.payer_erased;
                slot.next()
            }
            _ => return Err(not_loaded()),
        };
        self.leave_work(&emitted, sequence);
        if emitted.event.erases() {
            let erased = (emitted.stream.clone(), sequence);
            self.append.erased.push(erased);
        }
        let head = self.heads.get_mut(&shard).ok_or_else(not_loaded)?;
        head.recorded_at = self.at;
        head.position += 1;
        let place = Place {
            shard,
            position: head.position,
        };
        let payload = serde_json::to_string(&emitted.event).map_err(unwritable)?;
        head.hash = chain::link(
            &head.hash,
            &Link {
                shard,
                position: head.position,
                aggregate_type: emitted.stream.aggregate_type(),
                aggregate_id: emitted.stream.aggregate_id(),
                sequence,
                event_type: emitted.event.type_name(),
                event_version: EVENT_VERSION,
                payload: &payload,
                metadata: &caused.metadata,
                source: caused.source,
                provider_event_id: caused.provider_event_id.as_deref(),
                recorded_at_us: head.recorded_at.timestamp_micros(),
            },
        );
        self.moved.insert(shard);
        if let Event::User(event) = &emitted.event {
            if let UserEvent::CreditsHeld(held) = event {
                let user_id = emitted.stream.aggregate_id().to_owned();
                let row = (place, user_id, held.times_out_at_s);
                self.append.holds.push(row);
            }
            if let Some((settled, settlement)) = event.settles() {
                self.settlements.insert(settled, settlement);
                self.append.settlements.push((settled, settlement));
            }
        }
        self.append.events.push(EventRow {
            stream: emitted.stream,
            sequence,
            event: emitted.event.clone(),
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
        Ok(Recorded {
            shard,
            position: head.position,
            event: emitted.event,
        })
    }

    fn into_append(mut self) -> Result<Append, StatementError> {
        for (id, mut slot) in self.users {
            if !slot.changed {
                continue;
            }
            let due_at_s = slot.state.due_at_s();
            let stored = slot.state.store_lots();
            let changed = stored.changed.into_iter();
            self.append
                .lots
                .extend(changed.map(|lot| (id.clone(), slot.shard, lot)));
            let gone = stored.gone.into_iter();
            self.append
                .lots_gone
                .extend(gone.map(|lot| (id.clone(), lot)));
            slot.write(StreamId::User(id), due_at_s, &mut self.append.streams)?;
        }
        for (id, slot) in self.purchases {
            slot.write(StreamId::Purchase(id), None, &mut self.append.streams)?;
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

impl Answered {
    /// What a request comes to whose key was used before.
    fn to(&self, request: &Request) -> Outcome {
        if self.digest.as_slice() == request.digest {
            return Outcome::Answered {
                answer: self.answer.clone(),
                hit: true,
            };
        }
        let names: BTreeSet<&String> = self.fields.keys().chain(request.fields.keys()).collect();
        let differs = |name: &&String| self.fields.get(*name) != request.fields.get(*name);
        Outcome::KeyReused {
            fields: names.into_iter().filter(differs).cloned().collect(),
        }
    }
}

fn not_stored() -> StatementError {
    StatementError::Data(
        "inbox".to_owned(),
        "a delivery to be tried again that is not stored".to_owned(),
    )
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
pub(super) fn unwritable(error: serde_json::Error) -> StatementError {
    StatementError::Data(
        "json".to_owned(),
        format!("column {} of a state or event", error.column()),
    )
}
