//! Supabase session tokens: settings, and the claims such a token must carry.
//!
//! Source of the rules: Supabase's pages "JWT claims reference" and "JWT signing keys". A project signs with its legacy
//! secret (HS256), with signing keys (ES256 or RS256), or, while it migrates, with both. So the public keys at
//! `{url}/auth/v1/.well-known/jwks.json` are always in use, and HS256 in addition if a secret is configured. To end
//! HS256, remove the secret.
//!
//! The project's `anon` and `service_role` API keys are JWTs with a good HS256 signature and years of life. They have
//! another issuer, another role and no user, and each of these alone gets them refused here.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::{AccessError, InvalidToken, SessionError};
use super::jwks::Jwks;
use super::session::Session;
use super::token::{Claims, Unverified, VerifyingKey};
use super::url::{provider_url, without_slash};

/// How far, in seconds, Supabase's clock and ours may be apart.
const LEEWAY_S: i64 = 10;

/// Shortest secret accepted, in bytes: as long as the hash (RFC 7518 section 3.2). Supabase asks for the same.
const MIN_SECRET_BYTES: usize = 32;

/// How Supabase sessions are verified.
#[derive(Debug, Clone)]
pub struct SupabaseSettings {
    /// `SUPABASE_URL`: the project's URL, `https://<ref>.supabase.co` or its own domain, without a path.
    pub url: String,
    /// `SUPABASE_JWT_SECRET`: the legacy secret. Not set or blank: HS256 tokens are refused.
    pub jwt_secret: Option<SecretString>,
}

/// Verifies tokens of one Supabase project.
pub(super) struct Supabase {
    issuer: String,
    secret: Option<Arc<VerifyingKey>>,
    jwks: Jwks,
}

impl Supabase {
    /// Checks the settings.
    pub fn new(settings: &SupabaseSettings) -> Result<Self, AccessError> {
        const SETTING: &str = "SUPABASE_URL";
        let url = provider_url(SETTING, &settings.url)?;
        if url.path() != "/" {
            return Err(AccessError::Url {
                setting: SETTING,
                problem: "must be the project's URL without a path, for example https://<ref>.supabase.co",
            });
        }
        let issuer = format!("{}/auth/v1", without_slash(&url));
        let jwks_url = provider_url(SETTING, &format!("{issuer}/.well-known/jwks.json"))?;
        let secret = settings
            .jwt_secret
            .as_ref()
            .map(|secret| secret.expose_secret().trim());
        Ok(Self {
            secret: secret
                .filter(|secret| !secret.is_empty())
                .map(key_from_secret)
                .transpose()?
                .map(Arc::new),
            jwks: Jwks::new(jwks_url)?,
            issuer,
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
        let algorithm = token.algorithm(&[Algorithm::HS256, Algorithm::ES256, Algorithm::RS256])?;
        // The header picks one of two configured ways. Each key has its own algorithm, so a public key can never
        // become an HS256 secret.
        let key = if algorithm == Algorithm::HS256 {
            self.secret.clone().ok_or(InvalidToken::Algorithm)?
        } else {
            self.jwks
                .key(token.key_id().ok_or(InvalidToken::UnknownKey)?, now)
                .await?
        };
        let signed = token.verify(&key)?;
        let session = self.session(signed.claims())?;
        signed.claims().check_times(now, LEEWAY_S)?;
        Ok(session)
    }

    fn session(&self, claims: &Claims) -> Result<Session, InvalidToken> {
        claims.expect_text("iss", &self.issuer)?;
        if !names_audience(claims.get("aud"), "authenticated") {
            return Err(InvalidToken::Claim("aud"));
        }
        claims.expect_text("role", "authenticated")?;
        match claims.get("is_anonymous") {
            None | Some(Value::Bool(false)) => {}
            Some(Value::Bool(true)) => return Err(InvalidToken::Anonymous),
            Some(_) => return Err(InvalidToken::Claim("is_anonymous")),
        }
        let user_id = claims.required_text("sub")?;
        if !is_uuid(user_id) {
            return Err(InvalidToken::Claim("sub"));
        }
        Ok(Session {
            user_id: user_id.to_ascii_lowercase(),
            session_id: claims.required_text("session_id")?.to_owned(),
            impersonated_by: None,
        })
    }
}

/// `aud` is one text or a list of them (RFC 7519 section 4.1.3).
fn names_audience(aud: Option<&Value>, expected: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == expected,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(expected)),
        _ => false,
    }
}

/// Eight, four, four, four and twelve hexadecimal digits, joined by `-` (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Supabase uses the bytes of the secret as they are written; they are not base64.
fn key_from_secret(secret: &str) -> Result<VerifyingKey, AccessError> {
    if secret.len() < MIN_SECRET_BYTES {
        return Err(AccessError::SupabaseSecretTooShort {
            min_bytes: MIN_SECRET_BYTES,
        });
    }
    Ok(VerifyingKey {
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(secret.as_bytes()),
    })
}
