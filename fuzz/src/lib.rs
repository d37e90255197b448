//! What the fuzz targets do with the bytes that they are given. `tests/fuzz.rs` does the same with mutated fixtures.
//!
//! Nothing here may be lenient: a panic is the only way in which a target can say that something is wrong.

pub mod audit;

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use credit_ledger::ledger::{
    self, Command, Credits, Currency, Money, Place, Purchase, PurchaseId, Rejection, Salt,
    Settlement, States, User, UserId,
};
use credit_ledger::provider::catalog::Pack;
use credit_ledger::provider::clerk::Clerk;
use credit_ledger::provider::razorpay::Razorpay;
use credit_ledger::provider::sign::{self, SignedDelivery};
use credit_ledger::provider::stripe::Stripe;
use credit_ledger::provider::{
    Catalog, Delivery, Headers, Provider, Rejected, Rules, Signup, Translated, Verified,
};
use secrecy::SecretString;

/// When every delivery is received, seconds since 1970: as in the fixtures.
pub const RECEIVED_AT_S: i64 = 1_795_000_300;
/// The secrets that the seeds are signed with.
pub const CLERK_SECRET: &str = "whsec_ZnV6ei1zZWNyZXQtb2YtY2xlcmstMDAwMDA=";
/// See [`CLERK_SECRET`].
pub const RAZORPAY_SECRET: &str = "fuzz-secret-of-razorpay";
/// See [`CLERK_SECRET`].
pub const STRIPE_SECRET: &str = "whsec_fuzz-secret-of-stripe";

/// The longest reason that a delivery may be ignored for, in bytes: it is stored and listed.
const REASON_MAX_BYTES: usize = 200;

/// A provider with a known secret.
pub struct Subject {
    provider: Box<dyn Provider>,
    sign: fn(&[u8]) -> SignedDelivery,
}

/// Clerk, through Svix.
pub static CLERK: LazyLock<Subject> = LazyLock::new(|| {
    let secret = || SecretString::from(CLERK_SECRET);
    Subject {
        provider: Box::new(Clerk::new(&[secret()]).expect("a secret of Svix")),
        sign: |body| {
            let secret = SecretString::from(CLERK_SECRET);
            sign::svix(&secret, "msg_fuzz", received_at(), body).expect("a secret of Svix")
        },
    }
});

/// Razorpay.
pub static RAZORPAY: LazyLock<Subject> = LazyLock::new(|| Subject {
    provider: Box::new(Razorpay::new(&[RAZORPAY_SECRET.into()]).expect("a secret")),
    sign: |body| {
        let secret = SecretString::from(RAZORPAY_SECRET);
        sign::razorpay_webhook(&secret, "evt_fuzz", body).expect("a secret")
    },
});

/// Stripe.
pub static STRIPE: LazyLock<Subject> = LazyLock::new(|| Subject {
    provider: Box::new(Stripe::new(&[STRIPE_SECRET.into()], None).expect("a secret")),
    sign: |body| {
        let secret = SecretString::from(STRIPE_SECRET);
        sign::stripe_webhook(&secret, received_at(), body).expect("a secret")
    },
});

static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let pack = |sku: &str, prices: &[(i64, &str)]| Pack {
        sku: sku.to_owned(),
        credits: Credits::new(500).expect("in range"),
        prices: prices
            .iter()
            .map(|(amount_minor, currency)| {
                let currency = Currency::parse(currency).expect("three letters");
                Money::new(*amount_minor, currency).expect("not negative")
            })
            .collect(),
        expires_after_days: Some(365),
        stripe_price_ids: vec![],
        plan: None,
    };
    let pro = Pack {
        stripe_price_ids: vec!["price_1SjE2UIwn4ecfiRIZWn4YDvA".to_owned()],
        plan: Some("pro".to_owned()),
        ..pack("pro_monthly", &[(2000, "USD")])
    };
    Rules {
        signup: Signup {
            bonus_credits: Credits::new(20).expect("in range"),
            plan: "free".to_owned(),
        },
        catalog: Catalog::new(vec![
            pack("credits_500", &[(49_900, "INR"), (500, "JPY")]),
            pack("credits_500_kwd", &[(15_250, "KWD")]),
            pack("credits_500_usd", &[(4900, "USD"), (7500, "JPY")]),
            pro,
        ])
        .expect("a catalog"),
    }
});

