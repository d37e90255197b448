//! Tests of `access`, and what they share: keys made at run time, and tokens of every shape.

mod clerk;
mod garbage;
mod jwks;
mod supabase;

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::mint::TokenMint;
use super::{ClerkSettings, KeySource, SessionSettings, Sessions, SupabaseSettings};

const ISSUER: &str = "https://clerk.example.com";
const ORIGIN: &str = "https://app.example.com";
const USER: &str = "user_2abcDEF";
/// 2026-11-21 00:00:00 UTC.
const NOW_S: i64 = 1_795_219_200;

/// The key of our provider.
static MINT: LazyLock<TokenMint> = LazyLock::new(|| TokenMint::generate().unwrap());
/// The key of somebody else.
static STRANGER: LazyLock<TokenMint> = LazyLock::new(|| TokenMint::generate().unwrap());
/// A signing key on P-256.
static P256: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn now() -> DateTime<Utc> {
    at(NOW_S)
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// `value` with these members set; `null` takes a member away.
fn with(mut value: Value, changes: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    let Value::Object(changes) = changes else {
        panic!("changes are members")
    };
    for (name, change) in changes {
        if change.is_null() {
            members.remove(&name);
        } else {
            members.insert(name, change);
        }
    }
    value
}

/// Header and claims, ready to be signed.
fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64url(header.to_string()),
        base64url(claims.to_string())
    )
}

fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", base64url(mac.finalize().into_bytes()))
}

fn es256(header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let signature = P256.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", base64url(signature))
}

/// The public half of an RSA key as a member of a key set.
fn rsa_jwk(mint: &TokenMint, kid: &str) -> Value {
    // SEQUENCE { INTEGER modulus (257 bytes, the first is 0), INTEGER exponent (3 bytes) }
    let der = mint.public_pkcs1();
    assert_eq!(
        (der.len(), &der[4..9], &der[265..267]),
        (270, &[2, 0x82, 1, 1, 0][..], &[2, 3][..])
    );
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": base64url(&der[9..265]), "e": base64url(&der[267..]) })
}

/// The public half of the P-256 key as a member of a key set.
fn ec_jwk(kid: &str) -> Value {
    let point = P256.public_key().as_ref();
    json!({ "kty": "EC", "kid": kid, "use": "sig", "alg": "ES256", "crv": "P-256",
            "x": base64url(&point[1..33]), "y": base64url(&point[33..]) })
}

fn clerk_settings(keys: KeySource) -> ClerkSettings {
    ClerkSettings {
        keys,
        issuer: Some(ISSUER.to_owned()),
        authorized_parties: vec![ORIGIN.to_owned()],
    }
}

fn clerk_sessions(settings: ClerkSettings) -> Sessions {
    Sessions::new(&SessionSettings {
        clerk: Some(settings),
        supabase: None,
    })
    .unwrap()
}

fn clerk_by_pem() -> Sessions {
    clerk_sessions(clerk_settings(KeySource::Pem(MINT.public_pem().to_owned())))
}

fn clerk_header() -> Value {
    json!({ "alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_1", "oiat": NOW_S, "typ": "JWT" })
}

/// What Clerk puts into a session token of version 2.
fn clerk_claims() -> Value {
    json!({ "azp": ORIGIN, "exp": NOW_S + 60, "fva": [0, -1], "iat": NOW_S, "iss": ISSUER, "nbf": NOW_S - 10,
            "sid": "sess_1", "sts": "active", "sub": USER, "v": 2, "o": { "id": "org_1", "rol": "admin" } })
}

fn supabase_sessions(url: &str, jwt_secret: Option<&str>) -> Sessions {
    let supabase = SupabaseSettings {
        url: url.to_owned(),
        jwt_secret: jwt_secret.map(Into::into),
    };
    Sessions::new(&SessionSettings {
        clerk: None,
        supabase: Some(supabase),
    })
    .unwrap()
}
