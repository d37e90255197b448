//! New events into a seal: read, compared with what was sealed before, signed, stored. One transaction each.

use std::collections::HashMap;
use std::time::Duration;

use credit_ledger_verify::merkle::Tree;
use credit_ledger_verify::record::{EndRecord, SealRecord};
use credit_ledger_verify::seal::event_leaf;
use credit_ledger_verify::{Hash, chain};
use deadpool_postgres::{Object, Transaction};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::rows::{self, Stretch};
use super::witness::{OpenFile, SEALS_AT_ONCE};
use super::{Changed, RolledBack, SealError, Sealer};
use crate::postgres::{COMMIT_DURABLY, Late, Lent, in_time};

/// "credit-s" in ASCII: who holds this lock of the database seals.
const SEALING_LOCK: i64 = 0x6372_6564_6974_2d73;
/// How many seals are made in a row before the witnesses are told.
const SEALS_PER_ROUND: u32 = 16;

/// No time-out cuts off a commit that waits for a synchronous standby.
const WAIT: &str = "set local statement_timeout = 0";

/// The longest that one seal may take: longer than the server lets a statement of it run.
const SEALING: Duration = Duration::from_secs(40);

/// What one look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Round {
    /// How many seals were made.
    pub sealed: u32,
    /// Whether there is more to be done at once.
    pub more: bool,
    /// Another instance is at it, so this one has not looked.
    pub elsewhere: bool,
}

/// What is to be sealed next.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Where every shard ends after it, as far as that is known before the hashes are read.
    ends: Vec<EndRecord>,
    /// Of each shard: its last event that was sealed, if there is one, and all that are new.
    stretches: Vec<Stretch>,
    /// How many are new.
    events: i64,
    /// Whether some are left for the next one.
    more: bool,
}

/// One attempt.
enum Attempt {
    /// Nothing is new.
    Nothing,
    /// Another instance is at it.
    Elsewhere,
    /// A seal was made.
    Sealed {
        /// Whether events were left for the next one.
        more: bool,
    },
}

impl Sealer {
    /// Seals what is new and writes it to the witness file: one round, bounded.
    ///
    /// # Errors
    /// [`SealError`]; the next round begins where this one ended. [`RolledBack`]: nothing is sealed while a witness
    /// contradicts the database, for then there would be two histories under one key.
    pub async fn round(&self) -> Result<Round, SealError> {
        let result = self.try_round().await;
        self.numbers.round_ended(&result);
        result
    }

