//! Erasure: what is stored of a user's personal data goes, on request or some time after the user was deleted.
//!
//! From the moment it is asked for, whatever is booked about the user is stored without its body. So what is to be found is
//! what was there before, and there is no window in which it could slip through:
//!
//! 1. The user's purchases are gone through. The deliveries that their events came of are blanked, and each forgets who
//!    paid: that event takes the rows beside the stream with it, and keeps later bodies away like the request does.
//! 2. The deliveries that the user's own events came of are blanked.
//! 3. The inbox is walked, for deliveries that led to no event: ids of the user and the purchases, and the user's own
//!    addresses (`needles.rs`). One walk is for many users.
//! 4. The user is erased: that event takes the rows beside the stream with it.
//!
//! A row of the outbox calls for it until the last step is committed. Every step may be done twice, in part, and by
//! several instances; the addresses, by which the rest is found, are the last to go. A purchase that came to the user by
//! itself while or after the user was erased leaves a row of its own, for deliveries about it that were stored before.
//!
//! It has a loop of its own, since a walk may take minutes. Must never log what it looks for.

mod needles;
mod walk;

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::{AT_ONCE, PAGE, UpkeepError};
use crate::app::App;
use crate::ledger::{Command, PurchaseId, StreamId, UserId};
use crate::reads::PayerRow;
use crate::store::backlog::erasure::Erasure;
use crate::store::{Origin, Outcome, StoreError, Unit, Work};
use needles::Needles;
use walk::walk;

/// Users, or purchases, for whom one walk is made.
const ERASED_AT_ONCE: i64 = 100;
/// Events of a stream that are read at once.
const EVENTS_AT_ONCE: i64 = 1000;

/// Erases until it is dropped. `told`: that there is something in the outbox; `every`: how often it looks without.
pub async fn run(app: &App, every: Duration, told: &Notify) {
    loop {
        let next = Instant::now() + every;
        if app.check_clock().await.is_err() {
            sleep(every).await;
            continue;
        }
        let asked = ask_for_due(app).await;
        let erased = erase_all(app).await;
        if asked && erased {
            tokio::select! {
                () = told.notified() => {}
                () = sleep_until(next) => {}
            }
        } else {
            sleep(every).await;
        }
    }
}

/// Asks for the erasure of those who were deleted long enough ago. False when something could not be done.
async fn ask_for_due(app: &App) -> bool {
    let Some(after) = app.erase_after else {
        return true;
    };
    let deleted_by = app.now() - after;
    let mut behind = (DateTime::UNIX_EPOCH, String::new());
    loop {
        match ask_for_page(app, deleted_by, &behind).await {
            Ok(Some(last)) => behind = last,
            Ok(None) => return true,
            Err(error) => {
                tracing::warn!(%error, "who is to be erased is asked again later");
                return false;
            }
        }
    }
}

/// Gives when the last of the page was deleted, and who that is; none: there was nobody.
async fn ask_for_page(
    app: &App,
    deleted_by: DateTime<Utc>,
    behind: &(DateTime<Utc>, String),
) -> Result<Option<(DateTime<Utc>, String)>, UpkeepError> {
    let page = app.lookups.users_to_erase(deleted_by, behind, PAGE).await?;
    let last = page.last().cloned();
    let asked: Vec<Result<(), UpkeepError>> = stream::iter(page)
        .map(|(_, user_id)| ask_for(app, user_id))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    asked.into_iter().collect::<Result<(), _>>()?;
    Ok(last)
}

async fn ask_for(app: &App, user_id: String) -> Result<(), UpkeepError> {
    let user_id = UserId::parse(user_id).map_err(|_| unreadable())?;
    apply(app, Command::EraseUser { user_id }).await.map(drop)
}

/// Does what the outbox calls for, all of it once. False when something could not be done.
async fn erase_all(app: &App) -> bool {
    let (mut after, mut clean) = (0, true);
    loop {
        let page = match app.backlog.erasures(after, ERASED_AT_ONCE).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "it can not be seen what is to be erased");
                return false;
            }
        };
        let Some(last) = page.last() else {
            return clean;
        };
        after = last.id;
        match erase_page(app, page).await {
            Ok(all) => clean &= all,
            Err(error) => {
                tracing::warn!(%error, "an erasure is tried again later");
                return false;
            }
        }
    }
}

/// False when some of them could not be begun. The others are done.
async fn erase_page(app: &App, page: Vec<Erasure>) -> Result<bool, UpkeepError> {
    let (mut needles, mut clean) = (Needles::default(), true);
    let mut begun = Vec::with_capacity(page.len());
    for erasure in page {
        match begin(app, &erasure.of, &mut needles).await {
            Ok(()) => begun.push(erasure),
            Err(error) => {
                tracing::warn!(%error, "an erasure is tried again later");
                clean = false;
            }
        }
    }
    if begun.is_empty() {
        return Ok(clean);
    }
    walk(app, &needles).await?;
    let mut done = Vec::with_capacity(begun.len());
    for erasure in begun {
        match confirm(app, erasure.of).await {
            Ok(()) => done.push(erasure.id),
            Err(error) => {
                tracing::warn!(%error, "an erasure is tried again later");
                clean = false;
            }
        }
    }
    app.backlog.done(&done).await?;
    Ok(clean)
}

