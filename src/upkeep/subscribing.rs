//! Periods of subscriptions that name nobody belong to whoever paid for the subscription first.
//!
//! Intake looks before a delivery is stored. Who paid may become known after that, or at the same moment: so a period that
//! is nobody's, and whatever makes known who paid, each leave a row in the outbox, in their own transaction, and each is
//! looked at after its own commit. Whichever is committed last sees the other.

use crate::app::App;
use crate::intake;
use crate::ledger::event::ClaimedBy;
use crate::ledger::{Command, PurchaseId, SubscriptionKey, UserId};
use crate::store::{Origin, Outcome, Unit, Work};

use super::{PAGE, UpkeepError};

/// Does what a row of the outbox calls for: deliveries that wait for the subscription's user are tried again, and periods
/// that are nobody's become theirs.
pub(super) async fn follow(app: &App, subscription: &SubscriptionKey) -> Result<(), UpkeepError> {
    let Some(user_id) = intake::wake_if_known(app, subscription).await? else {
        return Ok(());
    };
    let mut after = String::new();
    loop {
        let page = app
            .lookups
            .unclaimed_of_subscription(subscription, &after, PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after.clone_from(last);
        for id in &page {
            claim(app, id, &user_id).await?;
        }
    }
}

async fn claim(app: &App, purchase_id: &str, user_id: &UserId) -> Result<(), UpkeepError> {
    let Ok(purchase_id) = PurchaseId::parse(purchase_id) else {
        tracing::error!("a stored purchase id is none");
        return Ok(());
    };
    let unit = Unit {
        origin: Origin::System,
        work: Work::Apply(Command::ClaimPurchase {
            purchase_id: purchase_id.clone(),
            user_id: user_id.clone(),
            by: ClaimedBy::Subscription,
        }),
    };
    if let Outcome::Refused(error) = app.ledger.execute(unit).await? {
        // Somebody else's meanwhile.
        tracing::info!(%purchase_id, %error, "a period is not the subscriber's");
    }
    Ok(())
}
