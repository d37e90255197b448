//! The providers against recorded facts: signature vectors that the official libraries agreed on, one payload of
//! every kind with what it must come to, and every quirk by itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeZone as _, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::catalog::Pack;
use super::clerk::Clerk;
use super::razorpay::{ApiStatus, BadAnswer, Razorpay, capture_from_api};
use super::sign::SignedDelivery;
use super::stripe::Stripe;
use super::*;
use crate::ledger::command::CapturePayment;
use crate::ledger::{Command, Currency, Money, Personal, Profile, UserId};

mod clerk;
mod deliveries;
mod fixtures;
mod razorpay;
mod razorpay_refunds;
mod robust;
mod stripe;
mod vectors;

const CLERK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RAZORPAY_SECRET: &str = "webhook-secret";
const STRIPE_SECRET: &str = "whsec_feb7d942d7042214959be82112896c8a";
const SALT: Salt = Salt([5; 16]);

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

fn clerk() -> Clerk {
    Clerk::new(&[secret(CLERK_SECRET)]).unwrap()
}

fn razorpay() -> Razorpay {
    Razorpay::new(&[secret(RAZORPAY_SECRET)]).unwrap()
}

fn stripe() -> Stripe {
    Stripe::new(&[secret(STRIPE_SECRET)], None).unwrap()
}

fn now() -> DateTime<Utc> {
    Utc.timestamp_opt(1_795_000_300, 0).unwrap()
}

fn fixture(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(path)
}

fn read_json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(path)).unwrap()).unwrap()
}

fn money(amount_minor: i64, currency: &str) -> Money {
    Money::new(amount_minor, Currency::parse(currency).unwrap()).unwrap()
}

fn pack(sku: &str, credits: i64, price: Money, expires_after_days: Option<u32>) -> Pack {
    Pack {
        sku: sku.to_owned(),
        credits: Credits::new(credits).unwrap(),
        prices: vec![price],
        expires_after_days,
        stripe_price_ids: vec![],
        plan: None,
    }
}

fn rules() -> Rules {
    Rules {
        signup: Signup {
            bonus_credits: Credits::new(20).unwrap(),
            plan: "free".to_owned(),
        },
        catalog: Catalog::new(vec![
            pack("credits_500", 500, money(49_900, "INR"), Some(365)),
            pack("credits_500_kwd", 500, money(15_250, "KWD"), None),
        ])
        .unwrap(),
    }
}

/// What is sold for the payloads of Stripe: a pack in three currencies, and a plan that is paid monthly.
fn stripe_rules() -> Rules {
    let prices = vec![money(4900, "USD"), money(7500, "JPY"), money(15_250, "KWD")];
    let pack_500 = Pack {
        prices,
        stripe_price_ids: vec!["price_pack".to_owned()],
        ..pack("pack_500", 500, money(4900, "USD"), Some(365))
    };
    let pro = Pack {
        stripe_price_ids: vec!["price_1SjE2UIwn4ecfiRIZWn4YDvA".to_owned()],
        plan: Some("pro".to_owned()),
        ..pack("pro_monthly", 1000, money(2000, "USD"), None)
    };
    Rules {
        catalog: Catalog::new(vec![pack_500, pro]).unwrap(),
        ..rules()
    }
}

fn verify(provider: &dyn Provider, signed: &SignedDelivery) -> Result<Verified, Rejected> {
    let headers = signed
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()));
    provider.verify(&Delivery {
        headers: Headers::new(headers),
        body: &signed.body,
        received_at: now(),
    })
}

fn clerk_says(body: &Value) -> Translated {
    let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), body.to_string()).unwrap();
    let verified = verify(&clerk(), &signed).unwrap();
    clerk().translate(&verified, &rules(), SALT)
}

fn razorpay_says(body: &Value) -> Translated {
    let signed =
        sign::razorpay_webhook(&secret(RAZORPAY_SECRET), "evt_1", body.to_string()).unwrap();
    let verified = verify(&razorpay(), &signed).unwrap();
    razorpay().translate(&verified, &rules(), SALT)
}

fn stripe_says(body: &Value) -> Translated {
    let signed = sign::stripe_webhook(&secret(STRIPE_SECRET), now(), body.to_string()).unwrap();
    let verified = verify(&stripe(), &signed).unwrap();
    stripe().translate(&verified, &stripe_rules(), SALT)
}

fn profile_of(personal: &Personal) -> Profile {
    serde_json::from_str(personal.profile_json()).unwrap()
}

fn capture_in(translated: Translated) -> CapturePayment {
    match translated {
        Translated::Apply(Command::CapturePayment(capture)) => *capture,
        other => panic!("no capture: {other:?}"),
    }
}

fn parked(field: &'static str) -> Translated {
    Translated::Park(ParkReason::MissingFields { field })
}

fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}
