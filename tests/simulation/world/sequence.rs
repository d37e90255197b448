//! The history of each guest, told to the plain model in the order of the log: what backends asked for, at the time at which
//! it was decided, comes to the same events, to the last lot.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use credit_ledger::ledger::{Command, Place, UserEvent, UserId};
use tokio_postgres::Client;

use super::World;
use crate::plain::{Plain, Step};

pub async fn guests_went_by_the_rules(world: &World, sql: &Client) {
    for number in 0..world.plan.size.guests {
        let user_id = UserId::parse(format!("guest_{number}")).unwrap();
        went_by_the_rules(world, sql, &user_id).await;
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
    let mut available = BTreeSet::from([0]);
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
        available.insert(plain.look(user_id, at_s).account().available());
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
