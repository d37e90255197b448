//! One command over several aggregates: a captured payment is an event of the purchase *and* credits of the
//! user, decided together, recorded together.
//!
//! Must decide only on states that it was given. A state that it lacks is asked for by name, so that the
//! store can lock it first and ask again.

use std::collections::HashMap;

use super::LedgerError;
use super::command::{
    CapturePayment, ChangeProfile, ChangeSubscription, Command, MatchPurchase, RefundPayment,
    RegisterUser,
};
use super::event::{ClaimedBy, Event, PurchaseEvent, UserEvent};
use super::personal::Personal;
use super::purchase::{Purchase, PurchaseCommand, Withheld};
use super::user::{Subscription, User, UserCommand};
use super::value::{Credits, PurchaseId, StreamId, UserId};

/// The states that a decision may stand on. `None`: not read, or not locked. A stream without events has the
/// default state.
pub trait States {
    /// The user's state.
    fn user(&self, id: &UserId) -> Option<&User>;
    /// The purchase's state.
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase>;
}

/// An event to append, and the row of personal data to lay beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// What happened.
    pub event: Event,
    /// The personal data whose digest the event carries.
    pub personal: Option<Personal>,
    /// Whether a purchase that names nobody may now be matched with a user by an e-mail address.
    pub matchable: bool,
    /// The provider's subscription whose user became known by this.
    pub subscriber: Option<String>,
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The state of this stream is needed too.
    Needs(StreamId),
    /// A rule says no.
    Refused(LedgerError),
}

impl From<LedgerError> for Rejection {
    fn from(error: LedgerError) -> Self {
        Self::Refused(error)
    }
}

/// Decides a command: the events of all its streams, in the order to append them. An empty list means that
/// the command adds nothing to what is known.
///
/// # Errors
/// [`Rejection`]: a state is missing, or a rule says no.
pub fn decide(command: &Command, states: &impl States) -> Result<Vec<Emitted>, Rejection> {
    let mut draft = Draft::on(states);
    match command {
        Command::RegisterUser(register) => draft.register(register)?,
        Command::ChangeProfile(ChangeProfile {
            user_id,
            profile,
            profile_version,
        }) => {
            let change = UserCommand::ChangeProfile {
                profile: profile.clone(),
                version: profile_version.clone(),
            };
            draft.ask_user(user_id, &change, Some(profile))?;
        }
        Command::DeleteUser { user_id } => draft.ask_user(user_id, &UserCommand::Delete, None)?,
        Command::CapturePayment(capture) => draft.capture(capture)?,
        Command::ClaimPurchase {
            purchase_id,
            user_id,
            by,
        } => draft.claim(purchase_id, user_id, *by)?,
        Command::MatchPurchase(found) => draft.match_purchase(found)?,
        Command::RefundPayment(refund) => {
            let ask = PurchaseCommand::Refund(refund.clone());
            draft.ask_purchase(&refund.purchase_id, &ask, None)?;
        }
        Command::DisputePayment(dispute) => {
            let ask = PurchaseCommand::Dispute(dispute.clone());
            draft.ask_purchase(&dispute.purchase_id, &ask, None)?;
        }
        Command::MergePayments { payment_id, into } => draft.merge(payment_id, into)?,
        Command::ChangeSubscription(change) => draft.change_subscription(change)?,
        Command::GrantSignupBonus { user_id, bonus } => {
            let grant = UserCommand::GrantSignupBonus { bonus: *bonus };
            draft.ask_user(user_id, &grant, None)?;
        }
        Command::ResolvePurchase {
            purchase_id,
            user_id,
            price,
        } => {
            let ask = PurchaseCommand::Resolve {
                user_id: user_id.clone(),
                price: price.clone(),
            };
            draft.ask_purchase(purchase_id, &ask, None)?;
        }
    }
    Ok(draft.emitted)
}

/// A decision in the making: the events so far, and the states after them.
struct Draft<'a, S> {
    states: &'a S,
    users: HashMap<UserId, User>,
    purchases: HashMap<PurchaseId, Purchase>,
    emitted: Vec<Emitted>,
}

impl<'a, S: States> Draft<'a, S> {
    fn on(states: &'a S) -> Self {
        Self {
            states,
            users: HashMap::new(),
            purchases: HashMap::new(),
            emitted: Vec::new(),
        }
    }

    fn user(&self, id: &UserId) -> Result<&User, Rejection> {
        let known = self.users.get(id).or_else(|| self.states.user(id));
        known.ok_or_else(|| Rejection::Needs(StreamId::User(id.clone())))
    }

    fn purchase(&self, id: &PurchaseId) -> Result<&Purchase, Rejection> {
        let known = self.purchases.get(id).or_else(|| self.states.purchase(id));
        known.ok_or_else(|| Rejection::Needs(StreamId::Purchase(id.clone())))
    }

