//! What happened. Events are stored for ever, so this file only ever grows: a field may be added with a
//! default; a changed meaning is a new event.
//!
//! An event never holds personal data (see [`super::personal`]) and never a time of ours: `recorded_at` is a
//! column of the log. The JSON written here is what `projections/*/apply.sql` and the auditor read.

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use super::Settlement;
use super::lots::{LotKind, Slice, default_priority, is_default_priority};
use super::purchase::Purchase;
use super::value::{Account, Credits, Currency, Place, PurchaseId, UserId};

/// The version of every event's shape so far.
pub const EVENT_VERSION: &str = "1.0";

/// What happened to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum UserEvent {
    /// The identity provider said that the user signed up.
    UserRegistered {
        /// The plan that every new user starts on.
        plan: String,
        /// The profile that came with it, unless a newer one was known already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        profile: Option<ProfileRef>,
    },
    /// The credits every new user gets, once.
    SignupBonusGranted(CreditsAdded),
    /// The identity provider said that names or addresses changed.
    UserProfileChanged {
        /// The new profile.
        profile: ProfileRef,
    },
    /// The identity provider said that the user is gone. Credits stay where they are.
    UserDeleted {},
    /// Somebody asked that the personal data of the user, who is gone, be erased.
    ErasureRequested {},
    /// It is erased: none is stored any more, and none will be. The rows beside the stream went with this event.
    UserErased {},
    /// A purchase was credited.
    CreditsPurchased {
        /// The purchase that gave them.
        purchase_id: PurchaseId,
        /// What came.
        #[serde(flatten)]
        added: CreditsAdded,
        /// When the credits end, seconds since 1970; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at_s: Option<i64>,
    },
    /// A dispute was opened: credits of the purchase are not available until it is decided.
    CreditsHeldBack(PurchaseAdjusted),
    /// Money of a purchase is gone, and its credits with it. Those that were spent became debt.
    CreditsClawedBack(PurchaseAdjusted),
    /// Credits of a purchase came back: a refund failed, or a dispute was won.
    CreditsRestored(PurchaseAdjusted),
    /// A provider said how a subscription stands.
    SubscriptionChanged {
        /// The provider's id of it.
        subscription_id: String,
        /// The plan that it gives; absent: none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gives: Option<String>,
        /// How new this is.
        #[serde(flatten)]
        version: PlanVersion,
    },
    /// The user's plan is another one.
    PlanChanged {
        /// The plan from now on.
        plan: String,
    },
    /// The user came by another's recommendation.
    UserReferred {
        /// Whose.
        by: UserId,
    },
    /// Credits were given that nobody paid for.
    CreditsGranted(CreditsGranted),
    /// Credits were used.
    CreditsSpent(CreditsSpent),
    /// Credits of a spend came back.
    SpendReversed(SpendReversed),
    /// Credits were set aside for running work. The hold is called by the place of this event.
    CreditsHeld(CreditsHeld),
    /// Some or all credits of a hold were used, the rest came back.
    HoldCaptured(HoldCaptured),
    /// All credits of a hold came back.
    HoldReleased(HoldReleased),
    /// The time of credits was over.
    CreditsExpired(CreditsExpired),
}

