//! What a batch must lock and read, before anything is known; and what a unit learns when that was not enough.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::home::{self, Shard};
use super::rows::WantedRows;
use super::unit::{Delivered, Origin, Request, Retry, Unit, Work};
use crate::ledger::lots::Wanted;
use crate::ledger::{Place, PurchaseId, StreamId, UserId};

/// How much further than asked for is looked for what ends: the next round is a moment later.
const DUE_MARGIN_S: i64 = 60;

/// A unit on its way, with what earlier rounds learned that it needs.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) unit: Unit,
    /// Of a delivery: the digest of what proves it genuine. Made before it queues, so that no lane is held up by it.
    pub(super) evidence: Option<String>,
    /// Streams that reading showed to be needed.
    more: Vec<StreamId>,
    /// Homes that reading showed to be elsewhere than supposed.
    homes: HashMap<PurchaseId, Shard>,
    /// Rows of users that deciding showed to be needed.
    rows: WantedRows,
    /// How often it left a batch.
    pub(super) rounds: u8,
}

impl Planned {
    pub(super) fn new(unit: Unit) -> Self {
        let evidence = match &unit.origin {
            Origin::Delivery(delivered) => Some(delivered.evidence()),
            // Was made when it was read.
            Origin::Retry(_)
            | Origin::Request(_)
            | Origin::Session { .. }
            | Origin::Backend { .. }
            | Origin::Operator(_)
            | Origin::System => None,
        };
        Self {
            unit,
            evidence,
            more: Vec::new(),
            homes: HashMap::new(),
            rows: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Takes in that it needs this stream, too, or that this purchase lives elsewhere than supposed.
    pub(super) fn learn(&mut self, stream: StreamId, home: Option<Shard>) {
        self.rounds = self.rounds.saturating_add(1);
        if let (StreamId::Purchase(id), Some(shard)) = (&stream, home) {
            self.homes.insert(id.clone(), shard);
        } else if !self.more.contains(&stream) {
            self.more.push(stream);
        }
    }

    /// Takes in that it needs these rows of users, too.
    pub(super) fn learn_rows(&mut self, needed: Vec<(UserId, Wanted)>) {
        self.rounds = self.rounds.saturating_add(1);
        for (user, mut wanted) in needed {
            wanted.due_until_s = wanted.due_until_s.map(|until_s| until_s + DUE_MARGIN_S);
            self.rows.entry(user).or_default().add(&wanted);
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
    /// Stored deliveries that are tried again.
    pub(super) retried: BTreeSet<(String, String)>,
    pub(super) requests: BTreeSet<(String, String)>,
    /// Rows of users.
    pub(super) rows: WantedRows,
    /// Holds and spends of which it must be known whether they are settled.
    pub(super) settlements: BTreeSet<Place>,
    /// Where each stream should live.
    pub(super) supposed: HashMap<StreamId, Shard>,
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
        for (user, wanted) in &planned.rows {
            plan.rows.entry(user.clone()).or_default().add(wanted);
        }
        if let Work::Apply(command) = &planned.unit.work {
            plan.settlements.extend(command.settlements());
        }
        match &planned.unit.origin {
            Origin::Delivery(delivered) => {
                plan.inbox.insert(inbox_key(delivered));
            }
            Origin::Request(request) => {
                plan.requests.extend(request_key(request));
            }
            Origin::Retry(retry) => {
                plan.retried.insert(retry_key(retry));
            }
            Origin::Session { .. }
            | Origin::Backend { .. }
            | Origin::Operator(_)
            | Origin::System => {}
        }
    }
    plan
}

/// What the inbox knows a delivery by.
pub(super) fn inbox_key(delivered: &Delivered) -> (String, String) {
    (delivered.source.as_str().to_owned(), delivered.key.clone())
}

/// What the inbox knows a delivery by that is tried again.
pub(super) fn retry_key(retry: &Retry) -> (String, String) {
    (retry.source.as_str().to_owned(), retry.key.clone())
}

/// What `requests` knows a request by, if its answer is kept.
pub(super) fn request_key(request: &Request) -> Option<(String, String)> {
    let key = request.idempotency_key.clone();
    key.map(|key| (request.principal.clone(), key))
}
