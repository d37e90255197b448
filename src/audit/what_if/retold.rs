//! A recorded event, told again as the command that somebody gave.
//!
//! What follows from other events or from time is not told again: the other rules decide it anew.

use std::collections::HashSet;

use super::world::World;
use crate::audit::history::Recorded;
use crate::config::OtherRules;
use crate::ledger::command::{
    CapturePayment, DisputePayment, DisputeStanding, GrantCredits, HoldCredits, Refund,
    RefundPayment, ReverseSpend, SpendCredits,
};
use crate::ledger::event::{ClaimedBy, Price};
use crate::ledger::{
    Command, Credits, Event, LedgerError, Money, Place, PurchaseEvent, PurchaseId, Source,
    States as _, StreamId, UserEvent, UserId,
};
use crate::provider::Catalog;

/// Deliveries of one payment may tell its time differently, though never by so much, and packs last for whole days: an end
/// that is nearer than this to the recorded one is the recorded one. Seconds.
const SAME_END_S: i64 = 12 * 3600;

/// What an event comes to under the other rules.
pub(super) enum Retold {
    /// Nothing by itself.
    Nothing,
    /// This.
    Command(Command),
    /// It can not be asked for: what it is about was refused before.
    Gone,
    /// What it is about ended in another way.
    Refused(LedgerError),
}

/// What events are told again by.
pub(super) struct Retelling<'a> {
    /// The catalog of the settings.
    pub(super) today: &'a Catalog,
    /// The other rules.
    pub(super) other: &'a OtherRules,
    /// Purchases of which a later event says what they buy.
    pub(super) explained: HashSet<PurchaseId>,
}

