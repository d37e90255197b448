//! Stores payments without HTTP: signed, verified and translated as the service does it, through its own lanes. So
//! deliveries, chain, states and read models are what they would be. Never measures.

use std::sync::Arc;

use anyhow::{bail, ensure};
use credit_ledger::app::{random_bytes, system_clock, system_now};
use credit_ledger::config::Config;
use credit_ledger::intake;
use credit_ledger::ledger::Salt;
use credit_ledger::postgres::Database;
use credit_ledger::projection::rebuild;
use credit_ledger::provider::razorpay::Razorpay;
use credit_ledger::provider::{Delivery, Headers, Provider as _, Rules, Translated};
use credit_ledger::store::{Ledger, Origin, Outcome, Unit, Work};
use futures_util::stream::{self, StreamExt as _};

use super::delivery::Payments;

/// A payment leads to `PaymentCaptured` and `CreditsPurchased`.
pub const EVENTS_PER_PAYMENT: u64 = 2;
/// How many wait for their commit at once; half of what one lane's queue holds.
const IN_FLIGHT: usize = 512;

/// Stores this many payments, the first of them number 0, in a database that may be empty.
///
/// # Errors
/// What failed; also when one of them was there already.
pub async fn store(database: &Database, config: &Config, payments: u64) -> anyhow::Result<()> {
    database.migrate().await?;
    rebuild::bring_up_to_date(database).await?;
    let (ledger, ended) = Ledger::start(database, config.store, system_clock()).await?;
    let mut maker = Maker {
        payments: Payments::new()?,
        razorpay: Razorpay::new(&config.razorpay_webhook_secrets)?,
        rules: &config.rules,
    };
    let mut outcomes = stream::iter(0..payments)
        .map(|number| {
            let unit = maker.unit(number);
            let ledger = &ledger;
            async move { anyhow::Ok(ledger.execute(unit?).await?) }
        })
        .buffer_unordered(IN_FLIGHT);
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome?;
        ensure!(outcome == Outcome::Recorded, "not recorded: {outcome:?}");
    }
    drop(outcomes);
    drop(ledger);
    for lane in ended {
        lane.await?;
    }
    Ok(())
}

struct Maker<'a> {
    payments: Payments,
    razorpay: Razorpay,
    rules: &'a Rules,
}

impl Maker<'_> {
    fn unit(&mut self, number: u64) -> anyhow::Result<Unit> {
        let signed = self.payments.sign(number)?;
        let headers: [(&str, &[u8]); 2] = [
            ("x-razorpay-signature", &signed.signature),
            ("x-razorpay-event-id", &signed.event_id),
        ];
        let verified = self.razorpay.verify(&Delivery {
            headers: Headers::new(headers),
            body: signed.body,
            received_at: system_now(),
        })?;
        let salt = Salt(random_bytes()?);
        let Translated::Apply(command) = self.razorpay.translate(&verified, self.rules, salt)
        else {
            bail!("not a captured payment");
        };
        Ok(Unit {
            origin: Origin::Delivery(Arc::new(intake::delivered(verified)?)),
            work: Work::Apply(command),
        })
    }
}
