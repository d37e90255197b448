//! Session tokens that the mint would not make: forged ones, and those of other providers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use credit_ledger::access::mint::TokenMint;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::app::{ISSUER, MINT};

/// What stands in a good session token of Clerk.
pub fn clerk_claims(user_id: &str, now: DateTime<Utc>) -> Value {
    json!({
        "exp": now.timestamp() + 60,
        "iat": now.timestamp(),
        "nbf": now.timestamp() - 10,
        "iss": ISSUER,
        "sid": "sess_1",
        "sts": "active",
        "sub": user_id,
        "v": 2,
    })
}

/// Any claims, signed as Clerk would.
pub fn rs256(claims: &Value) -> String {
    MINT.sign(
        &json!({"alg": "RS256", "kid": TokenMint::KEY_ID, "typ": "JWT"}),
        claims,
    )
    .unwrap()
}

/// Any claims under a shared secret.
pub fn hs256(secret: &[u8], claims: &Value) -> String {
    let text = signed_text(&json!({"alg": "HS256", "typ": "JWT"}), claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    format!(
        "{text}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

/// Any claims, signed by nobody.
pub fn unsigned(claims: &Value) -> String {
    format!(
        "{}.",
        signed_text(&json!({"alg": "none", "typ": "JWT"}), claims)
    )
}

fn signed_text(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// The key set that a provider who signs with [`MINT`]'s key would serve.
pub fn key_set() -> Value {
    let base64: String = MINT
        .public_pem()
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = STANDARD.decode(base64).unwrap();
    // SubjectPublicKeyInfo of an RSA key of 2048 bits: the modulus and the exponent 65537 are always here.
    assert_eq!(der.len(), 294);
    json!({"keys": [{
        "kty": "RSA",
        "kid": TokenMint::KEY_ID,
        "use": "sig",
        "alg": "RS256",
        "n": URL_SAFE_NO_PAD.encode(&der[33..289]),
        "e": URL_SAFE_NO_PAD.encode(&der[291..294]),
    }]})
}
