//! What somebody wants to happen. A command carries everything its decision needs: ids, times, salts,
//! the prices that the catalog gave.

use super::event::{
    ClaimedBy, CreditsHeld, DisputeStage, Note, PlanVersion, Price, ProfileVersion,
};
use super::lots::{LotKind, Slice};
use super::personal::Personal;
use super::value::{Credits, Currency, Money, Place, PurchaseId, StreamId, UserId};

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
    /// Somebody may ask that a user's personal data be erased, and does. Deletes the user, too.
    EraseUser {
        /// Whose.
        user_id: UserId,
    },
    /// Nothing that is stored of a purchase shall say who paid: it is that of a user who is being erased, or was paid with
    /// such a user's e-mail address and is nobody's.
    ErasePayer {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// Who is being erased.
        user_id: UserId,
    },
    /// All that was asked to be erased of a user is, but the rows beside the stream: they go with this.
    ConfirmErasure {
        /// Whose.
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
    /// A purchase that names nobody was paid with an e-mail address that one user has proven to be theirs.
    MatchPurchase(MatchPurchase),
    /// A provider says that money of a payment went back, or did not after all.
    RefundPayment(RefundPayment),
    /// A provider says how a dispute about a payment stands.
    DisputePayment(DisputePayment),
    /// Two ids of a provider stand for the same money: from now on the first is a part of the second.
    MergePayments {
        /// The payment, for example a Stripe payment intent.
        payment_id: PurchaseId,
        /// What it paid, for example a Stripe invoice.
        into: PurchaseId,
    },
    /// A provider says how a subscription stands, which sets its user's plan.
    ChangeSubscription(ChangeSubscription),
    /// An operator gives a user the signup bonus that never came.
    GrantSignupBonus {
        /// Who.
        user_id: UserId,
        /// The bonus.
        bonus: Credits,
    },
    /// An operator says whose a purchase is, or what it buys.
    ResolvePurchase {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// Whose it shall be, if it is nobody's.
        user_id: Option<UserId>,
        /// What it buys, if that is not known.
        price: Option<Price>,
    },
    /// A backend uses a user's credits.
    SpendCredits(SpendCredits),
    /// A backend gives back what a spend or a captured hold used. Once.
    ReverseSpend(ReverseSpend),
    /// A backend sets credits aside for running work.
    HoldCredits(HoldCredits),
    /// A backend uses credits of a hold; the rest comes back. Once.
    CaptureHold {
        /// The hold.
        hold: Hold,
        /// How many; `None`: all of them.
        credits: Option<Credits>,
    },
    /// A backend gives a hold up. Once.
    ReleaseHold {
        /// The hold.
        hold: Hold,
    },
    /// A backend or an operator gives credits.
    GrantCredits(GrantCredits),
    /// A backend says that one user recommended us to another. Once for each referred user.
    RewardReferral {
        /// Who came.
        referred: UserId,
        /// Who recommended.
        referrer: UserId,
        /// What the one who came gets; 0 for none.
        referred_credits: Credits,
        /// What the one who recommended gets; 0 for none.
        referrer_credits: Credits,
    },
    /// A backend sets a user's plan. Nothing follows where it is that plan already.
    ChangePlan {
        /// Whose.
        user_id: UserId,
        /// The plan.
        plan: String,
        /// What comes with it; 0 for nothing.
        bonus: Credits,
        /// When the bonus ends, seconds since 1970; `None`: never.
        bonus_expires_at_s: Option<i64>,
    },
    /// The time has come to write down what expired and which holds timed out. Changes nothing that is not so already.
    SettleUser {
        /// Whose.
        user_id: UserId,
    },
    /// Several, all or none, one after another.
    Together(Vec<Command>),
}

/// See [`Command::SpendCredits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendCredits {
    /// Whose.
    pub user_id: UserId,
    /// How many, at least 1.
    pub credits: Credits,
    /// Fewer will do, if there is at least one.
    pub allow_partial: bool,
    /// What the caller says of it.
    pub note: Note,
}

