//! A store in memory that does with users what the real one does: the state is JSON, lots behind the front, open holds and
//! settlements are rows, and of the rows only what a decision asked for is there. After each batch it checks that what is
//! stored is what the events say.

mod verified;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use crate::ledger::command::Hold;
use crate::ledger::event::{CreditsHeld, UserEvent};
use crate::ledger::lots::{BurnKey, Lot, Wanted};
use crate::ledger::user::{ReadRows, UserCommand};
use crate::ledger::{
    Command, Emitted, Event, LedgerError, Place, Purchase, PurchaseId, Rejection, Settlement,
    States, StreamId, User, UserId, decide,
};

/// As the store's.
const DUE_MARGIN_S: i64 = 60;
/// As the store's: a unit that needs more is given up.
const ROUNDS: usize = 12;
/// As those who only look.
const READ_ROUNDS: usize = 4;

/// What became of a command: its events with their places, or what a rule said.
pub(super) type Became = Result<Vec<(Place, Emitted)>, LedgerError>;

/// All that is stored.
#[derive(Default)]
pub(super) struct Stored {
    /// Seconds since 1970.
    pub(super) now_s: i64,
    users: BTreeMap<UserId, String>,
    purchases: HashMap<PurchaseId, String>,
    pub(super) lots: BTreeMap<(UserId, i64), Lot>,
    holds: BTreeMap<Place, (UserId, CreditsHeld)>,
    settlements: HashMap<Place, Settlement>,
    log: Vec<(StreamId, Event)>,
    /// When each event was recorded.
    times_s: Vec<i64>,
    /// The most rounds that a command took.
    pub(super) rounds: usize,
}

/// A unit and what it learned that it needs.
struct Unit<'a> {
    index: usize,
    command: &'a Command,
    streams: BTreeSet<StreamId>,
    rows: BTreeMap<UserId, Wanted>,
    rounds: usize,
}

/// What a batch decides on.
struct Batch {
    at_s: i64,
    users: HashMap<UserId, User>,
    purchases: HashMap<PurchaseId, Purchase>,
    settlements: HashMap<Place, Settlement>,
}

impl States for Batch {
    fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id)
    }
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase> {
        self.purchases.get(id)
    }
    fn settlement(&self, of: Place) -> Option<Settlement> {
        self.settlements.get(&of).copied()
    }
    fn at_s(&self) -> i64 {
        self.at_s
    }
}

impl Stored {
    /// One command, alone.
    pub(super) fn run(&mut self, command: &Command) -> Became {
        self.run_batch(std::slice::from_ref(command)).remove(0).1
    }

    /// Commands that come together. Says which became what, in the order in which they were decided: one that needs more
    /// than was read is decided after the others.
    pub(super) fn run_batch(&mut self, commands: &[Command]) -> Vec<(usize, Became)> {
        let mut waiting: Vec<Unit<'_>> = commands.iter().enumerate().map(Unit::new).collect();
        let mut became = Vec::new();
        while !waiting.is_empty() {
            let mut batch = self.load(&waiting);
            let mut again = Vec::new();
            let mut changed: BTreeSet<UserId> = waiting
                .iter()
                .flat_map(|unit| unit.rows.keys().cloned())
                .collect();
            for mut unit in waiting {
                match decide(unit.command, &batch) {
                    Ok(emitted) => {
                        let recorded = emitted.into_iter().map(|one| {
                            if let StreamId::User(id) = &one.stream {
                                changed.insert(id.clone());
                            }
                            (self.push(&mut batch, &one), one)
                        });
                        became.push((unit.index, Ok(recorded.collect())));
                    }
                    Err(Rejection::Refused(error)) => became.push((unit.index, Err(error))),
                    Err(needs) => {
                        unit.learn(needs);
                        self.rounds = self.rounds.max(unit.rounds);
                        again.push(unit);
                    }
                }
            }
            self.write(batch, &changed);
            waiting = again;
        }
        became
    }

