//! The rules once more, said plainly: nothing is kept apart, nothing is read on demand. Written to be read, not to be fast;
//! shares no code with the rules but their words.

mod money;
mod person;
mod step;

use std::collections::BTreeMap;

use crate::ledger::command::{DisputeStanding, Hold};
use crate::ledger::lots::{LotKind, Slice, Terms};
use crate::ledger::{Command, Credits, LedgerError, Place, PurchaseId, Settlement, UserId};
use money::Purchase;
use person::{Person, Reserved, cut, sum};
pub use step::Step;

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    people: BTreeMap<UserId, Person>,
    purchases: BTreeMap<PurchaseId, Purchase>,
    settled: BTreeMap<Place, Settlement>,
    /// Which event of which user is where.
    places: BTreeMap<Place, i64>,
    holds: BTreeMap<(UserId, i64), Place>,
    steps: Vec<Step>,
}

type Said = Result<(), LedgerError>;

impl Plain {
    /// What follows from a command at a time: what happened to users, or why nothing did.
    pub fn run(&mut self, command: &Command, at_s: i64) -> Result<Vec<Step>, LedgerError> {
        let before = self.clone();
        match self.apply(command, at_s) {
            Ok(()) => Ok(std::mem::take(&mut self.steps)),
            Err(error) => {
                *self = before;
                Err(error)
            }
        }
    }

    /// Where the history has an event of a user.
    pub fn place(&mut self, place: Place, user: &UserId, event: i64) {
        self.places.insert(place, event);
        self.holds.insert((user.clone(), event), place);
    }

    pub fn person(&self, user: &UserId) -> Person {
        self.people.get(user).cloned().unwrap_or_default()
    }

    /// The user as it is at a time.
    pub fn look(&self, user: &UserId, at_s: i64) -> Person {
        let mut then = self.clone();
        then.settle(user, at_s);
        then.person(user)
    }

    fn apply(&mut self, command: &Command, at_s: i64) -> Said {
        match command {
            Command::RegisterUser(register) => {
                let user = &register.user_id;
                self.settle(user, at_s);
                if !self.of(user).registered {
                    self.of(user).registered = true;
                    self.of(user).plan.get_or_insert(register.plan.clone());
                    self.tell(Step::new(user, "UserRegistered"));
                    self.signup_bonus(user, register.bonus);
                }
                Ok(())
            }
            Command::GrantSignupBonus { user_id, bonus } => {
                self.now(user_id, at_s, |plain| plain.signup_bonus(user_id, *bonus));
                Ok(())
            }
            Command::GrantCredits(grant) => self.at(&grant.user_id, at_s, |plain| {
                let terms = Terms {
                    kind: grant.kind,
                    priority: grant.priority,
                    expires_at_s: grant.expires_at_s,
                    purchase_id: None,
                    amount: grant.credits,
                };
                plain.give(&grant.user_id, "CreditsGranted", &terms);
                Ok(())
            }),
            Command::ChangePlan {
                user_id,
                plan,
                bonus,
                bonus_expires_at_s,
            } => self.at(user_id, at_s, |plain| {
                if plain.of(user_id).plan.as_ref() == Some(plan) {
                    return Ok(());
                }
                plain.of(user_id).plan = Some(plan.clone());
                plain.tell(Step::new(user_id, "PlanChanged"));
                let terms = Terms {
                    expires_at_s: *bonus_expires_at_s,
                    ..Terms::plain(LotKind::Plan, *bonus)
                };
                plain.give(user_id, "CreditsGranted", &terms);
                Ok(())
            }),
            Command::RewardReferral {
                referred,
                referrer,
                referred_credits,
                referrer_credits,
            } => self.refer(
                referred,
                referrer,
                [*referred_credits, *referrer_credits],
                at_s,
            ),
            Command::SettleUser { user_id } => {
                self.settle(user_id, at_s);
                Ok(())
            }
            Command::Together(commands) => {
                for (index, command) in commands.iter().enumerate() {
                    let error = |error| {
                        let error = Box::new(error);
                        LedgerError::Item { index, error }
                    };
                    self.apply(command, at_s).map_err(error)?;
                }
                Ok(())
            }
            other => self.use_credits(other, at_s),
        }
    }

