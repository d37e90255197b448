//! Throw-away Clerk-shaped session tokens, for the demo and for tests only.
//!
//! The key lives in memory and dies with the process. A real service never signs session tokens: it only verifies those
//! of its provider. Nothing else in this crate may depend on this module.

use std::fmt::Write;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

/// The cryptographic library has failed, which it does when there is no randomness or no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a throw-away token could not be made: the cryptographic library failed")]
pub struct MintError;

/// An RSA key of its own that signs session tokens as Clerk shapes them.
pub struct TokenMint {
    key: RsaKeyPair,
    public_pem: String,
}

impl TokenMint {
    /// The key id in the header of every token.
    pub const KEY_ID: &str = "ins_throwaway";

    /// Makes a new RSA key of 2048 bits. Takes some tenths of a second.
    pub fn generate() -> Result<Self, MintError> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| MintError)?;
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| MintError)?;
        let public_pem = pem("PUBLIC KEY", der.as_ref());
        Ok(Self { key, public_pem })
    }

    /// The public key in PEM (PKCS#8), as `CLERK_JWT_KEY` wants it.
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// A session token of version 2, valid from 10 s before `now` (as Clerk does it) until `ttl_s` seconds after it.
    pub fn clerk_token(
        &self,
        user_id: &str,
        issuer: &str,
        azp: Option<&str>,
        now: DateTime<Utc>,
        ttl_s: u32,
    ) -> Result<String, MintError> {
        let now_s = now.timestamp();
        let mut claims = json!({
            "exp": now_s.saturating_add(i64::from(ttl_s)),
            "fva": [0, -1],
            "iat": now_s,
            "iss": issuer,
            "nbf": now_s.saturating_sub(10),
            "sid": format!("sess_{}", user_id.trim_start_matches("user_")),
            "sts": "active",
            "sub": user_id,
            "v": 2,
        });
        if let Some(azp) = azp {
            claims["azp"] = json!(azp);
        }
        self.sign(
            &json!({ "alg": "RS256", "kid": Self::KEY_ID, "typ": "JWT" }),
            &claims,
        )
    }

    /// Signs any header and any claims with RS256, whatever the header says.
    pub fn sign(&self, header: &Value, claims: &Value) -> Result<String, MintError> {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let mut token = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .map_err(|_| MintError)?;
        write!(token, ".{}", URL_SAFE_NO_PAD.encode(signature)).map_err(|_| MintError)?;
        Ok(token)
    }

    /// The public key in DER (PKCS#1).
    #[cfg(test)]
    pub(super) fn public_pkcs1(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }
}

/// PEM with lines of 64 characters (RFC 7468 section 2).
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (index, character) in (1_usize..).zip(STANDARD.encode(der).chars()) {
        text.push(character);
        if index % 64 == 0 {
            text.push('\n');
        }
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
