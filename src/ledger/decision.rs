//! One command over several aggregates: a captured payment is an event of the purchase *and* credits of the
//! user, decided together, recorded together.
//!
//! Must decide only on states that it was given. A state that it lacks is asked for by name, so that the
//! store can lock it first and ask again.

use super::LedgerError;
use super::command::{ChangeProfile, Command, RegisterUser};
use super::event::{Event, PurchaseEvent, UserEvent};
use super::personal::Personal;
use super::purchase::Purchase;
use super::user::{User, UserCommand};
use super::value::{PurchaseId, StreamId, UserId};

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
    match command {
        Command::RegisterUser(RegisterUser {
            user_id,
            profile,
            profile_version,
            plan,
            bonus,
        }) => {
            let register = UserCommand::Register {
                profile: profile.clone(),
                version: profile_version.clone(),
                plan: plan.clone(),
                bonus: *bonus,
            };
            decide_user(states, user_id, &register, Some(profile))
        }
        Command::ChangeProfile(ChangeProfile {
            user_id,
            profile,
            profile_version,
        }) => {
            let change = UserCommand::ChangeProfile {
                profile: profile.clone(),
                version: profile_version.clone(),
            };
            decide_user(states, user_id, &change, Some(profile))
        }
        Command::DeleteUser { user_id } => decide_user(states, user_id, &UserCommand::Delete, None),
        Command::CapturePayment(capture) => {
            let payer = capture.payer.as_ref();
            decide_purchase(states, &capture.purchase_id, payer, |purchase| {
                Ok(purchase.capture(capture))
            })
        }
        Command::ClaimPurchase {
            purchase_id,
            user_id,
            by,
        } => decide_purchase(states, purchase_id, None, |purchase| {
            purchase.claim(user_id, *by)
        }),
    }
}

fn decide_user(
    states: &impl States,
    id: &UserId,
    command: &UserCommand,
    profile: Option<&Personal>,
) -> Result<Vec<Emitted>, Rejection> {
    let user = states
        .user(id)
        .ok_or_else(|| Rejection::Needs(StreamId::User(id.clone())))?;
    let events = user.decide(command)?;
    Ok(events
        .into_iter()
        .map(|event| Emitted {
            personal: profile.filter(|_| carries_profile(&event)).cloned(),
            stream: StreamId::User(id.clone()),
            event: Event::User(event),
        })
        .collect())
}

