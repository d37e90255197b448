//! The history of each guest, told to the plain model in the order of the log: what backends asked for, at the time at which
//! it was decided, comes to the same events, to the last lot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use credit_ledger::ledger::{Command, Place, UserEvent, UserId};
use tokio_postgres::Client;

use super::World;
use super::plan::CLOCKS_DIFFER_S;
use crate::plain::{Plain, Step};

pub async fn guests_went_by_the_rules(world: &World, sql: &Client) {
    for number in 0..world.plan.size.guests {
        let user_id = UserId::parse(format!("guest_{number}")).unwrap();
        went_by_the_rules(world, sql, &user_id).await;
    }
}

/// Whatever may have been available to whoever was refused: refusals are not in the history.
struct Seen {
    available: BTreeSet<i64>,
    /// When credits of the user end or come back.
    ends_s: BTreeSet<i64>,
    /// What the user was before the last event, and since when.
    last: Option<(Plain, i64)>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            available: BTreeSet::from([0]),
            ends_s: BTreeSet::new(),
            last: None,
        }
    }
}

impl Seen {
    fn note(&mut self, plain: &Plain, user_id: &UserId, at_s: i64, event: &UserEvent) {
        // Before this, what ended may have been seen as ended, by a clock that was ahead, and not yet written down.
        if let Some((before, since_s)) = self.last.take() {
            for end_s in self.ends_s.range(since_s..=at_s + CLOCKS_DIFFER_S) {
                let then = before.look(user_id, *end_s).account();
                self.available.insert(then.available());
            }
        }
        match event {
            UserEvent::CreditsGranted(granted) => self.ends_s.extend(granted.expires_at_s),
            UserEvent::CreditsHeld(held) => self.ends_s.extend([held.times_out_at_s]),
            _ => {}
        }
        let now = plain.person(user_id).account();
        self.available.insert(now.available());
        self.last = Some((plain.clone(), at_s));
    }
}

async fn went_by_the_rules(world: &World, sql: &Client, user_id: &UserId) {
    let asked: BTreeMap<Place, Command> = {
        let done = world.books.done.lock().unwrap();
        let of_user = done.iter().filter(|done| done.user_id == user_id.as_str());
        of_user
            .map(|done| (done.place, done.command.clone()))
            .collect()
    };
    let history = "select shard, position, recorded_at, payload::text from events
        where aggregate_type = 'user' and aggregate_id = $1 order by sequence";
    let mut plain = Plain::default();
    let mut expected: VecDeque<Step> = VecDeque::new();
    let mut seen = Seen::default();
    for (number, row) in (1..).zip(sql.query(history, &[&user_id.as_str()]).await.unwrap()) {
        let place = Place {
            shard: row.get(0),
            position: row.get(1),
        };
        let at_s = row.get::<_, DateTime<Utc>>(2).timestamp();
        let event: UserEvent = serde_json::from_str(row.get(3)).unwrap();
        if expected.is_empty() {
            // What ends does so by itself; all else was asked for.
            let settle = Command::SettleUser {
                user_id: user_id.clone(),
            };
            let command = asked.get(&place).cloned().unwrap_or(settle);
            expected.extend(plain.run(&command, at_s).unwrap());
        }
        assert_eq!(
            Some(Step::of(user_id, &event)),
            expected.pop_front(),
            "{place} of {user_id}"
        );
        plain.place(place, user_id, number);
        seen.note(&plain, user_id, at_s, &event);
    }
    assert_eq!(expected, VecDeque::new(), "{user_id}");
    for (_, said) in world
        .books
        .too_little
        .lock()
        .unwrap()
        .iter()
        .filter(|(user, _)| user == user_id.as_str())
    {
        let available = &seen.available;
        assert!(
            available.contains(said),
            "{user_id} never had {said}: {available:?}"
        );
    }
    world
        .books
        .checked
        .fetch_add(asked.len(), Ordering::Relaxed);
}
