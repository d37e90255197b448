//! A user: who is known, which profile is the newest, which plan, and the account.
//!
//! `decide` says what follows from a command, `evolve` what an event changes. Both are all there is: no other
//! code may change a user.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::event::{
    CreditsAdded, PlanVersion, Price, ProfileRef, ProfileVersion, PurchaseAdjusted, UserEvent,
};
use super::personal::Personal;
use super::value::{Account, Credits, PurchaseId};

/// What the rules need to remember of a user. Stored beside the stream, always equal to its fold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// The identity provider said that the user signed up.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub registered: bool,
    /// The identity provider said that the user is gone. Nothing revives one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
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
    /// Balance, held, debt.
    #[serde(flatten)]
    pub account: Account,
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
    /// [`LedgerError::BalanceOverflow`] when the account can not hold what would come.
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
            } => self
                .adjust(purchase_id, *credits, Credits::ZERO, 0, credits.get())
                .map(|adjusted| vec![UserEvent::CreditsHeldBack(adjusted)]),
            UserCommand::ClawBack {
                purchase_id,
                credits,
                released,
            } => self
                .adjust(purchase_id, *credits, *released, -credits.get(), 0)
                .map(|adjusted| vec![UserEvent::CreditsClawedBack(adjusted)]),
            UserCommand::Restore {
                purchase_id,
                credits,
                released,
            } => self
                .adjust(purchase_id, *credits, *released, credits.get(), 0)
                .map(|adjusted| vec![UserEvent::CreditsRestored(adjusted)]),
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
            UserEvent::SignupBonusGranted(added) => {
                self.bonus = true;
                self.account = added.account;
            }
            UserEvent::CreditsPurchased { added, .. } => self.account = added.account,
            UserEvent::CreditsHeldBack(adjusted)
            | UserEvent::CreditsClawedBack(adjusted)
            | UserEvent::CreditsRestored(adjusted) => self.account = adjusted.account,
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
        }
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

    /// The profile, if it is newer than the newest seen and the user is not gone.
    fn newer(&self, profile: &Personal, version: &ProfileVersion) -> Option<ProfileRef> {
        let newer = self.profile.as_ref().is_none_or(|known| version > known);
        (newer && !self.deleted).then(|| ProfileRef {
            digest: profile.digest().to_owned(),
            version: version.clone(),
        })
    }

    fn add(&self, credits: Credits) -> Result<CreditsAdded, LedgerError> {
        let account = self.moved(credits.get(), self.account.disputed)?;
        Ok(CreditsAdded {
            credits,
            delta: self.delta_to(account),
            account,
        })
    }

    /// `given` credits more in all, negative for fewer; `contested` more held back, beside the `released` ones.
    fn adjust(
        &self,
        purchase_id: &PurchaseId,
        credits: Credits,
        released: Credits,
        given: i64,
        contested: i64,
    ) -> Result<PurchaseAdjusted, LedgerError> {
        let disputed = (self.account.disputed.get() + contested - released.get()).max(0);
        let disputed = Credits::new(disputed).map_err(|_| LedgerError::BalanceOverflow)?;
        let account = self.moved(given, disputed)?;
        Ok(PurchaseAdjusted {
            purchase_id: purchase_id.clone(),
            credits,
            released,
            delta: self.delta_to(account),
            account,
        })
    }

    fn moved(&self, given: i64, disputed: Credits) -> Result<Account, LedgerError> {
        // Both are within ±2^54: no overflow.
        Account::of(self.account.net() + given, disputed).ok_or(LedgerError::BalanceOverflow)
    }

    const fn delta_to(&self, account: Account) -> i64 {
        account.balance.get() - self.account.balance.get()
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
