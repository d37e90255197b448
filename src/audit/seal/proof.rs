//! Proofs for auditors: that an event is in a seal, and that two seals are of one history.
//!
//! Each can be verified with [`credit_ledger_verify`] and the public key alone.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use credit_ledger_verify::Hash;
use credit_ledger_verify::merkle;
use credit_ledger_verify::record::{EndRecord, EventRecord, SealRecord};
use credit_ledger_verify::seal::event_leaf;
use deadpool_postgres::{GenericClient, Object, Pool};
use tokio::time::{Instant, timeout};

use super::numbers::Numbers;
use super::rows::{self, State, Stretch};
use super::{Changed, SealError, Sealer};
use crate::postgres::{Lent, in_time};

/// Seals as they are read.
#[derive(Clone)]
pub struct Seals {
    pool: Pool,
    proofs: Pool,
}

/// That an event is in a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inclusion {
    /// The seal.
    pub seal: SealRecord,
    /// Which leaf the event is in the tree of the seal's events, from 0.
    pub index: u64,
    /// What leads from the leaf to the seal's root.
    pub path: Vec<Hash>,
    /// What leads from the seal to its head, which is signed.
    pub seal_path: Vec<Hash>,
}

/// That the seals up to the first are the beginning of those up to the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consistency {
    /// The earlier one.
    pub first: SealRecord,
    /// The later one.
    pub second: SealRecord,
    /// The proof of RFC 9162, section 2.1.4.
    pub path: Vec<Hash>,
}

impl Seals {
    /// Reads through this pool, but for proofs of events: each reads and hashes up to [`EVENTS_MAX`](super::EVENTS_MAX) rows,
    /// so they have a small pool of their own, and nobody else waits for them.
    pub const fn new(pool: Pool, proofs: Pool) -> Self {
        Self { pool, proofs }
    }

    /// Seals before one, newest first.
    ///
    /// # Errors
    /// [`SealError`]. So for all of these.
    pub async fn before(&self, seal: i64, limit: i64) -> Result<Vec<SealRecord>, SealError> {
        let session = Lent::of(&self.pool).await?;
        let seals = in_time(&self.pool, rows::before(&*session, seal, limit)).await?;
        session.give_back();
        seals
    }

    /// The proof that an event is in a seal; none: it is in none yet.
    ///
    /// # Errors
    /// [`Changed`] when what is stored does not come to what was sealed.
    pub async fn inclusion(&self, event: &EventRecord) -> Result<Option<Inclusion>, SealError> {
        // Kept until the proof is made: so many are made at once.
        let session = Lent::of(&self.proofs).await?;
        let client = &*session;
        let Some(number) = rows::seal_of(client, event.shard, event.position).await? else {
            session.give_back();
            return Ok(None);
        };
        let leaves = Leaves::read(client, number).await?;
        let place = u64::try_from(number).map_err(|_| SealError::Unreadable)?;
        let ranges = merkle::inclusion(place - 1, place);
        let seal_path = rows::roots(client, &ranges).await?;

        // Too long for a thread that others wait for.
        let asked = event.clone();
        let proven = tokio::task::spawn_blocking(move || (leaves.prove(&asked), leaves.seal));
        let (proven, seal) = proven.await.map_err(|_| SealError::CutOff)?;
        let (_, index, size, path) = proven.ok_or(Changed::Seal(number))?;
        let leaf = event_leaf(&event.hash);
        session.give_back();
        if merkle::verify_inclusion(&leaf, index, size, &path, &seal.root) {
            Ok(Some(Inclusion {
                seal,
                index,
                path,
                seal_path,
            }))
        } else {
            Err(Changed::Event(event.shard, event.position).into())
        }
    }

    /// The proof that two seals are of one history; none: one of them is not there. `first` is not behind `second`.
    pub async fn consistency(
        &self,
        first: i64,
        second: i64,
    ) -> Result<Option<Consistency>, SealError> {
        let session = Lent::of(&self.pool).await?;
        let proof = in_time(&self.pool, consistency(&session, first, second)).await?;
        session.give_back();
        proof
    }

    async fn state(&self, witness: Option<&str>) -> Result<(State, i64), SealError> {
        let session = Lent::of(&self.pool).await?;
        let told = match witness {
            Some(name) => rows::told(&*session, name).await?,
            None => 0,
        };
        let state = rows::state(&*session).await?;
        session.give_back();
        Ok((state, told))
    }
}

