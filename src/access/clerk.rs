//! Clerk session tokens: settings, and the claims such a token must carry.
//!
//! Source of the rules: Clerk's guide "Manual JWT verification" and the page "Session tokens". Stricter than Clerk's own
//! SDK in three points, because these tokens lead to money: `iss` is checked, `azp` must be there once origins are
//! configured, and a token made for another audience is refused.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::error::{AccessError, InvalidToken, SessionError};
use super::jwks::Jwks;
use super::session::Session;
use super::token::{Claims, Unverified, VerifyingKey};
use super::url::{provider_url, without_slash};

/// Clerk's own default for clock skew. A token lives 60 s, so more would show.
const LEEWAY_S: i64 = 5;

/// Longest user id accepted, in bytes. Clerk's have 32.
const MAX_USER_ID_BYTES: usize = 128;

/// Where a Frontend API serves its keys.
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// Where Clerk's public key comes from.
#[derive(Clone)]
pub enum KeySource {
    /// `CLERK_JWT_KEY`: an RSA public key in PEM, PKCS#8 (`PUBLIC KEY`) or PKCS#1 (`RSA PUBLIC KEY`). Line ends may be
    /// written as the two characters `\n`, as environment files do.
    Pem(String),
    /// `CLERK_JWKS_URL`: `https://<Frontend API>/.well-known/jwks.json`.
    Jwks(String),
}

impl fmt::Debug for KeySource {
    /// Does not show the PEM: it could be a private key, set by mistake.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(_) => f.write_str("Pem([not shown])"),
            Self::Jwks(_) => f.write_str("Jwks([not shown])"),
        }
    }
}

/// How Clerk sessions are verified.
#[derive(Debug, Clone)]
pub struct ClerkSettings {
    /// Where the public key comes from.
    pub keys: KeySource,
    /// `CLERK_ISSUER`: the Frontend API URL, for example `https://clerk.example.com`. A slash at the end does not
    /// matter. Not set or blank: derived from a JWKS URL, an error with a PEM.
    pub issuer: Option<String>,
    /// `CLERK_AUTHORIZED_PARTIES`: origins of the frontends, for example `https://app.example.com`. When there are any,
    /// a token must carry one of them in `azp`. Blank ones are not counted.
    pub authorized_parties: Vec<String>,
}

/// Verifies tokens of one Clerk instance.
pub(super) struct Clerk {
    keys: Keys,
    issuer: String,
    authorized_parties: Vec<String>,
}

enum Keys {
    Fixed(Arc<VerifyingKey>),
    Fetched(Jwks),
}

impl Clerk {
    /// Checks the settings.
    pub fn new(settings: &ClerkSettings) -> Result<Self, AccessError> {
        let given_issuer = settings
            .issuer
            .as_deref()
            .map(str::trim)
            .filter(|issuer| !issuer.is_empty());
        let given_issuer = given_issuer
            .map(|issuer| provider_url("CLERK_ISSUER", issuer).map(|url| without_slash(&url)))
            .transpose()?;
        let (keys, derived_issuer) = match &settings.keys {
            KeySource::Pem(pem) => (Keys::Fixed(Arc::new(key_from_pem(pem)?)), None),
            KeySource::Jwks(text) => {
                let url = provider_url("CLERK_JWKS_URL", text)?;
                if url.host_str() == Some("api.clerk.com") {
                    return Err(AccessError::Url {
                        setting: "CLERK_JWKS_URL",
                        problem: "must be that of the Frontend API, https://<Frontend API>/.well-known/jwks.json: api.clerk.com wants a secret key",
                    });
                }
                let derived = url.as_str().strip_suffix(JWKS_PATH).map(str::to_owned);
                (Keys::Fetched(Jwks::new(url)?), derived)
            }
        };
        Ok(Self {
            keys,
            issuer: given_issuer
                .or(derived_issuer)
                .ok_or(AccessError::ClerkIssuerMissing)?,
            authorized_parties: settings
                .authorized_parties
                .iter()
                .map(|party| party.trim().trim_end_matches('/').to_owned())
                .filter(|party| !party.is_empty())
                .collect(),
        })
    }

