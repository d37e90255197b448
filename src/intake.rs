//! From a genuine delivery to what is to be done with it: the same when it comes and whenever it is tried again.
//!
//! Adds to what the payload says only what the ledger knows and the payload can not. Must never decide a rule, and never
//! look at a signature.

use serde::{Serialize, Serializer};

use crate::app::App;
use crate::ledger::command::CapturePayment;
use crate::ledger::{Command, Source, SubscriptionKey, UserId};
use crate::provider::razorpay::{self, ApiPayment, ApiStatus};
use crate::provider::stripe::{self, ApiSession, SessionStatus};
use crate::provider::{ParkReason, Provider, Translated, UnownedSubscription, Verified};
use crate::reads::ReadError;
use crate::store::{Delivered, StoreError, Work};

/// Why it can not be said now what is to be done, or can not be done. Asking again may help.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The database does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It does not take what is to be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness.
    #[error("the system has no randomness")]
    Randomness(#[from] getrandom::Error),
}

/// Headers as one JSON object, in their order.
struct InOrder<'a>(&'a [(String, String)]);

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A genuine delivery as the inbox keeps it.
///
/// # Errors
/// Never: texts can be written.
pub fn delivered(verified: Verified) -> Result<Delivered, serde_json::Error> {
    Ok(Delivered {
        source: verified.source(),
        key: verified.key().to_owned(),
        provider_event_id: verified.provider_event_id().to_owned(),
        body_sha256: verified.body_sha256(),
        headers_json: serde_json::to_string(&InOrder(verified.headers()))?,
        secret: verified.secret_fingerprint().to_owned(),
        received_at: verified.received_at(),
        body: verified.into_body(),
    })
}

/// What is to be done with a delivery by the present rules.
///
/// # Errors
/// [`IntakeError`]
pub async fn work(
    app: &App,
    provider: &dyn Provider,
    verified: &Verified,
) -> Result<Work, IntakeError> {
    Ok(
        match provider.translate(verified, &app.rules, app.salt()?) {
            Translated::Apply(mut command) => {
                if let Command::CapturePayment(capture) = &mut command {
                    find_payer_of_subscription(app, verified.source(), capture).await?;
                }
                Work::Apply(command)
            }
            Translated::Ignore(reason) => Work::Ignore { reason },
            Translated::AwaitSubscriber { change } => {
                find_subscriber(app, verified.source(), *change).await?
            }
            Translated::Park(reason) => park(&reason),
        },
    )
}

/// The payment that an answer of a provider's API told of, read by the present rules from what was kept of it. None when
/// it tells of none. Whoever showed the checkout's signature is not in it.
///
/// # Errors
/// [`IntakeError`]
pub fn kept_answer(
    app: &App,
    kept: &Delivered,
) -> Result<Option<Box<CapturePayment>>, IntakeError> {
    let (asked_at_s, salt) = (kept.received_at.timestamp(), app.salt()?);
    Ok(match kept.source {
        Source::Razorpay => {
            match razorpay::capture_from_kept(&kept.body, asked_at_s, &app.rules, salt) {
                Ok(ApiPayment {
                    status: ApiStatus::Captured(capture),
                    ..
                }) => Some(capture),
                _ => None,
            }
        }
        Source::Stripe => {
            let livemode = app.stripe_livemode;
            match stripe::session_from_api(&kept.body, livemode, asked_at_s, &app.rules, salt) {
                Ok(ApiSession {
                    status: SessionStatus::Captured(capture),
                    ..
                }) => Some(capture),
                _ => None,
            }
        }
        Source::Clerk | Source::Api | Source::Admin | Source::System => None,
    })
}

/// A subscription that names nobody belongs to whoever paid for it first. Until that is known it waits for the purchase.
async fn find_subscriber(
    app: &App,
    source: Source,
    change: UnownedSubscription,
) -> Result<Work, IntakeError> {
    let subscription = SubscriptionKey::new(source, &change.subscription_id);
    Ok(match subscriber(app, &subscription).await? {
        Some(user_id) => Work::Apply(Command::ChangeSubscription(change.owned_by(user_id))),
        None => park(&ParkReason::NoUser(subscription)),
    })
}

/// What such a delivery may wait for, now or since it came before.
pub fn may_wait_for(source: Source, work: &Work) -> Option<SubscriptionKey> {
    match work {
        Work::Park { waits_for, .. } => waits_for.clone(),
        Work::Apply(Command::ChangeSubscription(change)) => {
            Some(SubscriptionKey::new(source, &change.subscription_id))
        }
        Work::Apply(_) | Work::Ignore { .. } => None,
    }
}

/// Who pays for a subscription, if that is known; then whatever waits for it is tried again. Both sides ask, each after its
/// own commit: whoever stored a delivery that may wait, and whoever follows what made the payer known. So one of them sees
/// the other, and until this was done, neither is done.
///
/// # Errors
/// [`IntakeError`]
pub async fn wake_if_known(
    app: &App,
    subscription: &SubscriptionKey,
) -> Result<Option<UserId>, IntakeError> {
    let known = subscriber(app, subscription).await?;
    if known.is_some() {
        app.backlog.wake(subscription, app.now()).await?;
    }
    Ok(known)
}

/// A period of a subscription that names nobody is paid by whoever paid for the first one: later payloads often name
/// nobody, since only the first checkout did.
async fn find_payer_of_subscription(
    app: &App,
    source: Source,
    capture: &mut CapturePayment,
) -> Result<(), IntakeError> {
    if capture.user_id.is_none()
        && let Some(subscription_id) = &capture.subscription_id
    {
        let subscription = SubscriptionKey::new(source, subscription_id);
        capture.subscriber = subscriber(app, &subscription).await?;
    }
    Ok(())
}

/// Who paid for a subscription first.
async fn subscriber(
    app: &App,
    subscription: &SubscriptionKey,
) -> Result<Option<UserId>, IntakeError> {
    let found = app.lookups.subscriber(subscription).await?;
    let known = found.map(UserId::parse).transpose();
    Ok(known.unwrap_or_else(|_| {
        tracing::error!("a stored user id is none");
        None
    }))
}

fn park(reason: &ParkReason) -> Work {
    Work::Park {
        reason: reason.to_string(),
        waits_for: match reason {
            ParkReason::MissingFields { .. } => None,
            ParkReason::NoUser(subscription) => Some(subscription.clone()),
        },
    }
}
