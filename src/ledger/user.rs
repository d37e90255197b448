//! A user: who is known, which profile is the newest, which plan, the account and its lots.
//!
//! `decide` says what follows from a command, `evolve` what an event changes. Both are all there is: no other
//! code may change a user. `credits` has the part of `decide` that moves credits, `holds` what is known of open holds.

mod credits;
mod holds;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::command::{GrantCredits, Hold, HoldCredits, ReverseSpend, SpendCredits};
use super::event::{PlanVersion, Price, ProfileRef, ProfileVersion, UserEvent};
use super::lots::{LotKind, Lots, ReadLots, Slice, StoredLots, Terms, Wanted};
use super::personal::Personal;
use super::value::{Account, Credits, PurchaseId, UserId};
use holds::OpenHolds;

/// What the rules need to remember of a user. Stored beside the stream, always equal to its fold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether one thing happened"
)]
pub struct User {
    /// The identity provider said that the user signed up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub registered: bool,
    /// The identity provider said that the user is gone. Nothing revives one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Somebody asked that the personal data be erased. None is kept from then on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erasure_requested: bool,
    /// It is erased.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// The newest profile seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileVersion>,
    /// The signup bonus was given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bonus: bool,
    /// The plan, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The newest of each of the user's subscriptions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Who recommended us to the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referred_by: Option<UserId>,
    /// How many events there are: the place of the last one in the stream.
    pub events: i64,
    /// Balance, held, debt.
    #[serde(flatten)]
    pub account: Account,
    /// The credits that are not reserved, by how they came.
    #[serde(skip_serializing_if = "Lots::is_empty")]
    pub lots: Lots,
    /// When holds may time out.
    #[serde(skip_serializing_if = "OpenHolds::is_empty")]
    holds: OpenHolds,
}

/// What was read of a user's rows.
#[derive(Debug, Clone, Default)]
pub struct ReadRows {
    /// Lots behind the front.
    pub lots: ReadLots,
    /// The open holds that time out until the time that was asked for.
    pub holds: Vec<Hold>,
    /// When the first of the others times out, seconds since 1970.
    pub hold_due_after_s: Option<i64>,
}

/// How a provider's subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The plan that it gives; `None`: it ended, or is not paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<String>,
    /// How new this is.
    #[serde(flatten)]
    pub version: PlanVersion,
}

/// What one user can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserCommand {
    /// Sign up.
    Register {
        /// Names and addresses.
        profile: Personal,
        /// How new they are.
        version: ProfileVersion,
        /// The plan to start on.
        plan: String,
        /// The credits to start with.
        bonus: Credits,
    },
    /// Take over newer names and addresses.
    ChangeProfile {
        /// Names and addresses.
        profile: Personal,
        /// How new they are.
        version: ProfileVersion,
    },
    /// Be gone.
    Delete,
    /// Be gone, and have no personal data.
    Erase,
    /// Have none any more.
    ConfirmErasure,
    /// Take the credits of a purchase. The purchase guards that this is asked once.
    CreditPurchase {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// What it gives.
        price: Price,
    },
    /// Do without credits of a purchase while its money is contested. The purchase guards how many.
    HoldBack {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// How many.
        credits: Credits,
    },
    /// Give back credits of a purchase whose money is gone. The purchase guards how many.
    ClawBack {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// How many.
        credits: Credits,
        /// How many that were held back are so no longer.
        released: Credits,
    },
    /// Take back credits of a purchase whose money came back. The purchase guards how many.
    Restore {
        /// Which purchase.
        purchase_id: PurchaseId,
        /// How many that were clawed back.
        credits: Credits,
        /// How many that were held back.
        released: Credits,
        /// How many were clawed back in all before this.
        clawed_before: Credits,
        /// When they end, seconds since 1970, as it was when they were bought.
        expires_at_s: Option<i64>,
    },
    /// Write down what ended and what timed out until then, seconds since 1970.
    Settle {
        /// Until when.
        at_s: i64,
    },
    /// Do without credits that are used.
    Spend(SpendCredits),
    /// Take back what a spend used. The settlements guard that this is asked once.
    Reverse(ReverseSpend),
    /// Set credits aside.
    Hold {
        /// What is asked.
        hold: HoldCredits,
        /// Now, seconds since 1970.
        at_s: i64,
    },
    /// Use credits of an open hold, or all of them.
    Capture {
        /// The hold.
        hold: Hold,
        /// How many.
        credits: Option<Credits>,
    },
    /// Give up an open hold.
    Release {
        /// The hold.
        hold: Hold,
    },
    /// Take credits that nobody paid for.
    Grant(GrantCredits),
    /// Have come by somebody's recommendation.
    Refer {
        /// Whose.
        by: UserId,
    },
    /// Take what is given for a recommendation.
    RewardReferral {
        /// The other side.
        other: UserId,
        /// How many; 0 for none.
        credits: Credits,
    },
    /// Be on a plan, with what comes with it.
    ChangePlan {
        /// The plan.
        plan: String,
        /// How many come with it; 0 for none.
        bonus: Credits,
        /// When they end, seconds since 1970.
        bonus_expires_at_s: Option<i64>,
    },
    /// Take the signup bonus that never came.
    GrantSignupBonus {
        /// The bonus.
        bonus: Credits,
    },
    /// Take over how a subscription stands.
    ChangeSubscription {
        /// Which.
        subscription_id: String,
        /// What it gives and how new that is.
        subscription: Subscription,
        /// The plan where no subscription gives one.
        base_plan: String,
    },
}