    fn register(&mut self, register: &RegisterUser) -> Result<(), Rejection> {
        let ask = UserCommand::Register {
            profile: register.profile.clone(),
            version: register.profile_version.clone(),
            plan: register.plan.clone(),
            bonus: register.bonus,
        };
        self.ask_user(&register.user_id, &ask, Some(&register.profile))
    }

    fn capture(&mut self, capture: &CapturePayment) -> Result<(), Rejection> {
        if let Some(part) = &capture.merges {
            self.merge(part, &capture.purchase_id)?;
        }
        let whole = self.canonical(&capture.purchase_id)?;
        let credits = capture.user_id.is_some() && capture.price.is_some();
        if whole != capture.purchase_id && !credits && !self.purchase(&whole)?.captured {
            return self.capture_part(capture, &whole);
        }
        let ask = PurchaseCommand::Capture(Box::new(capture.clone()));
        self.ask_purchase(&capture.purchase_id, &ask, capture.payer.as_ref())
    }

    /// Records the payment of a part whose whole is not captured yet. The whole has a capture of its own, with its own
    /// amount; what went back of the part went back of the whole.
    fn capture_part(
        &mut self,
        capture: &CapturePayment,
        whole: &PurchaseId,
    ) -> Result<(), Rejection> {
        let own = CapturePayment {
            refunded_total_minor: 0,
            ..capture.clone()
        };
        let part = self.purchase(&capture.purchase_id)?;
        let events = part.decide(&PurchaseCommand::Capture(Box::new(own)))?;
        self.record(&capture.purchase_id, events, capture.payer.as_ref())?;
        let refund = PurchaseCommand::Refund(RefundPayment {
            purchase_id: whole.clone(),
            refund: None,
            refunded_total_minor: capture.refunded_total_minor,
        });
        self.ask_purchase(whole, &refund, None)
    }

    fn claim(&mut self, id: &PurchaseId, user_id: &UserId, by: ClaimedBy) -> Result<(), Rejection> {
        let user_id = user_id.clone();
        self.ask_purchase(id, &PurchaseCommand::Claim { user_id, by }, None)
    }

    /// A match found in the read models holds only if it still does: the purchase is nobody's, and the user is there
    /// with the very profile that was found. Whatever changed either of them is looked at on its own.
    ///
    /// Until it is known what a purchase buys nothing is matched: no credits wait for it, and of the events of one payment
    /// those that say what it buys are those that name the buyer, who may have paid with another's address.
    fn match_purchase(&mut self, found: &MatchPurchase) -> Result<(), Rejection> {
        let id = self.canonical(&found.purchase_id)?;
        let unclaimed = self.purchase(&id)?.is_matchable();
        let user = self.user(&found.user_id)?;
        let same = !user.deleted && user.profile.as_ref() == Some(&found.profile_version);
        if unclaimed && same {
            self.claim(&id, &found.user_id, ClaimedBy::VerifiedEmail)?;
        }
        Ok(())
    }

    fn change_subscription(&mut self, change: &ChangeSubscription) -> Result<(), Rejection> {
        let ask = UserCommand::ChangeSubscription {
            subscription_id: change.subscription_id.clone(),
            subscription: Subscription {
                gives: change.plan.clone(),
                version: change.version.clone(),
            },
            base_plan: change.base_plan.clone(),
        };
        self.ask_user(&change.user_id, &ask, None)
    }

    /// Makes one purchase a part of another. The whole gets every fact of the part, and the credits are given for the
    /// whole: what the part gave is taken back in the same decision.
    fn merge(&mut self, part: &PurchaseId, whole: &PurchaseId) -> Result<(), Rejection> {
        // A whole is no part of anything: the providers' own ids say which is which.
        if part == whole || self.purchase(whole)?.part_of.is_some() {
            return Ok(());
        }
        let known = self.purchase(part)?.clone();
        if known.part_of.is_some() {
            return Ok(());
        }
        let events = known.decide(&PurchaseCommand::MergeInto(whole.clone()))?;
        self.record(part, events, None)?;
        let absorb = PurchaseCommand::Absorb {
            payment_id: part.clone(),
            known: Box::new(known),
        };
        self.ask_purchase(whole, &absorb, None)
    }

    /// The purchase that has the facts of this one.
    fn canonical(&self, id: &PurchaseId) -> Result<PurchaseId, Rejection> {
        let part_of = self.purchase(id)?.part_of.as_ref();
        let whole = part_of.unwrap_or(id).clone();
        self.purchase(&whole)?;
        Ok(whole)
    }

    fn ask_user(
        &mut self,
        id: &UserId,
        command: &UserCommand,
        profile: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let events = self.user(id)?.decide(command)?;
        let mut after = self.user(id)?.clone();
        for event in events {
            after.evolve(&event);
            let personal = profile.filter(|_| carries_profile(&event)).cloned();
            self.emitted.push(Emitted {
                matchable: personal.as_ref().is_some_and(Personal::has_verified_email),
                personal,
                stream: StreamId::User(id.clone()),
                event: Event::User(event),
                subscriber: None,
            });
        }
        self.users.insert(id.clone(), after);
        Ok(())
    }

