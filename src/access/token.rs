//! A JSON web token taken apart (RFC 7515, RFC 7519): bounds, header, signature, times.
//!
//! The types keep the order of work right: claims can be read only from a [`Signed`] token, and the one thing an
//! [`Unverified`] token tells is which issuer it *says* it is from. The algorithm is compared with what the
//! configuration allows, it is never taken from the token.
//! The crate `jsonwebtoken` checks signatures only: its own validation reads the system clock.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::error::{InvalidToken, SessionError};

/// Longest token that is looked at, in bytes. Browsers cap a cookie at 4 KiB, so real session tokens are shorter.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// A key together with the only algorithm it may be used with (RFC 8725 section 3.1).
#[derive(Debug, Clone)]
pub(super) struct VerifyingKey {
    /// The only algorithm this key verifies.
    pub algorithm: Algorithm,
    /// The key itself. Its `Debug` is redacted.
    pub key: DecodingKey,
}

/// The header fields that matter. Others (`oiat`, `cat`, `jku`, `jwk`, …) are ignored, and never followed.
#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

/// A token of which nothing is proven yet.
pub(super) struct Unverified<'a> {
    header: Header,
    claims: Claims,
    signed_text: &'a str,
    signature: Vec<u8>,
}

/// The claims of a token whose signature fits.
pub(super) struct Signed(Claims);

/// The payload: a JSON object.
pub(super) struct Claims(Map<String, Value>);

impl<'a> Unverified<'a> {
    /// Takes the compact form apart. Never looks at more than 8 KiB.
    pub fn parse(token: &'a str) -> Result<Self, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken::TooLong);
        }
        let (signed_text, signature) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
        let (header, payload) = signed_text.split_once('.').ok_or(InvalidToken::Malformed)?;
        // A dot that is left over in `payload` is not base64url, so four parts fail here.
        let header: Header = json(&base64url(header)?)?;
        let claims = Claims(json(&base64url(payload)?)?);
        let signature = base64url(signature)?;
        if header.typ.as_deref() != Some("JWT") || header.crit.is_some() {
            return Err(InvalidToken::Header);
        }
        Ok(Self {
            header,
            claims,
            signed_text,
            signature,
        })
    }

    /// The issuer the token claims to be from. Good for choosing a verifier, and for nothing else.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.claims.0.get("iss").and_then(Value::as_str)
    }

    /// The id of the key the token claims to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The token's algorithm, if it is one of those the configuration allows.
    pub fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, InvalidToken> {
        let algorithm = match self.header.alg.as_str() {
            "HS256" => Algorithm::HS256,
            "RS256" => Algorithm::RS256,
            "ES256" => Algorithm::ES256,
            _ => return Err(InvalidToken::Algorithm),
        };
        if allowed.contains(&algorithm) {
            Ok(algorithm)
        } else {
            Err(InvalidToken::Algorithm)
        }
    }

    /// Checks the signature with the key's own algorithm, which the header must name too.
    pub fn verify(self, key: &VerifyingKey) -> Result<Signed, InvalidToken> {
        self.algorithm(&[key.algorithm])?;
        // The provider is named here instead of installed for the process: the crate's default one panics when
        // its features are unified the wrong way.
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&key.algorithm, &key.key)
            .map_err(|_| InvalidToken::Algorithm)?;
        verifier
            .verify(self.signed_text.as_bytes(), &self.signature)
            .map_err(|_| InvalidToken::Signature)?;
        Ok(Signed(self.claims))
    }
}

impl Signed {
    /// The claims, which the holder of the key has signed.
    pub fn claims(&self) -> &Claims {
        &self.0
    }
}

impl Claims {
    /// A claim that may be absent. JSON `null` counts as absent.
    pub fn get(&self, name: &'static str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text that may be absent, but must not be anything else.
    pub fn text(&self, name: &'static str) -> Result<Option<&str>, InvalidToken> {
        self.get(name)
            .map(|value| value.as_str().ok_or(InvalidToken::Claim(name)))
            .transpose()
    }

    /// A text that must be there and not be empty.
    pub fn required_text(&self, name: &'static str) -> Result<&str, InvalidToken> {
        self.text(name)?
            .filter(|text| !text.is_empty())
            .ok_or(InvalidToken::Claim(name))
    }

    /// A text that must be there and be exactly this.
    pub fn expect_text(&self, name: &'static str, expected: &str) -> Result<(), InvalidToken> {
        if self.text(name)? == Some(expected) {
            Ok(())
        } else {
            Err(InvalidToken::Claim(name))
        }
    }

    /// A time in whole seconds since 1970 that may be absent (RFC 7519 `NumericDate`; neither provider sends fractions).
    pub fn seconds(&self, name: &'static str) -> Result<Option<i64>, InvalidToken> {
        self.get(name)
            .map(|value| value.as_i64().ok_or(InvalidToken::Claim(name)))
            .transpose()
    }

    /// A time in whole seconds since 1970 that must be there.
    pub fn required_seconds(&self, name: &'static str) -> Result<i64, InvalidToken> {
        self.seconds(name)?.ok_or(InvalidToken::Claim(name))
    }

    /// Checks `exp` and `iat`, which must be there, and `nbf` if it is, against `now`.
    ///
    /// `leeway_s` is how far, in seconds, the provider's clock and ours may be apart. A token is over *at* `exp`
    /// (RFC 7519 section 4.1.4).
    pub fn check_times(&self, now: DateTime<Utc>, leeway_s: i64) -> Result<(), SessionError> {
        let now_s = now.timestamp();
        let expires_s = self.required_seconds("exp")?;
        let issued_s = self.required_seconds("iat")?;
        let not_before_s = self.seconds("nbf")?.unwrap_or(issued_s);
        let latest_start_s = now_s.saturating_add(leeway_s);
        if issued_s > latest_start_s || not_before_s > latest_start_s {
            return Err(InvalidToken::NotYetValid.into());
        }
        if now_s >= expires_s.saturating_add(leeway_s) {
            return Err(SessionError::Expired);
        }
        Ok(())
    }
}

fn base64url(text: &str) -> Result<Vec<u8>, InvalidToken> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| InvalidToken::Malformed)
}

fn json<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidToken> {
    serde_json::from_slice(bytes).map_err(|_| InvalidToken::Malformed)
}
