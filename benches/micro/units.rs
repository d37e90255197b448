//! Units as webhooks make them: sign-ups, and payments of users who signed up. Every one signed, verified and translated.

use std::sync::Arc;

use anyhow::ensure;
use credit_ledger::intake;
use credit_ledger::ledger::Command;
use credit_ledger::provider::Verified;
use credit_ledger::provider::sample::{self, SamplePayment, SampleUser};
use credit_ledger::store::{Ledger, Origin, Outcome, Unit, Work};
use futures_util::future::try_join_all;

use super::deliveries::{Subjects, sign_clerk, sign_razorpay};

/// Users who sign up before anything is measured.
pub const USERS: u64 = 10_000;
/// Units that are handed in together.
pub const TOGETHER: u64 = 64;

/// Makes units; no two of them alike.
pub struct Units<'a> {
    subjects: &'a Subjects,
    next_payment: u64,
    next_user: u64,
}

impl<'a> Units<'a> {
    /// On an empty database.
    pub const fn new(subjects: &'a Subjects) -> Self {
        Self {
            subjects,
            next_payment: 0,
            next_user: 0,
        }
    }

    /// The next user signs up.
    pub fn sign_up(&mut self) -> anyhow::Result<Unit> {
        let number = self.next_user;
        self.next_user += 1;
        let clerk = &self.subjects.clerk;
        let user = SampleUser {
            user_id: user_id(number),
            email: Some(format!("user.{number}@example.com")),
            first_name: Some("Asha".to_owned()),
            last_name: Some("Rao".to_owned()),
            updated_at: clerk.received_at(),
        };
        let body = sample::clerk_user_created(&user).to_string();
        let signed = sign_clerk(&format!("msg_{number:020}"), clerk.received_at(), body)?;
        let (verified, command) = self.subjects.take(clerk, &signed)?;
        unit(verified, command)
    }

    /// One of those who signed up before anything was measured pays: each in turn, so that each shard has its part.
    pub fn payment(&mut self) -> anyhow::Result<Unit> {
        let number = self.next_payment;
        self.next_payment += 1;
        let razorpay = &self.subjects.razorpay;
        let payment = SamplePayment {
            payment_id: format!("pay_{number:014}"),
            order_id: Some(format!("order_{number:014}")),
            amount_minor: 49_900,
            currency: "INR".to_owned(),
            user_id: Some(user_id(number % USERS)),
            sku: Some("credits_500".to_owned()),
            email: Some("payer@example.com".to_owned()),
            created_at: razorpay.received_at(),
        };
        let body = sample::razorpay_payment_captured(&payment).to_string();
        let signed = sign_razorpay(&format!("evt_{number:014}"), body)?;
        let (verified, command) = self.subjects.take(razorpay, &signed)?;
        unit(verified, command)
    }

    /// So many users sign up.
    pub async fn sign_up_all(&mut self, ledger: &Ledger, users: u64) -> anyhow::Result<()> {
        for _ in 0..users.div_ceil(TOGETHER) {
            let units: anyhow::Result<_> = (0..TOGETHER).map(|_| self.sign_up()).collect();
            execute_together(ledger, units?).await?;
        }
        Ok(())
    }
}

fn user_id(number: u64) -> String {
    format!("user_{number:027}")
}

fn unit(verified: Verified, command: Command) -> anyhow::Result<Unit> {
    Ok(Unit {
        origin: Origin::Delivery(Arc::new(intake::delivered(verified)?)),
        work: Work::Apply(command),
    })
}

/// Commits a unit.
///
/// # Errors
/// When it is not recorded.
pub async fn execute(ledger: &Ledger, unit: Unit) -> anyhow::Result<()> {
    let outcome = ledger.execute(unit).await?;
    ensure!(outcome == Outcome::Recorded, "not recorded: {outcome:?}");
    Ok(())
}

/// Commits units that are queued before the lane runs, and so are one batch.
///
/// # Errors
/// When one is not recorded.
pub async fn execute_together(ledger: &Ledger, units: Vec<Unit>) -> anyhow::Result<()> {
    try_join_all(units.into_iter().map(|unit| execute(ledger, unit))).await?;
    Ok(())
}