/// What happened to a purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum PurchaseEvent {
    /// The provider has the money.
    PaymentCaptured {
        /// In the currency's minor unit.
        amount_minor: i64,
        /// The currency charged.
        currency: Currency,
        /// The provider's order, where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order_id: Option<String>,
        /// Whom the payment names. Absent: nobody, the purchase is unclaimed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<UserId>,
        /// What was bought. Absent: the payment fits nothing in the catalog, the purchase is unpriced.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price: Option<Price>,
        /// When the provider says it was paid, seconds since 1970.
        paid_at_s: i64,
        /// The salted digest of who paid, where the provider tells and nobody knows whose the purchase is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payer: Option<String>,
        /// The subscription that it pays a period of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subscription_id: Option<String>,
    },
    /// A purchase learned which subscription it pays a period of.
    SubscriptionNamed {
        /// The provider's id of it.
        subscription_id: String,
    },
    /// A purchase that names nobody learned who paid.
    PayerNamed {
        /// The salted digest.
        payer: String,
    },
    /// Who paid is forgotten, and is not kept again. The rows beside the stream went with this event.
    PayerErased {},
    /// A purchase that named nobody found its user.
    PurchaseClaimed {
        /// Whose it is from now on.
        user_id: UserId,
        /// How that is known.
        by: ClaimedBy,
    },
    /// A purchase that fitted nothing was understood by a later delivery.
    PurchasePriced {
        /// What was bought.
        price: Price,
    },
    /// Money went back. May come before the capture.
    PaymentRefunded {
        /// The refund; absent where only the sum is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refund_id: Option<String>,
        /// How much this refund is, minor units; absent as its id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount_minor: Option<i64>,
        /// The sum of all refunds so far as the provider counts it, where it said so; minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refunded_total_minor: Option<i64>,
        /// The purchase after it.
        after: Standing,
    },
    /// A refund failed: the money is ours again.
    RefundFailed {
        /// The refund.
        refund_id: String,
        /// How much it was, minor units.
        amount_minor: i64,
        /// The purchase after it.
        after: Standing,
    },
    /// The payment is contested.
    PaymentDisputed {
        /// The dispute.
        dispute_id: String,
        /// How it stands.
        stage: DisputeStage,
        /// How much is contested, minor units.
        amount_minor: i64,
        /// The currency of the amount, where it was not known whether it is the payment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_currency: Option<Currency>,
        /// The purchase after it.
        after: Standing,
    },
    /// A dispute ended without a loss.
    DisputeWon {
        /// The dispute.
        dispute_id: String,
        /// How it stands.
        stage: DisputeStage,
        /// The purchase after it.
        after: Standing,
    },
    /// A dispute ended with a loss.
    DisputeLost {
        /// The dispute.
        dispute_id: String,
        /// How it stands.
        stage: DisputeStage,
        /// How much is lost, net, minor units.
        amount_minor: i64,
        /// The currency of the amount, where it was not known whether it is the payment's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_currency: Option<Currency>,
        /// The purchase after it.
        after: Standing,
    },
    /// This payment is the same money as another purchase, which has all its facts from now on.
    PaymentMerged {
        /// The other purchase.
        into: PurchaseId,
    },
    /// Another id of the same money came in, with what was known of it.
    PaymentAbsorbed {
        /// The other id.
        payment_id: PurchaseId,
        /// What was known of it.
        known: Box<Purchase>,
        /// The purchase after it.
        after: Standing,
    },
}

/// Credits that came, and the account after them. They are a lot of their own, called by this event's sequence, less what
/// repaid debt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditsAdded {
    /// What was given.
    pub credits: Credits,
    /// How many of them repaid debt. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub repaid: Credits,
    /// How the balance changed.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// See [`UserEvent::CreditsGranted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditsGranted {
    /// What they are.
    pub kind: LotKind,
    /// Their place in the order of burning, lower first. Absent in JSON means the default.
    #[serde(
        default = "default_priority",
        skip_serializing_if = "is_default_priority"
    )]
    pub priority: u8,
    /// When they end, seconds since 1970; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_s: Option<i64>,
    /// Why they were given.
    pub cause: GrantCause,
    /// What the giver says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who gave them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Of a referral: the other side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referral: Option<UserId>,
    /// What came.
    #[serde(flatten)]
    pub added: CreditsAdded,
}

/// Why credits were given that nobody paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantCause {
    /// A backend or an operator gave them.
    Grant,
    /// They come with a plan.
    Plan,
    /// One user recommended us to another.
    Referral,
}