/// See [`Command::ReverseSpend`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReverseSpend {
    /// Whose.
    pub user_id: UserId,
    /// The event that used them.
    pub entry_id: Place,
    /// What it used, as it says itself.
    pub slices: Vec<Slice>,
    /// How many come back, at least 1; `None`: all of them.
    pub credits: Option<Credits>,
    /// What the caller says of it.
    pub reason: Option<String>,
}

/// See [`Command::HoldCredits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCredits {
    /// Whose.
    pub user_id: UserId,
    /// How many, at least 1.
    pub credits: Credits,
    /// After how many seconds they come back by themselves, counted from when it is decided: whoever asked may have
    /// waited, and has another clock.
    pub lasts_s: i64,
    /// What the caller says of it.
    pub note: Note,
}

/// A hold as the event says that placed it. Whether it is settled is not part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The place of the event.
    pub hold_id: Place,
    /// Whose.
    pub user_id: UserId,
    /// What it holds.
    pub slices: Vec<Slice>,
    /// When it ends by itself, seconds since 1970.
    pub times_out_at_s: i64,
    /// What it is for.
    pub note: Note,
}

impl Hold {
    /// As its event says.
    pub fn placed(hold_id: Place, user_id: UserId, event: CreditsHeld) -> Self {
        Self {
            hold_id,
            user_id,
            slices: event.slices,
            times_out_at_s: event.times_out_at_s,
            note: event.note,
        }
    }
}

/// See [`Command::GrantCredits`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantCredits {
    /// To whom.
    pub user_id: UserId,
    /// How many, at least 1.
    pub credits: Credits,
    /// What they are.
    pub kind: LotKind,
    /// Their place in the order of burning, lower first.
    pub priority: u8,
    /// When they end, seconds since 1970; `None`: never.
    pub expires_at_s: Option<i64>,
    /// Why.
    pub reason: String,
    /// Who gives them.
    pub actor: String,
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
    /// Another id of the same money, which becomes a part of this purchase: the payment intent of an invoice.
    pub merges: Option<PurchaseId>,
    /// How much of it went back so far, as this payload says; minor units, 0 where it says nothing.
    pub refunded_total_minor: i64,
    /// The provider's subscription that it pays a period of.
    pub subscription_id: Option<String>,
    /// Who paid for the same subscription before. Gets the purchase if it names nobody.
    pub subscriber: Option<UserId>,
}

/// See [`Command::MatchPurchase`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchPurchase {
    /// Which purchase.
    pub purchase_id: PurchaseId,
    /// The one active user with the payer's address.
    pub user_id: UserId,
    /// The profile in which the user had that address, verified. If it is not the newest any more, nothing follows: the
    /// newer one is looked at on its own.
    pub profile_version: ProfileVersion,
}

/// See [`Command::RefundPayment`]. A payload may tell of one refund, of the sum of all so far, or of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundPayment {
    /// Which payment. It need not be recorded yet.
    pub purchase_id: PurchaseId,
    /// One refund, by its own id.
    pub refund: Option<Refund>,
    /// All that went back of this payment so far, minor units; 0 where the payload does not say.
    pub refunded_total_minor: i64,
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The provider's id, for example `re_…` or `rfnd_…`.
    pub refund_id: String,
    /// How much of the payment, minor units of the payment's currency; at least 1.
    pub amount_minor: i64,
    /// It failed: the money stayed with us, or came back. Final.
    pub failed: bool,
}

/// See [`Command::DisputePayment`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputePayment {
    /// Which payment. It need not be recorded yet.
    pub purchase_id: PurchaseId,
    /// The provider's id, for example `du_…` or `disp_…`.
    pub dispute_id: String,
    /// How it stands. Of two stages of one dispute the higher counts, in whatever order they come.
    pub stage: DisputeStage,
    /// What that means for the money.
    pub standing: DisputeStanding,
    /// The currency of its amount, where the payload says it and the payment's is not at hand. If it is not that of the
    /// payment, the dispute is about the whole payment: no rate is ours to guess.
    pub currency: Option<Currency>,
}

