//! What follows for a user's credits: where they come in, burn, are set aside, come back, end and are taken back.
//!
//! The account is a function of three numbers: what was given less what was taken or reserved, what is contested, what is
//! reserved. The lots say which credits those are; together they are never more and never fewer than the account says.

use super::{Account, LotKind, User};
use crate::ledger::LedgerError;
use crate::ledger::command::{GrantCredits, Hold, HoldCredits, ReverseSpend, SpendCredits};
use crate::ledger::event::{
    CreditsAdded, CreditsExpired, CreditsGranted, CreditsHeld, CreditsSpent, GrantCause,
    HoldCaptured, HoldReleased, PurchaseAdjusted, SpendReversed, UserEvent,
};
use crate::ledger::lots::{PRIORITY_DEFAULT, Slice, Terms, split, total};
use crate::ledger::value::{Credits, PurchaseId, UserId};

type Decided = Result<Vec<UserEvent>, LedgerError>;

/// What comes back of a purchase.
pub(super) struct Restored {
    pub(super) credits: Credits,
    pub(super) released: Credits,
    pub(super) clawed_before: Credits,
    pub(super) expires_at_s: Option<i64>,
}

impl User {
    pub(super) fn add(&self, credits: Credits) -> Result<CreditsAdded, LedgerError> {
        let account = self.given(credits.get())?;
        Ok(CreditsAdded {
            credits,
            repaid: self.account.owed().min(credits),
            delta: self.delta_to(account),
            account,
        })
    }

    /// The account with so many more given.
    fn given(&self, given: i64) -> Result<Account, LedgerError> {
        self.moved(given, self.account.disputed, self.account.reserved)
    }

    /// The account with so many more given, and with these contested and reserved.
    fn moved(
        &self,
        given: i64,
        disputed: Credits,
        reserved: Credits,
    ) -> Result<Account, LedgerError> {
        // Both are within ±2^54: no overflow.
        let net = self.account.net() + given;
        Account::of(net, disputed, reserved).ok_or(LedgerError::BalanceOverflow)
    }

    const fn delta_to(&self, account: Account) -> i64 {
        account.balance.get() - self.account.balance.get()
    }

    /// Slices that come back: so many of the first to burn repay debt, the rest goes to its lots.
    fn come_back(&self, slices: &[Slice]) -> Result<(Credits, Vec<Slice>), LedgerError> {
        let mut slices = slices.to_vec();
        slices.sort_by_key(|slice| slice.terms.key(slice.lot));
        let repaid = self.account.owed().min(total(&slices));
        let (_, kept) = split(&slices, repaid);
        self.lots.need_lots_of(&kept)?;
        let kept = kept.iter().map(|slice| self.lots.coming_back(slice));
        Ok((repaid, kept.collect()))
    }

    /// Writes down what ended and what timed out, in the order of the times at which it was so.
    pub(super) fn settle(&self, at_s: i64) -> Decided {
        self.lots.need_due(at_s)?;
        self.holds.need_due(at_s)?;
        // All at once: any number of holds takes one round more.
        let released = self.holds.timed_out(at_s).flat_map(|hold| &hold.slices);
        self.lots.need_lots_of(released)?;
        let mut after = self.clone();
        let mut events = Vec::new();
        let mut time_s = i64::MIN;
        loop {
            let ending = after
                .lots
                .ending()
                .filter(|(ends_at_s, _)| *ends_at_s <= at_s);
            let hold = after.holds.first_timed_out(at_s);
            let event = match (hold, ending) {
                (Some(hold), ending)
                    if ending
                        .as_ref()
                        .is_none_or(|(ends_at_s, _)| hold.times_out_at_s <= *ends_at_s) =>
                {
                    time_s = time_s.max(hold.times_out_at_s);
                    after.release(hold, Some(time_s))?
                }
                (_, Some((ends_at_s, slices))) => {
                    // What came back late to a lot that had ended, ends when it came.
                    time_s = time_s.max(ends_at_s);
                    after.expire(time_s, slices)?
                }
                _ => return Ok(events),
            };
            after.evolve(&event);
            events.push(event);
        }
    }

    fn expire(&self, expired_at_s: i64, slices: Vec<Slice>) -> Result<UserEvent, LedgerError> {
        let credits = total(&slices);
        let account = self.given(-credits.get())?;
        Ok(UserEvent::CreditsExpired(CreditsExpired {
            credits,
            slices,
            expired_at_s,
            delta: self.delta_to(account),
            account,
        }))
    }

    fn available(&self) -> Credits {
        Credits::new(self.account.available()).unwrap_or_default()
    }

