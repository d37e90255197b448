//! A user in memory, with everything that the rules may ask for: all lots, and the open holds.
//!
//! In the service lots behind the front and open holds are rows. Here nothing is ever stored, so that all lots are in the
//! state, and the holds are beside it.

use std::collections::BTreeMap;

use crate::ledger::command::Hold;
use crate::ledger::lots::{LotKind, Wanted};
use crate::ledger::user::{ReadRows, UserCommand};
use crate::ledger::{LedgerError, Place, User, UserEvent, UserId};

/// See above.
#[derive(Debug, Clone, Default)]
pub struct Whole {
    user: User,
    holds: BTreeMap<Place, Hold>,
}

impl Whole {
    /// The state.
    pub const fn user(&self) -> &User {
        &self.user
    }

    /// The holds that nothing settled, by what they are called by.
    pub const fn holds(&self) -> &BTreeMap<Place, Hold> {
        &self.holds
    }

    /// Lets an event at a place follow.
    pub fn evolve(&mut self, id: &UserId, place: Place, event: &UserEvent) {
        self.follow(event);
        if let UserEvent::CreditsHeld(held) = event {
            let hold = Hold::placed(place, id.clone(), held.clone());
            self.holds.insert(place, hold);
        }
    }

    /// Lets an event follow that places no hold.
    fn follow(&mut self, event: &UserEvent) {
        self.user.evolve(event);
        if let Some((settled, _)) = event.settles() {
            self.holds.remove(&settled);
        }
    }

    /// Gives each lot the priority that its kind has here.
    pub fn prioritize(&mut self, priorities: &BTreeMap<LotKind, u8>) {
        self.user.lots.prioritize(priorities);
    }

    /// Gives the rules what they asked for, which is only ever open holds.
    pub fn take_in(&mut self, wanted: &Wanted) {
        let until_s = wanted.due_until_s.unwrap_or(i64::MIN);
        let all = self.holds.values();
        let (due, later): (Vec<&Hold>, Vec<&Hold>) =
            all.partition(|hold| hold.times_out_at_s <= until_s);
        let read = ReadRows {
            holds: due.into_iter().cloned().collect(),
            hold_due_after_s: later.into_iter().map(|hold| hold.times_out_at_s).min(),
            ..ReadRows::default()
        };
        self.user.take_in(wanted, read);
    }

    /// Lets end what has ended by then, seconds since 1970. Gives the events that say so; they have no place in the log.
    ///
    /// # Errors
    /// What a rule says no to, which no honest history leads to.
    pub fn settle(&mut self, at_s: i64) -> Result<Vec<UserEvent>, LedgerError> {
        let command = UserCommand::Settle { at_s };
        let mut decided = self.user.decide(&command);
        if let Err(LedgerError::Unread(wanted)) = decided {
            self.take_in(&wanted);
            decided = self.user.decide(&command);
        }
        let events = decided?;
        for event in &events {
            self.follow(event);
        }
        Ok(events)
    }
}