impl Retelling<'_> {
    pub(super) fn retell(&self, recorded: &Recorded, world: &World) -> Retold {
        match (&recorded.stream, &recorded.event) {
            (StreamId::User(id), Event::User(event)) => self.of_user(id, event, world),
            (StreamId::Purchase(id), Event::Purchase(event)) => {
                let command = self.of_purchase(id, &recorded.cause.source, event, world);
                command.map_or(Retold::Nothing, Retold::Command)
            }
            (StreamId::User(_), Event::Purchase(_)) | (StreamId::Purchase(_), Event::User(_)) => {
                Retold::Nothing
            }
        }
    }

    fn of_user(&self, id: &UserId, event: &UserEvent, world: &World) -> Retold {
        let user_id = id.clone();
        Retold::Command(match event {
            UserEvent::UserRegistered { .. } => match self.other.signup_bonus {
                Some(bonus) => Command::GrantSignupBonus { user_id, bonus },
                None => return Retold::Nothing,
            },
            UserEvent::SignupBonusGranted(added) => Command::GrantSignupBonus {
                user_id,
                bonus: self.other.signup_bonus.unwrap_or(added.credits),
            },
            UserEvent::CreditsGranted(granted) => Command::GrantCredits(GrantCredits {
                user_id,
                credits: granted.added.credits,
                kind: granted.kind,
                priority: granted.priority,
                expires_at_s: granted.expires_at_s,
                reason: String::new(),
                actor: String::new(),
            }),
            UserEvent::CreditsSpent(spent) => Command::SpendCredits(SpendCredits {
                user_id,
                credits: spent.credits,
                allow_partial: false,
                note: spent.note.clone(),
            }),
            UserEvent::SpendReversed(reversed) => match world.used(reversed.entry_id) {
                Some(slices) => Command::ReverseSpend(ReverseSpend {
                    user_id,
                    entry_id: reversed.entry_id,
                    slices: slices.clone(),
                    credits: Some(reversed.credits),
                    reason: None,
                }),
                None => return Retold::Gone,
            },
            UserEvent::CreditsHeld(held) => Command::HoldCredits(HoldCredits {
                user_id,
                credits: held.credits,
                lasts_s: held.times_out_at_s.saturating_sub(world.at_s()),
                note: held.note.clone(),
            }),
            UserEvent::HoldCaptured(captured) => {
                return of_hold(world, id, captured.hold_id, Some(captured.credits));
            }
            UserEvent::HoldReleased(released) if released.timed_out_at_s.is_none() => {
                return of_hold(world, id, released.hold_id, None);
            }
            UserEvent::HoldReleased(_)
            | UserEvent::CreditsExpired(_)
            | UserEvent::CreditsPurchased { .. }
            | UserEvent::CreditsHeldBack(_)
            | UserEvent::CreditsClawedBack(_)
            | UserEvent::CreditsRestored(_)
            | UserEvent::UserProfileChanged { .. }
            | UserEvent::UserDeleted {}
            | UserEvent::ErasureRequested {}
            | UserEvent::UserErased {}
            | UserEvent::SubscriptionChanged { .. }
            | UserEvent::PlanChanged { .. }
            | UserEvent::UserReferred { .. } => return Retold::Nothing,
        })
    }

    fn of_purchase(
        &self,
        id: &PurchaseId,
        source: &str,
        event: &PurchaseEvent,
        world: &World,
    ) -> Option<Command> {
        let purchase_id = id.clone();
        Some(match event {
            PurchaseEvent::PaymentCaptured {
                amount_minor,
                currency,
                user_id,
                price,
                paid_at_s,
                subscription_id,
                ..
            } => {
                let money = Money::new(*amount_minor, *currency).ok()?;
                let price = match price {
                    Some(price) => self.again(price, *paid_at_s),
                    None if subscription_id.is_some() => None,
                    None => self.by_amount(id, money, *paid_at_s),
                };
                captured(purchase_id, money, user_id.clone(), price, *paid_at_s)
            }
            PurchaseEvent::PurchaseClaimed { user_id, by } if *by != ClaimedBy::SamePayment => {
                Command::ClaimPurchase {
                    purchase_id,
                    user_id: user_id.clone(),
                    by: *by,
                }
            }
            PurchaseEvent::PurchasePriced { price } if source == Source::Admin.as_str() => {
                Command::ResolvePurchase {
                    purchase_id,
                    user_id: None,
                    price: Some(price.clone()),
                }
            }
            PurchaseEvent::PurchasePriced { price } => {
                let known = world.purchases().get(id)?;
                let money = Money::new(known.amount_minor, known.currency?).ok()?;
                let price = self.again(price, known.paid_at_s);
                captured(purchase_id, money, None, price, known.paid_at_s)
            }
            PurchaseEvent::PaymentMerged { into } => Command::MergePayments {
                payment_id: purchase_id,
                into: into.clone(),
            },
            PurchaseEvent::PaymentRefunded { .. }
            | PurchaseEvent::RefundFailed { .. }
            | PurchaseEvent::PaymentDisputed { .. }
            | PurchaseEvent::DisputeWon { .. }
            | PurchaseEvent::DisputeLost { .. } => return of_money(id, event),
            // The first two follow from a merge.
            PurchaseEvent::PaymentAbsorbed { .. }
            | PurchaseEvent::PurchaseClaimed { .. }
            | PurchaseEvent::SubscriptionNamed { .. }
            | PurchaseEvent::PayerNamed { .. }
            | PurchaseEvent::PayerErased {} => return None,
        })
    }

    /// What a purchase buys that was priced, whatever was paid: a discount was accepted then.
    fn again(&self, was: &Price, paid_at_s: i64) -> Option<Price> {
        let Some(catalog) = &self.other.catalog else {
            return Some(was.clone());
        };
        let price = catalog.pack_price(&was.sku, paid_at_s)?;
        let near = |(was, is): &(i64, i64)| was.abs_diff(*is) < SAME_END_S.unsigned_abs();
        let recorded = was.expires_at_s.zip(price.expires_at_s).filter(near);
        Some(Price {
            expires_at_s: recorded.map(|(was, _)| was).or(price.expires_at_s),
            ..price
        })
    }

    /// What a purchase buys that fitted nothing. One that today's catalog would price by its amount was not that kind of
    /// payment.
    fn by_amount(&self, id: &PurchaseId, money: Money, paid_at_s: i64) -> Option<Price> {
        let catalog = self.other.catalog.as_ref()?;
        let is_kind =
            !self.explained.contains(id) && self.today.price(None, money, paid_at_s).is_none();
        catalog.price(None, money, paid_at_s).filter(|_| is_kind)
    }
}

