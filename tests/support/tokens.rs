//! Session tokens that the mint would not make: forged ones, and those of other providers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use credit_ledger::access::mint::TokenMint;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

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

pub const SUPABASE_SECRET: &str = "supabase-jwt-secret-of-the-tests-of-32-bytes";
pub const SUPABASE_USER: &str = "5f3c1b1e-8f0a-4f9b-9d66-3f0e0c5f1a2b";

/// What stands in a good session token of a Supabase project.
pub fn supabase_claims(origin: &str, now: DateTime<Utc>) -> Value {
    json!({
        "iss": format!("{origin}/auth/v1"),
        "aud": "authenticated",
        "role": "authenticated",
        "sub": SUPABASE_USER,
        "exp": now.timestamp() + 3600,
        "iat": now.timestamp(),
        "session_id": "7f3c1b1e-8f0a-4f9b-9d66-3f0e0c5f1a2b",
        "email": "a@example.com",
        "phone": "",
        "aal": "aal1",
        "is_anonymous": false,
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

/// The same under another header.
pub fn rs256_under(header: &Value, claims: &Value) -> String {
    MINT.sign(header, claims).unwrap()
}

/// Any claims under a shared secret.
pub fn hs256(secret: &[u8], claims: &Value) -> String {
    hs256_under(&json!({"alg": "HS256", "typ": "JWT"}), secret, claims)
}

/// The same under another header.
pub fn hs256_under(header: &Value, secret: &[u8], claims: &Value) -> String {
    let text = signed_text(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    format!(
        "{text}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

/// Any claims, signed by nobody, as the header says.
pub fn unsigned(algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT"});
    format!("{}.", signed_text(&header, claims))
}

/// A token with other claims under the same signature.
pub fn with_claims(token: &str, claims: &Value) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{claims}.{}", parts[0], parts[2])
}

/// The public half of [`MINT`]'s key, as DER.
pub fn public_der() -> Vec<u8> {
    let lines = MINT.public_pem().lines();
    let base64: String = lines.filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).unwrap()
}

fn signed_text(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// What stands where a Supabase project is, and serves its keys after a moment.
pub async fn supabase_project() -> MockServer {
    let project = MockServer::start().await;
    let keys = ResponseTemplate::new(200).set_body_json(key_set());
    Mock::given(method("GET"))
        .and(path("/auth/v1/.well-known/jwks.json"))
        .respond_with(keys.set_delay(Duration::from_millis(20)))
        .mount(&project)
        .await;
    project
}

/// The key set that a provider who signs with [`MINT`]'s key would serve.
pub fn key_set() -> Value {
    let der = public_der();
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