/// See [`UserEvent::CreditsSpent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditsSpent {
    /// How many.
    pub credits: Credits,
    /// From which lots, in the order of burning.
    pub slices: Vec<Slice>,
    /// What the caller says of it.
    #[serde(flatten)]
    pub note: Note,
    /// How the balance changed.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// What a caller says of a spend or a hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Note {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The caller's own id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// See [`UserEvent::SpendReversed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendReversed {
    /// The event that used them: a spend, or a captured hold.
    pub entry_id: Place,
    /// How many came back.
    pub credits: Credits,
    /// How many of them repaid debt. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub repaid: Credits,
    /// The rest, by the lots it came from.
    pub slices: Vec<Slice>,
    /// What the caller says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How the balance changed.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// See [`UserEvent::CreditsHeld`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditsHeld {
    /// How many.
    pub credits: Credits,
    /// From which lots, in the order of burning.
    pub slices: Vec<Slice>,
    /// When they come back by themselves, seconds since 1970.
    pub times_out_at_s: i64,
    /// What the caller says of it.
    #[serde(flatten)]
    pub note: Note,
    /// How the balance changed: 0.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// See [`UserEvent::HoldCaptured`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldCaptured {
    /// The hold.
    pub hold_id: Place,
    /// How many of its credits were used.
    pub credits: Credits,
    /// From which lots.
    pub slices: Vec<Slice>,
    /// How many were not used and repaid debt. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub repaid: Credits,
    /// The rest, by the lots it came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<Slice>,
    /// What the hold was for.
    #[serde(flatten)]
    pub note: Note,
    /// How the balance changed.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// See [`UserEvent::HoldReleased`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    /// The hold.
    pub hold_id: Place,
    /// How many it held.
    pub credits: Credits,
    /// How many of them repaid debt. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub repaid: Credits,
    /// The rest, by the lots it came from.
    pub returned: Vec<Slice>,
    /// It ended by itself, at this time, seconds since 1970; absent: somebody ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timed_out_at_s: Option<i64>,
    /// How the balance changed: by what repaid debt.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// See [`UserEvent::CreditsExpired`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreditsExpired {
    /// How many.
    pub credits: Credits,
    /// Of which lots.
    pub slices: Vec<Slice>,
    /// When they ended, seconds since 1970. This event may be written later, and changes nothing then.
    pub expired_at_s: i64,
    /// How the balance changed.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// What changed for a user when money of a purchase was contested, went back, or came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseAdjusted {
    /// The purchase.
    pub purchase_id: PurchaseId,
    /// Credits held back, clawed back or restored by this.
    pub credits: Credits,
    /// Credits that were held back for a dispute and no longer are. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub released: Credits,
    /// The lots that they were taken from, or came back to. What is held back stays in its lots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
    /// How many are in the purchase's own lot: held back there, or expired there before they were clawed back. Absent in
    /// JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub own: Credits,
    /// Of those restored, how many repaid debt. Absent in JSON means 0.
    #[serde(default, skip_serializing_if = "Credits::is_zero")]
    pub repaid: Credits,
    /// How the balance changed.
    pub delta: i64,
    /// The account after it.
    #[serde(flatten)]
    pub account: Account,
}

/// How the money of a purchase stands, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// Went back by refunds.
    #[serde(skip_serializing_if = "is_zero")]
    pub refunded_minor: i64,
    /// Contested by disputes that are not decided.
    #[serde(skip_serializing_if = "is_zero")]
    pub disputed_minor: i64,
    /// Lost by disputes.
    #[serde(skip_serializing_if = "is_zero")]
    pub lost_minor: i64,
}

/// Leaves a 0 out of stored JSON.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(super) const fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// How far a dispute has come, as a number that only grows in the life of one dispute. Each provider's module says what
/// its numbers mean; equal stages are told apart by the amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DisputeStage(pub u32);

/// The order of what a provider says of one subscription: by its event's time, then by how far the status is in the
/// life of a subscription, then by the event's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlanVersion {
    /// The provider event's time, seconds since 1970.
    pub created_s: i64,
    /// The rank of the status among those of one second.
    pub rank: u8,
    /// The provider's event.
    pub event_id: String,
}

/// Which profile an event stands for: the row of personal data beside it, and how new it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileRef {
    /// Hex SHA-256 over the salt and the profile's bytes.
    pub digest: String,
    /// How new the profile is.
    #[serde(flatten)]
    pub version: ProfileVersion,
}

/// The order of a user's profiles, whatever order they arrive in: by the provider's own `updated_at`, and
/// where two say the same millisecond, by the provider's event id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProfileVersion {
    /// Milliseconds since 1970, from the provider.
    pub updated_at_ms: i64,
    /// The provider's event that carried it.
    pub event_id: String,
}