    fn use_credits(&mut self, command: &Command, at_s: i64) -> Said {
        match command {
            Command::SpendCredits(spend) => self.at(&spend.user_id, at_s, |plain| {
                let available = plain.of(&spend.user_id).available();
                let mut credits = spend.credits.get();
                if spend.allow_partial && available > 0 {
                    credits = credits.min(available);
                }
                let slices = plain.take(&spend.user_id, credits)?;
                plain.use_up(&spend.user_id, &slices);
                plain.tell(Step {
                    credits,
                    slices,
                    ..Step::new(&spend.user_id, "CreditsSpent")
                });
                Ok(())
            }),
            Command::ReverseSpend(reverse) => {
                if self.settled.contains_key(&reverse.entry_id) {
                    return Err(LedgerError::SpendReversed);
                }
                self.at(&reverse.user_id, at_s, |plain| {
                    plain.reverse(&reverse.user_id, reverse.entry_id, reverse.credits)
                })
            }
            Command::HoldCredits(hold) => self.at(&hold.user_id, at_s, |plain| {
                let slices = plain.take(&hold.user_id, hold.credits.get())?;
                let person = plain.of(&hold.user_id);
                person.holds.push(Reserved {
                    event: person.events + 1,
                    slices: slices.clone(),
                    times_out_at_s: at_s + hold.lasts_s,
                });
                plain.tell(Step {
                    credits: hold.credits.get(),
                    slices,
                    ..Step::new(&hold.user_id, "CreditsHeld")
                });
                Ok(())
            }),
            Command::CaptureHold { hold, credits } => self.at(&hold.user_id, at_s, |plain| {
                plain.capture_hold(hold, *credits)
            }),
            Command::ReleaseHold { hold } => self.at(&hold.user_id, at_s, |plain| {
                let event = plain.open_hold(hold)?;
                plain.release(&hold.user_id, event, None);
                Ok(())
            }),
            other => {
                self.hear_of_money(other, at_s);
                Ok(())
            }
        }
    }

    fn hear_of_money(&mut self, command: &Command, at_s: i64) {
        match command {
            Command::CapturePayment(capture) => {
                self.capture_payment(capture, at_s);
            }
            Command::RefundPayment(refund) => {
                self.learn(&refund.purchase_id, at_s, |known| {
                    if let Some(one) = &refund.refund {
                        let entry = known.refunds.entry(one.refund_id.clone());
                        entry.or_insert((one.amount_minor, false)).1 |= one.failed;
                    }
                    known.total_minor = known.total_minor.max(refund.refunded_total_minor);
                });
            }
            Command::DisputePayment(dispute) => {
                self.learn(&dispute.purchase_id, at_s, |known| {
                    let minor = match dispute.standing {
                        DisputeStanding::Open { amount_minor }
                        | DisputeStanding::Lost { amount_minor } => amount_minor,
                        DisputeStanding::Won => 0,
                    };
                    let news = (dispute.stage, minor, dispute.standing);
                    let old = known.disputes.get(&dispute.dispute_id);
                    if old.is_none_or(|old| (old.0, old.1) < (news.0, news.1)) {
                        known.disputes.insert(dispute.dispute_id.clone(), news);
                    }
                });
            }
            other => unimplemented!("{other:?}"),
        }
    }

    fn of(&mut self, user: &UserId) -> &mut Person {
        self.people.entry(user.clone()).or_default()
    }

    fn tell(&mut self, step: Step) {
        self.of(&step.user).events += 1;
        self.steps.push(step);
    }

    /// Something at a time: what ended before it did so before; what it brings back too late ends at once.
    fn at(&mut self, user: &UserId, at_s: i64, act: impl FnOnce(&mut Self) -> Said) -> Said {
        self.settle(user, at_s);
        act(self)?;
        self.settle(user, at_s);
        Ok(())
    }

    /// As [`Self::at`], for what can not be refused.
    fn now(&mut self, user: &UserId, at_s: i64, act: impl FnOnce(&mut Self)) {
        self.settle(user, at_s);
        act(self);
        self.settle(user, at_s);
    }

    /// Lets end what ends, in the order of time.
    fn settle(&mut self, user: &UserId, until_s: i64) {
        let mut now_s = i64::MIN;
        loop {
            let person = self.of(user);
            let due = person
                .holds
                .iter()
                .filter(|hold| hold.times_out_at_s <= until_s);
            let hold = due
                .min_by_key(|hold| (hold.times_out_at_s, hold.event))
                .cloned();
            let before_s = hold
                .as_ref()
                .map_or(until_s, |hold| hold.times_out_at_s - 1);
            if let Some((at_s, slices)) = person.end_next(before_s) {
                now_s = now_s.max(at_s);
                self.tell(Step {
                    credits: sum(&slices),
                    slices,
                    at_s: Some(now_s),
                    ..Step::new(user, "CreditsExpired")
                });
            } else if let Some(hold) = hold {
                now_s = now_s.max(hold.times_out_at_s);
                self.release(user, hold.event, Some(now_s));
            } else {
                return;
            }
        }
    }