/// What a dispute means for the money of its payment, minor units of the payment's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisputeStanding {
    /// Not decided; so much is contested, and the credits for it are held back.
    Open {
        /// Contested.
        amount_minor: i64,
    },
    /// Decided, nothing is lost: won, withdrawn or closed.
    Won,
    /// Decided; so much is lost, net of what was given back.
    Lost {
        /// Lost.
        amount_minor: i64,
    },
}

/// See [`Command::ChangeSubscription`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSubscription {
    /// Whose it is.
    pub user_id: UserId,
    /// The provider's id of the subscription.
    pub subscription_id: String,
    /// The plan that it gives now; `None`: it ended, or is not paid.
    pub plan: Option<String>,
    /// How new this is.
    pub version: PlanVersion,
    /// The plan of a user whose subscriptions give none.
    pub base_plan: String,
}

impl Command {
    /// The streams that are known to be needed before anything is read. Reading them may show that more are.
    pub fn streams(&self) -> Vec<StreamId> {
        let user = |id: &UserId| StreamId::User(id.clone());
        let purchase = |id: &PurchaseId| StreamId::Purchase(id.clone());
        match self {
            Self::RegisterUser(RegisterUser { user_id, .. })
            | Self::ChangeProfile(ChangeProfile { user_id, .. })
            | Self::ChangeSubscription(ChangeSubscription { user_id, .. })
            | Self::GrantSignupBonus { user_id, .. }
            | Self::SpendCredits(SpendCredits { user_id, .. })
            | Self::ReverseSpend(ReverseSpend { user_id, .. })
            | Self::HoldCredits(HoldCredits { user_id, .. })
            | Self::CaptureHold {
                hold: Hold { user_id, .. },
                ..
            }
            | Self::ReleaseHold {
                hold: Hold { user_id, .. },
            }
            | Self::GrantCredits(GrantCredits { user_id, .. })
            | Self::ChangePlan { user_id, .. }
            | Self::SettleUser { user_id }
            | Self::DeleteUser { user_id }
            | Self::EraseUser { user_id }
            | Self::ConfirmErasure { user_id } => vec![user(user_id)],
            Self::RewardReferral {
                referred, referrer, ..
            } => vec![user(referred), user(referrer)],
            Self::Together(commands) => commands.iter().flat_map(Self::streams).collect(),
            Self::CapturePayment(capture) => {
                let named = capture.user_id.as_ref().or(capture.claimant.as_ref());
                let named = named.or(capture.subscriber.as_ref());
                std::iter::once(purchase(&capture.purchase_id))
                    .chain(capture.merges.as_ref().map(purchase))
                    .chain(named.map(user))
                    .collect()
            }
            Self::ClaimPurchase {
                purchase_id,
                user_id,
                ..
            }
            | Self::ErasePayer {
                purchase_id,
                user_id,
            }
            | Self::MatchPurchase(MatchPurchase {
                purchase_id,
                user_id,
                ..
            }) => vec![purchase(purchase_id), user(user_id)],
            Self::RefundPayment(RefundPayment { purchase_id, .. })
            | Self::DisputePayment(DisputePayment { purchase_id, .. }) => {
                vec![purchase(purchase_id)]
            }
            Self::MergePayments { payment_id, into } => vec![purchase(into), purchase(payment_id)],
            Self::ResolvePurchase {
                purchase_id,
                user_id,
                ..
            } => std::iter::once(purchase(purchase_id))
                .chain(user_id.as_ref().map(user))
                .collect(),
        }
    }

    /// The holds and spends of which it must be known whether they are settled.
    pub fn settlements(&self) -> Vec<Place> {
        match self {
            Self::ReverseSpend(reverse) => vec![reverse.entry_id],
            Self::CaptureHold { hold, .. } | Self::ReleaseHold { hold } => vec![hold.hold_id],
            Self::Together(commands) => commands.iter().flat_map(Self::settlements).collect(),
            _ => vec![],
        }
    }
}
