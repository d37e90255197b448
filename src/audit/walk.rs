//! The whole log in the order in which it is verified and exported: seal by seal, each followed by the events that are new
//! in it by shard and position; then the events that no seal covers, by shard and position.
//!
//! Holds a page of seals and a page of events, never more.

use std::collections::BTreeMap;

use credit_ledger_verify::record::{EndRecord, EventRecord, SealRecord};
use futures_util::TryStreamExt as _;

use super::rows::UnreadableRow;
use super::snapshot::{Snapshot, SnapshotError};
use super::{rows, seal};

/// How many seals are read at once.
const SEALS_PER_PAGE: i64 = 200;
/// How many events are asked for at once; seals are taken together until there are as many. One seal may have more.
const EVENTS_PER_PAGE: i64 = 5000;
/// How many ranges of positions are asked for at once.
const RANGES_PER_PAGE: usize = 1000;

const SELECT_RANGES: &str = include_str!("sql/select_ranges.sql");
const SELECT_SHARDS: &str = include_str!("sql/select_shards.sql");

/// Takes what a walk comes by.
pub trait Walker {
    /// Why it can not go on.
    type Error: From<SnapshotError>;

    /// The place of the last sealed event that it has already; none: it has none.
    fn has_sealed(&self) -> Option<(i16, i64)> {
        None
    }

    /// So many events come before and with [`Walker::has_sealed`].
    fn skipped(&mut self, events: i64) -> Result<(), Self::Error> {
        let _ = events;
        Ok(())
    }

    /// The next seal, or the next event, can not be read. Goes on behind it if there is no error.
    fn unreadable(&mut self, row: UnreadableRow) -> Result<(), Self::Error> {
        Err(SnapshotError::from(row).into())
    }

    /// The next seal. Its events follow, but for those that the walker has.
    fn seal(&mut self, seal: &SealRecord) -> Result<(), Self::Error>;

    /// The next event of the last seal.
    fn sealed(&mut self, event: &EventRecord) -> Result<(), Self::Error>;

    /// The events of a shard follow that no seal covers: those behind this position. Gives the position behind which they
    /// are wanted.
    fn shard(&mut self, shard: i16, sealed: i64) -> Result<i64, Self::Error> {
        let _ = shard;
        Ok(sealed)
    }

    /// The next event that no seal covers.
    fn unsealed(&mut self, event: &EventRecord) -> Result<(), Self::Error>;
}

/// Seals behind one, by number, at most so many as are read at once.
///
/// # Errors
/// [`SnapshotError`]
pub async fn seals(snapshot: &Snapshot<'_>, after: i64) -> Result<Vec<SealRecord>, SnapshotError> {
    let next = after.saturating_add(1);
    Ok(seal::rows::from(snapshot.transaction(), next, SEALS_PER_PAGE).await?)
}

/// Walks the log.
///
/// # Errors
/// Those of the walker, and [`SnapshotError`].
pub async fn walk<W: Walker>(snapshot: &Snapshot<'_>, walker: &mut W) -> Result<(), W::Error> {
    let mut covered = Covered::default();
    let mut skip = walker.has_sealed();
    let mut last = 0_i64;
    loop {
        let client = snapshot.transaction();
        let page = seal::rows::follow(client, last.saturating_add(1), SEALS_PER_PAGE).await;
        let page = page.map_err(SnapshotError::from)?;
        let Some((newest, _)) = page.last() else {
            break;
        };
        last = *newest;
        let mut group = Group::default();
        for (_, seal) in page {
            let seal = match seal {
                Ok(seal) => seal,
                Err(row) => {
                    walker.unreadable(row)?;
                    continue;
                }
            };
            if covered.skip(&seal, &mut skip) {
                walker.skipped(covered.0.values().sum())?;
            }
            let ranges = if skip.is_none() {
                covered.cover(&seal)
            } else {
                vec![]
            };
            group.add(seal, ranges);
            if group.is_full() {
                std::mem::take(&mut group).read(snapshot, walker).await?;
            }
        }
        group.read(snapshot, walker).await?;
    }
    for row in snapshot.list(SELECT_SHARDS, &[]).await? {
        let shard: i16 = row.try_get("shard").map_err(SnapshotError::from)?;
        read_unsealed(snapshot, walker, shard, covered.up_to(shard)).await?;
    }
    Ok(())
}