    fn load(&self, units: &[Unit<'_>]) -> Batch {
        let mut rows: BTreeMap<UserId, Wanted> = BTreeMap::new();
        let mut batch = Batch {
            at_s: self.now_s,
            users: HashMap::new(),
            purchases: HashMap::new(),
            settlements: HashMap::new(),
        };
        for unit in units {
            for (user, wanted) in &unit.rows {
                rows.entry(user.clone()).or_default().add(wanted);
            }
            let places = unit.command.settlements().into_iter();
            let settled = places.filter_map(|place| Some((place, *self.settlements.get(&place)?)));
            batch.settlements.extend(settled);
        }
        for stream in units.iter().flat_map(|unit| &unit.streams) {
            match stream {
                StreamId::User(id) => {
                    let wanted = rows.get(id);
                    let user = self.user(id, wanted);
                    batch.users.insert(id.clone(), user);
                }
                StreamId::Purchase(id) => {
                    let stored = self.purchases.get(id);
                    let purchase = stored.map(|json| serde_json::from_str(json).unwrap());
                    batch
                        .purchases
                        .insert(id.clone(), purchase.unwrap_or_default());
                }
            }
        }
        batch
    }

    /// The state, with the rows that are wanted.
    fn user(&self, id: &UserId, wanted: Option<&Wanted>) -> User {
        let stored = self.users.get(id);
        let mut user: User = stored
            .map(|json| serde_json::from_str(json).unwrap())
            .unwrap_or_default();
        if let Some(wanted) = wanted {
            user.take_in(wanted, self.read(id, wanted));
        }
        user
    }

    fn lots_of<'a>(&'a self, id: &'a UserId) -> impl Iterator<Item = &'a Lot> {
        let of_user = self
            .lots
            .range((id.clone(), i64::MIN)..=(id.clone(), i64::MAX));
        of_user.map(|(_, lot)| lot)
    }

    /// The rows that are wanted, as the store's statements find them.
    fn read(&self, id: &UserId, wanted: &Wanted) -> ReadRows {
        let mut read = ReadRows::default();
        let mut next: Vec<&Lot> = self
            .lots_of(id)
            .filter(|lot| !lot.remaining.is_zero())
            .collect();
        next.sort_by_key(|lot| lot.key());
        let wanted_next = usize::try_from(wanted.next).unwrap();
        let mut found: BTreeMap<i64, Lot> = BTreeMap::new();
        let mut take = |lot: &Lot| {
            found.insert(lot.id, lot.clone());
        };
        if wanted_next > 0 {
            next.iter().take(wanted_next).for_each(|lot| take(lot));
            read.lots.after = next.get(wanted_next).map(|lot| lot.key());
        }
        if let Some(until_s) = wanted.due_until_s {
            let ends = |lot: &&Lot| {
                lot.terms
                    .expires_at_s
                    .filter(|_| lot.remaining > lot.contested)
            };
            for lot in self.lots_of(id) {
                match ends(&lot) {
                    Some(ends_at_s) if ends_at_s <= until_s => take(lot),
                    Some(ends_at_s) => {
                        let sooner = [read.lots.due_after_s, Some(ends_at_s)];
                        read.lots.due_after_s = sooner.into_iter().flatten().min();
                    }
                    None => {}
                }
            }
            for (place, (_, held)) in self.holds.iter().filter(|(_, (user, _))| user == id) {
                if held.times_out_at_s <= until_s {
                    read.holds
                        .push(Hold::placed(*place, id.clone(), held.clone()));
                } else {
                    let sooner = [read.hold_due_after_s, Some(held.times_out_at_s)];
                    read.hold_due_after_s = sooner.into_iter().flatten().min();
                }
            }
        }
        for lot in self.lots_of(id) {
            let purchase = lot.terms.purchase_id.as_ref();
            if wanted.ids.contains(&lot.id)
                || purchase.is_some_and(|purchase| wanted.purchases.contains(purchase))
            {
                take(lot);
            }
        }
        read.lots.lots = found.into_values().collect();
        read
    }

    fn push(&mut self, batch: &mut Batch, one: &Emitted) -> Place {
        self.log.push((one.stream.clone(), one.event.clone()));
        self.times_s.push(batch.at_s);
        let place = Place {
            shard: 0,
            position: i64::try_from(self.log.len()).unwrap(),
        };
        match (&one.stream, &one.event) {
            (StreamId::User(id), Event::User(event)) => {
                batch.users.get_mut(id).unwrap().evolve(event);
                if let UserEvent::CreditsHeld(held) = event {
                    self.holds.insert(place, (id.clone(), held.clone()));
                }
                if let Some((settled, how)) = event.settles() {
                    assert!(
                        self.settlements.insert(settled, how).is_none(),
                        "settled twice"
                    );
                    batch.settlements.insert(settled, how);
                    self.holds.remove(&settled);
                }
            }
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                batch.purchases.get_mut(id).unwrap().evolve(event);
            }
            _ => panic!("an event in a stream of the other type"),
        }
        place
    }

    fn write(&mut self, batch: Batch, changed: &BTreeSet<UserId>) {
        for (id, purchase) in batch.purchases {
            self.purchases
                .insert(id, serde_json::to_string(&purchase).unwrap());
        }
        for (id, mut user) in batch.users {
            if !changed.contains(&id) {
                continue;
            }
            let stored = user.store_lots();
            for lot in stored.gone {
                let gone = self.lots.remove(&(id.clone(), lot));
                assert!(gone.is_some(), "a row that was read is gone");
            }
            for lot in stored.changed {
                assert!(
                    lot.contested <= lot.remaining && lot.counted <= lot.expired,
                    "{lot:?}"
                );
                self.lots.insert((id.clone(), lot.id), lot);
            }
            self.users
                .insert(id.clone(), serde_json::to_string(&user).unwrap());
            self.check(&id);
        }
    }

