//! Public keys of an identity provider, fetched from its JWKS URL (RFC 7517) and kept.
//!
//! Owns when keys are fetched and how long they are trusted. Takes asymmetric keys only: a key set is public, so an
//! HS256 "key" from one would let anybody sign. Makes no decision about claims.
//!
//! When keys are fetched:
//! - a token names an unknown key, or the keys are older than 1 h: the request waits for a fetch;
//! - the keys are older than 5 min: they are used, and a fetch runs beside the request. So a key that the provider
//!   revokes is soon forgotten;
//! - but never more often than every 30 s, never two at a time, and a fetch goes on when the request that began it ends.
//!
//! When a fetch fails, the keys at hand stay good until they are 24 h old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::{Client, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::error::{AccessError, InvalidToken, SessionError};
use super::token::VerifyingKey;

/// Least time between two fetches, so that tokens with made-up key ids can not flood the provider.
pub(super) const MIN_INTERVAL: TimeDelta = TimeDelta::seconds(30);
/// Keys younger than this are used without asking. Clerk's own SDK keeps them as long.
pub(super) const FRESH: TimeDelta = TimeDelta::minutes(5);
/// Keys older than this (a quiet night) are used only after asking.
pub(super) const ASK_FIRST: TimeDelta = TimeDelta::hours(1);
/// Keys older than this are not used, even when the provider can not be asked.
pub(super) const MAX_AGE: TimeDelta = TimeDelta::hours(24);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Real key sets have a few KiB.
pub(super) const MAX_RESPONSE_BYTES: usize = 256 * 1024;
/// Providers publish two or three keys at a time.
const MAX_KEYS: usize = 64;

/// The keys behind one JWKS URL.
pub(super) struct Jwks {
    shared: Arc<Shared>,
}

struct Shared {
    url: Url,
    client: Client,
    /// None until the first fetch succeeds.
    keys: ArcSwapOption<KeySet>,
    /// Whoever holds this lock is the one that fetches.
    last: Arc<Mutex<Option<Attempt>>>,
}

struct KeySet {
    by_id: HashMap<String, Arc<VerifyingKey>>,
    fetched_at: DateTime<Utc>,
}

#[derive(Clone, Copy)]
struct Attempt {
    at: DateTime<Utc>,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fetched,
    Failed,
}

/// Why a fetch failed; for the log.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("{0}")]
    Http(reqwest::Error),
    #[error("status {0} instead of 200")]
    Status(StatusCode),
    #[error("more than {MAX_RESPONSE_BYTES} bytes")]
    TooLong,
    #[error("not a key set")]
    NotAKeySet,
}

impl Jwks {
    /// Prepares the client. Fetches nothing yet. A proxy named in the environment (`HTTPS_PROXY`) is used.
    pub fn new(url: Url) -> Result<Self, AccessError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            // Another place may not speak for the provider.
            .redirect(redirect::Policy::none())
            // Fetches are minutes apart, and an idle connection would be bound to the runtime that opened it.
            .pool_max_idle_per_host(0)
            .user_agent(concat!(
                env!("CARGO_PKG_NAME"),
                "/",
                env!("CARGO_PKG_VERSION")
            ))
            .build()
            .map_err(|error| AccessError::HttpClient(error.to_string()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                url,
                client,
                keys: ArcSwapOption::empty(),
                last: Arc::default(),
            }),
        })
    }

    /// The key of this id, fetched first if need be. `KeysUnavailable` when the provider did not answer and the id is
    /// not among the keys at hand, `UnknownKey` when the provider has answered and does not have it.
    pub async fn key(
        &self,
        key_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Arc<VerifyingKey>, SessionError> {
        if let Some((key, age)) = self.shared.cached(key_id, now) {
            if age < FRESH {
                return Ok(key);
            }
            if age < ASK_FIRST {
                self.refresh_beside(now);
                return Ok(key);
            }
        }
        let outcome = self.refresh(now).await;
        match (self.shared.cached(key_id, now), outcome) {
            (Some((key, age)), _) if age < MAX_AGE => Ok(key),
            (Some(_), _) | (None, Outcome::Failed) => Err(SessionError::KeysUnavailable),
            (None, Outcome::Fetched) => Err(InvalidToken::UnknownKey.into()),
        }
    }

    /// Fetches, or waits for the fetch under way, or leaves it when the last one is too young. Returns how the last ended.
    async fn refresh(&self, now: DateTime<Utc>) -> Outcome {
        let last = Arc::clone(&self.shared.last).lock_owned().await;
        match *last {
            Some(attempt) if is_too_young(attempt, now) => attempt.outcome,
            // A task of its own: a client that hangs up must not end a fetch that others wait for.
            _ => tokio::spawn(Arc::clone(&self.shared).fetch(last, now))
                .await
                .unwrap_or(Outcome::Failed),
        }
    }

    /// Starts a fetch if none is under way and the last one is old enough. Does not wait for it.
    fn refresh_beside(&self, now: DateTime<Utc>) {
        if let Ok(last) = Arc::clone(&self.shared.last).try_lock_owned()
            && !last.is_some_and(|attempt| is_too_young(attempt, now))
        {
            tokio::spawn(Arc::clone(&self.shared).fetch(last, now));
        }
    }
}

