//! Stored deliveries, verified once more: body, signature headers and time of receipt against the secrets of the settings.
//!
//! Says nothing of a body but whether its signature holds.

use std::collections::BTreeMap;

use chrono::DateTime;
use credit_ledger_verify::record::DeliveryRecord;
use credit_ledger_verify::report::Finding;
use serde::Serialize;

use crate::provider::{Delivery, Headers, Lookup, Provider, Providers};

/// What a finding about a signature is called.
pub const DELIVERY_SIGNATURE_INVALID: &str = "delivery_signature_invalid";
/// Stands in the place of a secret's fingerprint where the bytes are an answer of a provider's API.
const API_ANSWER: &str = "api";
/// How many secrets that are not set any more are listed.
const RETIRED_MAX: usize = 100;

/// What became of the signatures.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Signatures {
    /// They hold.
    pub hold: u64,
    /// They do not: each is a finding.
    pub fail: u64,
    /// The body was erased, so nobody can say any more.
    pub erased: u64,
    /// No webhook: a provider's API answered it, unsigned.
    pub api_answers: u64,
    /// The secret that matched is not set any more.
    pub retired: u64,
    /// Those secrets: provider and fingerprint, with how many deliveries each. At most 100.
    pub retired_secrets: BTreeMap<String, u64>,
}

impl Signatures {
    /// Judges one. Gives a finding where it does not hold.
    pub fn judge(
        &mut self,
        providers: &Providers,
        stored: &DeliveryRecord,
        body: &[u8],
    ) -> Option<Finding> {
        if stored.secret == API_ANSWER {
            self.api_answers += 1;
            return None;
        }
        if stored.erased && body.is_empty() {
            self.erased += 1;
            return None;
        }
        let failed = match providers.find(&stored.source) {
            Lookup::Found(provider) if provider.has_secret(&stored.secret) => {
                fails(provider, stored, body)
            }
            Lookup::Found(_) | Lookup::NotConfigured => {
                self.retire(stored);
                return None;
            }
            Lookup::Unknown => Some("there is no such provider".to_owned()),
        };
        let Some(why) = failed else {
            self.hold += 1;
            return None;
        };
        self.fail += 1;
        let what = format!("delivery {} of {}: {why}", stored.key, stored.source);
        let finding = Finding::new(DELIVERY_SIGNATURE_INVALID, what);
        Some(match stored.led_to.first() {
            Some((shard, position)) => finding.at(*shard, *position),
            None => finding,
        })
    }

    fn retire(&mut self, stored: &DeliveryRecord) {
        self.retired += 1;
        let secret = format!("{} {}", stored.source, stored.secret);
        let listed = self.retired_secrets.len();
        if let Some(known) = self.retired_secrets.get_mut(&secret) {
            *known += 1;
        } else if listed < RETIRED_MAX {
            self.retired_secrets.insert(secret, 1);
        }
    }
}

/// Why a delivery is not the genuine one that it is said to be.
fn fails(provider: &dyn Provider, stored: &DeliveryRecord, body: &[u8]) -> Option<String> {
    let headers: Result<BTreeMap<String, String>, _> = serde_json::from_str(&stored.headers);
    let Ok(headers) = headers else {
        return Some("its headers can not be read".to_owned());
    };
    let Some(received_at) = DateTime::from_timestamp_micros(stored.received_at_us) else {
        return Some("its time of receipt is none".to_owned());
    };
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let verified = provider.verify(&Delivery {
        headers: Headers::new(headers),
        body,
        received_at,
    });
    match verified {
        Err(rejected) => Some(rejected.to_string()),
        Ok(verified) if verified.key() != stored.key => Some("it is of another key".to_owned()),
        Ok(verified) if verified.provider_event_id() != stored.provider_event_id => {
            Some("it is another event".to_owned())
        }
        Ok(verified) if verified.secret_fingerprint() != stored.secret => {
            Some("another secret matches".to_owned())
        }
        Ok(_) => None,
    }
}