/// What a provider said of money that went back, or may.
fn of_money(purchase_id: &PurchaseId, event: &PurchaseEvent) -> Option<Command> {
    let refunded = |refund, refunded_total_minor| RefundPayment {
        purchase_id: purchase_id.clone(),
        refund,
        refunded_total_minor,
    };
    // Without a currency the recorded amount is in the payment's.
    let disputed = |dispute_id: &str, stage, standing, currency| DisputePayment {
        purchase_id: purchase_id.clone(),
        dispute_id: dispute_id.to_owned(),
        stage,
        standing,
        currency,
    };
    Some(match event {
        PurchaseEvent::PaymentRefunded {
            refund_id,
            amount_minor,
            refunded_total_minor,
            ..
        } => {
            let one = refund_id.clone().zip(*amount_minor);
            let refund = one.map(|(refund_id, amount_minor)| Refund {
                refund_id,
                amount_minor,
                failed: false,
            });
            Command::RefundPayment(refunded(refund, refunded_total_minor.unwrap_or(0)))
        }
        PurchaseEvent::RefundFailed {
            refund_id,
            amount_minor,
            ..
        } => {
            let refund = Refund {
                refund_id: refund_id.clone(),
                amount_minor: *amount_minor,
                failed: true,
            };
            Command::RefundPayment(refunded(Some(refund), 0))
        }
        PurchaseEvent::PaymentDisputed {
            dispute_id,
            stage,
            amount_minor,
            in_currency,
            ..
        } => {
            let amount_minor = *amount_minor;
            let standing = DisputeStanding::Open { amount_minor };
            Command::DisputePayment(disputed(dispute_id, *stage, standing, *in_currency))
        }
        PurchaseEvent::DisputeWon {
            dispute_id, stage, ..
        } => Command::DisputePayment(disputed(dispute_id, *stage, DisputeStanding::Won, None)),
        PurchaseEvent::DisputeLost {
            dispute_id,
            stage,
            amount_minor,
            in_currency,
            ..
        } => {
            let amount_minor = *amount_minor;
            let standing = DisputeStanding::Lost { amount_minor };
            Command::DisputePayment(disputed(dispute_id, *stage, standing, *in_currency))
        }
        _ => return None,
    })
}

/// A payment as far as credits depend on it. Whose it is, if it names nobody, later events say.
fn captured(
    purchase_id: PurchaseId,
    money: Money,
    user_id: Option<UserId>,
    price: Option<Price>,
    paid_at_s: i64,
) -> Command {
    Command::CapturePayment(Box::new(CapturePayment {
        purchase_id,
        user_id,
        claimant: None,
        money,
        order_id: None,
        price,
        paid_at_s,
        payer: None,
        merges: None,
        refunded_total_minor: 0,
        subscription_id: None,
        subscriber: None,
    }))
}

/// What became of a hold: so many were captured, or it was released.
fn of_hold(world: &World, user_id: &UserId, hold_id: Place, captured: Option<Credits>) -> Retold {
    let Some(hold) = world.hold(user_id, hold_id).cloned() else {
        return world.settlement(hold_id).map_or(Retold::Gone, |how| {
            Retold::Refused(LedgerError::HoldSettled(how))
        });
    };
    Retold::Command(match captured {
        Some(_) => Command::CaptureHold {
            hold,
            credits: captured,
        },
        None => Command::ReleaseHold { hold },
    })
}
