//! The rules once more, said plainly: each user has a list of lots, which is sorted when it is asked for; nothing is kept
//! apart, nothing is read on demand. Written to be read, not to be fast; shares no code with the rules but their words.

use std::collections::BTreeMap;

use crate::ledger::command::{CapturePayment, DisputeStanding, Hold};
use crate::ledger::event::{DisputeStage, UserEvent};
use crate::ledger::lots::{LotKind, Slice, Terms};
use crate::ledger::{
    Account, Command, Credits, LedgerError, Place, PurchaseId, Settlement, UserId,
};

/// What happened to a user, as both tellers say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) user: UserId,
    pub(super) what: &'static str,
    pub(super) credits: i64,
    pub(super) repaid: i64,
    /// Of a purchase's own lot: held back there, or ended there before.
    pub(super) own: i64,
    /// Lots that they came out of, or came back to.
    pub(super) slices: Vec<Slice>,
    /// Of a captured hold: what came back.
    pub(super) returned: Vec<Slice>,
    /// When it ended or timed out.
    pub(super) at_s: Option<i64>,
}

impl Step {
    fn new(user: &UserId, what: &'static str) -> Self {
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
    pub(super) fn of(user: &UserId, event: &UserEvent) -> Self {
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

/// A lot that holds credits, or is of a purchase and remembers what ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlainLot {
    pub(super) id: i64,
    pub(super) terms: Terms,
    pub(super) left: i64,
    /// Of those left: held back for a dispute.
    pub(super) contested: i64,
    pub(super) ended: i64,
    /// Of those that ended: count as taken back.
    pub(super) counted: i64,
}

/// Credits set aside.
#[derive(Debug, Clone)]
struct Reserved {
    event: i64,
    slices: Vec<Slice>,
    times_out_at_s: i64,
}

/// All of a user.
#[derive(Debug, Clone, Default)]
pub(super) struct Person {
    /// How many events there are.
    events: i64,
    /// Of how many it is known where they are.
    placed: i64,
    lots: Vec<PlainLot>,
    owed: i64,
    disputed: i64,
    holds: Vec<Reserved>,
    /// What each spend and captured hold used.
    used: BTreeMap<i64, Vec<Slice>>,
    registered: bool,
    bonus: bool,
    plan: Option<String>,
    referred_by: Option<UserId>,
}

/// All that is known of a purchase of 900 minor units.
#[derive(Debug, Clone, Default)]
struct Purchase {
    /// Whose it is, what it gave, and when that ends.
    given: Option<(UserId, i64, Option<i64>)>,
    amount_minor: i64,
    refunds: BTreeMap<String, (i64, bool)>,
    total_minor: i64,
    disputes: BTreeMap<String, (DisputeStage, i64, DisputeStanding)>,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Plain {
    people: BTreeMap<UserId, Person>,
    purchases: BTreeMap<PurchaseId, Purchase>,
    settled: BTreeMap<Place, Settlement>,
    /// Which event of which user is where.
    places: BTreeMap<Place, i64>,
    holds: BTreeMap<(UserId, i64), Place>,
    steps: Vec<Step>,
}

type Said = Result<(), LedgerError>;

impl Person {
    fn in_lots(&self) -> i64 {
        self.lots.iter().map(|lot| lot.left).sum()
    }

    fn available(&self) -> i64 {
        (self.in_lots() - self.disputed).max(0)
    }

    pub(super) fn account(&self) -> Account {
        let credits = |n| Credits::new(n).unwrap();
        let reserved: i64 = self.holds.iter().map(|hold| sum(&hold.slices)).sum();
        let in_lots = self.in_lots();
        Account {
            balance: credits(in_lots + reserved),
            held: credits(self.disputed.min(in_lots) + reserved),
            debt: credits((self.disputed - in_lots).max(0) + self.owed),
            disputed: credits(self.disputed),
            reserved: credits(reserved),
        }
    }

    /// The lots with credits, in the order of burning.
    pub(super) fn open(&self) -> Vec<PlainLot> {
        let mut open: Vec<PlainLot> = self
            .lots
            .iter()
            .filter(|lot| lot.left > 0)
            .cloned()
            .collect();
        open.sort_by_key(|lot| order(lot.id, &lot.terms));
        open
    }

    fn own(&mut self, purchase: &PurchaseId) -> Option<&mut PlainLot> {
        let of = |lot: &&mut PlainLot| lot.terms.purchase_id.as_ref() == Some(purchase);
        self.lots.iter_mut().find(of)
    }

    /// What comes in repays what is owed first.
    fn repay(&mut self, credits: i64) -> i64 {
        let repaid = self.owed.min(credits);
        self.owed -= repaid;
        repaid
    }

    fn add(&mut self, terms: Terms) -> (i64, i64) {
        let credits = terms.amount.get();
        let repaid = self.repay(credits);
        // The event that is about to be told.
        self.put(&part(self.events + 1, &terms, credits - repaid));
        (credits, repaid)
    }

    /// Lays credits into their lot, which comes again if it is not there. A purchase has one lot.
    fn put(&mut self, slice: &Slice) -> Slice {
        let known = self.lots.iter_mut().find(|lot| {
            let purchase = &lot.terms.purchase_id;
            lot.id == slice.lot || purchase.is_some() && *purchase == slice.terms.purchase_id
        });
        if let Some(lot) = known {
            lot.left += slice.credits.get();
            return part(lot.id, &lot.terms, slice.credits.get());
        }
        if !slice.credits.is_zero() {
            self.lots.push(PlainLot {
                id: slice.lot,
                terms: slice.terms.clone(),
                left: slice.credits.get(),
                contested: 0,
                ended: 0,
                counted: 0,
            });
        }
        slice.clone()
    }

    /// Takes so many out of lots in the order of burning: what is free, and in the end, if it must, what is contested.
    fn burn(&mut self, credits: i64, contested_too: bool) -> Vec<Slice> {
        let mut left = credits;
        let mut slices: Vec<Slice> = Vec::new();
        for contested in [false, true] {
            for lot in self.open() {
                if contested && !contested_too {
                    continue;
                }
                let most = if contested {
                    lot.contested
                } else {
                    lot.left - lot.contested
                };
                let taken = most.min(left);
                left -= taken;
                if taken == 0 {
                    continue;
                }
                match slices.iter_mut().find(|slice| slice.lot == lot.id) {
                    Some(slice) => slice.credits = add(slice.credits, taken),
                    None => slices.push(part(lot.id, &lot.terms, taken)),
                }
            }
        }
        for slice in &slices {
            let lot = self
                .lots
                .iter_mut()
                .find(|lot| lot.id == slice.lot)
                .unwrap();
            lot.left -= slice.credits.get();
            lot.contested = lot.contested.min(lot.left);
        }
        self.tidy();
        slices
    }

    fn give_back(&mut self, slices: &[Slice]) -> (i64, Vec<Slice>) {
        let mut slices = slices.to_vec();
        slices.sort_by_key(|slice| order(slice.lot, &slice.terms));
        let repaid = self.repay(sum(&slices));
        let (_, rest) = cut(&slices, repaid);
        (repaid, rest.iter().map(|slice| self.put(slice)).collect())
    }

    /// A lot without credits is forgotten, unless its purchase may ask what ended in it.
    fn tidy(&mut self) {
        let remembers = |lot: &PlainLot| lot.terms.purchase_id.is_some() && lot.ended > 0;
        self.lots.retain(|lot| lot.left > 0 || remembers(lot));
    }

    /// The next that ends, and everything that ends with it.
    fn end_next(&mut self, until_s: i64) -> Option<(i64, Vec<Slice>)> {
        let ends = |lot: &PlainLot| lot.terms.expires_at_s.filter(|_| lot.left > lot.contested);
        let at_s = self
            .lots
            .iter()
            .filter_map(ends)
            .min()
            .filter(|at_s| *at_s <= until_s)?;
        let mut slices = Vec::new();
        for lot in self.open() {
            if ends(&lot) == Some(at_s) {
                let known = self
                    .lots
                    .iter_mut()
                    .find(|known| known.id == lot.id)
                    .unwrap();
                let free = lot.left - lot.contested;
                known.left -= free;
                known.ended += free;
                slices.push(part(lot.id, &lot.terms, free));
            }
        }
        self.tidy();
        Some((at_s, slices))
    }
}

impl Purchase {
    /// How many credits are clawed back and held back, from the facts alone.
    fn withheld(&self) -> (i64, i64) {
        let Some((_, credits, _)) = self.given else {
            return (0, 0);
        };
        let known: i64 = self.refunds.values().map(|(amount, _)| amount).sum();
        let live = self.refunds.values().filter(|(_, failed)| !failed);
        let refunded =
            live.map(|(amount, _)| amount).sum::<i64>() + (self.total_minor - known).max(0);
        let (mut lost, mut open) = (0, 0);
        for (_, _, standing) in self.disputes.values() {
            match standing {
                DisputeStanding::Open { amount_minor } => open += amount_minor,
                DisputeStanding::Lost { amount_minor } => lost += amount_minor,
                DisputeStanding::Won => {}
            }
        }
        let share = |minor: i64| credits * minor.min(self.amount_minor) / self.amount_minor;
        let clawed = share(refunded + lost);
        (clawed, share(refunded + lost + open) - clawed)
    }
}

impl Plain {
    /// What follows from a command at a time: what happened to users, or why nothing did.
    pub(super) fn run(&mut self, command: &Command, at_s: i64) -> Result<Vec<Step>, LedgerError> {
        let before = self.clone();
        match self.apply(command, at_s) {
            Ok(()) => Ok(std::mem::take(&mut self.steps)),
            Err(error) => {
                *self = before;
                Err(error)
            }
        }
    }

    /// Where the history has the next event of a user.
    pub(super) fn place(&mut self, place: Place, user: &UserId) {
        let event = self.of(user).placed + 1;
        self.of(user).placed = event;
        self.places.insert(place, event);
        self.holds.insert((user.clone(), event), place);
    }

    pub(super) fn person(&self, user: &UserId) -> Person {
        self.people.get(user).cloned().unwrap_or_default()
    }

    /// The user as it is at a time.
    pub(super) fn look(&self, user: &UserId, at_s: i64) -> Person {
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
            Command::GrantSignupBonus { user_id, bonus } => self.at(user_id, at_s, |plain| {
                plain.signup_bonus(user_id, *bonus);
                Ok(())
            }),
            Command::GrantCredits(grant) => self.at(&grant.user_id, at_s, |plain| {
                let terms = Terms {
                    kind: grant.kind,
                    priority: grant.priority,
                    expires_at_s: grant.expires_at_s,
                    purchase_id: None,
                    amount: grant.credits,
                };
                plain.give(&grant.user_id, "CreditsGranted", terms);
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
                plain.give(user_id, "CreditsGranted", terms);
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
                    times_out_at_s: hold.times_out_at_s,
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
            Command::SettleUser { user_id } => {
                self.settle(user_id, at_s);
                Ok(())
            }
            Command::CapturePayment(capture) => {
                self.capture_payment(capture, at_s);
                Ok(())
            }
            Command::RefundPayment(refund) => {
                self.learn(&refund.purchase_id, at_s, |known| {
                    if let Some(one) = &refund.refund {
                        let entry = known.refunds.entry(one.refund_id.clone());
                        entry.or_insert((one.amount_minor, false)).1 |= one.failed;
                    }
                    known.total_minor = known.total_minor.max(refund.refunded_total_minor);
                });
                Ok(())
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
        let held = self.of(user).holds.iter().find(|hold| hold.event == event);
        let held = sum(&held.unwrap().slices);
        let credits = credits.map_or(held, Credits::get);
        if credits > held {
            let most = Credits::new(held).unwrap();
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
        let used = sum(&slices);
        let credits = credits.map_or(used, Credits::get);
        if credits > used {
            let most = Credits::new(used).unwrap();
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

    fn give(&mut self, user: &UserId, what: &'static str, terms: Terms) {
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
                Terms::plain(LotKind::Bonus, bonus),
            );
        }
    }

    fn refer(
        &mut self,
        referred: &UserId,
        referrer: &UserId,
        credits: [Credits; 2],
        at_s: i64,
    ) -> Said {
        if referred == referrer {
            return Err(LedgerError::SelfReferral);
        }
        match &self.of(referred).referred_by {
            Some(by) if by == referrer => return Ok(()),
            Some(_) => return Err(LedgerError::AlreadyReferred),
            None => self.of(referred).referred_by = Some(referrer.clone()),
        }
        self.tell(Step::new(referred, "UserReferred"));
        for (user, credits) in [referred, referrer].into_iter().zip(credits) {
            self.at(user, at_s, |plain| {
                plain.give(
                    user,
                    "CreditsGranted",
                    Terms::plain(LotKind::Bonus, credits),
                );
                Ok(())
            })?;
        }
        Ok(())
    }

    fn capture_payment(&mut self, capture: &CapturePayment, at_s: i64) {
        let known = self
            .purchases
            .entry(capture.purchase_id.clone())
            .or_default();
        if known.given.is_some() {
            return;
        }
        let (user, price) = (
            capture.user_id.clone().unwrap(),
            capture.price.clone().unwrap(),
        );
        known.given = Some((user.clone(), price.credits.get(), price.expires_at_s));
        known.amount_minor = capture.money.amount_minor;
        let withheld = known.withheld();
        let terms = Terms {
            expires_at_s: price.expires_at_s,
            purchase_id: Some(capture.purchase_id.clone()),
            ..Terms::plain(LotKind::Paid, price.credits)
        };
        let given = self.at(&user, at_s, |plain| {
            plain.give(&user, "CreditsPurchased", terms);
            Ok(())
        });
        given.unwrap();
        self.withhold(&capture.purchase_id, (0, 0), withheld, at_s);
    }

    /// Takes in a fact about a purchase, and brings its user to what is withheld now.
    fn learn(&mut self, id: &PurchaseId, at_s: i64, fact: impl FnOnce(&mut Purchase)) {
        let known = self.purchases.entry(id.clone()).or_default();
        let was = known.withheld();
        fact(known);
        let is = known.withheld();
        self.withhold(id, was, is, at_s);
    }

    fn withhold(&mut self, id: &PurchaseId, was: (i64, i64), is: (i64, i64), at_s: i64) {
        let Some((user, _, expires_at_s)) = self.purchases[id].given.clone() else {
            return;
        };
        let more = |now: i64, before: i64| (now - before).max(0);
        let (clawed, restored) = (more(is.0, was.0), more(was.0, is.0));
        let (contested, released) = (more(is.1, was.1), more(was.1, is.1));
        if clawed > 0 {
            let act = |plain: &mut Self| plain.claw_back(&user, id, clawed, released);
            self.at(&user, at_s, act).unwrap();
        } else if restored + released > 0 {
            let ends = expires_at_s;
            let act = |plain: &mut Self| plain.restore(&user, id, restored, released, was.0, ends);
            self.at(&user, at_s, act).unwrap();
        }
        if contested > 0 {
            let act = |plain: &mut Self| plain.hold_back(&user, id, contested);
            self.at(&user, at_s, act).unwrap();
        }
    }

    /// Out of its own lot first; then what ended there counts; then others; the rest is owed.
    fn claw_back(&mut self, user: &UserId, id: &PurchaseId, credits: i64, released: i64) -> Said {
        let person = self.of(user);
        person.disputed -= released;
        let (mut slices, mut counted) = (vec![], 0);
        if let Some(lot) = person.own(id) {
            let taken = lot.left.min(credits);
            lot.left -= taken;
            lot.contested = (lot.contested - released).clamp(0, lot.left);
            counted = (lot.ended - lot.counted).min(credits - taken);
            lot.counted += counted;
            if taken > 0 {
                slices.push(part(lot.id, &lot.terms, taken));
            }
        }
        person.tidy();
        let rest = credits - counted - sum(&slices);
        let others = person.burn(rest, true);
        person.owed += rest - sum(&others);
        slices.extend(others);
        self.tell(Step {
            credits,
            own: counted,
            slices,
            ..Step::new(user, "CreditsClawedBack")
        });
        Ok(())
    }

    /// Gives back what was taken; what only counted as taken comes last, and is no credits.
    fn restore(
        &mut self,
        user: &UserId,
        id: &PurchaseId,
        credits: i64,
        released: i64,
        clawed_before: i64,
        expires_at_s: Option<i64>,
    ) -> Said {
        let person = self.of(user);
        person.disputed -= released;
        let mut counted = 0;
        if let Some(lot) = person.own(id) {
            lot.contested = (lot.contested - released).max(0);
            counted = (credits - (clawed_before - lot.counted)).max(0);
            lot.counted -= counted;
        }
        let repaid = person.repay(credits - counted);
        let kept = credits - counted - repaid;
        let terms = Terms {
            expires_at_s,
            purchase_id: Some(id.clone()),
            ..Terms::plain(LotKind::Paid, Credits::new(kept).unwrap())
        };
        let back = person.put(&part(person.events + 1, &terms, kept));
        self.tell(Step {
            credits,
            repaid,
            own: counted,
            slices: if kept > 0 { vec![back] } else { vec![] },
            ..Step::new(user, "CreditsRestored")
        });
        Ok(())
    }

    /// So many can not be spent. Those in its own lot stay where they are until it is decided.
    fn hold_back(&mut self, user: &UserId, id: &PurchaseId, credits: i64) -> Said {
        let person = self.of(user);
        person.disputed += credits;
        let mut own = 0;
        if let Some(lot) = person.own(id) {
            own = (lot.left - lot.contested).min(credits);
            lot.contested += own;
        }
        self.tell(Step {
            credits,
            own,
            ..Step::new(user, "CreditsHeldBack")
        });
        Ok(())
    }
}

/// First what has the lower priority number, then what ends soonest, then what was given before what was paid, then the
/// oldest.
fn order(id: i64, terms: &Terms) -> (u8, bool, Option<i64>, bool, i64) {
    let ends = terms.expires_at_s;
    (
        terms.priority,
        ends.is_none(),
        ends,
        terms.kind == LotKind::Paid,
        id,
    )
}

fn part(lot: i64, terms: &Terms, credits: i64) -> Slice {
    Slice {
        lot,
        credits: Credits::new(credits).unwrap(),
        terms: terms.clone(),
    }
}

fn add(credits: Credits, more: i64) -> Credits {
    Credits::new(credits.get() + more).unwrap()
}

fn sum(slices: &[Slice]) -> i64 {
    slices.iter().map(|slice| slice.credits.get()).sum()
}

/// The first so many, and the rest.
fn cut(slices: &[Slice], credits: i64) -> (Vec<Slice>, Vec<Slice>) {
    let (mut first, mut rest, mut left) = (vec![], vec![], credits);
    for slice in slices {
        let here = slice.credits.get().min(left);
        left -= here;
        first.push(part(slice.lot, &slice.terms, here));
        rest.push(part(slice.lot, &slice.terms, slice.credits.get() - here));
    }
    first.retain(|slice| !slice.credits.is_zero());
    rest.retain(|slice| !slice.credits.is_zero());
    (first, rest)
}
