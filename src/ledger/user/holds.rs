//! What the rules know of a user's open holds: how soon one may time out, and those that did, once they were read.
//!
//! The holds themselves are rows. The time kept here is a bound and no fact: no hold times out before it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::ledger::LedgerError;
use crate::ledger::command::Hold;
use crate::ledger::lots::Wanted;
use crate::ledger::value::Place;

/// When holds may time out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct OpenHolds {
    /// No open hold times out before this, seconds since 1970; `None`: there is none.
    due_at_s: Option<i64>,
    #[serde(skip)]
    read: Option<Read>,
}

/// Holds that were read.
#[derive(Debug, Clone)]
struct Read {
    /// All that time out until then are here.
    until_s: i64,
    /// In the order in which they time out: so they are settled, and thousands may be due at once.
    holds: VecDeque<Hold>,
    /// None of the others times out before this.
    after_s: Option<i64>,
}

impl PartialEq for OpenHolds {
    /// Two bounds of the same holds may differ.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for OpenHolds {}

impl OpenHolds {
    pub(super) const fn is_empty(&self) -> bool {
        self.due_at_s.is_none()
    }

    pub(super) const fn due_at_s(&self) -> Option<i64> {
        self.due_at_s
    }

    /// Asks for the holds that may have timed out until then, if they are not here.
    pub(super) fn need_due(&self, until_s: i64) -> Result<(), LedgerError> {
        let known = self
            .read
            .as_ref()
            .is_some_and(|read| read.until_s >= until_s);
        if known || self.due_at_s.is_none_or(|due_at_s| due_at_s > until_s) {
            return Ok(());
        }
        Err(LedgerError::Unread(Box::new(Wanted {
            due_until_s: Some(until_s),
            ..Wanted::default()
        })))
    }

    /// The holds that timed out until then, of those that were read.
    pub(super) fn timed_out(&self, until_s: i64) -> impl Iterator<Item = &Hold> {
        let read = self.read.iter().flat_map(|read| &read.holds);
        read.take_while(move |hold| hold.times_out_at_s <= until_s)
    }

    /// The one of them that did so first.
    pub(super) fn first_timed_out(&self, until_s: i64) -> Option<&Hold> {
        self.timed_out(until_s).next()
    }

    pub(super) fn take_in(&mut self, until_s: i64, mut holds: Vec<Hold>, after_s: Option<i64>) {
        holds.sort_by_key(|hold| (hold.times_out_at_s, hold.hold_id));
        self.read = Some(Read {
            until_s,
            holds: holds.into(),
            after_s,
        });
        self.bound();
    }

    pub(super) fn opened(&mut self, times_out_at_s: i64) {
        if let Some(read) = &mut self.read {
            read.after_s = [read.after_s, Some(times_out_at_s)]
                .into_iter()
                .flatten()
                .min();
        }
        self.due_at_s = [self.due_at_s, Some(times_out_at_s)]
            .into_iter()
            .flatten()
            .min();
    }

    pub(super) fn settled(&mut self, hold_id: Place) {
        if let Some(read) = &mut self.read {
            let index = read.holds.iter().position(|hold| hold.hold_id == hold_id);
            index.and_then(|index| read.holds.remove(index));
        }
        self.bound();
    }

    pub(super) fn none_left(&mut self) {
        self.due_at_s = None;
    }

    fn bound(&mut self) {
        if let Some(read) = &self.read {
            let first = read.holds.front().map(|hold| hold.times_out_at_s);
            self.due_at_s = [first, read.after_s].into_iter().flatten().min();
        }
    }
}
