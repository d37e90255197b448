//! One command over several aggregates: a captured payment is an event of the purchase *and* credits of the
//! user, decided together, recorded together.
//!
//! Must decide only on states that it was given. A state that it lacks is asked for by name, so that the
//! store can lock it first and ask again.

mod erasing;
mod purchases;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::command::{
    ChangeProfile, ChangeSubscription, Command, Hold, RegisterUser, ReverseSpend,
};
use super::event::{Event, UserEvent};
use super::lots::Wanted;
use super::personal::Personal;
use super::purchase::{Purchase, PurchaseCommand};
use super::subscription::SubscriptionKey;
use super::user::{Subscription, User, UserCommand};
use super::value::{Credits, Place, PurchaseId, StreamId, UserId};
use super::{LedgerError, Settlement};

/// The states that a decision may stand on. `None`: not read, or not locked. A stream without events has the
/// default state.
pub trait States {
    /// The user's state.
    fn user(&self, id: &UserId) -> Option<&User>;
    /// The purchase's state.
    fn purchase(&self, id: &PurchaseId) -> Option<&Purchase>;
    /// How a hold was settled, or a spend reversed, of those that the command names ([`Command::settlements`]).
    fn settlement(&self, of: Place) -> Option<Settlement>;
    /// When it is, seconds since 1970. What ends or times out until then has done so.
    fn at_s(&self) -> i64;
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
    /// The provider's subscription that this pays a period of: its user became known by this, or may be known elsewhere.
    pub subscription: Option<SubscriptionKey>,
    /// Whether deliveries that are stored already are to be looked through for personal data that is to go.
    pub to_erase: bool,
}

/// Why there is no decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The state of this stream is needed too.
    Needs(StreamId),
    /// These rows of users are needed too.
    NeedsRows(Vec<(UserId, Wanted)>),
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
    draft.run(command)?;
    Ok(draft.emitted)
}

impl Rejection {
    fn of_item(self, index: usize) -> Self {
        match self {
            Self::Refused(error) => {
                let error = Box::new(error);
                Self::Refused(LedgerError::Item { index, error })
            }
            needs => needs,
        }
    }
}

/// A decision in the making: the events so far, and the states after them.
struct Draft<'a, S> {
    states: &'a S,
    users: HashMap<UserId, User>,
    purchases: HashMap<PurchaseId, Purchase>,
    settled: HashMap<Place, Settlement>,
    emitted: Vec<Emitted>,
}

impl<'a, S: States> Draft<'a, S> {
    fn on(states: &'a S) -> Self {
        Self {
            states,
            users: HashMap::new(),
            purchases: HashMap::new(),
            settled: HashMap::new(),
            emitted: Vec::new(),
        }
    }

    fn run(&mut self, command: &Command) -> Result<(), Rejection> {
        match command {
            Command::RegisterUser(register) => self.register(register)?,
            Command::ChangeProfile(change) => self.change_profile(change)?,
            Command::DeleteUser { user_id } => {
                self.ask_user(user_id, &UserCommand::Delete, None)?;
            }
            Command::EraseUser { user_id } => {
                self.ask_user(user_id, &UserCommand::Erase, None)?;
            }
            Command::ErasePayer {
                purchase_id,
                user_id,
            } => self.erase_payer(purchase_id, user_id)?,
            Command::ConfirmErasure { user_id } => {
                self.ask_user(user_id, &UserCommand::ConfirmErasure, None)?;
            }
            Command::CapturePayment(capture) => self.capture(capture)?,
            Command::ClaimPurchase {
                purchase_id,
                user_id,
                by,
            } => self.claim(purchase_id, user_id, *by)?,
            Command::MatchPurchase(found) => self.match_purchase(found)?,
            Command::RefundPayment(refund) => {
                let ask = PurchaseCommand::Refund(refund.clone());
                self.ask_purchase(&refund.purchase_id, &ask, None)?;
            }
            Command::DisputePayment(dispute) => {
                let ask = PurchaseCommand::Dispute(dispute.clone());
                self.ask_purchase(&dispute.purchase_id, &ask, None)?;
            }
            Command::MergePayments { payment_id, into } => self.merge(payment_id, into)?,
            Command::ChangeSubscription(change) => self.change_subscription(change)?,
            Command::GrantSignupBonus { user_id, bonus } => {
                let grant = UserCommand::GrantSignupBonus { bonus: *bonus };
                self.move_credits(user_id, &grant)?;
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
                self.ask_purchase(purchase_id, &ask, None)?;
            }
            Command::SpendCredits(spend) => {
                self.move_credits(&spend.user_id, &UserCommand::Spend(spend.clone()))?;
            }
            Command::ReverseSpend(reverse) => self.reverse(reverse)?,
            Command::HoldCredits(hold) => {
                let ask = UserCommand::Hold {
                    hold: hold.clone(),
                    at_s: self.states.at_s(),
                };
                self.move_credits(&hold.user_id, &ask)?;
            }
            Command::CaptureHold { hold, credits } => {
                let capture = UserCommand::Capture {
                    hold: hold.clone(),
                    credits: *credits,
                };
                self.settle_hold(hold, &capture)?;
            }
            Command::ReleaseHold { hold } => {
                self.settle_hold(hold, &UserCommand::Release { hold: hold.clone() })?;
            }
            Command::GrantCredits(grant) => {
                self.move_credits(&grant.user_id, &UserCommand::Grant(grant.clone()))?;
            }
            Command::RewardReferral {
                referred,
                referrer,
                referred_credits,
                referrer_credits,
            } => self.reward_referral(referred, *referred_credits, referrer, *referrer_credits)?,
            Command::ChangePlan {
                user_id,
                plan,
                bonus,
                bonus_expires_at_s,
            } => {
                let change = UserCommand::ChangePlan {
                    plan: plan.clone(),
                    bonus: *bonus,
                    bonus_expires_at_s: *bonus_expires_at_s,
                };
                self.move_credits(user_id, &change)?;
            }
            Command::SettleUser { user_id } => self.settle_user(user_id)?,
            Command::Together(commands) => self.run_all(commands)?,
        }
        Ok(())
    }

