//! Users whose credits ended or whose holds timed out: it is written down for the record.
//!
//! Nobody waits for it. What can be spent, and what a balance says, is decided by the time alone; the next command of the
//! user would write the same.

use futures_util::{StreamExt as _, stream};

use super::{AT_ONCE, PAGE};
use crate::app::App;
use crate::ledger::{Command, UserId};
use crate::store::{Origin, Unit, Work};

/// Settles every user whose time has come, once. False when one could not be settled now.
pub async fn due(app: &App) -> bool {
    let now_s = app.now().timestamp();
    let mut after = (i64::MIN, String::new());
    let mut clean = true;
    loop {
        let page = match app
            .backlog
            .due_users(now_s, (after.0, &after.1), PAGE)
            .await
        {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "it can not be seen whose credits ended");
                return false;
            }
        };
        let Some(last) = page.last() else {
            return clean;
        };
        after.clone_from(last);
        let results: Vec<bool> = stream::iter(page)
            .map(|(_, user_id)| settle(app, user_id))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        clean &= results.into_iter().all(|settled| settled);
    }
}

async fn settle(app: &App, user_id: String) -> bool {
    let Ok(user_id) = UserId::parse(user_id) else {
        return true; // Not one of ours; no stream is called so.
    };
    let unit = Unit {
        origin: Origin::System,
        work: Work::Apply(Command::SettleUser { user_id }),
    };
    match app.ledger.execute(unit).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(%error, "what ended is written down later");
            false
        }
    }
}