/// Requests carry their own time and may come here out of order, so "a little before" counts as young too.
fn is_too_young(attempt: Attempt, now: DateTime<Utc>) -> bool {
    (now - attempt.at).abs() < MIN_INTERVAL
}

impl Shared {
    /// The key and the age of the set it is in. A clock set back must not make keys young for ever, hence `abs`.
    fn cached(&self, key_id: &str, now: DateTime<Utc>) -> Option<(Arc<VerifyingKey>, TimeDelta)> {
        let keys = self.keys.load();
        let keys = keys.as_ref()?;
        Some((
            Arc::clone(keys.by_id.get(key_id)?),
            (now - keys.fetched_at).abs(),
        ))
    }

    async fn fetch(
        self: Arc<Self>,
        mut last: OwnedMutexGuard<Option<Attempt>>,
        now: DateTime<Utc>,
    ) -> Outcome {
        // Stands if this task is dropped half-way.
        *last = Some(Attempt {
            at: now,
            outcome: Outcome::Failed,
        });
        match self.download().await {
            Ok(by_id) => {
                self.keys.store(Some(Arc::new(KeySet {
                    by_id,
                    fetched_at: now,
                })));
                *last = Some(Attempt {
                    at: now,
                    outcome: Outcome::Fetched,
                });
                Outcome::Fetched
            }
            Err(error) => {
                tracing::warn!(host = self.url.host_str(), %error, "public keys could not be fetched");
                Outcome::Failed
            }
        }
    }

    async fn download(&self) -> Result<HashMap<String, Arc<VerifyingKey>>, FetchError> {
        let http = |error: reqwest::Error| FetchError::Http(error.without_url());
        let mut response = self
            .client
            .get(self.url.clone())
            .send()
            .await
            .map_err(http)?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(http)? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        key_set(&body).ok_or(FetchError::NotAKeySet)
    }
}

/// A key set as RFC 7517 section 5 has it. Every key is read on its own, so that one we do not know spoils no other.
#[derive(Deserialize)]
struct RawKeySet {
    keys: Vec<Value>,
}

/// The members of a key that matter (RFC 7517 section 4, RFC 7518 section 6).
#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The usable keys of a key set by their ids; None if it is none. An empty set is an answer too: a Supabase project
/// that signs with its legacy secret alone publishes one.
pub(super) fn key_set(body: &[u8]) -> Option<HashMap<String, Arc<VerifyingKey>>> {
    let raw: RawKeySet = serde_json::from_slice(body).ok()?;
    let mut by_id = HashMap::new();
    for value in raw.keys.into_iter().take(MAX_KEYS) {
        if let Ok(raw) = serde_json::from_value::<RawKey>(value)
            && let Some(key) = verifying_key(&raw)
        {
            by_id.entry(raw.kid).or_insert_with(|| Arc::new(key));
        }
    }
    Some(by_id)
}

/// RS256 from an RSA key of 2048 to 8192 bits, ES256 from a P-256 key; nothing from any other.
fn verifying_key(raw: &RawKey) -> Option<VerifyingKey> {
    let may_verify = raw.usage.as_deref().is_none_or(|usage| usage == "sig")
        && raw
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    let is_for = |algorithm: &str| raw.alg.as_deref().is_none_or(|alg| alg == algorithm);
    if !may_verify {
        return None;
    }
    match raw.kty.as_str() {
        "RSA" if is_for("RS256") => {
            let (modulus, exponent) = (integer(raw.n.as_deref()?)?, integer(raw.e.as_deref()?)?);
            (256..=1024).contains(&modulus.len()).then(|| VerifyingKey {
                algorithm: Algorithm::RS256,
                key: DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            })
        }
        "EC" if is_for("ES256") && raw.crv.as_deref() == Some("P-256") => {
            let (x, y) = (bytes(raw.x.as_deref()?)?, bytes(raw.y.as_deref()?)?);
            // The uncompressed form of a point (SEC 1 section 2.3.3); both coordinates have full length.
            (x.len() == 32 && y.len() == 32).then(|| VerifyingKey {
                algorithm: Algorithm::ES256,
                key: DecodingKey::from_ec_der(&[&[4], x.as_slice(), y.as_slice()].concat()),
            })
        }
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A big-endian integer without zeros at its front, which some issuers leave there.
fn integer(text: &str) -> Option<Vec<u8>> {
    let padded = bytes(text)?;
    let first = padded.iter().position(|byte| *byte != 0)?;
    Some(padded[first..].to_vec())
}