    fn ask_purchase(
        &mut self,
        id: &PurchaseId,
        command: &PurchaseCommand,
        payer: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let id = self.canonical(id)?;
        let events = self.purchase(&id)?.decide(command)?;
        self.record(&id, events, payer)
    }

    /// Takes a purchase's events, and with them what follows for its user's credits.
    fn record(
        &mut self,
        id: &PurchaseId,
        events: Vec<PurchaseEvent>,
        payer: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let before = self.purchase(id)?.clone();
        let mut after = before.clone();
        for event in &events {
            after.evolve(event);
        }
        for event in events {
            let personal = payer.filter(|_| carries_payer(&event)).cloned();
            self.emitted.push(Emitted {
                matchable: after.is_matchable() && may_match(&event),
                personal,
                stream: StreamId::Purchase(id.clone()),
                subscriber: subscriber(id, &event, &after),
                event: Event::Purchase(event),
            });
        }
        self.settle(id, &before, &after)?;
        self.purchases.insert(id.clone(), after);
        Ok(())
    }

    /// Brings the user's credits to what the purchase now gives and withholds. Both are functions of the purchase's
    /// state, so the difference is all that is to be done, whatever led here.
    fn settle(
        &mut self,
        id: &PurchaseId,
        before: &Purchase,
        after: &Purchase,
    ) -> Result<(), Rejection> {
        let was = before.withheld();
        match (before.credited(), after.credited()) {
            (None, None) => Ok(()),
            (None, Some((user_id, price))) => {
                let credit = UserCommand::CreditPurchase {
                    purchase_id: id.clone(),
                    price: price.clone(),
                };
                self.ask_user(user_id, &credit, None)?;
                self.withhold(id, user_id, Withheld::default(), after.withheld())
            }
            (Some((user_id, _)), Some(_)) => self.withhold(id, user_id, was, after.withheld()),
            // It became a part of another purchase: nothing of what it gave remains.
            (Some((user_id, price)), None) => {
                let all = Withheld {
                    clawed_back: price.credits,
                    held_back: Credits::ZERO,
                };
                self.withhold(id, user_id, was, all)
            }
        }
    }

    fn withhold(
        &mut self,
        id: &PurchaseId,
        user_id: &UserId,
        was: Withheld,
        is: Withheld,
    ) -> Result<(), Rejection> {
        let more = |is: Credits, was: Credits| is.checked_sub(was).unwrap_or_default();
        let (credits, restored) = (
            more(is.clawed_back, was.clawed_back),
            more(was.clawed_back, is.clawed_back),
        );
        let released = more(was.held_back, is.held_back);
        let contested = more(is.held_back, was.held_back);
        let purchase_id = || id.clone();
        if !credits.is_zero() {
            let claw_back = UserCommand::ClawBack {
                purchase_id: purchase_id(),
                credits,
                released,
            };
            self.ask_user(user_id, &claw_back, None)?;
        } else if !restored.is_zero() || !released.is_zero() {
            let restore = UserCommand::Restore {
                purchase_id: purchase_id(),
                credits: restored,
                released,
            };
            self.ask_user(user_id, &restore, None)?;
        }
        if !contested.is_zero() {
            let hold_back = UserCommand::HoldBack {
                purchase_id: purchase_id(),
                credits: contested,
            };
            self.ask_user(user_id, &hold_back, None)?;
        }
        Ok(())
    }
}

const fn carries_profile(event: &UserEvent) -> bool {
    matches!(
        event,
        UserEvent::UserRegistered {
            profile: Some(_),
            ..
        } | UserEvent::UserProfileChanged { .. }
    )
}

const fn carries_payer(event: &PurchaseEvent) -> bool {
    matches!(
        event,
        PurchaseEvent::PaymentCaptured { payer: Some(_), .. } | PurchaseEvent::PayerNamed { .. }
    )
}

/// Whether an event may be the last thing that a match by e-mail was waiting for.
const fn may_match(event: &PurchaseEvent) -> bool {
    matches!(
        event,
        PurchaseEvent::PaymentCaptured { .. }
            | PurchaseEvent::PayerNamed { .. }
            | PurchaseEvent::PurchasePriced { .. }
    )
}

/// The subscription that a purchase pays, if this event made known whose it is.
fn subscriber(id: &PurchaseId, event: &PurchaseEvent, after: &Purchase) -> Option<String> {
    let names_either = matches!(
        event,
        PurchaseEvent::PaymentCaptured {
            user_id: Some(_),
            ..
        } | PurchaseEvent::PurchaseClaimed { .. }
            | PurchaseEvent::SubscriptionNamed { .. }
    );
    let both_known = names_either && after.user_id.is_some();
    let subscription_id = after.subscription_id.as_ref().filter(|_| both_known)?;
    let provider = id.as_str().split(':').next()?;
    Some(format!("{provider}:{subscription_id}"))
}