    /// The state as it is stored.
    pub(super) fn state(&self, id: &UserId) -> &str {
        self.users.get(id).map_or("{}", String::as_str)
    }

    /// What the state says of what it does not hold is so.
    fn check(&self, id: &UserId) {
        let state: Value = serde_json::from_str(self.state(id)).unwrap();
        let behind = &state["lots"]["behind"];
        let rows: Vec<&Lot> = self.lots_of(id).collect();
        let in_rows: i64 = rows.iter().map(|lot| lot.remaining.get()).sum();
        assert_eq!(behind["credits"].as_i64().unwrap_or(0), in_rows, "{state}");
        for lot in rows {
            if lot.remaining.is_zero() {
                assert_eq!(state["lots"]["remembers"], true, "{lot:?}");
                assert!(!lot.expired.is_zero(), "{lot:?} says nothing");
                continue;
            }
            let after: BurnKey = serde_json::from_value(behind["after"].clone()).unwrap();
            assert!(lot.key() >= after, "{lot:?} burns before the rest: {state}");
            if let Some(ends_at_s) = lot.terms.expires_at_s
                && lot.remaining > lot.contested
            {
                let due_at_s = behind["due_at_s"].as_i64();
                assert!(
                    due_at_s.is_some_and(|due| due <= ends_at_s),
                    "{lot:?}: {state}"
                );
            }
        }
        for (place, (_, held)) in self.holds.iter().filter(|(_, (user, _))| user == id) {
            let due_at_s = state["holds"].as_i64();
            assert!(
                due_at_s.is_some_and(|due| due <= held.times_out_at_s),
                "{place}: {state}"
            );
        }
        let reserved: i64 = self
            .holds
            .values()
            .filter(|(user, _)| user == id)
            .map(|(_, held)| held.credits.get())
            .sum();
        assert_eq!(state["reserved"].as_i64().unwrap_or(0), reserved, "{state}");
    }

    /// The user as the events say.
    pub(super) fn folded(&self, id: &UserId) -> User {
        let mut user = User::default();
        for (stream, event) in &self.log {
            if let (StreamId::User(of), Event::User(event)) = (stream, event)
                && of == id
            {
                user.evolve(event);
            }
        }
        user
    }

    /// The user with all rows.
    pub(super) fn whole(&self, id: &UserId) -> User {
        let all = Wanted {
            next: u32::MAX,
            ids: self.lots_of(id).map(|lot| lot.id).collect(),
            ..Wanted::default()
        };
        self.user(id, Some(&all))
    }

    /// What somebody sees who only looks now.
    pub(super) fn look(&self, id: &UserId) -> User {
        let mut wanted: Option<Wanted> = None;
        for _ in 0..READ_ROUNDS {
            let mut user = self.user(id, wanted.as_ref());
            match user.decide(&UserCommand::Settle { at_s: self.now_s }) {
                Ok(events) => {
                    for event in &events {
                        user.evolve(event);
                    }
                    return user;
                }
                Err(LedgerError::Unread(more)) => wanted.get_or_insert_default().add(&more),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("to look takes too many rounds");
    }

    /// A hold as it was placed, settled or not.
    pub(super) fn hold(&self, place: Place) -> Hold {
        match self.event(place) {
            (StreamId::User(id), Event::User(UserEvent::CreditsHeld(held))) => {
                Hold::placed(place, id.clone(), held.clone())
            }
            other => panic!("no hold: {other:?}"),
        }
    }

    /// The number in its stream of the event at a place.
    pub(super) fn number(&self, place: Place) -> i64 {
        let until = &self.log[..usize::try_from(place.position).unwrap()];
        let stream = &until.last().unwrap().0;
        let before = until.iter().filter(|(other, _)| other == stream);
        i64::try_from(before.count()).unwrap()
    }

    /// The event at a place, with its stream.
    pub(super) fn event(&self, place: Place) -> (&StreamId, &Event) {
        let (stream, event) = &self.log[usize::try_from(place.position).unwrap() - 1];
        (stream, event)
    }
}

impl<'a> Unit<'a> {
    fn new((index, command): (usize, &'a Command)) -> Self {
        Self {
            index,
            command,
            streams: command.streams().into_iter().collect(),
            rows: BTreeMap::new(),
            rounds: 0,
        }
    }

    fn learn(&mut self, needs: Rejection) {
        self.rounds += 1;
        assert!(
            self.rounds < ROUNDS,
            "needs more than any command has: {:?}",
            self.rows
        );
        match needs {
            Rejection::Needs(stream) => assert!(self.streams.insert(stream)),
            Rejection::NeedsRows(rows) => {
                for (user, mut wanted) in rows {
                    wanted.due_until_s = wanted.due_until_s.map(|until_s| until_s + DUE_MARGIN_S);
                    self.rows.entry(user).or_default().add(&wanted);
                }
            }
            Rejection::Refused(_) => {}
        }
    }
}
