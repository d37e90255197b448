//! Disputes (docs.stripe.com/api/disputes/object), from the first question to the bank's last word.
//!
//! [`DisputeStage`] is `decided * 1000 + balance transactions (at most 99) * 10 + rank of the status`, where decided is
//! 1 once the dispute is won or lost, and the rank is 0 while it is open, 1 when it is lost, 2 when it is won. So a
//! decision stands above everything that was before it, in whatever order they come, and of two decisions the one that
//! saw more movements of money: Stripe only ever adds to them.
//!
//! Must never take an inquiry for a dispute: `charge.dispute.created` comes for both, and no money has moved.

use super::fields::{Context, Missing, amount, currency, id, payment_of, purchase};
use super::{ignore, shown};
use crate::ledger::Command;
use crate::ledger::command::{DisputePayment, DisputeStanding};
use crate::ledger::event::DisputeStage;
use crate::provider::Translated;
use crate::provider::json::Object;

/// More movements than any dispute has.
const MOVEMENTS_MAX: usize = 99;

/// Reads every `charge.dispute.*`.
pub(super) fn read(dispute: &Object<'_>, _: &Context<'_>) -> Result<Translated, Missing> {
    let status = dispute
        .text("status")
        .ok_or(Missing("data.object.status"))?;
    let movements = Movements::of(dispute);
    if is_inquiry(dispute, &status, &movements) {
        return Ok(ignore(format!(
            "inquiry, status {}: no money moved",
            shown(&status)
        )));
    }
    let payment = payment_of(dispute).ok_or(Missing("data.object.payment_intent"))?;
    let amount_minor = amount(dispute, "amount").ok_or(Missing("data.object.amount"))?;
    let (decided, rank, standing) = match status.as_str() {
        "won" => (1, 2, DisputeStanding::Won),
        "lost" => {
            let amount_minor = movements.net(amount_minor);
            (1, 1, DisputeStanding::Lost { amount_minor })
        }
        "needs_response" | "under_review" | "appeal_needs_response" | "appeal_under_review" => {
            (0, 0, DisputeStanding::Open { amount_minor })
        }
        // A word of tomorrow. Money that moved says enough.
        _ if movements.count > 0 => (0, 0, DisputeStanding::Open { amount_minor }),
        other => {
            return Ok(ignore(format!(
                "dispute status {}: no money moved",
                shown(other)
            )));
        }
    };
    Ok(Translated::Apply(Command::DisputePayment(DisputePayment {
        purchase_id: purchase(&payment)?,
        dispute_id: id(dispute)?,
        stage: DisputeStage(decided * 1000 + movements.count * 10 + rank),
        standing,
        currency: currency(dispute).ok(),
    })))
}

/// Whether it is a question of the buyer's bank, which costs nothing, or was settled before it cost anything. The end of
/// an inquiry undoes nothing: what became a dispute after it is told by a status of its own.
fn is_inquiry(dispute: &Object<'_>, status: &str, movements: &Movements) -> bool {
    let case_type = dispute
        .object("payment_method_details")
        .and_then(|details| details.object("card")?.text("case_type"));
    status.starts_with("warning_")
        || status == "prevented"
        || (case_type.as_deref() == Some("inquiry") && movements.count == 0)
}

/// What the dispute took from our balance and gave back. In the currency of the balance, which need not be that of the
/// dispute: good for a proportion only.
struct Movements {
    count: u32,
    /// All that was taken.
    withdrawn: i128,
    /// All that was given back.
    returned: i128,
    /// The most that was taken at once: what the whole dispute is worth. Once it was won and then lost after all, the
    /// same money was taken twice.
    whole: i128,
}

impl Movements {
    fn of(dispute: &Object<'_>) -> Self {
        let all = dispute.objects("balance_transactions");
        let amounts = all.iter().filter_map(|one| one.integer("amount"));
        let (mut withdrawn, mut returned, mut whole) = (0_i128, 0_i128, 0_i128);
        for amount in amounts.map(i128::from) {
            if amount < 0 {
                withdrawn -= amount;
                whole = whole.max(-amount);
            } else {
                returned += amount;
            }
        }
        Self {
            count: u32::try_from(all.len().min(MOVEMENTS_MAX)).unwrap_or(0),
            withdrawn,
            returned,
            whole,
        }
    }

    /// How much of the disputed amount is lost: a part may have been given back, whatever the status says. All of it
    /// where no movement is known. Rounds down.
    fn net(&self, amount_minor: i64) -> i64 {
        if self.whole == 0 {
            return amount_minor;
        }
        let lost = (self.withdrawn - self.returned).clamp(0, self.whole);
        let net = i128::from(amount_minor) * lost / self.whole;
        // At most the amount, which fits.
        i64::try_from(net).unwrap_or(amount_minor)
    }
}