/// A pack of the catalog, as it was when the purchase was priced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The pack's name.
    pub sku: String,
    /// What it gives.
    pub credits: Credits,
    /// When the credits end, seconds since 1970; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_s: Option<i64>,
}

/// How a purchase's user became known after the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedBy {
    /// A later delivery of the provider named the user.
    Provider,
    /// The user showed the provider's signature over order and payment.
    CheckoutSignature,
    /// The one active user who has proven to own the payer's e-mail address.
    VerifiedEmail,
    /// The user has paid for the same subscription.
    Subscription,
    /// Another id of the same money named the user.
    SamePayment,
    /// An operator said so.
    Operator,
}

/// How an event moved a user's credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Movement<'a> {
    /// How the balance changed; 0 where only what is held or owed did.
    pub delta: i64,
    /// The account after it.
    pub account: Account,
    /// The purchase behind it.
    pub purchase_id: Option<&'a PurchaseId>,
}

impl UserEvent {
    /// How it moved credits; `None` for an event that has nothing to do with them.
    pub const fn movement(&self) -> Option<Movement<'_>> {
        let (delta, account, purchase_id) = match self {
            Self::SignupBonusGranted(added) => (added.delta, added.account, None),
            Self::CreditsPurchased {
                added, purchase_id, ..
            } => (added.delta, added.account, Some(purchase_id)),
            Self::CreditsHeldBack(adjusted)
            | Self::CreditsClawedBack(adjusted)
            | Self::CreditsRestored(adjusted) => {
                let id = &adjusted.purchase_id;
                (adjusted.delta, adjusted.account, Some(id))
            }
            Self::CreditsGranted(granted) => (granted.added.delta, granted.added.account, None),
            Self::CreditsSpent(spent) => (spent.delta, spent.account, None),
            Self::SpendReversed(reversed) => (reversed.delta, reversed.account, None),
            Self::CreditsHeld(held) => (held.delta, held.account, None),
            Self::HoldCaptured(captured) => (captured.delta, captured.account, None),
            Self::HoldReleased(released) => (released.delta, released.account, None),
            Self::CreditsExpired(expired) => (expired.delta, expired.account, None),
            Self::UserRegistered { .. }
            | Self::UserProfileChanged { .. }
            | Self::UserDeleted {}
            | Self::ErasureRequested {}
            | Self::UserErased {}
            | Self::SubscriptionChanged { .. }
            | Self::PlanChanged { .. }
            | Self::UserReferred { .. } => return None,
        };
        Some(Movement {
            delta,
            account,
            purchase_id,
        })
    }

    /// The hold or spend that it settles, for good.
    pub const fn settles(&self) -> Option<(Place, Settlement)> {
        match self {
            Self::SpendReversed(reversed) => Some((reversed.entry_id, Settlement::Reversed)),
            Self::HoldCaptured(captured) => Some((captured.hold_id, Settlement::Captured)),
            Self::HoldReleased(released) if released.timed_out_at_s.is_some() => {
                Some((released.hold_id, Settlement::TimedOut))
            }
            Self::HoldReleased(released) => Some((released.hold_id, Settlement::Released)),
            _ => None,
        }
    }

    /// When it was so what it only writes down later, seconds since 1970; `None`: it was so when it was recorded.
    pub const fn was_so_at_s(&self) -> Option<i64> {
        match self {
            Self::CreditsExpired(expired) => Some(expired.expired_at_s),
            Self::HoldReleased(released) => released.timed_out_at_s,
            _ => None,
        }
    }

    /// Every event type of a user, in the order of declaration.
    pub const TYPES: [&'static str; 20] = [
        "UserRegistered",
        "SignupBonusGranted",
        "UserProfileChanged",
        "UserDeleted",
        "ErasureRequested",
        "UserErased",
        "CreditsPurchased",
        "CreditsHeldBack",
        "CreditsClawedBack",
        "CreditsRestored",
        "SubscriptionChanged",
        "PlanChanged",
        "UserReferred",
        "CreditsGranted",
        "CreditsSpent",
        "SpendReversed",
        "CreditsHeld",
        "HoldCaptured",
        "HoldReleased",
        "CreditsExpired",
    ];

    /// The name of the type, as in the log.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::UserRegistered { .. } => "UserRegistered",
            Self::SignupBonusGranted(_) => "SignupBonusGranted",
            Self::UserProfileChanged { .. } => "UserProfileChanged",
            Self::UserDeleted {} => "UserDeleted",
            Self::ErasureRequested {} => "ErasureRequested",
            Self::UserErased {} => "UserErased",
            Self::CreditsPurchased { .. } => "CreditsPurchased",
            Self::CreditsHeldBack(_) => "CreditsHeldBack",
            Self::CreditsClawedBack(_) => "CreditsClawedBack",
            Self::CreditsRestored(_) => "CreditsRestored",
            Self::SubscriptionChanged { .. } => "SubscriptionChanged",
            Self::PlanChanged { .. } => "PlanChanged",
            Self::UserReferred { .. } => "UserReferred",
            Self::CreditsGranted(_) => "CreditsGranted",
            Self::CreditsSpent(_) => "CreditsSpent",
            Self::SpendReversed(_) => "SpendReversed",
            Self::CreditsHeld(_) => "CreditsHeld",
            Self::HoldCaptured(_) => "HoldCaptured",
            Self::HoldReleased(_) => "HoldReleased",
            Self::CreditsExpired(_) => "CreditsExpired",
        }
    }
}