    async fn try_round(&self) -> Result<Round, SealError> {
        let file = self.open_file().await;
        self.numbers.file_agrees(&file);
        let file = match file {
            Err(error @ SealError::RolledBack(_)) => return Err(error),
            file => file,
        };
        let sealed = self.seal_new().await;
        // What others sealed is written down, too, whatever hinders this one.
        let written = match file {
            Ok(Some(file)) => self.write(file).await,
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        self.numbers.file_agrees(&written);
        let mut round = sealed?;
        round.more |= written?;
        Ok(round)
    }

    async fn seal_new(&self) -> Result<Round, SealError> {
        let mut round = Round::default();
        while round.sealed < SEALS_PER_ROUND {
            match self.seal_once().await? {
                Attempt::Nothing => {
                    return Ok(Round {
                        more: false,
                        ..round
                    });
                }
                Attempt::Elsewhere => {
                    return Ok(Round {
                        more: false,
                        elsewhere: true,
                        ..round
                    });
                }
                Attempt::Sealed { more } => {
                    round.sealed += 1;
                    round.more = more;
                    if !more {
                        break;
                    }
                }
            }
        }
        Ok(round)
    }

    async fn seal_once(&self) -> Result<Attempt, SealError> {
        let mut session = Lent::of(&self.pool).await?;
        let sealed = timeout(SEALING, self.seal_with(&mut session)).await;
        let sealed = sealed.map_err(|_| Late)?;
        session.give_back();
        sealed
    }

    async fn seal_with(&self, session: &mut Object) -> Result<Attempt, SealError> {
        let transaction = session.transaction().await?;
        if !rows::lock(&transaction, SEALING_LOCK).await? {
            return Ok(Attempt::Elsewhere);
        }
        // Read first: what is sealed can not be ahead of the heads that are read after it.
        let last = rows::last(&transaction).await?;
        if let Some(witness) = &self.url {
            let number = last.as_ref().map_or(0, |last| last.seal);
            witness.agrees(&transaction, number).await?;
        }
        let heads = rows::heads(&transaction).await?;
        let plan = plan(last.as_ref(), &heads, self.events_max)?;
        if plan.events == 0 {
            return Ok(Attempt::Nothing);
        }
        let more = plan.more;
        let (record, nodes) = self.seal(&transaction, last.as_ref(), &heads, plan).await?;
        match rows::insert(&transaction, &record, &nodes).await {
            Err(SealError::Query(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                return Ok(Attempt::Elsewhere);
            }
            inserted => inserted?,
        }
        // Witnesses are told of what can be seen, so that must stay whatever happens to the server.
        transaction.batch_execute(COMMIT_DURABLY).await?;
        transaction.batch_execute(WAIT).await?;
        transaction.commit().await?;
        tracing::debug!(seal = record.seal, events = record.events, "sealed");
        Ok(Attempt::Sealed { more })
    }

    /// Makes a seal, and the perfect subtrees that it completes.
    async fn seal(
        &self,
        transaction: &Transaction<'_>,
        last: Option<&SealRecord>,
        heads: &[EndRecord],
        plan: Plan,
    ) -> Result<(SealRecord, Vec<Hash>), SealError> {
        let Plan {
            mut ends,
            stretches,
            events,
            ..
        } = plan;
        let hashes = rows::hashes(transaction, &stretches).await?;
        let new = on_top_of(last, heads, &mut ends, hashes)?;
        // Too long for a thread that others wait for.
        let root = tokio::task::spawn_blocking(move || root_of(&new));
        let root = root.await.map_err(|_| SealError::CutOff)?;

        let before = last.map_or(0, |last| last.seal);
        let sealed_before = u64::try_from(before).map_err(|_| SealError::Unreadable)?;
        let mut history = rows::tree(transaction, sealed_before).await?;
        if let Some(last) = last
            && history.root() != last.head
        {
            return Err(Changed::Seal(last.seal).into());
        }
        let at_database = rows::time(transaction).await?;
        let now_us = self.clock.agreed(at_database)?.timestamp_micros();
        let mut record = SealRecord {
            seal: before + 1,
            // The time of seals runs forward, whatever the clock does.
            sealed_at_us: last.map_or(now_us, |last| last.sealed_at_us.max(now_us)),
            events,
            root,
            ends,
            head: chain::GENESIS,
            key_id: self.key.public().id(),
            signature: [0; 64],
        };
        let nodes = history.push(record.batch().leaf());
        record.head = history.root();
        record.signature = self.key.sign(record.seal, &record.head);
        Ok((record, nodes))
    }

    /// The witness file with its last line, if there is one and the database has that seal.
    async fn open_file(&self) -> Result<Option<OpenFile>, SealError> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let open = file.open().await?;
        if let Some(last) = open.last() {
            let session = Lent::of(&self.pool).await?;
            let stored = in_time(&self.pool, rows::one(&*session, last.seal)).await?;
            session.give_back();
            match stored? {
                None => return Err(RolledBack::Gone(last.seal).into()),
                Some(stored) if stored != *last => {
                    return Err(RolledBack::Other(last.seal).into());
                }
                Some(_) => {}
            }
        }
        Ok(Some(open))
    }

    /// Writes down what the file lacks, as much as one round may. True: it lacks more.
    async fn write(&self, file: OpenFile) -> Result<bool, SealError> {
        let next = file.last().map_or(0, |last| last.seal) + 1;
        let session = Lent::of(&self.pool).await?;
        let seals = in_time(&self.pool, rows::from(&*session, next, SEALS_AT_ONCE)).await?;
        session.give_back();
        let seals = seals?;
        let more = i64::try_from(seals.len()).is_ok_and(|n| n == SEALS_AT_ONCE);
        let last = file.append(seals).await?;
        self.numbers.file_told(last);
        Ok(more)
    }
}

/// What is to be sealed: at most so many events, shard by shard.
fn plan(last: Option<&SealRecord>, heads: &[EndRecord], events_max: i64) -> Result<Plan, Changed> {
    let sealed = ends_of(last);
    for (&shard, end) in &sealed {
        if !heads.iter().any(|head| head.shard == shard) {
            return Err(Changed::Shorter(shard, end.position));
        }
    }
    let (mut ends, mut stretches, mut events, mut more) = (vec![], vec![], 0, false);
    for head in heads {
        let before = sealed.get(&head.shard).map_or(0, |end| end.position);
        if head.position < before {
            return Err(Changed::Shorter(head.shard, before));
        }
        let new = (head.position - before).min(events_max - events);
        let upto = before + new;
        more |= upto < head.position;
        events += new;
        stretches.push(Stretch {
            shard: head.shard,
            after: (before - 1).max(0),
            upto,
        });
        ends.push(EndRecord {
            shard: head.shard,
            position: upto,
            hash: chain::GENESIS,
        });
    }
    Ok(Plan {
        ends,
        stretches,
        events,
        more,
    })
}

/// Fills in the hashes of the ends, and gives the new ones, by shard and position. The stretch of each shard begins with
/// the last event that was sealed, if there is one: it must be the same now. One that reaches the shard's head must end
/// with what the head says.
fn on_top_of(
    last: Option<&SealRecord>,
    heads: &[EndRecord],
    ends: &mut [EndRecord],
    hashes: Vec<Vec<Hash>>,
) -> Result<Vec<Hash>, Changed> {
    let sealed = ends_of(last);
    let mut new = Vec::new();
    for ((end, head), mut hashes) in ends.iter_mut().zip(heads).zip(hashes) {
        end.hash = hashes.last().copied().unwrap_or(chain::GENESIS);
        if end.position == head.position && end.hash != head.hash {
            return Err(Changed::Event(end.shard, end.position));
        }
        if let Some(before) = sealed.get(&end.shard).filter(|end| end.position > 0) {
            if hashes.first() != Some(&before.hash) {
                return Err(Changed::Event(end.shard, before.position));
            }
            hashes.remove(0);
        }
        new.append(&mut hashes);
    }
    Ok(new)
}

fn ends_of(seal: Option<&SealRecord>) -> HashMap<i16, EndRecord> {
    let ends = seal.into_iter().flat_map(|seal| &seal.ends);
    ends.map(|end| (end.shard, *end)).collect()
}

fn root_of(hashes: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    for hash in hashes {
        tree.push(event_leaf(hash));
    }
    tree.root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(shard: i16, position: i64) -> EndRecord {
        EndRecord {
            shard,
            position,
            hash: [u8::try_from(position).unwrap(); 32],
        }
    }

    fn sealed(ends: &[EndRecord]) -> SealRecord {
        SealRecord {
            seal: 1,
            sealed_at_us: 0,
            events: 1,
            root: [0; 32],
            ends: ends.to_vec(),
            head: [0; 32],
            key_id: String::new(),
            signature: [0; 64],
        }
    }

    fn hashes(stretches: &[Stretch]) -> Vec<Vec<Hash>> {
        let of = |stretch: &Stretch| {
            (stretch.after + 1..=stretch.upto)
                .map(|position| end(stretch.shard, position).hash)
                .collect()
        };
        stretches.iter().map(of).collect()
    }

    #[test]
    fn a_backlog_is_taken_shard_by_shard() {
        let heads = [end(0, 5), end(1, 0), end(2, 4)];
        let steps = [
            (4, [4, 0, 0], true),
            (4, [5, 0, 3], true),
            (1, [5, 0, 4], false),
        ];
        let mut last = None;
        for (events, positions, more) in steps {
            let plan = plan(last.as_ref(), &heads, 4).unwrap();
            assert_eq!((plan.events, plan.more), (events, more));
            let mut ends = plan.ends;
            let new = on_top_of(last.as_ref(), &heads, &mut ends, hashes(&plan.stretches)).unwrap();
            assert_eq!(i64::try_from(new.len()).unwrap(), events);
            let expected =
                [0, 1, 2].map(|shard| end(shard, positions[usize::try_from(shard).unwrap()]));
            assert_eq!(ends, expected);
            last = Some(sealed(&ends));
        }
        assert_eq!(plan(last.as_ref(), &heads, 4).unwrap().events, 0);
    }

    #[test]
    fn a_history_that_lost_something_is_not_sealed() {
        let last = sealed(&[end(0, 5), end(1, 2)]);
        let shorter = [end(0, 4), end(1, 2)];
        assert_eq!(plan(Some(&last), &shorter, 9), Err(Changed::Shorter(0, 5)));
        let gone = [end(0, 5)];
        assert_eq!(plan(Some(&last), &gone, 9), Err(Changed::Shorter(1, 2)));
    }

    #[test]
    fn what_was_sealed_and_what_the_head_names_must_be_there() {
        let last = sealed(&[end(0, 5)]);
        let heads = [end(0, 7)];
        let plan = plan(Some(&last), &heads, 9).unwrap();
        let good = hashes(&plan.stretches);
        for (at, position) in [(0, 5), (2, 7)] {
            let mut other = good.clone();
            other[0][at][0] ^= 1;
            let changed = on_top_of(Some(&last), &heads, &mut plan.ends.clone(), other);
            assert_eq!(changed, Err(Changed::Event(0, position)));
        }
        let new = on_top_of(Some(&last), &heads, &mut plan.ends.clone(), good);
        assert_eq!(new, Ok(vec![end(0, 6).hash, end(0, 7).hash]));
    }
}
