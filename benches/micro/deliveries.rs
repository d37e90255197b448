//! What a delivery takes before the ledger sees it: `verify`, from bytes and headers; `translate`, of what was verified.

use std::hint::black_box;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use credit_ledger::config::Config;
use credit_ledger::ledger::{Command, Salt};
use credit_ledger::provider::clerk::Clerk;
use credit_ledger::provider::razorpay::Razorpay;
use credit_ledger::provider::sign::{self, SignedDelivery};
use credit_ledger::provider::stripe::Stripe;
use credit_ledger::provider::{Delivery, Headers, Provider, Rules, Translated, Verified};
use criterion::{Criterion, Throughput};
use secrecy::SecretString;

const CLERK_SECRET: &str = "whsec_YmVuY2gtb25seS1zZWNyZXQtb2YtY2xlcms=";
const SECRET: &str = "bench-only-webhook-secret";
/// When the deliveries of the fixtures are received.
const RECEIVED_AT_S: i64 = 1_795_000_060;
const SALT: Salt = Salt([7; 16]);

/// A provider, and one of its deliveries.
pub struct Subject {
    name: &'static str,
    provider: Box<dyn Provider>,
    signed: SignedDelivery,
    received_at: DateTime<Utc>,
}

/// One of each provider, and the rules that they are read by.
pub struct Subjects {
    rules: Rules,
    /// `user.created`
    pub clerk: Subject,
    /// `checkout.session.completed`
    pub stripe: Subject,
    /// `payment.captured`
    pub razorpay: Subject,
}

impl Subjects {
    /// Signs what the tests have as payloads.
    pub fn new() -> anyhow::Result<Self> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/micro/ledger.toml");
        let at = DateTime::from_timestamp(RECEIVED_AT_S, 0).context("it is a time")?;
        let (clerk, other) = (SecretString::from(CLERK_SECRET), SecretString::from(SECRET));
        let created = include_str!("../../tests/fixtures/clerk/user.created.json");
        let completed = include_str!(
            "../../tests/fixtures/stripe/checkout.session.completed.payment_paid.json"
        );
        let captured =
            include_str!("../../tests/fixtures/razorpay/payment.captured.notes_object.json");
        let subject = |name, provider, signed| Subject {
            name,
            provider,
            signed,
            received_at: at,
        };
        Ok(Self {
            rules: Config::load(Some(file.as_ref()), |_| None)?.rules,
            clerk: subject(
                "clerk user.created",
                Box::new(Clerk::new(std::slice::from_ref(&clerk))?),
                sign::svix(&clerk, "msg_bench", at, compact(created)?)?,
            ),
            stripe: subject(
                "stripe checkout.session.completed",
                Box::new(Stripe::new(std::slice::from_ref(&other), None)?),
                sign::stripe_webhook(&other, at, compact(completed)?)?,
            ),
            razorpay: subject(
                "razorpay payment.captured",
                Box::new(Razorpay::new(std::slice::from_ref(&other))?),
                sign::razorpay_webhook(&other, "evt_bench", compact(captured)?)?,
            ),
        })
    }

    /// The command that a delivery comes to.
    pub fn command(&self, subject: &Subject) -> anyhow::Result<Command> {
        self.translate(subject, &subject.verify()?)
    }

    /// Verifies another body as a delivery of the subject's provider, and translates it.
    pub fn take(
        &self,
        subject: &Subject,
        signed: &SignedDelivery,
    ) -> anyhow::Result<(Verified, Command)> {
        let verified = judge(subject.provider.as_ref(), signed, subject.received_at)?;
        let command = self.translate(subject, &verified)?;
        Ok((verified, command))
    }

    fn translate(&self, subject: &Subject, verified: &Verified) -> anyhow::Result<Command> {
        match subject.provider.translate(verified, &self.rules, SALT) {
            Translated::Apply(command) => Ok(command),
            other => anyhow::bail!("{}: {other:?}", subject.name),
        }
    }
}

impl Subject {
    /// When it is received.
    pub const fn received_at(&self) -> DateTime<Utc> {
        self.received_at
    }

    fn verify(&self) -> anyhow::Result<Verified> {
        judge(self.provider.as_ref(), &self.signed, self.received_at)
    }
}

/// Another body, signed as Clerk does.
pub fn sign_clerk(
    event_id: &str,
    at: DateTime<Utc>,
    body: String,
) -> anyhow::Result<SignedDelivery> {
    Ok(sign::svix(
        &SecretString::from(CLERK_SECRET),
        event_id,
        at,
        body,
    )?)
}

/// Another body, signed as Razorpay does.
pub fn sign_razorpay(event_id: &str, body: String) -> anyhow::Result<SignedDelivery> {
    Ok(sign::razorpay_webhook(
        &SecretString::from(SECRET),
        event_id,
        body,
    )?)
}

/// As it comes over the wire: the fixtures are laid out for people.
fn compact(json: &str) -> anyhow::Result<String> {
    Ok(serde_json::from_str::<serde_json::Value>(json)?.to_string())
}

fn judge(
    provider: &dyn Provider,
    signed: &SignedDelivery,
    received_at: DateTime<Utc>,
) -> anyhow::Result<Verified> {
    let headers = signed.headers.iter();
    Ok(provider.verify(&Delivery {
        headers: Headers::new(headers.map(|(name, value)| (*name, value.as_bytes()))),
        body: &signed.body,
        received_at,
    })?)
}

/// Each provider's delivery; bytes are those of the body.
pub fn measure(criterion: &mut Criterion, subjects: &Subjects) -> anyhow::Result<()> {
    let all = [&subjects.clerk, &subjects.stripe, &subjects.razorpay];
    let mut group = criterion.benchmark_group("verify");
    for subject in all {
        subject.verify()?;
        group.throughput(Throughput::Bytes(subject.signed.body.len().try_into()?));
        group.bench_function(subject.name, |bencher| bencher.iter(|| subject.verify()));
    }
    group.finish();
    let mut group = criterion.benchmark_group("translate");
    for subject in all {
        let verified = subject.verify()?;
        subjects.translate(subject, &verified)?;
        group.throughput(Throughput::Bytes(subject.signed.body.len().try_into()?));
        group.bench_function(subject.name, |bencher| {
            bencher.iter(|| {
                subject
                    .provider
                    .translate(black_box(&verified), &subjects.rules, SALT)
            });
        });
    }
    group.finish();
    Ok(())
}