fn received_at() -> DateTime<Utc> {
    DateTime::from_timestamp(RECEIVED_AT_S, 0).expect("a time")
}

/// A whole request, as [`request`] writes it: any headers, any body. Whatever is taken can be stored and means something.
pub fn verify(subject: &Subject, bytes: &[u8]) {
    let (headers, body) = read_request(bytes);
    if let Ok(verified) = judge(subject, headers, body) {
        assert_eq!(verified.body().as_bytes(), body);
        mean(subject, &verified);
    }
}

/// A body of any bytes, properly signed: refused only if it is no JSON object.
pub fn translate(subject: &Subject, body: &[u8]) {
    let signed = (subject.sign)(body);
    let headers = signed
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    match judge(subject, headers, body) {
        Ok(verified) => mean(subject, &verified),
        Err(rejected) => assert!(rejected.is_malformed(), "{rejected}"),
    }
}

/// A body and its proper headers, as [`verify`] reads them: what the seeds are made of.
pub fn request(subject: &Subject, body: &[u8]) -> Vec<u8> {
    let signed = (subject.sign)(body);
    let mut bytes = Vec::new();
    for (name, value) in &signed.headers {
        bytes.extend(format!("{name}: {value}\n").into_bytes());
    }
    bytes.push(b'\n');
    bytes.extend(body);
    bytes
}

/// Whether a request is taken.
pub fn is_genuine(subject: &Subject, bytes: &[u8]) -> bool {
    let (headers, body) = read_request(bytes);
    judge(subject, headers, body).is_ok()
}

/// Lines `name: value` up to an empty one, then the body.
fn read_request(bytes: &[u8]) -> (Vec<(&str, &[u8])>, &[u8]) {
    let mut headers = Vec::new();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':');
        if let Some(colon) = colon
            && let Ok(name) = std::str::from_utf8(&line[..colon])
        {
            let value = &line[colon + 1..];
            headers.push((name, value.strip_prefix(b" ").unwrap_or(value)));
        }
    }
    (headers, rest)
}

fn judge<'a>(
    subject: &Subject,
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    body: &'a [u8],
) -> Result<Verified, Rejected> {
    subject.provider.verify(&Delivery {
        headers: Headers::new(headers),
        body,
        received_at: received_at(),
    })
}

/// What a genuine delivery means: the same whenever it is asked, with nothing in it that can not be stored.
fn mean(subject: &Subject, verified: &Verified) {
    for id in [verified.key(), verified.provider_event_id()] {
        assert!(is_storable(id, 255), "an id that can not be stored");
    }
    let ask = || subject.provider.translate(verified, &RULES, Salt([7; 16]));
    let translated = ask();
    assert_eq!(translated, ask());
    match translated {
        Translated::Ignore(reason) => assert!(is_storable(&reason, REASON_MAX_BYTES), "{reason}"),
        Translated::Park(reason) => assert!(is_storable(&reason.to_string(), REASON_MAX_BYTES)),
        Translated::Apply(command) => decide(&command),
        Translated::AwaitSubscriber { change } => {
            assert!(is_storable(&change.subscription_id, 255));
            let user_id = UserId::parse("user_1").expect("an id");
            decide(&Command::ChangeSubscription(change.owned_by(user_id)));
        }
    }
}

fn decide(command: &Command) {
    assert!(!command.streams().is_empty());
    let decided = ledger::decide(command, &Nothing::default());
    assert!(
        !matches!(decided, Err(Rejection::Needs(_))),
        "all states are given"
    );
}

fn is_storable(text: &str, max_bytes: usize) -> bool {
    !text.is_empty() && text.len() <= max_bytes && !text.chars().any(char::is_control)
}

/// A ledger in which nothing has happened.
#[derive(Default)]
struct Nothing {
    user: User,
    purchase: Purchase,
}

impl States for Nothing {
    fn user(&self, _: &UserId) -> Option<&User> {
        Some(&self.user)
    }
    fn purchase(&self, _: &PurchaseId) -> Option<&Purchase> {
        Some(&self.purchase)
    }

    fn settlement(&self, _: Place) -> Option<Settlement> {
        None
    }

    fn at_s(&self) -> i64 {
        0
    }
}