async fn read_unsealed<W: Walker>(
    snapshot: &Snapshot<'_>,
    walker: &mut W,
    shard: i16,
    sealed: i64,
) -> Result<(), W::Error> {
    let mut after = walker.shard(shard, sealed)?;
    loop {
        let page = snapshot
            .list(rows::PAGE_EVENTS, &[&shard, &after, &EVENTS_PER_PAGE])
            .await?;
        for row in &page {
            after = row.try_get("position").map_err(SnapshotError::from)?;
            match rows::event(row) {
                Ok(event) => walker.unsealed(&event)?,
                Err(row) => walker.unreadable(row)?,
            }
        }
        if page.is_empty() {
            return Ok(());
        }
    }
}

/// How far each shard was read. Never goes back, whatever a seal says: each event is read once.
#[derive(Default)]
struct Covered(BTreeMap<i16, i64>);

/// Some events of a shard: those behind `after`, up to `upto`.
struct Range {
    shard: i16,
    after: i64,
    upto: i64,
}

impl Covered {
    fn up_to(&self, shard: i16) -> i64 {
        self.0.get(&shard).copied().unwrap_or(0)
    }

    /// What is new in a seal.
    fn cover(&mut self, seal: &SealRecord) -> Vec<Range> {
        let mut ranges = vec![];
        for EndRecord {
            shard, position, ..
        } in &seal.ends
        {
            let after = self.up_to(*shard);
            if *position > after {
                self.0.insert(*shard, *position);
                ranges.push(Range {
                    shard: *shard,
                    after,
                    upto: *position,
                });
            }
        }
        ranges
    }

    /// Passes over what the walker has: all of this seal, or a part, and then no more. True: that was the last of it.
    fn skip(&mut self, seal: &SealRecord, up_to: &mut Option<(i16, i64)>) -> bool {
        let Some((shard, position)) = *up_to else {
            return false;
        };
        let mut ends = seal.ends.iter();
        if ends.any(|end| end.shard == shard && end.position >= position) {
            // The order within a seal: whole shards, then a part of this one.
            for end in seal.ends.iter().filter(|end| end.shard < shard) {
                let known = self.0.entry(end.shard).or_default();
                *known = end.position.max(*known);
            }
            self.0.insert(shard, position);
            *up_to = None;
        } else {
            self.cover(seal);
        }
        up_to.is_none()
    }
}

/// Seals whose events are read together.
#[derive(Default)]
struct Group {
    /// Each with the number of the first of its ranges.
    seals: Vec<(SealRecord, usize)>,
    ranges: Vec<Range>,
}

impl Group {
    fn add(&mut self, seal: SealRecord, ranges: Vec<Range>) {
        self.seals.push((seal, self.ranges.len()));
        self.ranges.extend(ranges);
    }

    fn is_full(&self) -> bool {
        let events: i64 = self
            .ranges
            .iter()
            .map(|range| range.upto - range.after)
            .sum();
        events >= EVENTS_PER_PAGE || self.ranges.len() >= RANGES_PER_PAGE
    }

    async fn read<W: Walker>(
        self,
        snapshot: &Snapshot<'_>,
        walker: &mut W,
    ) -> Result<(), W::Error> {
        let shards: Vec<i16> = self.ranges.iter().map(|range| range.shard).collect();
        let after: Vec<i64> = self.ranges.iter().map(|range| range.after).collect();
        let upto: Vec<i64> = self.ranges.iter().map(|range| range.upto).collect();
        let mut seals = self.seals.iter().peekable();
        if !self.ranges.is_empty() {
            let mut events = snapshot
                .stream(SELECT_RANGES, &[&shards, &after, &upto])
                .await?;
            while let Some(row) = events.try_next().await.map_err(SnapshotError::from)? {
                let number: i64 = row.try_get("number").map_err(SnapshotError::from)?;
                let before = |first: usize| i64::try_from(first).is_ok_and(|first| first < number);
                while let Some((seal, _)) = seals.next_if(|(_, first)| before(*first)) {
                    walker.seal(seal)?;
                }
                match rows::event(&row) {
                    Ok(event) => walker.sealed(&event)?,
                    Err(row) => walker.unreadable(row)?,
                }
            }
        }
        seals.try_for_each(|(seal, _)| walker.seal(seal))
    }
}