impl PurchaseEvent {
    /// Every event type of a purchase, in the order of declaration.
    pub const TYPES: [&'static str; 13] = [
        "PaymentCaptured",
        "SubscriptionNamed",
        "PayerNamed",
        "PayerErased",
        "PurchaseClaimed",
        "PurchasePriced",
        "PaymentRefunded",
        "RefundFailed",
        "PaymentDisputed",
        "DisputeWon",
        "DisputeLost",
        "PaymentMerged",
        "PaymentAbsorbed",
    ];

    /// The name of the type, as in the log.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::PaymentCaptured { .. } => "PaymentCaptured",
            Self::SubscriptionNamed { .. } => "SubscriptionNamed",
            Self::PayerNamed { .. } => "PayerNamed",
            Self::PayerErased {} => "PayerErased",
            Self::PurchaseClaimed { .. } => "PurchaseClaimed",
            Self::PurchasePriced { .. } => "PurchasePriced",
            Self::PaymentRefunded { .. } => "PaymentRefunded",
            Self::RefundFailed { .. } => "RefundFailed",
            Self::PaymentDisputed { .. } => "PaymentDisputed",
            Self::DisputeWon { .. } => "DisputeWon",
            Self::DisputeLost { .. } => "DisputeLost",
            Self::PaymentMerged { .. } => "PaymentMerged",
            Self::PaymentAbsorbed { .. } => "PaymentAbsorbed",
        }
    }
}

/// An event of either aggregate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// Of a user's stream.
    User(UserEvent),
    /// Of a purchase's stream.
    Purchase(PurchaseEvent),
}

impl Event {
    /// How it moved credits, if it did.
    pub const fn movement(&self) -> Option<Movement<'_>> {
        match self {
            Self::User(event) => event.movement(),
            Self::Purchase(_) => None,
        }
    }

    /// Whether the personal data beside its stream goes with it.
    pub const fn erases(&self) -> bool {
        matches!(
            self,
            Self::User(UserEvent::UserErased {}) | Self::Purchase(PurchaseEvent::PayerErased {})
        )
    }

    /// The name of the type, as in the log.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::User(event) => event.type_name(),
            Self::Purchase(event) => event.type_name(),
        }
    }
}

impl DomainEvent for UserEvent {
    fn event_type(&self) -> String {
        self.type_name().to_owned()
    }
    fn event_version(&self) -> String {
        EVENT_VERSION.to_owned()
    }
}

impl DomainEvent for PurchaseEvent {
    fn event_type(&self) -> String {
        self.type_name().to_owned()
    }
    fn event_version(&self) -> String {
        EVENT_VERSION.to_owned()
    }
}
