//! Refunds and disputes about credits that end: what is left is a function of the facts, whenever each of them comes, before
//! or after the end.

use proptest::prelude::*;

use super::order::{capture, dispute, refund};
use super::stored::Stored;
use crate::ledger::command::{DisputeStanding, GrantCredits, SpendCredits};
use crate::ledger::event::Note;
use crate::ledger::lots::LotKind;
use crate::ledger::{Account, Command, Credits, UserId};

const PAYMENT: &str = "stripe:pi_1";
const END_S: i64 = 1000;

#[derive(Debug, Clone)]
enum Fact {
    Refund(usize, i64),
    RefundFails(usize, i64),
    Dispute(usize, u32, DisputeStanding),
    End,
}

/// A purchase of 900 minor units, of which so many credits were used before anything else.
#[derive(Debug, Clone)]
struct Life {
    credits: i64,
    spent: i64,
    others: i64,
    refunds: Vec<(i64, bool)>,
    /// Contested, and lost in the end.
    disputes: Vec<(i64, Option<i64>)>,
}

impl Life {
    fn facts(&self) -> Vec<Fact> {
        let mut facts = vec![Fact::End];
        for (id, (amount, fails)) in self.refunds.iter().enumerate() {
            facts.push(Fact::Refund(id, *amount));
            if *fails {
                facts.push(Fact::RefundFails(id, *amount));
            }
        }
        for (id, (amount_minor, lost)) in self.disputes.iter().enumerate() {
            let amount_minor = *amount_minor;
            let open = DisputeStanding::Open { amount_minor };
            facts.push(Fact::Dispute(id, 0, open));
            let end = match lost {
                Some(amount_minor) => DisputeStanding::Lost {
                    amount_minor: *amount_minor,
                },
                None => DisputeStanding::Won,
            };
            facts.push(Fact::Dispute(id, 1, end));
        }
        facts
    }

    /// What went back is taken from what was not used; what is missing, from others; the rest is owed.
    fn outcome(&self) -> Account {
        let live = self.refunds.iter().filter(|(_, fails)| !fails);
        let gone: i64 = live.map(|(amount, _)| amount).sum();
        let lost: i64 = self.disputes.iter().filter_map(|(_, lost)| *lost).sum();
        let clawed = self.credits * (gone + lost).min(900) / 900;
        let missing = (clawed - (self.credits - self.spent)).max(0);
        Account::of(self.others - missing, Credits::ZERO, Credits::ZERO).unwrap()
    }
}

prop_compose! {
    fn life()(credits in 1..500_i64)(
        credits in Just(credits),
        spent in 0..=credits,
        others in 0..300_i64,
        refunds in prop::collection::vec((1..600_i64, any::<bool>()), 0..4),
        disputes in prop::collection::vec((1..=900_i64, prop::option::of(0..=900_i64)), 0..3),
        fails in any::<bool>(),
    ) -> Life {
        // What others paid for a refund that failed comes back to the purchase's own lot, and ends with it.
        let others = if fails { 0 } else { others };
        let refunds = refunds.into_iter().map(|(n, failed)| (n, failed && fails)).collect();
        Life { credits, spent, others, refunds, disputes }
    }
}

fn user() -> UserId {
    UserId::parse("user_1").unwrap()
}

fn credits(n: i64) -> Credits {
    Credits::new(n).unwrap()
}

fn begin(life: &Life) -> Stored {
    let mut stored = Stored::default();
    let mut paid = capture(PAYMENT, Some("user_1"), Some(life.credits));
    paid.price.as_mut().unwrap().expires_at_s = Some(END_S);
    stored
        .run(&Command::CapturePayment(Box::new(paid)))
        .unwrap();
    if life.spent > 0 {
        let spend = SpendCredits {
            user_id: user(),
            credits: credits(life.spent),
            allow_partial: false,
            note: Note::default(),
        };
        stored.run(&Command::SpendCredits(spend)).unwrap();
    }
    if life.others > 0 {
        let grant = GrantCredits {
            user_id: user(),
            credits: credits(life.others),
            kind: LotKind::Bonus,
            priority: 200,
            expires_at_s: None,
            reason: "because".to_owned(),
            actor: "somebody".to_owned(),
        };
        stored.run(&Command::GrantCredits(grant)).unwrap();
    }
    stored
}

proptest! {
    #![proptest_config(crate::seeded::seeded())]

    #[test]
    fn what_is_left_does_not_depend_on_what_came_before_the_end(
        (life, facts) in life().prop_flat_map(|life| {
            let facts = life.facts();
            (Just(life), Just(facts).prop_shuffle())
        })
    ) {
        let mut stored = begin(&life);
        for fact in &facts {
            let command = match fact {
                Fact::Refund(id, amount) => refund(PAYMENT, &format!("re_{id}"), *amount, false),
                Fact::RefundFails(id, amount) => refund(PAYMENT, &format!("re_{id}"), *amount, true),
                Fact::Dispute(id, stage, standing) => {
                    dispute(PAYMENT, &format!("du_{id}"), *stage, *standing)
                }
                Fact::End => {
                    stored.now_s = END_S;
                    continue;
                }
            };
            stored.run(&command).unwrap();
        }
        prop_assert_eq!(stored.look(&user()).account, life.outcome());
    }
}
