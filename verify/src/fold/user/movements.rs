//! The events that move credits: what comes to lots, what leaves them, and what the account is after it.

use super::account::Account;
use super::lots::{Lot, PRIORITY_DEFAULT, Slice, sum};
use super::{Fields, Hold, Settled, Stored, User};
use crate::fold::{Say, rule};
use crate::record::EventRecord;
use crate::report::{Totals, checks};

/// What a movement does.
#[derive(Debug, Default)]
struct Moves {
    /// What comes to lots, of what repays no debt.
    came: Option<Vec<Slice>>,
    /// How many credits leave lots.
    left: Option<i128>,
    /// How many more are given, net.
    given: i128,
    /// How many more are contested.
    disputed: i128,
    /// How many more are reserved.
    reserved: i128,
    /// The lot that comes with it, if one may.
    new_lot: Option<i64>,
    settled: Settled,
}

impl User {
    /// An event that moves credits.
    pub(super) fn apply_movement(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Settled {
        let (slices, returned) = (fields.slices(), fields.returned());
        let amounts = [fields.credits, fields.repaid, fields.released, fields.own];
        let in_slices = slices.iter().chain(returned).map(|slice| slice.credits);
        let all_there = amounts
            .into_iter()
            .chain(in_slices)
            .all(|amount| amount >= 0);
        rule(all_there, "it moves less than nothing", say);
        let moves = match event.event_type.as_str() {
            "SignupBonusGranted" | "CreditsPurchased" | "CreditsGranted" => {
                self.adds(event, fields, totals, say)
            }
            "CreditsSpent" | "SpendReversed" | "CreditsExpired" => {
                self.spends(event, fields, totals, say)
            }
            "CreditsHeld" | "HoldCaptured" | "HoldReleased" => {
                self.holds(event, fields, totals, say)
            }
            _ => self.adjusts(event, fields, totals, say),
        };
        if let Some(credits) = moves.left {
            rule(
                sum(slices) == credits,
                "its slices are not the credits that it takes",
                say,
            );
            let ends = event.event_type == "CreditsExpired";
            for slice in slices {
                self.lots.take(slice, ends, say);
            }
        }
        if let Some(slices) = &moves.came {
            let owed = self.owed().min(moves.given);
            rule(
                fields.repaid == owed,
                "it repays another debt than there is",
                say,
            );
            let kept = moves.given - fields.repaid;
            rule(
                sum(slices) == kept,
                "its slices are not the credits that come",
                say,
            );
            for slice in slices {
                self.lots.give(slice, moves.new_lot, say);
            }
        }
        self.check_account(event, fields, &moves, say);
        moves.settled
    }

    /// Credits come in, as a lot of their own.
    fn adds(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (kind, total) = match event.event_type.as_str() {
            "CreditsPurchased" => ("paid", &mut totals.purchased),
            "CreditsGranted" => (fields.kind.as_str(), &mut totals.granted),
            _ => {
                rule(!self.bonus, "it gives the signup bonus twice", say);
                self.bonus = true;
                ("bonus", &mut totals.granted)
            }
        };
        *total += fields.credits;
        let lot = Slice {
            lot: event.sequence,
            credits: fields.credits - fields.repaid,
            kind: kind.to_owned(),
            priority: fields.priority.unwrap_or(PRIORITY_DEFAULT),
            expires_at_s: fields.expires_at_s,
            purchase_id: fields.purchase_id.clone(),
            amount: fields.credits,
        };
        Moves {
            came: Some(vec![lot]),
            given: fields.credits,
            new_lot: Some(event.sequence),
            ..Moves::default()
        }
    }

    /// Credits are used, come back from a use, or end.
    fn spends(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (credits, slices) = (fields.credits, fields.slices());
        let mut moves = Moves {
            left: Some(credits),
            given: -credits,
            ..Moves::default()
        };
        match event.event_type.as_str() {
            "CreditsSpent" => {
                self.lots.check_free(slices, at_s(event), say);
                self.spends.push((event.position, credits));
                totals.spent += credits;
            }
            "CreditsExpired" => {
                let end_s = fields.expired_at_s;
                let over = |slice: &Slice| slice.expires_at_s.is_some_and(|over_s| over_s <= end_s);
                let all_over = end_s <= at_s(event) && slices.iter().all(over);
                rule(all_over, "it ends credits before their time", say);
                totals.expired += credits;
            }
            _ => {
                let position = place(fields.entry_id.as_deref(), event.shard);
                let index = self
                    .spends
                    .binary_search_by_key(&position.unwrap_or(0), |spend| spend.0);
                let used = index.ok().and_then(|index| self.spends.get(index));
                rule(
                    credits <= used.map_or(0, |used| used.1),
                    "it gives back more than was spent there",
                    say,
                );
                totals.spent -= credits;
                moves = Moves {
                    came: Some(slices.to_vec()),
                    given: credits,
                    settled: position.map(|position| (position, "reversed")),
                    ..Moves::default()
                };
            }
        }
        moves
    }

    /// Credits are set aside; they are used or come back.
    fn holds(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (credits, slices) = (fields.credits, fields.slices());
        if event.event_type == "CreditsHeld" {
            self.lots.check_free(slices, at_s(event), say);
            let hold = Hold {
                credits,
                times_out_at_s: fields.times_out_at_s,
                stored: Stored::Nowhere,
            };
            self.holds.insert(event.position, hold);
            return Moves {
                left: Some(credits),
                given: -credits,
                reserved: credits,
                ..Moves::default()
            };
        }
        let position = place(fields.hold_id.as_deref(), event.shard);
        let open = position.and_then(|position| self.holds.remove(&position));
        rule(open.is_some(), "it ends a hold that is not open", say);
        let times_out_at_s = open.as_ref().map_or(i64::MIN, |open| open.times_out_at_s);
        let held = open.map_or(credits, |open| open.credits);
        let (used, how) = if event.event_type == "HoldCaptured" {
            let fits = sum(slices) == credits && credits <= held;
            rule(fits, "it uses other credits than were held", say);
            self.spends.push((event.position, credits));
            (credits, "captured")
        } else {
            rule(
                credits == held,
                "it gives back other credits than were held",
                say,
            );
            let in_time = |out_s| (times_out_at_s..=at_s(event)).contains(&out_s);
            rule(
                fields.timed_out_at_s.is_none_or(in_time),
                "it says that a hold timed out when it did not",
                say,
            );
            let timed_out = fields.timed_out_at_s.is_some();
            (0, if timed_out { "timed out" } else { "released" })
        };
        totals.spent += used;
        Moves {
            came: Some(fields.returned().to_vec()),
            given: held - used,
            reserved: -held,
            settled: position.map(|position| (position, how)),
            ..Moves::default()
        }
    }

    /// Money of a purchase is contested, gone or back, and its credits with it.
    fn adjusts(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        totals: &mut Totals,
        say: &mut Say<'_>,
    ) -> Moves {
        let (credits, own) = (fields.credits, fields.own);
        if event.event_type == "CreditsHeldBack" {
            let change = |lot: &mut Lot| {
                lot.contested += own;
                lot.contested <= lot.remaining
            };
            self.lots.change_own(fields, change, say);
            return Moves {
                disputed: credits,
                ..Moves::default()
            };
        }
        let restores = event.event_type == "CreditsRestored";
        // What ended in the purchase's own lot counts as taken: nothing is left to move.
        let moved = credits - own;
        let (given, counted) = if restores {
            (moved, -own)
        } else {
            (-moved, own)
        };
        totals.clawed_back -= given;
        let change = |lot: &mut Lot| {
            lot.contested = (lot.contested - fields.released).max(0);
            lot.counted += counted;
            (0..=lot.expired).contains(&lot.counted)
        };
        self.lots.change_own(fields, change, say);
        if restores {
            check_restored(event, fields, say);
        }
        // What is not in lots any more becomes debt.
        let left = moved.min(self.net.max(0));
        Moves {
            came: restores.then(|| fields.slices().to_vec()),
            left: (!restores).then_some(left),
            given,
            disputed: -fields.released,
            new_lot: restores.then_some(event.sequence),
            ..Moves::default()
        }
    }

    /// The account after an event is what its credits make of the one before.
    fn check_account(
        &mut self,
        event: &EventRecord,
        fields: &Fields,
        moves: &Moves,
        say: &mut Say<'_>,
    ) {
        let before = self.account;
        let made = Account::of(
            self.net + moves.given,
            before.disputed + moves.disputed,
            before.reserved + moves.reserved,
        );
        let said = fields.account();
        if said != made || fields.delta != said.balance - before.balance {
            say(
                checks::ACCOUNT_DIFFERS,
                format!(
                    "the account after it is {}; what it moves makes {}",
                    said.show(fields.delta),
                    made.show(made.balance - before.balance)
                ),
            );
        }
        self.account = said;
        self.net = said.net();
        self.moved_sequence = event.sequence;
        if self.lots.credits != self.net.max(0) {
            say(
                checks::RULE_BROKEN,
                format!(
                    "there are {} credits in lots after it, and {} in the account",
                    self.lots.credits,
                    self.net.max(0)
                ),
            );
            self.lots.credits = self.net.max(0);
        }
    }
}

/// What is restored comes to the purchase's own lot, or to a new one of plain paid credits.
fn check_restored(event: &EventRecord, fields: &Fields, say: &mut Say<'_>) {
    let own = |slice: &Slice| {
        let plain = slice.kind == "paid"
            && slice.priority == PRIORITY_DEFAULT
            && slice.amount == slice.credits;
        slice.purchase_id == fields.purchase_id && (plain || slice.lot != event.sequence)
    };
    rule(
        fields.slices().iter().all(own),
        "it restores other credits than those of its purchase",
        say,
    );
}

/// When it was recorded, seconds since 1970.
const fn at_s(event: &EventRecord) -> i64 {
    event.recorded_at_us.div_euclid(1_000_000)
}

/// The position of `<shard>-<position>`, which is in the stream's own shard.
fn place(text: Option<&str>, shard: i16) -> Option<i64> {
    let (of, position) = text?.split_once('-')?;
    (of.parse() == Ok(shard)).then(|| position.parse().ok())?
}