    /// The only issuer whose tokens are accepted.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Verifies signature, claims and times.
    pub async fn verify(
        &self,
        token: Unverified<'_>,
        now: DateTime<Utc>,
    ) -> Result<Session, SessionError> {
        token.algorithm(&[Algorithm::RS256])?;
        let key = match &self.keys {
            Keys::Fixed(key) => Arc::clone(key),
            Keys::Fetched(jwks) => {
                jwks.key(token.key_id().ok_or(InvalidToken::UnknownKey)?, now)
                    .await?
            }
        };
        let signed = token.verify(&key)?;
        let session = self.session(signed.claims())?;
        signed.claims().check_times(now, LEEWAY_S)?;
        Ok(session)
    }

    fn session(&self, claims: &Claims) -> Result<Session, InvalidToken> {
        claims.expect_text("iss", &self.issuer)?;
        // Always there in a session token; `check_times` looks at its value.
        claims.required_seconds("nbf")?;
        // Absent in version 1, which Clerk has deprecated. Another version may mean other claims.
        if claims
            .get("v")
            .is_some_and(|version| version.as_i64() != Some(2))
        {
            return Err(InvalidToken::Claim("v"));
        }
        // Only tokens made from a template for another service name an audience.
        if claims.get("aud").is_some() {
            return Err(InvalidToken::Claim("aud"));
        }
        self.check_authorized_party(claims)?;
        match claims.text("sts")? {
            None | Some("active") => {}
            Some("pending") => return Err(InvalidToken::Pending),
            Some(_) => return Err(InvalidToken::Claim("sts")),
        }
        let user_id = claims.required_text("sub")?;
        if !is_user_id(user_id) {
            return Err(InvalidToken::Claim("sub"));
        }
        Ok(Session {
            user_id: user_id.to_owned(),
            session_id: claims.required_text("sid")?.to_owned(),
            impersonated_by: impersonator(claims)?,
        })
    }

    /// `azp` is the origin of the page that asked for the token. Checking it stops a token taken from another site on
    /// the same domain.
    fn check_authorized_party(&self, claims: &Claims) -> Result<(), InvalidToken> {
        let party = claims.text("azp")?;
        if self.authorized_parties.is_empty() {
            return Ok(());
        }
        match party {
            Some(party)
                if self
                    .authorized_parties
                    .iter()
                    .any(|allowed| allowed == party) =>
            {
                Ok(())
            }
            _ => Err(InvalidToken::Claim("azp")),
        }
    }
}

/// Ids of machines (`mch_…`) and the like are not users.
fn is_user_id(text: &str) -> bool {
    text.len() <= MAX_USER_ID_BYTES
        && text.strip_prefix("user_").is_some_and(|rest| {
            !rest.is_empty()
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        })
}

/// The actor of an impersonated session. An `act` that can not be read is refused, never dropped.
fn impersonator(claims: &Claims) -> Result<Option<String>, InvalidToken> {
    let Some(actor) = claims.get("act") else {
        return Ok(None);
    };
    match actor.get("sub").and_then(Value::as_str) {
        Some(id) if !id.is_empty() => Ok(Some(id.to_owned())),
        _ => Err(InvalidToken::Claim("act")),
    }
}

/// Reads an RSA public key, at least 2048 bits long.
fn key_from_pem(text: &str) -> Result<VerifyingKey, AccessError> {
    let refuse = |problem| AccessError::ClerkKey { problem };
    let pem = text.trim().replace("\\r", "").replace("\\n", "\n");
    if pem.contains("PRIVATE KEY-----") {
        // The crate would read its public half and hide the mistake.
        return Err(refuse(
            "is a private key: set the public key, and replace the pair, since it has left its place",
        ));
    }
    if !pem.starts_with("-----BEGIN PUBLIC KEY-----")
        && !pem.starts_with("-----BEGIN RSA PUBLIC KEY-----")
    {
        return Err(refuse(
            "is not a public key in PEM: it must begin with -----BEGIN PUBLIC KEY-----",
        ));
    }
    let key = DecodingKey::from_rsa_pem(pem.as_bytes())
        .map_err(|_| refuse("is not an RSA public key in PEM"))?;
    let der = key
        .try_get_as_bytes()
        .map_err(|_| refuse("is not an RSA public key in PEM"))?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
        .map_err(|_| refuse("is not an RSA public key in PEM"))?;
    // Parsing does not look at the size. A modulus of 2048 bits alone has 256 bytes; one of 1024 makes a key of 140.
    if der.len() < 256 {
        return Err(refuse(
            "is too short: RSA keys must have at least 2048 bits",
        ));
    }
    Ok(VerifyingKey {
        algorithm: Algorithm::RS256,
        key,
    })
}