async fn consistency(
    client: &Object,
    first: i64,
    second: i64,
) -> Result<Option<Consistency>, SealError> {
    let (first, second) = (
        rows::one(client, first).await?,
        rows::one(client, second).await?,
    );
    let (Some(first), Some(second)) = (first, second) else {
        return Ok(None);
    };
    let size = |seal: &SealRecord| u64::try_from(seal.seal).map_err(|_| SealError::Unreadable);
    let ranges = merkle::consistency(size(&first)?, size(&second)?);
    let path = rows::roots(client, &ranges).await?;
    Ok(Some(Consistency {
        first,
        second,
        path,
    }))
}

impl Sealer {
    /// Brings the metrics up to date. Where the database can not be asked, they say that nobody knows.
    ///
    /// Anybody may ask. So one does at a time, for all who came before it began, and goes on when whoever wanted it is
    /// gone.
    pub async fn show_numbers(self: &Arc<Self>, seals: &Seals) {
        let came = Instant::now();
        let mut shown = Arc::clone(&self.shown).lock_owned().await;
        if shown.is_some_and(|begun| begun >= came) {
            return;
        }
        let (sealer, seals) = (Arc::clone(self), seals.clone());
        let showing = tokio::spawn(async move {
            let begun = Instant::now();
            let witness = sealer.url.as_ref().map(|one| one.name.as_str());
            let state = timeout(Numbers::PATIENCE, seals.state(witness)).await;
            let state = state.ok().and_then(Result::ok);
            sealer.numbers.show(state, sealer.clock.now());
            *shown = Some(begun);
        });
        // Should it have panicked, they are what they were.
        let _ = showing.await;
    }
}

/// The events of a seal, by shard.
fn stretches(before: Option<&SealRecord>, seal: &SealRecord) -> Vec<Stretch> {
    let before: HashMap<i16, i64> = before
        .into_iter()
        .flat_map(|seal| &seal.ends)
        .map(|end| (end.shard, end.position))
        .collect();
    let stretch = |end: &EndRecord| Stretch {
        shard: end.shard,
        after: before.get(&end.shard).copied().unwrap_or(0),
        upto: end.position,
    };
    seal.ends.iter().map(stretch).collect()
}

/// Which leaf an event is.
fn index_of(stretches: &[Stretch], event: &EventRecord) -> Option<u64> {
    let mut index = 0;
    for stretch in stretches {
        if stretch.shard == event.shard {
            index += event.position - stretch.after - 1;
            return u64::try_from(index).ok();
        }
        index += stretch.upto - stretch.after;
    }
    None
}

/// The leaves of a seal.
pub struct Leaves {
    seal: SealRecord,
    stretches: Vec<Stretch>,
    hashes: Vec<Hash>,
    /// Made of the hashes once somebody asks.
    leaves: OnceCell<Vec<Hash>>,
}

impl Leaves {
    /// Reads them.
    ///
    /// # Errors
    /// [`Changed`] when what is stored does not come to what was sealed.
    pub async fn read(client: &impl GenericClient, number: i64) -> Result<Self, SealError> {
        let missing = || Changed::Seal(number);
        let seal = rows::one(client, number).await?.ok_or_else(missing)?;
        let before = match number {
            1 => None,
            _ => Some(rows::one(client, number - 1).await?.ok_or_else(missing)?),
        };
        let stretches = stretches(before.as_ref(), &seal);
        let hashes = rows::hashes(client, &stretches).await?.concat();
        Ok(Self {
            seal,
            stretches,
            hashes,
            leaves: OnceCell::new(),
        })
    }

    /// Whether an event is among them.
    pub fn holds(&self, event: &EventRecord) -> bool {
        let mut stretches = self.stretches.iter();
        stretches.any(|one| {
            one.shard == event.shard && (one.after + 1..=one.upto).contains(&event.position)
        })
    }

    /// The seal, which leaf an event is of how many, and what leads from it to the seal's root.
    pub fn prove(&self, event: &EventRecord) -> Option<(i64, u64, u64, Vec<Hash>)> {
        let index = index_of(&self.stretches, event)?;
        let leaves = || self.hashes.iter().map(event_leaf).collect();
        let leaves = self.leaves.get_or_init(leaves);
        let size = leaves.len() as u64;
        let root = |range: Range<u64>| {
            let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
            let part = leaves.get(place(range.start)..place(range.end));
            merkle::root(part.unwrap_or_default())
        };
        let path = merkle::inclusion(index, size).into_iter().map(root);
        Some((self.seal.seal, index, size, path.collect()))
    }
}