    /// Slices of so many available credits in the order of burning.
    fn burn(&self, credits: Credits) -> Result<Vec<Slice>, LedgerError> {
        let available = self.available();
        let insufficient = LedgerError::InsufficientCredits {
            required: credits,
            available,
        };
        if available < credits {
            return Err(insufficient);
        }
        let slices = self.lots.burn(credits, false)?;
        if total(&slices) == credits {
            Ok(slices)
        } else {
            Err(insufficient)
        }
    }

    pub(super) fn spend(&self, spend: &SpendCredits) -> Decided {
        let available = self.available();
        let credits = if spend.allow_partial && !available.is_zero() {
            spend.credits.min(available)
        } else {
            spend.credits
        };
        let slices = self.burn(credits)?;
        let account = self.given(-credits.get())?;
        Ok(vec![UserEvent::CreditsSpent(CreditsSpent {
            credits,
            slices,
            note: spend.note.clone(),
            delta: self.delta_to(account),
            account,
        })])
    }

    /// Gives back to the lots that it came from, the last one first.
    pub(super) fn reverse(&self, reverse: &ReverseSpend) -> Decided {
        let spent = total(&reverse.slices);
        let credits = reverse.credits.unwrap_or(spent);
        if credits > spent {
            return Err(LedgerError::AmountTooLarge { most: spent });
        }
        let last_first: Vec<Slice> = reverse.slices.iter().rev().cloned().collect();
        let (back, _) = split(&last_first, credits);
        let (repaid, slices) = self.come_back(&back)?;
        let account = self.given(credits.get())?;
        Ok(vec![UserEvent::SpendReversed(SpendReversed {
            entry_id: reverse.entry_id,
            credits,
            repaid,
            slices,
            reason: reverse.reason.clone(),
            delta: self.delta_to(account),
            account,
        })])
    }

    pub(super) fn hold(&self, hold: &HoldCredits, at_s: i64) -> Decided {
        let credits = hold.credits;
        let slices = self.burn(credits)?;
        let reserved = [self.account.reserved, credits].into_iter().sum();
        let account = self.moved(-credits.get(), self.account.disputed, reserved)?;
        Ok(vec![UserEvent::CreditsHeld(CreditsHeld {
            credits,
            slices,
            times_out_at_s: at_s.saturating_add(hold.lasts_s),
            note: hold.note.clone(),
            delta: self.delta_to(account),
            account,
        })])
    }

    /// Uses the first to burn of what is held.
    pub(super) fn capture(&self, hold: &Hold, credits: Option<Credits>) -> Decided {
        let all = total(&hold.slices);
        let credits = credits.unwrap_or(all);
        if credits > all {
            return Err(LedgerError::AmountTooLarge { most: all });
        }
        let (slices, rest) = split(&hold.slices, credits);
        let (repaid, returned) = self.come_back(&rest)?;
        let reserved = self.account.reserved.less(all);
        let back = all.less(credits).get();
        let account = self.moved(back, self.account.disputed, reserved)?;
        Ok(vec![UserEvent::HoldCaptured(HoldCaptured {
            hold_id: hold.hold_id,
            credits,
            slices,
            repaid,
            returned,
            note: hold.note.clone(),
            delta: self.delta_to(account),
            account,
        })])
    }

    pub(super) fn release(
        &self,
        hold: &Hold,
        timed_out_at_s: Option<i64>,
    ) -> Result<UserEvent, LedgerError> {
        let credits = total(&hold.slices);
        let (repaid, returned) = self.come_back(&hold.slices)?;
        let reserved = self.account.reserved.less(credits);
        let account = self.moved(credits.get(), self.account.disputed, reserved)?;
        Ok(UserEvent::HoldReleased(HoldReleased {
            hold_id: hold.hold_id,
            credits,
            repaid,
            returned,
            timed_out_at_s,
            delta: self.delta_to(account),
            account,
        }))
    }

    pub(super) fn grant(&self, grant: &GrantCredits) -> Decided {
        Ok(vec![UserEvent::CreditsGranted(CreditsGranted {
            kind: grant.kind,
            priority: grant.priority,
            expires_at_s: grant.expires_at_s,
            cause: GrantCause::Grant,
            reason: Some(grant.reason.clone()),
            actor: Some(grant.actor.clone()),
            referral: None,
            added: self.add(grant.credits)?,
        })])
    }

    pub(super) fn refer(&self, by: &UserId) -> Decided {
        match &self.referred_by {
            Some(known) if known == by => Ok(vec![]),
            Some(_) => Err(LedgerError::AlreadyReferred),
            None => Ok(vec![UserEvent::UserReferred { by: by.clone() }]),
        }
    }