impl User {
    /// What follows from a command. Each event stands on the ones before it; none means: nothing new.
    ///
    /// # Errors
    /// [`LedgerError::BalanceOverflow`] when the account can not hold what would come; what else a rule says no to;
    /// [`LedgerError::Unread`] when rows are needed that were not read ([`User::take_in`]).
    pub fn decide(&self, command: &UserCommand) -> Result<Vec<UserEvent>, LedgerError> {
        match command {
            UserCommand::Register {
                profile,
                version,
                plan,
                bonus,
            } => self.register(profile, version, plan, *bonus),
            UserCommand::ChangeProfile { profile, version } => Ok(self
                .newer(profile, version)
                .map_or_else(Vec::new, |profile| {
                    vec![UserEvent::UserProfileChanged { profile }]
                })),
            UserCommand::Delete if self.deleted => Ok(vec![]),
            UserCommand::Delete => Ok(vec![UserEvent::UserDeleted {}]),
            UserCommand::Erase => Ok(self.erase()),
            UserCommand::ConfirmErasure if self.erasure_requested && !self.erased => {
                Ok(vec![UserEvent::UserErased {}])
            }
            UserCommand::ConfirmErasure => Ok(vec![]),
            UserCommand::CreditPurchase { purchase_id, price } => {
                Ok(vec![UserEvent::CreditsPurchased {
                    purchase_id: purchase_id.clone(),
                    added: self.add(price.credits)?,
                    expires_at_s: price.expires_at_s,
                }])
            }
            UserCommand::HoldBack {
                purchase_id,
                credits,
            } => self.hold_back(purchase_id, *credits),
            UserCommand::ClawBack {
                purchase_id,
                credits,
                released,
            } => self.claw_back(purchase_id, *credits, *released),
            UserCommand::Restore {
                purchase_id,
                credits,
                released,
                clawed_before,
                expires_at_s,
            } => {
                let back = credits::Restored {
                    credits: *credits,
                    released: *released,
                    clawed_before: *clawed_before,
                    expires_at_s: *expires_at_s,
                };
                self.restore(purchase_id, &back)
            }
            UserCommand::Settle { at_s } => self.settle(*at_s),
            UserCommand::Spend(spend) => self.spend(spend),
            UserCommand::Reverse(reverse) => self.reverse(reverse),
            UserCommand::Hold { hold, at_s } => self.hold(hold, *at_s),
            UserCommand::Capture { hold, credits } => self.capture(hold, *credits),
            UserCommand::Release { hold } => Ok(vec![self.release(hold, None)?]),
            UserCommand::Grant(grant) => self.grant(grant),
            UserCommand::Refer { by } => self.refer(by),
            UserCommand::RewardReferral { other, credits } => self.reward(other, *credits),
            UserCommand::ChangePlan {
                plan,
                bonus,
                bonus_expires_at_s,
            } => self.change_plan(plan, *bonus, *bonus_expires_at_s),
            UserCommand::GrantSignupBonus { bonus } if self.bonus || bonus.is_zero() => Ok(vec![]),
            UserCommand::GrantSignupBonus { bonus } => {
                Ok(vec![UserEvent::SignupBonusGranted(self.add(*bonus)?)])
            }
            UserCommand::ChangeSubscription {
                subscription_id,
                subscription,
                base_plan,
            } => Ok(self.change_subscription(subscription_id, subscription, base_plan)),
        }
    }

