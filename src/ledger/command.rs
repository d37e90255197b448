//! What somebody wants to happen. A command carries everything its decision needs: ids, times, salts,
//! the prices that the catalog gave.

use super::event::{ClaimedBy, Price, ProfileVersion};
use super::personal::Personal;
use super::value::{Credits, Money, PurchaseId, StreamId, UserId};

/// One wish, decided whole: all of its events are recorded or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The identity provider says that a user signed up.
    RegisterUser(RegisterUser),
    /// The identity provider says that a user's names or addresses changed.
    ChangeProfile(ChangeProfile),
    /// The identity provider says that a user is gone.
    DeleteUser {
        /// Who.
        user_id: UserId,
    },
    /// A provider says that it has the money of a payment.
    CapturePayment(Box<CapturePayment>),
    /// Somebody proved that a purchase which names nobody is theirs.
    ClaimPurchase {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// Whose it shall be.
        user_id: UserId,
        /// The proof.
        by: ClaimedBy,
    },
}

/// See [`Command::RegisterUser`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterUser {
    /// Who.
    pub user_id: UserId,
    /// Names and addresses.
    pub profile: Personal,
    /// How new they are.
    pub profile_version: ProfileVersion,
    /// The plan new users start on.
    pub plan: String,
    /// The credits new users get; 0 for none.
    pub bonus: Credits,
}

/// See [`Command::ChangeProfile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeProfile {
    /// Who.
    pub user_id: UserId,
    /// Names and addresses.
    pub profile: Personal,
    /// How new they are.
    pub profile_version: ProfileVersion,
}

/// See [`Command::CapturePayment`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapturePayment {
    /// Which purchase the payment is.
    pub purchase_id: PurchaseId,
    /// Whom the payment names, if anybody.
    pub user_id: Option<UserId>,
    /// Who holds the checkout's signature, if that is how we came to ask. Gets the purchase if it names nobody.
    pub claimant: Option<UserId>,
    /// What was charged.
    pub money: Money,
    /// The provider's order.
    pub order_id: Option<String>,
    /// What the catalog says it buys; `None`: it fits nothing there.
    pub price: Option<Price>,
    /// When it was paid, seconds since 1970, from the provider.
    pub paid_at_s: i64,
    /// Who paid, where the provider tells.
    pub payer: Option<Personal>,
}

impl Command {
    /// The streams that are known to be needed before anything is read. Reading them may show that more are.
    pub fn streams(&self) -> Vec<StreamId> {
        match self {
            Self::RegisterUser(RegisterUser { user_id, .. })
            | Self::ChangeProfile(ChangeProfile { user_id, .. })
            | Self::DeleteUser { user_id } => vec![StreamId::User(user_id.clone())],
            Self::CapturePayment(capture) => {
                let user = capture.user_id.as_ref().or(capture.claimant.as_ref());
                std::iter::once(StreamId::Purchase(capture.purchase_id.clone()))
                    .chain(user.cloned().map(StreamId::User))
                    .collect()
            }
            Self::ClaimPurchase {
                purchase_id,
                user_id,
                ..
            } => vec![
                StreamId::Purchase(purchase_id.clone()),
                StreamId::User(user_id.clone()),
            ],
        }
    }
}
