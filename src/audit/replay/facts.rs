//! What is compared: facts of users and purchases, as their events tell them, by the names that `stored_*.sql` gives
//! to what is stored.
//!
//! Every column of every read model is among them, or in the state of the stream; personal data apart, which events
//! do not hold.

use std::collections::BTreeMap;

use cqrs_es::Aggregate;
use sha2::{Digest as _, Sha256};

use crate::ledger::event::UserEvent;
use crate::ledger::lots::{ReadLots, Wanted};
use crate::ledger::user::ReadRows;
use crate::ledger::{Purchase, PurchaseEvent, PurchaseId, User};

/// What an absent fact is called.
pub const NOTHING: &str = "nothing";
/// What a time is called that equals the log's.
const AS_LOGGED: &str = "as logged";

/// An aggregate folded from its events, and how its stored counterparts are called.
pub trait Audited: Aggregate + PartialEq + Clone {
    /// A query of everything that is stored about these aggregates: `id`, and facts as text, by name. `$1`: only
    /// these ids, or all for null.
    const STORED: &'static str;
    /// What the read models say that the state does not remember.
    type Extras: Default + Clone;
    /// Adds what an event says.
    fn note(extras: &mut Self::Extras, sequence: u64, event: &Self::Event);
    /// The same facts as [`Audited::STORED`], of a folded aggregate.
    fn facts(folded: &Folded<Self>) -> BTreeMap<&'static str, String>;
    /// Reads the state as it is stored, with the lots that are rows (JSON), if any are.
    fn read(state: &str, lots: Option<&str>) -> Option<Self>;
}

/// An aggregate as the history tells it.
#[derive(Debug, Clone, Default)]
pub struct Folded<A: Audited> {
    pub(super) state: A,
    pub(super) version: u64,
    broken: bool,
    extras: A::Extras,
}

/// What a user's events say beside the state.
#[derive(Debug, Clone, Default)]
pub struct UserExtras {
    /// Of the last event that brought a profile; 0: none did.
    profile_sequence: u64,
    /// Of the last event that set the plan; 0: only the registration did, or none.
    plan_sequence: u64,
    /// Of the last event that moved credits; 0: none did.
    balance_version: u64,
    movements: i64,
    /// Holds that nothing settled yet, and settlements of holds and spends.
    open_holds: u64,
    settlements: u64,
    entries: u64,
    /// Over `sequence:type:delta:balance:purchase` of each movement, one line each.
    digest: Sha256,
}

/// What a purchase's events say beside the state.
#[derive(Debug, Clone, Default)]
pub struct PurchaseExtras {
    order_id: Option<String>,
    /// Of the last event that says how the money stands; 0: none does.
    standing_sequence: u64,
}

/// A fact as text; absent is what a null of the database is called.
fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

impl Audited for User {
    const STORED: &'static str = include_str!("../stored_users.sql");
    type Extras = UserExtras;

    fn note(extras: &mut UserExtras, sequence: u64, event: &UserEvent) {
        match event {
            UserEvent::UserRegistered {
                profile: Some(_), ..
            }
            | UserEvent::UserProfileChanged { .. } => extras.profile_sequence = sequence,
            UserEvent::PlanChanged { .. } => extras.plan_sequence = sequence,
            UserEvent::CreditsHeld(_) => extras.open_holds += 1,
            UserEvent::HoldCaptured(_) | UserEvent::HoldReleased(_) => {
                extras.open_holds = extras.open_holds.saturating_sub(1);
            }
            _ => {}
        }
        extras.settlements += u64::from(event.settles().is_some());
        let Some(movement) = event.movement() else {
            return;
        };
        let purchase_id = movement.purchase_id.map_or("", PurchaseId::as_str);
        let newline = if extras.entries == 0 { "" } else { "\n" };
        extras.digest.update(format!(
            "{newline}{sequence}:{}:{}:{}:{purchase_id}",
            event.type_name(),
            movement.delta,
            movement.account.balance
        ));
        extras.balance_version = sequence;
        extras.movements = extras.movements.saturating_add(movement.delta);
        extras.entries += 1;
    }

