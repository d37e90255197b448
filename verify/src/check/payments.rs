//! Payments and credits, one to one: who got what of which purchase, and what of it is taken or held back again.

use std::collections::HashMap;

use super::history::Stream;
use crate::fold::purchase::Purchase;
use crate::fold::{Say, user};
use crate::manifest::Scope;
use crate::record::EventRecord;
use crate::report::{Finding, checks};

/// The events that move credits of a purchase; each names it.
const OF_PURCHASES: [&str; 4] = [
    "CreditsPurchased",
    "CreditsHeldBack",
    "CreditsClawedBack",
    "CreditsRestored",
];

/// What users got of a purchase.
#[derive(Debug, Default)]
struct Got {
    user: String,
    times: u32,
    credits: i128,
    expires_at_s: Option<i64>,
    clawed_back: i128,
    held_back: i128,
}

/// By purchase.
#[derive(Debug, Default)]
pub(super) struct Payments(HashMap<String, Got>);

impl Payments {
    /// What a user gets of a purchase, and what is taken or held back: never more than it gave.
    pub(super) fn event(&mut self, event: &EventRecord, fields: &user::Fields, say: &mut Say<'_>) {
        let moves_paid = OF_PURCHASES.contains(&event.event_type.as_str());
        let id = match (&fields.purchase_id, moves_paid) {
            (Some(id), true) => id,
            (None, false) => return,
            (None, true) => {
                let what = "it moves credits of a purchase, and names none";
                return say(checks::CREDITS_WITHOUT_PAYMENT, what.to_owned());
            }
            (Some(id), false) => {
                let what = format!("it names {id}, and is no event about purchases");
                return say(checks::RULE_BROKEN, what);
            }
        };
        let got = self.0.entry(id.clone()).or_default();
        let user = &event.aggregate_id;
        match event.event_type.as_str() {
            "CreditsPurchased" => {
                got.times += 1;
                if got.times > 1 {
                    let what = format!("credits of {id} were given before");
                    return say(checks::CREDITS_WITHOUT_PAYMENT, what);
                }
                (got.user, got.credits) = (user.clone(), fields.credits);
                got.expires_at_s = fields.expires_at_s;
            }
            "CreditsClawedBack" => {
                got.clawed_back += fields.credits;
                got.held_back -= fields.released;
            }
            "CreditsRestored" => {
                got.clawed_back -= fields.credits;
                got.held_back -= fields.released;
                let ends = |slice: &user::Slice| slice.expires_at_s == got.expires_at_s;
                if !fields.slices().iter().all(ends) {
                    let what = "what it gives back ends at another time than what was bought";
                    say(checks::RULE_BROKEN, what.to_owned());
                }
            }
            _ => got.held_back += fields.credits,
        }
        let withheld = got.clawed_back + got.held_back;
        if got.user != *user || got.clawed_back.min(got.held_back) < 0 || withheld > got.credits {
            let what = format!(
                "of {} credits of {id} for {:?}, {} are clawed back and {} held back after it",
                got.credits, got.user, got.clawed_back, got.held_back
            );
            say(checks::WITHHELD_DIFFERS, what);
        }
    }

    /// Whether an event of a user is about a purchase.
    pub(super) fn name(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Every payment and its credits, one to one.
    pub(super) fn finish(
        mut self,
        purchases: &HashMap<String, Stream<Purchase>>,
        findings: &mut Vec<Finding>,
    ) {
        for (id, stream) in purchases {
            let mut add = |check, what| findings.push(Finding::new(check, what).of("purchase", id));
            let got = self.0.remove(id).filter(|got| got.times > 0);
            match (stream.fold.gives(), got) {
                (None, None) => {}
                (None, Some(got)) => {
                    let what = format!("{} got {} credits for it", got.user, got.credits);
                    add(checks::CREDITS_WITHOUT_PAYMENT, what);
                }
                (Some(gives), None) => {
                    let what = format!(
                        "{} did not get its {} credits",
                        gives.user, gives.price.credits
                    );
                    add(checks::PAYMENT_WITHOUT_CREDITS, what);
                }
                (Some(gives), Some(got)) => {
                    let made = (gives.user, gives.price.credits, gives.price.expires_at_s);
                    if (got.user.as_str(), got.credits, got.expires_at_s) != made {
                        let what = format!(
                            "it gives {} credits to {} until {:?}; {} got {} until {:?}",
                            made.1, made.0, made.2, got.user, got.credits, got.expires_at_s
                        );
                        add(checks::CREDITS_WITHOUT_PAYMENT, what);
                    }
                    if (got.clawed_back, got.held_back) != (gives.clawed_back, gives.held_back) {
                        let what = format!(
                            "its money takes {} credits back and holds {}; of the user {} were taken and {} held",
                            gives.clawed_back, gives.held_back, got.clawed_back, got.held_back
                        );
                        add(checks::WITHHELD_DIFFERS, what);
                    }
                }
            }
        }
        for (id, got) in self.0.iter().filter(|(_, got)| got.times > 0) {
            let what = format!(
                "{} got {} credits for it, and it has no event",
                got.user, got.credits
            );
            findings.push(Finding::new(checks::CREDITS_WITHOUT_PAYMENT, what).of("purchase", id));
        }
    }
}

/// Where several ids are the same money, both sides say so, and the whole learned what the part knew.
pub(super) fn check_parts(
    purchases: &HashMap<String, Stream<Purchase>>,
    scope: &Scope,
    findings: &mut Vec<Finding>,
) {
    let elsewhere = |id: &String| *scope != Scope::Whole && !purchases.contains_key(id);
    for (id, stream) in purchases {
        let purchase = &stream.fold;
        let mut add =
            |what| findings.push(Finding::new(checks::RULE_BROKEN, what).of("purchase", id));
        if let Some(whole) = purchase.part_of.as_ref().filter(|whole| !elsewhere(whole)) {
            let known = purchases.get(whole).and_then(|whole| {
                let mut parts = whole.fold.absorbed.iter();
                parts.find(|(part, _)| part == id)
            });
            if known.map(|(_, known)| known) != purchase.whole_before.as_ref() {
                add(format!("{whole} did not take over what was known of it"));
            }
        }
        for (part, _) in purchase
            .absorbed
            .iter()
            .filter(|(part, _)| !elsewhere(part))
        {
            let known = purchases.get(part);
            let of = known.and_then(|part| part.fold.part_of.as_ref());
            if of != Some(id) {
                add(format!("it took over {part}, which is no part of it"));
            }
        }
    }
}
