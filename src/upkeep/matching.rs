//! Matching by e-mail: a purchase that names nobody, of which it is known what it buys, belongs to the one active user who has proven to own the payer's
//! address.
//!
//! A capture without a user and a newly proven address each leave a row in the outbox, in their own transaction, and each
//! is looked at after its own commit. So whichever of the two is committed last sees the other: there is no window in
//! which both miss. What is found here may have changed by the time it is decided; the command carries what it stands on,
//! and the rule says no if that no longer holds. Whatever changed it left a row of its own.
//!
//! A payment that names nobody is left alone for a moment: another event of it may name the buyer, who may have paid with
//! another's address. A newly proven address is looked at at once.
//!
//! Nearly all new addresses pay for nothing that is there. Those are forgotten many at a time, by one statement that sees
//! what one look at each would see; only the others are looked at one by one.
//!
//! An address that two active users have proven is nobody's, until one of them gives it up: whoever is deleted, or has
//! another profile, leaves a row, too, for the addresses of before. Addresses are compared without regard to case.

use crate::app::App;
use crate::ledger::command::MatchPurchase;
use crate::ledger::event::ProfileVersion;
use crate::ledger::{Command, LedgerError, PurchaseId, StreamId, UserId};
use crate::store::backlog::{Call, Left};
use crate::store::{Operator, Origin, Outcome, Unit, Work};

use super::{PAGE, UpkeepError};

/// Whose an address is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// One active user has proven to own it.
    One {
        /// Who.
        user_id: UserId,
        /// The profile that says so.
        profile_version: ProfileVersion,
    },
    /// Nobody has.
    Nobody,
    /// More than one has.
    Several,
}

/// What looking for a purchase's user came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// The purchase is this user's from now on.
    Claimed(UserId),
    /// There is nobody whose it is by the payer's address, or more than one.
    Unclaimed(Candidate),
    /// The purchase is not unclaimed, or what was found changed meanwhile.
    Unchanged,
    /// A rule said no.
    Refused(LedgerError),
}

/// Whose a purchase would be by its payer's address: what [`look`] would try.
///
/// # Errors
/// [`UpkeepError`]
pub async fn candidate(app: &App, purchase_id: &PurchaseId) -> Result<Candidate, UpkeepError> {
    let addresses = app.backlog.payer_addresses(purchase_id).await?;
    owner_of(app, &addresses).await
}

/// Looks for the user of one purchase, on an operator's word.
///
/// # Errors
/// [`UpkeepError`]
pub async fn look(
    app: &App,
    purchase_id: &PurchaseId,
    operator: Operator,
) -> Result<Look, UpkeepError> {
    let addresses = app.backlog.payer_addresses(purchase_id).await?;
    claim(app, purchase_id, &addresses, Origin::Operator(operator)).await
}

/// Forgets the newly proven addresses that pay for nothing, and leaves what is to be looked at one by one. False when they
/// could not be forgotten: then that is all.
pub(super) async fn forget_unmatched(app: &App, page: &mut Vec<Left>) -> bool {
    let ids: Vec<i64> = page
        .iter()
        .filter(|left| is_new_address(left))
        .map(|left| left.id)
        .collect();
    if ids.is_empty() {
        return true;
    }
    match app.backlog.forget_unmatched(&ids).await {
        Ok(may_pay) => {
            page.retain(|left| !is_new_address(left) || may_pay.contains(&left.id));
            true
        }
        Err(error) => {
            tracing::warn!(%error, "new addresses are looked at one by one");
            false
        }
    }
}

const fn is_new_address(left: &Left) -> bool {
    let Call::Match { stream, .. } = &left.call else {
        return false;
    };
    matches!(stream, StreamId::User(_))
}

/// Does what a row of the outbox calls for.
pub(super) async fn follow(app: &App, stream: &StreamId, sequence: i64) -> Result<(), UpkeepError> {
    match stream {
        StreamId::Purchase(id) => {
            let addresses = app.backlog.payer_addresses(id).await?;
            claim(app, id, &addresses, Origin::System).await.map(drop)
        }
        StreamId::User(_) => {
            for address in app.backlog.addresses(stream, sequence).await? {
                claim_all(app, &[address]).await?;
            }
            Ok(())
        }
    }
}

/// Every purchase that is nobody's and was paid with this address.
async fn claim_all(app: &App, addresses: &[String; 1]) -> Result<(), UpkeepError> {
    let mut after = String::new();
    while matches!(owner_of(app, addresses).await?, Candidate::One { .. }) {
        let page = app
            .lookups
            .unclaimed_of_payer(&addresses[0], &after, PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after.clone_from(last);
        for id in &page {
            let Ok(id) = PurchaseId::parse(id.as_str()) else {
                tracing::error!("a stored purchase id is none");
                continue;
            };
            claim(app, &id, addresses, Origin::System).await?;
        }
    }
    Ok(())
}

async fn claim(
    app: &App,
    purchase_id: &PurchaseId,
    addresses: &[String],
    origin: Origin,
) -> Result<Look, UpkeepError> {
    let (user_id, profile_version) = match owner_of(app, addresses).await? {
        Candidate::One {
            user_id,
            profile_version,
        } => (user_id, profile_version),
        other => return Ok(Look::Unclaimed(other)),
    };
    let unit = Unit {
        origin,
        work: Work::Apply(Command::MatchPurchase(MatchPurchase {
            purchase_id: purchase_id.clone(),
            user_id: user_id.clone(),
            profile_version,
        })),
    };
    Ok(match app.ledger.execute(unit).await? {
        Outcome::Recorded => Look::Claimed(user_id),
        Outcome::Refused(error) => {
            tracing::warn!(%purchase_id, %error, "a match was refused");
            Look::Refused(error)
        }
        _ => Look::Unchanged,
    })
}

/// The one active user who has proven to own one of these addresses.
async fn owner_of(app: &App, addresses: &[String]) -> Result<Candidate, UpkeepError> {
    let mut found = Candidate::Nobody;
    for address in addresses {
        for row in app.lookups.owners_of(address, 2).await? {
            // Not readable, so not to be compared: then it is as if the address were nobody's.
            let profile_version = row
                .profile
                .and_then(|json| serde_json::from_str(&json).ok());
            let (Ok(user_id), Some(profile_version)) =
                (UserId::parse(row.user_id), profile_version)
            else {
                continue;
            };
            let one = Candidate::One {
                user_id,
                profile_version,
            };
            found = match found {
                Candidate::Nobody => one,
                same if same == one => same,
                _ => return Ok(Candidate::Several),
            };
        }
    }
    Ok(found)
}