/// The end of a user's erasure. Only what is known to have ended may be forgotten.
async fn confirm(app: &App, of: StreamId) -> Result<(), UpkeepError> {
    let StreamId::User(user_id) = of else {
        return Ok(());
    };
    let confirm = Command::ConfirmErasure {
        user_id: user_id.clone(),
    };
    let recorded = apply(app, confirm).await? == Outcome::Recorded;
    if recorded || app.lookups.user(user_id.as_str(), app.now()).await?.erased {
        return Ok(());
    }
    Err(failed(
        "a user's state does not say that the erasure was asked for: ask again",
    ))
}

/// All but the walk and the end. Adds what is to be looked for.
async fn begin(app: &App, of: &StreamId, needles: &mut Needles) -> Result<(), UpkeepError> {
    match of {
        StreamId::User(user_id) => {
            needles.add_id(user_id.as_str());
            let addresses = app.backlog.own_addresses(user_id).await?;
            for address in &addresses {
                needles.add_address(address);
            }
            for subscription_id in app.backlog.subscriptions(user_id).await? {
                needles.add_id(&subscription_id);
            }
            erase_payers(app, user_id, &addresses, needles).await?;
        }
        // It has forgotten who paid already; other ids of the same money may have not.
        StreamId::Purchase(id) => {
            add_purchase(needles, id);
            erase_same_payment(app, id, needles).await?;
        }
    }
    blank_told(app, of).await
}

async fn erase_payers(
    app: &App,
    user_id: &UserId,
    addresses: &[String],
    needles: &mut Needles,
) -> Result<(), UpkeepError> {
    let mut after = String::new();
    loop {
        let page = app
            .lookups
            .payers_to_erase(user_id.as_str(), addresses, &after, PAGE)
            .await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after.clone_from(&last.purchase_id);
        for row in &page {
            let owner = row.user_id.as_deref();
            // Of another's purchase only the address goes, and the bodies that hold it: the walk finds them.
            if owner.is_none_or(|owner| owner == user_id.as_str()) {
                // First, because one that is nobody's is not found any more once it has forgotten who paid.
                blank_purchase(app, row, needles).await?;
            }
            erase_payer(app, row, user_id).await?;
        }
    }
}

async fn erase_same_payment(
    app: &App,
    id: &PurchaseId,
    needles: &mut Needles,
) -> Result<(), UpkeepError> {
    let mut after = String::new();
    loop {
        let page = app.lookups.same_payment(id.as_str(), &after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after.clone_from(&last.purchase_id);
        for row in &page {
            blank_purchase(app, row, needles).await?;
            if let Some(owner) = &row.user_id {
                let owner = UserId::parse(owner.as_str()).map_err(|_| unreadable())?;
                erase_payer(app, row, &owner).await?;
            }
        }
    }
}

async fn blank_purchase(
    app: &App,
    row: &PayerRow,
    needles: &mut Needles,
) -> Result<(), UpkeepError> {
    for id in [&row.order_id, &row.subscription_id].into_iter().flatten() {
        needles.add_id(id);
    }
    let id = PurchaseId::parse(row.purchase_id.as_str()).map_err(|_| unreadable())?;
    add_purchase(needles, &id);
    blank_told(app, &StreamId::Purchase(id)).await
}

async fn erase_payer(app: &App, row: &PayerRow, user_id: &UserId) -> Result<(), UpkeepError> {
    let erase = Command::ErasePayer {
        purchase_id: PurchaseId::parse(row.purchase_id.as_str()).map_err(|_| unreadable())?,
        user_id: user_id.clone(),
    };
    apply(app, erase).await.map(drop)
}

/// By the id that the provider knows it by, too.
fn add_purchase(needles: &mut Needles, id: &PurchaseId) {
    needles.add_id(id.as_str());
    needles.add_id(id.payment_id());
}

/// Blanks the deliveries that a stream's events came of.
async fn blank_told(app: &App, of: &StreamId) -> Result<(), UpkeepError> {
    let mut after = 0;
    loop {
        let told = app.backlog.told(of, after, EVENTS_AT_ONCE).await?;
        let Some(last) = told.last else {
            return Ok(());
        };
        after = last;
        app.backlog.blank(&told.deliveries, app.now()).await?;
    }
}

async fn apply(app: &App, command: Command) -> Result<Outcome, UpkeepError> {
    let unit = Unit {
        origin: Origin::System,
        work: Work::Apply(command),
    };
    match app.ledger.execute(unit).await? {
        Outcome::Refused(error) => Err(failed(&format!("a rule refuses it: {error}"))),
        outcome => Ok(outcome),
    }
}

/// Nothing of it may be repeated in a log.
fn unreadable() -> UpkeepError {
    failed("a stored id can not be read")
}

fn failed(why: &str) -> UpkeepError {
    UpkeepError::Store(StoreError::Failed(why.to_owned()))
}