    fn facts(folded: &Folded<Self>) -> BTreeMap<&'static str, String> {
        let user = &folded.state;
        let account = user.account;
        let extras = &folded.extras;
        let registered_at = user.registered.then_some(AS_LOGGED);
        let deleted_at = user.deleted.then_some(AS_LOGGED);
        BTreeMap::from([
            ("stream version", folded.version.to_string()),
            ("stream without holes", (!folded.broken).to_string()),
            ("registered", user.registered.to_string()),
            ("deleted", user.deleted.to_string()),
            ("erasure requested", user.erasure_requested.to_string()),
            ("erased", user.erased.to_string()),
            ("signup bonus", user.bonus.to_string()),
            ("plan", text(user.plan.as_ref())),
            (
                "sequence of the profile",
                extras.profile_sequence.to_string(),
            ),
            ("sequence of the plan", extras.plan_sequence.to_string()),
            ("time of registration", text(registered_at)),
            ("time of deletion", text(deleted_at)),
            ("balance", account.balance.to_string()),
            ("held", account.held.to_string()),
            ("debt", account.debt.to_string()),
            ("version of the balance", extras.balance_version.to_string()),
            ("open holds", extras.open_holds.to_string()),
            ("credits in open holds", account.reserved.to_string()),
            ("settlements", extras.settlements.to_string()),
            ("sum of entries", extras.movements.to_string()),
            ("number of entries", extras.entries.to_string()),
            ("entries as logged", extras.entries.to_string()),
            (
                "digest of entries",
                hex::encode(extras.digest.clone().finalize()),
            ),
        ])
    }

    fn read(state: &str, lots: Option<&str>) -> Option<Self> {
        let mut user: Self = serde_json::from_str(state).ok()?;
        let all = Wanted {
            next: u32::MAX,
            ..Wanted::default()
        };
        let lots = lots.map_or_else(|| Ok(vec![]), serde_json::from_str).ok()?;
        let lots = ReadLots {
            lots,
            ..ReadLots::default()
        };
        let rows = ReadRows {
            lots,
            ..ReadRows::default()
        };
        user.take_in(&all, rows);
        Some(user)
    }
}

impl Audited for Purchase {
    const STORED: &'static str = include_str!("../stored_purchases.sql");
    type Extras = PurchaseExtras;

    fn note(extras: &mut PurchaseExtras, sequence: u64, event: &PurchaseEvent) {
        match event {
            PurchaseEvent::PaymentCaptured { order_id, .. } => {
                extras.order_id.clone_from(order_id);
            }
            PurchaseEvent::PaymentRefunded { .. }
            | PurchaseEvent::RefundFailed { .. }
            | PurchaseEvent::PaymentDisputed { .. }
            | PurchaseEvent::DisputeWon { .. }
            | PurchaseEvent::DisputeLost { .. }
            | PurchaseEvent::PaymentAbsorbed { .. } => extras.standing_sequence = sequence,
            // These are in the state.
            PurchaseEvent::SubscriptionNamed { .. }
            | PurchaseEvent::PayerNamed { .. }
            | PurchaseEvent::PayerErased {}
            | PurchaseEvent::PurchaseClaimed { .. }
            | PurchaseEvent::PurchasePriced { .. }
            | PurchaseEvent::PaymentMerged { .. } => {}
        }
    }

    fn facts(folded: &Folded<Self>) -> BTreeMap<&'static str, String> {
        let purchase = &folded.state;
        let extras = &folded.extras;
        let price = purchase.price.as_ref();
        let credits = price.map_or(0, |price| price.credits.get());
        let standing = purchase.standing();
        let amount_minor = purchase.captured.then_some(purchase.amount_minor);
        let paid_at_s = purchase.captured.then_some(purchase.paid_at_s);
        BTreeMap::from([
            ("stream version", folded.version.to_string()),
            ("stream without holes", (!folded.broken).to_string()),
            ("user", text(purchase.user_id.as_ref())),
            ("status", status(purchase).to_owned()),
            ("amount", text(amount_minor)),
            ("currency", text(purchase.currency)),
            ("order", text(extras.order_id.as_ref())),
            ("sku", text(price.map(|price| &price.sku))),
            ("credits", credits.to_string()),
            ("refunded", standing.refunded_minor.to_string()),
            ("disputed", standing.disputed_minor.to_string()),
            ("lost", standing.lost_minor.to_string()),
            (
                "sequence of the standing",
                extras.standing_sequence.to_string(),
            ),
            ("subscription", text(purchase.subscription_id.as_ref())),
            ("payer erased", purchase.payer_erased.to_string()),
            ("part of", text(purchase.part_of.as_ref())),
            ("time of payment", text(paid_at_s)),
            ("time of recording", AS_LOGGED.to_owned()),
        ])
    }

    fn read(state: &str, _: Option<&str>) -> Option<Self> {
        serde_json::from_str(state).ok()
    }
}

/// The status that the read model should show, worked out once more.
fn status(purchase: &Purchase) -> &'static str {
    let standing = purchase.standing();
    let gone = standing.refunded_minor.saturating_add(standing.lost_minor);
    let all = |minor: i64| purchase.amount_minor > 0 && minor >= purchase.amount_minor;
    match purchase {
        Purchase {
            part_of: Some(_), ..
        } => "merged",
        Purchase {
            captured: false, ..
        } => "uncaptured",
        _ if all(standing.lost_minor) => "lost",
        _ if all(gone) => "refunded",
        _ if standing.disputed_minor > 0 => "disputed",
        _ if gone > 0 => "partially_refunded",
        _ => "captured",
    }
}

impl<A: Audited> Folded<A> {
    /// Takes the next event.
    pub fn apply(&mut self, sequence: usize, event: A::Event) {
        let sequence = sequence as u64;
        self.broken |= sequence != self.version + 1;
        self.version = sequence;
        A::note(&mut self.extras, sequence, &event);
        self.state.apply(event);
    }
}