    /// What an event changes.
    pub fn evolve(&mut self, event: &UserEvent) {
        self.events += 1;
        if let Some(movement) = event.movement() {
            self.account = movement.account;
        }
        match event {
            UserEvent::UserRegistered { plan, profile } => {
                self.registered = true;
                self.plan.get_or_insert_with(|| plan.clone());
                if let Some(profile) = profile {
                    self.profile = Some(profile.version.clone());
                }
            }
            UserEvent::UserProfileChanged { profile } => {
                self.profile = Some(profile.version.clone());
            }
            UserEvent::UserDeleted {} => self.deleted = true,
            UserEvent::ErasureRequested {} => self.erasure_requested = true,
            UserEvent::UserErased {} => self.erased = true,
            UserEvent::SubscriptionChanged {
                subscription_id,
                gives,
                version,
            } => {
                let subscription = Subscription {
                    gives: gives.clone(),
                    version: version.clone(),
                };
                self.subscriptions
                    .insert(subscription_id.clone(), subscription);
            }
            UserEvent::PlanChanged { plan } => self.plan = Some(plan.clone()),
            UserEvent::UserReferred { by } => self.referred_by = Some(by.clone()),
            UserEvent::SignupBonusGranted(_)
            | UserEvent::CreditsPurchased { .. }
            | UserEvent::CreditsGranted(_) => self.add_lot(event),
            UserEvent::CreditsHeldBack(adjusted) => {
                let own = adjusted.own;
                self.lots.change_purchase(&adjusted.purchase_id, |lot| {
                    lot.contested = [lot.contested, own].into_iter().sum();
                });
            }
            UserEvent::CreditsClawedBack(adjusted) => {
                let (own, released) = (adjusted.own, adjusted.released);
                self.lots.change_purchase(&adjusted.purchase_id, |lot| {
                    lot.contested = lot.contested.less(released);
                    lot.counted = [lot.counted, own].into_iter().sum();
                });
                self.take_slices(&adjusted.slices);
            }
            UserEvent::CreditsRestored(adjusted) => {
                let (own, released) = (adjusted.own, adjusted.released);
                self.lots.change_purchase(&adjusted.purchase_id, |lot| {
                    lot.contested = lot.contested.less(released);
                    lot.counted = lot.counted.less(own);
                });
                self.lots.give_all(&adjusted.slices);
            }
            UserEvent::CreditsSpent(spent) => self.take_slices(&spent.slices),
            UserEvent::SpendReversed(reversed) => self.lots.give_all(&reversed.slices),
            UserEvent::CreditsHeld(held) => {
                self.take_slices(&held.slices);
                self.holds.opened(held.times_out_at_s);
            }
            UserEvent::HoldCaptured(captured) => {
                self.lots.give_all(&captured.returned);
                self.holds.settled(captured.hold_id);
            }
            UserEvent::HoldReleased(released) => {
                self.lots.give_all(&released.returned);
                self.holds.settled(released.hold_id);
            }
            UserEvent::CreditsExpired(expired) => {
                for slice in &expired.slices {
                    self.lots.end(slice);
                }
            }
        }
        if self.account.reserved.is_zero() {
            self.holds.none_left();
        }
    }

