//! What happened to a user, in words that the rules and the model share.

use crate::ledger::event::UserEvent;
use crate::ledger::lots::Slice;
use crate::ledger::{Credits, UserId};

/// What happened to a user, as both tellers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub user: UserId,
    pub what: &'static str,
    pub credits: i64,
    pub repaid: i64,
    /// Of a purchase's own lot: held back there, or ended there before.
    pub own: i64,
    /// Lots that they came out of, or came back to.
    pub slices: Vec<Slice>,
    /// Of a captured hold: what came back.
    pub returned: Vec<Slice>,
    /// When it ended or timed out.
    pub at_s: Option<i64>,
}

impl Step {
    pub(super) fn new(user: &UserId, what: &'static str) -> Self {
        Self {
            user: user.clone(),
            what,
            credits: 0,
            repaid: 0,
            own: 0,
            slices: vec![],
            returned: vec![],
            at_s: None,
        }
    }

    /// What an event of the rules says.
    pub fn of(user: &UserId, event: &UserEvent) -> Self {
        let mut step = Self::new(user, event.type_name());
        let (credits, repaid) = match event {
            UserEvent::SignupBonusGranted(added) | UserEvent::CreditsPurchased { added, .. } => {
                (added.credits, added.repaid)
            }
            UserEvent::CreditsGranted(granted) => (granted.added.credits, granted.added.repaid),
            UserEvent::CreditsHeldBack(adjusted)
            | UserEvent::CreditsClawedBack(adjusted)
            | UserEvent::CreditsRestored(adjusted) => {
                step.slices.clone_from(&adjusted.slices);
                step.own = adjusted.own.get();
                (adjusted.credits, adjusted.repaid)
            }
            UserEvent::CreditsSpent(spent) => {
                step.slices.clone_from(&spent.slices);
                (spent.credits, Credits::ZERO)
            }
            UserEvent::SpendReversed(reversed) => {
                step.slices.clone_from(&reversed.slices);
                (reversed.credits, reversed.repaid)
            }
            UserEvent::CreditsHeld(held) => {
                step.slices.clone_from(&held.slices);
                (held.credits, Credits::ZERO)
            }
            UserEvent::HoldCaptured(captured) => {
                step.slices.clone_from(&captured.slices);
                step.returned.clone_from(&captured.returned);
                (captured.credits, captured.repaid)
            }
            UserEvent::HoldReleased(released) => {
                step.slices.clone_from(&released.returned);
                step.at_s = released.timed_out_at_s;
                (released.credits, released.repaid)
            }
            UserEvent::CreditsExpired(expired) => {
                step.slices.clone_from(&expired.slices);
                step.at_s = Some(expired.expired_at_s);
                (expired.credits, Credits::ZERO)
            }
            _ => (Credits::ZERO, Credits::ZERO),
        };
        (step.credits, step.repaid) = (credits.get(), repaid.get());
        step
    }
}
