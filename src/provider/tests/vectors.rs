//! The signature vectors. The verdict wanted is `strict` where there is one, else `expect`, which is what the
//! official library said.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::super::razorpay::{CheckoutRejected, CheckoutSignature, PaymentLink};
use super::*;

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    provider: String,
    note: String,
    secrets: Vec<String>,
    now: i64,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    body_gen: Option<BodyGen>,
    #[serde(default)]
    params: BTreeMap<String, String>,
    #[serde(default)]
    signature: String,
    expect: String,
    strict: Option<String>,
}

#[derive(Deserialize)]
struct BodyGen {
    prefix: String,
    repeat: String,
    count: usize,
    suffix: String,
}

impl Vector {
    fn body(&self) -> Vec<u8> {
        if let Some(generated) = &self.body_gen {
            let middle = generated.repeat.repeat(generated.count);
            format!("{}{middle}{}", generated.prefix, generated.suffix).into_bytes()
        } else if let Some(encoded) = &self.body_base64 {
            STANDARD.decode(encoded).unwrap()
        } else {
            self.body.clone().unwrap().into_bytes()
        }
    }

    fn secrets(&self) -> Vec<SecretString> {
        self.secrets.iter().map(|text| secret(text)).collect()
    }

    fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// For Stripe's, also what the body is: a thin event is genuine, and said to be of no use only after that.
    fn webhook<P: Provider>(&self, provider: Result<P, BadSecret>) -> &'static str {
        let Ok(provider) = provider else {
            return "bad_secret";
        };
        let body = self.body();
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let delivery = Delivery {
            headers: Headers::new(headers),
            body: &body,
            received_at: Utc.timestamp_opt(self.now, 0).unwrap(),
        };
        match provider.verify(&delivery) {
            Ok(verified) => {
                assert_eq!(verified.body().as_bytes(), body, "{}", self.id);
                match provider.translate(&verified, &rules(), SALT) {
                    Translated::Ignore(reason) if reason.starts_with("thin event") => "thin_event",
                    _ => "ok",
                }
            }
            Err(rejected) => rejected.verdict(),
        }
    }

    fn checkout(
        &self,
        verify: impl Fn(&SecretString) -> Result<(), CheckoutRejected>,
    ) -> &'static str {
        let secrets = self.secrets();
        let [key_secret] = secrets.as_slice() else {
            panic!("{}: a checkout has one secret", self.id);
        };
        verify(key_secret).map_or_else(CheckoutRejected::verdict, |()| "ok")
    }

    fn verdict(&self) -> &'static str {
        let payment = self.param("payment_id");
        match self.provider.as_str() {
            "svix" => self.webhook(Clerk::new(&self.secrets())),
            "stripe" => self.webhook(Stripe::new(&self.secrets(), None)),
            "razorpay_webhook" => self.webhook(Razorpay::new(&self.secrets())),
            "razorpay_payment" => self.checkout(|key| {
                let order = self.param("order_id");
                CheckoutSignature::verify(key, order, payment, &self.signature)
            }),
            "razorpay_subscription" => self.checkout(|key| {
                let subscription = self.param("subscription_id");
                CheckoutSignature::verify_subscription(key, payment, subscription, &self.signature)
            }),
            "razorpay_payment_link" => self.checkout(|key| {
                let link = PaymentLink {
                    payment_link_id: self.param("payment_link_id"),
                    reference_id: self.param("payment_link_reference_id"),
                    status: self.param("payment_link_status"),
                    payment_id: payment,
                };
                CheckoutSignature::verify_payment_link(key, &link, &self.signature)
            }),
            other => panic!("{}: no provider {other}", self.id),
        }
    }
}

#[test]
fn every_vector_has_its_verdict() {
    let text = std::fs::read(fixture("vectors.json")).unwrap();
    let file: Vectors = serde_json::from_slice(&text).unwrap();
    let mut judged: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for vector in &file.vectors {
        let verdict = vector.verdict();
        *judged.entry(&vector.provider).or_default() += 1;
        let wanted = vector.strict.as_ref().unwrap_or(&vector.expect);
        if verdict != wanted {
            wrong.push(format!(
                "{} ({}): {verdict}, wanted {wanted}",
                vector.id, vector.note
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let counts = [
        ("razorpay_payment", 11),
        ("razorpay_payment_link", 3),
        ("razorpay_subscription", 1),
        ("razorpay_webhook", 20),
        ("stripe", 36),
        ("svix", 44),
    ];
    assert_eq!(judged, BTreeMap::from(counts));
}