    pub(super) fn reward(&self, other: &UserId, credits: Credits) -> Decided {
        if credits.is_zero() {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::CreditsGranted(CreditsGranted {
            kind: LotKind::Bonus,
            priority: PRIORITY_DEFAULT,
            expires_at_s: None,
            cause: GrantCause::Referral,
            reason: None,
            actor: None,
            referral: Some(other.clone()),
            added: self.add(credits)?,
        })])
    }

    pub(super) fn change_plan(
        &self,
        plan: &str,
        bonus: Credits,
        bonus_expires_at_s: Option<i64>,
    ) -> Decided {
        if self.plan.as_deref() == Some(plan) {
            return Ok(vec![]);
        }
        let mut events = vec![UserEvent::PlanChanged {
            plan: plan.to_owned(),
        }];
        if !bonus.is_zero() {
            events.push(UserEvent::CreditsGranted(CreditsGranted {
                kind: LotKind::Plan,
                priority: PRIORITY_DEFAULT,
                expires_at_s: bonus_expires_at_s,
                cause: GrantCause::Plan,
                reason: Some(plan.to_owned()),
                actor: None,
                referral: None,
                added: self.add(bonus)?,
            }));
        }
        Ok(events)
    }

    /// Holds back credits of a contested purchase: those in its own lot stay there and neither burn nor end; beyond them
    /// it is only a number.
    pub(super) fn hold_back(&self, purchase_id: &PurchaseId, credits: Credits) -> Decided {
        let own = self.lots.of_purchase(purchase_id)?;
        let disputed = [self.account.disputed, credits].into_iter().sum();
        let account = self.moved(0, disputed, self.account.reserved)?;
        Ok(vec![UserEvent::CreditsHeldBack(PurchaseAdjusted {
            purchase_id: purchase_id.clone(),
            credits,
            released: Credits::ZERO,
            slices: vec![],
            own: own.map_or(Credits::ZERO, |lot| lot.free().min(credits)),
            repaid: Credits::ZERO,
            delta: self.delta_to(account),
            account,
        })])
    }

    /// Takes credits of a purchase back: out of its own lot, then what ended there unspent counts as taken, then others in
    /// the order of burning, contested ones last. What is left is owed.
    pub(super) fn claw_back(
        &self,
        purchase_id: &PurchaseId,
        credits: Credits,
        released: Credits,
    ) -> Decided {
        let mut lots = self.lots.clone();
        let own = lots.of_purchase(purchase_id)?.cloned();
        lots.change_purchase(purchase_id, |lot| {
            lot.contested = lot.contested.less(released);
        });
        let mut slices = Vec::new();
        let mut counted = Credits::ZERO;
        if let Some(lot) = own {
            let of_own = Slice {
                lot: lot.id,
                credits: lot.remaining.min(credits),
                terms: lot.terms.clone(),
            };
            counted = lot
                .expired
                .less(lot.counted)
                .min(credits.less(of_own.credits));
            if !of_own.credits.is_zero() {
                lots.take(&of_own);
                slices.push(of_own);
            }
        }
        let taken = credits.less(counted);
        let there = Credits::new(self.account.net()).unwrap_or_default();
        let others = taken.min(there).less(total(&slices));
        slices.extend(lots.burn(others, true)?);
        let disputed = self.account.disputed.less(released);
        let account = self.moved(-taken.get(), disputed, self.account.reserved)?;
        Ok(vec![UserEvent::CreditsClawedBack(PurchaseAdjusted {
            purchase_id: purchase_id.clone(),
            credits,
            released,
            slices,
            own: counted,
            repaid: Credits::ZERO,
            delta: self.delta_to(account),
            account,
        })])
    }

    /// Gives back what was clawed back: what was counted as taken because it had ended comes last, and ends again.
    pub(super) fn restore(&self, purchase_id: &PurchaseId, back: &Restored) -> Decided {
        let own = self.lots.of_purchase(purchase_id)?;
        let counted = own.map_or(Credits::ZERO, |lot| lot.counted);
        let given = back.credits.min(back.clawed_before.less(counted));
        let repaid = self.account.owed().min(given);
        let kept = given.less(repaid);
        let (lot, terms) = match own {
            Some(lot) => (lot.id, lot.terms.clone()),
            None => (
                self.events + 1,
                Terms {
                    expires_at_s: back.expires_at_s,
                    purchase_id: Some(purchase_id.clone()),
                    ..Terms::plain(LotKind::Paid, kept)
                },
            ),
        };
        let slice = Slice {
            lot,
            credits: kept,
            terms,
        };
        let disputed = self.account.disputed.less(back.released);
        let account = self.moved(given.get(), disputed, self.account.reserved)?;
        Ok(vec![UserEvent::CreditsRestored(PurchaseAdjusted {
            purchase_id: purchase_id.clone(),
            credits: back.credits,
            released: back.released,
            slices: if kept.is_zero() { vec![] } else { vec![slice] },
            own: back.credits.less(given),
            repaid,
            delta: self.delta_to(account),
            account,
        })])
    }
}