/// The purchase's events, and the user's credits if these events are what completes it.
fn decide_purchase(
    states: &impl States,
    id: &PurchaseId,
    payer: Option<&Personal>,
    decide: impl FnOnce(&Purchase) -> Result<Vec<PurchaseEvent>, LedgerError>,
) -> Result<Vec<Emitted>, Rejection> {
    let before = states
        .purchase(id)
        .ok_or_else(|| Rejection::Needs(StreamId::Purchase(id.clone())))?;
    let events = decide(before)?;
    let mut after = before.clone();
    let mut emitted = Vec::with_capacity(events.len() + 1);
    for event in events {
        after.evolve(&event);
        emitted.push(Emitted {
            personal: payer.filter(|_| carries_payer(&event)).cloned(),
            stream: StreamId::Purchase(id.clone()),
            event: Event::Purchase(event),
        });
    }
    if before.credited().is_none()
        && let Some((user_id, price)) = after.credited()
    {
        let credit = UserCommand::CreditPurchase {
            purchase_id: id.clone(),
            price: price.clone(),
        };
        emitted.extend(decide_user(states, user_id, &credit, None)?);
    }
    Ok(emitted)
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
    matches!(event, PurchaseEvent::PaymentCaptured { payer: Some(_), .. })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ledger::command::CapturePayment;
    use crate::ledger::event::{ClaimedBy, Price};
    use crate::ledger::personal::{Profile, Salt};
    use crate::ledger::value::{Credits, Currency, Money};

    #[derive(Default)]
    struct Known {
        users: HashMap<UserId, User>,
        purchases: HashMap<PurchaseId, Purchase>,
    }

    impl States for Known {
        fn user(&self, id: &UserId) -> Option<&User> {
            self.users.get(id)
        }
        fn purchase(&self, id: &PurchaseId) -> Option<&Purchase> {
            self.purchases.get(id)
        }
    }

    impl Known {
        fn apply(&mut self, emitted: &[Emitted]) {
            for e in emitted {
                match (&e.stream, &e.event) {
                    (StreamId::User(id), Event::User(event)) => {
                        self.users.entry(id.clone()).or_default().evolve(event);
                    }
                    (StreamId::Purchase(id), Event::Purchase(event)) => {
                        self.purchases.entry(id.clone()).or_default().evolve(event);
                    }
                    _ => panic!("an event in a stream of the other type"),
                }
            }
        }

        fn types(emitted: &[Emitted]) -> Vec<&'static str> {
            emitted.iter().map(|e| e.event.type_name()).collect()
        }
    }

    fn user(id: &str) -> UserId {
        UserId::parse(id).unwrap()
    }

    fn purchase_id() -> PurchaseId {
        PurchaseId::parse("razorpay:pay_1").unwrap()
    }

    fn capture(user_id: Option<&str>, priced: bool) -> Command {
        Command::CapturePayment(Box::new(CapturePayment {
            purchase_id: purchase_id(),
            user_id: user_id.map(user),
            claimant: None,
            money: Money::new(49_900, Currency::parse("INR").unwrap()).unwrap(),
            order_id: None,
            price: priced.then(|| Price {
                sku: "credits_500".to_owned(),
                credits: Credits::new(500).unwrap(),
                expires_at_s: None,
            }),
            paid_at_s: 1,
            payer: Some(Personal::new(&Profile::default(), Salt([3; 16]))),
        }))
    }

    fn known(users: &[&str]) -> Known {
        Known {
            users: users.iter().map(|id| (user(id), User::default())).collect(),
            purchases: [(purchase_id(), Purchase::default())].into(),
        }
    }

    #[test]
    fn a_capture_credits_the_user_in_the_same_decision() {
        let emitted = decide(&capture(Some("u1"), true), &known(&["u1"])).unwrap();
        assert_eq!(
            Known::types(&emitted),
            ["PaymentCaptured", "CreditsPurchased"]
        );
        assert!(emitted[0].personal.is_some() && emitted[1].personal.is_none());
    }

    #[test]
    fn a_state_that_is_not_there_is_asked_for() {
        assert_eq!(
            decide(&capture(Some("u1"), true), &known(&[])),
            Err(Rejection::Needs(StreamId::User(user("u1"))))
        );
        assert_eq!(
            decide(&capture(None, true), &Known::default()),
            Err(Rejection::Needs(StreamId::Purchase(purchase_id())))
        );
    }

    #[test]
    fn credits_come_once_whatever_completes_the_purchase() {
        let steps = [
            capture(None, false),
            capture(Some("u1"), false),
            capture(None, true),
        ];
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut states = known(&["u1"]);
            for step in order.into_iter().chain(order) {
                let emitted = decide(&steps[step], &states).unwrap();
                states.apply(&emitted);
            }
            let balance = states.users[&user("u1")].account.balance;
            assert_eq!(balance.get(), 500, "order {order:?}");
        }
    }

    #[test]
    fn the_user_of_a_recorded_purchase_is_asked_for() {
        let mut states = known(&["u1"]);
        let emitted = decide(&capture(Some("u1"), false), &states).unwrap();
        states.apply(&emitted);
        states.users.clear();
        assert_eq!(
            decide(&capture(None, true), &states),
            Err(Rejection::Needs(StreamId::User(user("u1"))))
        );
    }

    #[test]
    fn a_claim_credits_the_claimant() {
        let mut states = known(&["u1"]);
        let emitted = decide(&capture(None, true), &states).unwrap();
        assert_eq!(Known::types(&emitted), ["PaymentCaptured"]);
        states.apply(&emitted);
        let claim = Command::ClaimPurchase {
            purchase_id: purchase_id(),
            user_id: user("u1"),
            by: ClaimedBy::CheckoutSignature,
        };
        let emitted = decide(&claim, &states).unwrap();
        assert_eq!(
            Known::types(&emitted),
            ["PurchaseClaimed", "CreditsPurchased"]
        );
    }
}
