//! The ledger under other rules, in memory: the states that commands are decided on, and what became of them.

use std::collections::{BTreeMap, HashMap};

use crate::audit::whole::Whole;
use crate::ledger::command::Hold;
use crate::ledger::lots::{LotKind, Slice};
use crate::ledger::{
    Command, Emitted, Event, LedgerError, Place, Purchase, PurchaseId, Rejection, Settlement,
    States, StreamId, User, UserEvent, UserId, decide,
};

/// How often rows may be asked for. All lots are here, so only open holds are.
const ROUNDS: usize = 4;

/// See above. A stream without events has the default state.
#[derive(Default)]
pub(super) struct World {
    users: BTreeMap<UserId, Whole>,
    purchases: HashMap<PurchaseId, Purchase>,
    settlements: HashMap<Place, Settlement>,
    /// What spends and captured holds used, by the places of the events that tell of them.
    used: HashMap<Place, Vec<Slice>>,
    /// When it is, seconds since 1970.
    at_s: i64,
    burn: BTreeMap<LotKind, u8>,
    no_user: User,
    no_purchase: Purchase,
}

impl States for World {
    fn user(&self, id: &UserId) -> Option<&User> {
        let known = self.users.get(id).map(Whole::user);
        Some(known.unwrap_or(&self.no_user))
    }
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase> {
        Some(self.purchases.get(id).unwrap_or(&self.no_purchase))
    }
    fn settlement(&self, of: Place) -> Option<Settlement> {
        self.settlements.get(&of).copied()
    }
    fn at_s(&self) -> i64 {
        self.at_s
    }
}

impl World {
    /// Where lots of these kinds have these priorities.
    pub(super) fn burning(burn: BTreeMap<LotKind, u8>) -> Self {
        Self {
            burn,
            ..Self::default()
        }
    }

    /// Says what time it is, seconds since 1970.
    pub(super) const fn set_time(&mut self, at_s: i64) {
        self.at_s = at_s;
    }

    /// All users.
    pub(super) const fn users(&mut self) -> &mut BTreeMap<UserId, Whole> {
        &mut self.users
    }

    /// All purchases.
    pub(super) const fn purchases(&self) -> &HashMap<PurchaseId, Purchase> {
        &self.purchases
    }

    /// An open hold.
    pub(super) fn hold(&self, user_id: &UserId, place: Place) -> Option<&Hold> {
        self.users.get(user_id)?.holds().get(&place)
    }

    /// What a spend or a captured hold used.
    pub(super) fn used(&self, place: Place) -> Option<&Vec<Slice>> {
        self.used.get(&place)
    }

    /// Decides a command and lets its events follow. Holds and spends that come of it are called by `place`.
    pub(super) fn run(&mut self, place: Place, command: &Command) -> Result<(), LedgerError> {
        let mut refused = LedgerError::Unread(Box::default());
        for _ in 0..ROUNDS {
            match decide(command, self) {
                Ok(emitted) => {
                    for one in emitted {
                        self.follow(place, one);
                    }
                    return Ok(());
                }
                Err(Rejection::Refused(error)) => return Err(error),
                Err(Rejection::NeedsRows(needed)) => {
                    for (user_id, wanted) in needed {
                        self.users.entry(user_id).or_default().take_in(&wanted);
                        refused = LedgerError::Unread(Box::new(wanted));
                    }
                }
                // Every state is here.
                Err(Rejection::Needs(_)) => break,
            }
        }
        Err(refused)
    }

    fn follow(&mut self, place: Place, emitted: Emitted) {
        match (emitted.stream, emitted.event) {
            (StreamId::User(id), Event::User(event)) => {
                let user = self.users.entry(id.clone()).or_default();
                user.evolve(&id, place, &event);
                if !self.burn.is_empty() {
                    user.prioritize(&self.burn);
                }
                self.settlements.extend(event.settles());
                match event {
                    UserEvent::CreditsSpent(spent) => {
                        self.used.insert(place, spent.slices);
                    }
                    UserEvent::HoldCaptured(captured) => {
                        self.used.insert(place, captured.slices);
                    }
                    _ => {}
                }
            }
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                self.purchases.entry(id).or_default().evolve(&event);
            }
            // The rules write no event into a stream of the other type.
            (StreamId::User(_), Event::Purchase(_)) | (StreamId::Purchase(_), Event::User(_)) => {}
        }
    }
}
