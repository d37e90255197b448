//! Razorpay's dispute events (razorpay.com/docs/webhooks/payloads/disputes): how a dispute about a payment stands.
//!
//! A stage is the phase's rank × 10 + the status' rank. Phases: chargeback 0, pre-arbitration 1, arbitration 2, an unknown
//! one 0; statuses: open, under review, action required 0, closed 1, lost 2, won 3. So within a phase a decision stands,
//! and the next phase reopens what was decided: a chargeback that was won may come back as pre-arbitration under the same
//! id. The phases fraud and retrieval are questions of the bank, which move no money by themselves.

use super::payment::{has_id_shape, is_in_other_currency, payment_of};
use super::{Payload, Translated, missing};
use crate::ledger::Command;
use crate::ledger::command::{DisputePayment, DisputeStanding};
use crate::ledger::event::DisputeStage;
use crate::provider::ParkReason;
use crate::provider::json::Object;

const STAGES_PER_PHASE: u32 = 10;

/// What has become of a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Closed,
    Lost,
    Won,
}

impl Status {
    /// From the dispute's status, or the last word of the event's type.
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "open" | "created" | "under_review" | "action_required" => Self::Open,
            "closed" => Self::Closed,
            "lost" => Self::Lost,
            "won" => Self::Won,
            _ => return None,
        })
    }

    const fn rank(self) -> u32 {
        match self {
            Self::Open => 0,
            Self::Closed => 1,
            Self::Lost => 2,
            Self::Won => 3,
        }
    }
}

/// Reads `payment.dispute.<step>`. `None`: a step that this program does not know.
pub(super) fn read(payload: &Payload<'_>, step: &str) -> Result<Option<Translated>, ParkReason> {
    let Some(by_type) = Status::parse(step) else {
        return Ok(None);
    };
    let dispute = payload
        .entity("dispute")
        .ok_or(missing("payload.dispute.entity"))?;
    let dispute_id = dispute
        .text("id")
        .filter(|id| has_id_shape(id, "disp_"))
        .ok_or(missing("payload.dispute.entity.id"))?;
    let (purchase_id, payment) = payment_of(&dispute, payload.entity("payment"))
        .ok_or(missing("payload.dispute.entity.payment_id"))?;
    let status = dispute.text("status");
    let status = status.and_then(|s| Status::parse(&s)).unwrap_or(by_type);
    let phase = dispute.text("phase").unwrap_or_default();
    let is_question = matches!(phase.as_str(), "fraud" | "retrieval");
    if is_question && deducted_minor(&dispute) == 0 {
        let reason = format!("dispute phase {phase}: no money moves");
        return Ok(Some(Translated::Ignore(reason)));
    }
    let phase_rank = match phase.as_str() {
        "pre_arbitration" => 1,
        "arbitration" => 2,
        _ => 0,
    };
    let command = DisputePayment {
        purchase_id,
        dispute_id,
        stage: DisputeStage(phase_rank * STAGES_PER_PHASE + status.rank()),
        standing: standing(status, &dispute, payment.as_ref())?,
        // Already in the payment's.
        currency: None,
    };
    Ok(Some(Translated::Apply(Command::DisputePayment(command))))
}

fn standing(
    status: Status,
    dispute: &Object<'_>,
    payment: Option<&Object<'_>>,
) -> Result<DisputeStanding, ParkReason> {
    let is_lost = match status {
        Status::Won => return Ok(DisputeStanding::Won),
        Status::Closed if deducted_minor(dispute) == 0 => return Ok(DisputeStanding::Won),
        Status::Closed | Status::Lost => true,
        Status::Open => false,
    };
    // A dispute in another currency than its payment is about the whole payment: no rate is ours to guess.
    let other_currency = is_in_other_currency(dispute, payment);
    let contested = if other_currency {
        payment
    } else {
        Some(dispute)
    };
    let amount_minor = contested
        .and_then(|entity| entity.integer("amount"))
        .filter(|amount| *amount >= 1)
        .ok_or(missing("payload.dispute.entity.amount"))?;
    if !is_lost {
        return Ok(DisputeStanding::Open { amount_minor });
    }
    // The deduction is from our account, in the account's currency, and may have fees on top.
    let deducted = deducted_minor(dispute);
    let is_whole = other_currency || deducted == 0 || payment.is_some_and(is_converted);
    Ok(DisputeStanding::Lost {
        amount_minor: if is_whole {
            amount_minor
        } else {
            deducted.min(amount_minor)
        },
    })
}

/// What was taken from our account, 0 unless the dispute is lost.
fn deducted_minor(dispute: &Object<'_>) -> i64 {
    dispute.integer("amount_deducted").unwrap_or(0).max(0)
}

/// Whether the payment was made in another currency than the account's.
fn is_converted(payment: &Object<'_>) -> bool {
    match (payment.text("currency"), payment.text("base_currency")) {
        (Some(charged), Some(base)) => !charged.eq_ignore_ascii_case(&base),
        _ => false,
    }
}