    /// What came is a lot of its own, called by the event's place in the stream.
    fn add_lot(&mut self, event: &UserEvent) {
        let (added, terms) = match event {
            UserEvent::SignupBonusGranted(added) => {
                self.bonus = true;
                (added, Terms::plain(LotKind::Bonus, added.credits))
            }
            UserEvent::CreditsPurchased {
                purchase_id,
                added,
                expires_at_s,
            } => {
                let terms = Terms {
                    expires_at_s: *expires_at_s,
                    purchase_id: Some(purchase_id.clone()),
                    ..Terms::plain(LotKind::Paid, added.credits)
                };
                (added, terms)
            }
            UserEvent::CreditsGranted(granted) => {
                let terms = Terms {
                    priority: granted.priority,
                    expires_at_s: granted.expires_at_s,
                    ..Terms::plain(granted.kind, granted.added.credits)
                };
                (&granted.added, terms)
            }
            _ => return,
        };
        self.lots.give(&Slice {
            lot: self.events,
            credits: added.credits.less(added.repaid),
            terms,
        });
    }

    fn take_slices(&mut self, slices: &[Slice]) {
        for slice in slices {
            self.lots.take(slice);
        }
    }

    /// The earliest time at which credits may end or a hold may time out, seconds since 1970. Until then the account is
    /// what it is.
    pub fn due_at_s(&self) -> Option<i64> {
        let dues = [self.lots.due_at_s(), self.holds.due_at_s()];
        dues.into_iter().flatten().min()
    }

    /// Takes in rows that a decision asked for.
    pub fn take_in(&mut self, wanted: &Wanted, read: ReadRows) {
        self.lots.take_in(wanted, read.lots);
        if let Some(until_s) = wanted.due_until_s {
            self.holds
                .take_in(until_s, read.holds, read.hold_due_after_s);
        }
    }

    /// Splits off the rows that are to be written. What stays is the state of the stream; nothing can be decided on it
    /// after that.
    pub fn store_lots(&mut self) -> StoredLots {
        self.lots.store()
    }

    /// A registration is a fact of its own, booked once, also after a deletion: then it keeps no profile and
    /// revives nothing. A second one can still bring a newer profile.
    fn register(
        &self,
        profile: &Personal,
        version: &ProfileVersion,
        plan: &str,
        bonus: Credits,
    ) -> Result<Vec<UserEvent>, LedgerError> {
        let profile = self.newer(profile, version);
        if self.registered {
            return Ok(profile.map_or_else(Vec::new, |profile| {
                vec![UserEvent::UserProfileChanged { profile }]
            }));
        }
        let mut events = vec![UserEvent::UserRegistered {
            plan: plan.to_owned(),
            profile,
        }];
        if !bonus.is_zero() && !self.bonus {
            events.push(UserEvent::SignupBonusGranted(self.add(bonus)?));
        }
        Ok(events)
    }

    /// Asked for once. Who is to be erased is gone, too.
    fn erase(&self) -> Vec<UserEvent> {
        if self.erasure_requested {
            return vec![];
        }
        let deleted = (!self.deleted).then_some(UserEvent::UserDeleted {});
        deleted
            .into_iter()
            .chain([UserEvent::ErasureRequested {}])
            .collect()
    }

    /// The profile, if it is newer than the newest seen and the user is not gone.
    fn newer(&self, profile: &Personal, version: &ProfileVersion) -> Option<ProfileRef> {
        let newer = self.profile.as_ref().is_none_or(|known| version > known);
        (newer && !self.deleted).then(|| ProfileRef {
            digest: profile.digest().to_owned(),
            version: version.clone(),
        })
    }

    /// Of one subscription the newest counts; of several that give a plan, the newest of them.
    fn change_subscription(
        &self,
        id: &str,
        news: &Subscription,
        base_plan: &str,
    ) -> Vec<UserEvent> {
        let known = self.subscriptions.get(id);
        if known.is_some_and(|known| known.version >= news.version) {
            return vec![];
        }
        let mut events = vec![UserEvent::SubscriptionChanged {
            subscription_id: id.to_owned(),
            gives: news.gives.clone(),
            version: news.version.clone(),
        }];
        let others = self.subscriptions.iter().filter(|(other, _)| *other != id);
        let giving = others
            .map(|(_, subscription)| subscription)
            .chain(std::iter::once(news))
            .filter_map(|subscription| {
                Some((&subscription.version, subscription.gives.as_deref()?))
            })
            .max();
        let plan = giving.map_or(base_plan, |(_, plan)| plan);
        if self.plan.as_deref() != Some(plan) {
            events.push(UserEvent::PlanChanged {
                plan: plan.to_owned(),
            });
        }
        events
    }
}