    fn release(&mut self, user: &UserId, event: i64, timed_out_at_s: Option<i64>) {
        let how = match timed_out_at_s {
            Some(_) => Settlement::TimedOut,
            None => Settlement::Released,
        };
        let slices = self.end_hold(user, event, how);
        let (repaid, back) = self.of(user).give_back(&slices);
        self.tell(Step {
            credits: sum(&slices),
            repaid,
            slices: back,
            at_s: timed_out_at_s,
            ..Step::new(user, "HoldReleased")
        });
    }

    fn end_hold(&mut self, user: &UserId, event: i64, how: Settlement) -> Vec<Slice> {
        let person = self.of(user);
        let index = person
            .holds
            .iter()
            .position(|hold| hold.event == event)
            .unwrap();
        let slices = person.holds.remove(index).slices;
        if let Some(place) = self.holds.get(&(user.clone(), event)) {
            self.settled.insert(*place, how);
        }
        slices
    }

    fn open_hold(&self, hold: &Hold) -> Result<i64, LedgerError> {
        match self.settled.get(&hold.hold_id) {
            Some(how) => Err(LedgerError::HoldSettled(*how)),
            None => Ok(self.places[&hold.hold_id]),
        }
    }

    fn capture_hold(&mut self, hold: &Hold, credits: Option<Credits>) -> Said {
        let user = &hold.user_id;
        let event = self.open_hold(hold)?;
        let mut open = self.of(user).holds.iter();
        let all = open.find(|hold| hold.event == event).unwrap();
        let all = sum(&all.slices);
        let credits = credits.map_or(all, Credits::get);
        if credits > all {
            let most = Credits::new(all).unwrap();
            return Err(LedgerError::AmountTooLarge { most });
        }
        let slices = self.end_hold(user, event, Settlement::Captured);
        let (slices, rest) = cut(&slices, credits);
        let (repaid, returned) = self.of(user).give_back(&rest);
        self.use_up(user, &slices);
        self.tell(Step {
            credits,
            repaid,
            slices,
            returned,
            ..Step::new(user, "HoldCaptured")
        });
        Ok(())
    }

    fn take(&mut self, user: &UserId, credits: i64) -> Result<Vec<Slice>, LedgerError> {
        let available = self.of(user).available();
        if available < credits {
            return Err(LedgerError::InsufficientCredits {
                required: Credits::new(credits).unwrap(),
                available: Credits::new(available).unwrap(),
            });
        }
        let slices = self.of(user).burn(credits, false);
        assert_eq!(sum(&slices), credits, "what is available can be taken");
        Ok(slices)
    }

    fn use_up(&mut self, user: &UserId, slices: &[Slice]) {
        let person = self.of(user);
        person.used.insert(person.events + 1, slices.to_vec());
    }

    fn reverse(&mut self, user: &UserId, entry: Place, credits: Option<Credits>) -> Said {
        let mut slices = self.of(user).used.clone()[&self.places[&entry]].clone();
        let all = sum(&slices);
        let credits = credits.map_or(all, Credits::get);
        if credits > all {
            let most = Credits::new(all).unwrap();
            return Err(LedgerError::AmountTooLarge { most });
        }
        slices.reverse();
        let (back, _) = cut(&slices, credits);
        let (repaid, slices) = self.of(user).give_back(&back);
        self.settled.insert(entry, Settlement::Reversed);
        self.tell(Step {
            credits,
            repaid,
            slices,
            ..Step::new(user, "SpendReversed")
        });
        Ok(())
    }

    fn give(&mut self, user: &UserId, what: &'static str, terms: &Terms) {
        if terms.amount.is_zero() {
            return;
        }
        let (credits, repaid) = self.of(user).add(terms);
        self.tell(Step {
            credits,
            repaid,
            ..Step::new(user, what)
        });
    }

    fn signup_bonus(&mut self, user: &UserId, bonus: Credits) {
        if !self.of(user).bonus && !bonus.is_zero() {
            self.of(user).bonus = true;
            self.give(
                user,
                "SignupBonusGranted",
                &Terms::plain(LotKind::Bonus, bonus),
            );
        }
    }

    fn refer(&mut self, guest: &UserId, host: &UserId, credits: [Credits; 2], at_s: i64) -> Said {
        if guest == host {
            return Err(LedgerError::SelfReferral);
        }
        match &self.of(guest).referred_by {
            Some(by) if by == host => return Ok(()),
            Some(_) => return Err(LedgerError::AlreadyReferred),
            None => self.of(guest).referred_by = Some(host.clone()),
        }
        self.tell(Step::new(guest, "UserReferred"));
        for (user, credits) in [guest, host].into_iter().zip(credits) {
            self.at(user, at_s, |plain| {
                plain.give(
                    user,
                    "CreditsGranted",
                    &Terms::plain(LotKind::Bonus, credits),
                );
                Ok(())
            })?;
        }
        Ok(())
    }
}