    /// One after another. What several of them lack is asked for at once, not one round for each.
    fn run_all(&mut self, commands: &[Command]) -> Result<(), Rejection> {
        let mut needed = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            match self.run(command) {
                Err(Rejection::NeedsRows(rows)) => needed.extend(rows),
                Err(rejection) if needed.is_empty() => return Err(rejection.of_item(index)),
                Err(_) | Ok(()) => {}
            }
        }
        if needed.is_empty() {
            Ok(())
        } else {
            Err(Rejection::NeedsRows(needed))
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
        self.settle_user(&register.user_id)?;
        self.ask_user(&register.user_id, &ask, Some(&register.profile))
    }

    fn change_profile(&mut self, change: &ChangeProfile) -> Result<(), Rejection> {
        let ask = UserCommand::ChangeProfile {
            profile: change.profile.clone(),
            version: change.profile_version.clone(),
        };
        self.ask_user(&change.user_id, &ask, Some(&change.profile))
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

    /// Lets a user be asked what moves credits: what ended or timed out by now did so before. What comes to a lot whose
    /// time is over ends at once, so that the account after it has nothing that is not there.
    fn move_credits(&mut self, id: &UserId, command: &UserCommand) -> Result<(), Rejection> {
        self.settle_user(id)?;
        self.ask_user(id, command, None)?;
        self.settle_user(id)
    }

    fn settle_user(&mut self, id: &UserId) -> Result<(), Rejection> {
        let at_s = self.states.at_s();
        if self.user(id)?.due_at_s().is_some_and(|due| due <= at_s) {
            self.ask_user(id, &UserCommand::Settle { at_s }, None)?;
        }
        Ok(())
    }

    fn settlement(&self, of: Place) -> Option<Settlement> {
        let here = self.settled.get(&of).copied();
        here.or_else(|| self.states.settlement(of))
    }

    fn reverse(&mut self, reverse: &ReverseSpend) -> Result<(), Rejection> {
        if self.settlement(reverse.entry_id) == Some(Settlement::Reversed) {
            return Err(LedgerError::SpendReversed.into());
        }
        self.move_credits(&reverse.user_id, &UserCommand::Reverse(reverse.clone()))
    }

    /// A hold is settled once; one whose time is over settles itself first.
    fn settle_hold(&mut self, hold: &Hold, command: &UserCommand) -> Result<(), Rejection> {
        self.settle_user(&hold.user_id)?;
        match self.settlement(hold.hold_id) {
            Some(settlement) => Err(LedgerError::HoldSettled(settlement).into()),
            None => self.move_credits(&hold.user_id, command),
        }
    }

    /// Both sides are rewarded together, once for each who came.
    fn reward_referral(
        &mut self,
        referred: &UserId,
        referred_credits: Credits,
        by: &UserId,
        by_credits: Credits,
    ) -> Result<(), Rejection> {
        if referred == by {
            return Err(LedgerError::SelfReferral.into());
        }
        let known = self.emitted.len();
        let refer = UserCommand::Refer { by: by.clone() };
        self.ask_user(referred, &refer, None)?;
        if self.emitted.len() == known {
            return Ok(());
        }
        for (id, other, credits) in [(referred, by, referred_credits), (by, referred, by_credits)] {
            let other = other.clone();
            self.move_credits(id, &UserCommand::RewardReferral { other, credits })?;
        }
        Ok(())
    }

    fn ask_user(
        &mut self,
        id: &UserId,
        command: &UserCommand,
        profile: Option<&Personal>,
    ) -> Result<(), Rejection> {
        let events = match self.user(id)?.decide(command) {
            Err(LedgerError::Unread(wanted)) => {
                return Err(Rejection::NeedsRows(vec![(id.clone(), *wanted)]));
            }
            decided => decided?,
        };
        if events.is_empty() {
            return Ok(());
        }
        // Copied once however many commands are run together: it may hold many lots.
        let after = match self.users.entry(id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let state = self.states.user(id);
                let needed = || Rejection::Needs(StreamId::User(id.clone()));
                new.insert(state.ok_or_else(needed)?.clone())
            }
        };
        for event in events {
            after.evolve(&event);
            if let Some((place, settlement)) = event.settles() {
                self.settled.insert(place, settlement);
            }
            let personal = profile.filter(|_| carries_profile(&event)).cloned();
            self.emitted.push(Emitted {
                matchable: personal.as_ref().is_some_and(Personal::has_verified_email)
                    || may_give_up_address(&event),
                personal,
                stream: StreamId::User(id.clone()),
                to_erase: event == UserEvent::ErasureRequested {},
                event: Event::User(event),
                subscription: None,
            });
        }
        Ok(())
    }
}

/// Then an address may be another user's alone from now on.
const fn may_give_up_address(event: &UserEvent) -> bool {
    matches!(
        event,
        UserEvent::UserDeleted {} | UserEvent::UserProfileChanged { .. }
    )
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
