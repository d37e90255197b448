//! Supabase: both kinds of keys side by side, its public API keys refused, and every claim checked.

use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::{
    AccessError, InvalidToken, Session, SessionError, SessionSettings, Sessions, SupabaseSettings,
};
use super::*;

const URL: &str = "https://abcdefghijklmnopqrst.supabase.co";
const SECRET: &str = "super-secret-jwt-token-with-at-least-32-characters-long";
const UUID: &str = "7f1c1f0e-3c5d-4b36-9d2a-0a8b5e6f7c11";

fn header(algorithm: &str) -> Value {
    json!({ "alg": algorithm, "kid": "key-1", "typ": "JWT" })
}

fn claims(url: &str) -> Value {
    json!({ "iss": format!("{url}/auth/v1"), "aud": "authenticated", "exp": NOW_S + 3600, "iat": NOW_S, "sub": UUID,
            "role": "authenticated", "aal": "aal1", "session_id": "d0f9f6e2-0000-4000-8000-000000000001",
            "email": "a@example.com", "phone": "", "is_anonymous": false, "user_metadata": { "sub": "someone else" } })
}

async fn verify(claims: Value) -> Result<Session, SessionError> {
    supabase_sessions(URL, Some(SECRET))
        .verify(&hs256(SECRET.as_bytes(), &header("HS256"), &claims), now())
        .await
}

#[tokio::test]
async fn a_token_signed_with_the_legacy_secret_is_a_session() {
    let session = verify(claims(URL)).await.unwrap();
    assert_eq!(session.user_id, UUID);
    assert_eq!(session.session_id, "d0f9f6e2-0000-4000-8000-000000000001");
    assert_eq!(session.impersonated_by, None);
}

#[tokio::test]
async fn what_may_vary_may_vary() {
    for change in [
        json!({ "aud": ["authenticated"] }),
        json!({ "aud": ["other", "authenticated"] }),
        json!({ "is_anonymous": null }),
        json!({ "nbf": NOW_S }),
        json!({ "sub": UUID.to_uppercase() }),
    ] {
        let session = verify(with(claims(URL), change.clone())).await;
        assert_eq!(
            session.map(|session| session.user_id).as_deref(),
            Ok(UUID),
            "{change}"
        );
    }
}

#[tokio::test]
async fn wrong_claims_are_refused() {
    use InvalidToken::{Anonymous, Claim, Issuer, NotYetValid};
    let cases = [
        (
            json!({ "iss": "https://other.supabase.co/auth/v1" }),
            Issuer,
        ),
        (json!({ "iss": URL }), Issuer),
        (json!({ "aud": "anon" }), Claim("aud")),
        (json!({ "aud": "authenticated " }), Claim("aud")),
        (json!({ "aud": ["anon"] }), Claim("aud")),
        (json!({ "aud": [["authenticated"]] }), Claim("aud")),
        (json!({ "aud": [] }), Claim("aud")),
        (json!({ "aud": null }), Claim("aud")),
        (json!({ "role": "anon" }), Claim("role")),
        (json!({ "role": "service_role" }), Claim("role")),
        (json!({ "role": null }), Claim("role")),
        (json!({ "is_anonymous": true }), Anonymous),
        (json!({ "is_anonymous": "true" }), Claim("is_anonymous")),
        (json!({ "session_id": null }), Claim("session_id")),
        (json!({ "session_id": "" }), Claim("session_id")),
        (json!({ "sub": null }), Claim("sub")),
        (json!({ "sub": "" }), Claim("sub")),
        (json!({ "sub": "user_2abc" }), Claim("sub")),
        (
            json!({ "sub": "7f1c1f0e3c5d4b369d2a0a8b5e6f7c11" }),
            Claim("sub"),
        ),
        (
            json!({ "sub": "7f1c1f0e-3c5d-4b36-9d2a-0a8b5e6f7c1g" }),
            Claim("sub"),
        ),
        (json!({ "sub": format!("{UUID}-") }), Claim("sub")),
        (json!({ "exp": null }), Claim("exp")),
        (json!({ "iat": null }), Claim("iat")),
        (json!({ "nbf": "soon" }), Claim("nbf")),
        (json!({ "iat": NOW_S + 11 }), NotYetValid),
        (json!({ "nbf": NOW_S + 11 }), NotYetValid),
    ];
    for (change, expected) in cases {
        let result = verify(with(claims(URL), change.clone())).await;
        assert_eq!(result, Err(SessionError::Invalid(expected)), "{change}");
    }
}

#[tokio::test]
async fn a_token_ends_after_its_time_and_10_s() {
    let token = hs256(SECRET.as_bytes(), &header("HS256"), &claims(URL));
    let sessions = supabase_sessions(URL, Some(SECRET));
    assert!(sessions.verify(&token, at(NOW_S + 3609)).await.is_ok());
    assert_eq!(
        sessions.verify(&token, at(NOW_S + 3610)).await,
        Err(SessionError::Expired)
    );
}

#[tokio::test]
async fn the_api_keys_of_the_project_are_no_sessions() {
    for role in ["anon", "service_role"] {
        let key = json!({ "iss": "supabase", "ref": "abcdefghijklmnopqrst", "role": role, "iat": NOW_S - 1000, "exp": NOW_S + 300_000_000 });
        assert_eq!(
            verify(key.clone()).await,
            Err(InvalidToken::Issuer.into()),
            "{role}"
        );
        // Even with the right issuer and audience.
        let closer = with(
            key,
            json!({ "iss": format!("{URL}/auth/v1"), "aud": "authenticated" }),
        );
        assert_eq!(
            verify(closer).await,
            Err(InvalidToken::Claim("role").into()),
            "{role}"
        );
    }
}

#[tokio::test]
async fn hs256_needs_the_configured_secret() {
    let token = hs256(SECRET.as_bytes(), &header("HS256"), &claims(URL));
    for secret in [None, Some(""), Some("  ")] {
        let result = supabase_sessions(URL, secret).verify(&token, now()).await;
        assert_eq!(result, Err(InvalidToken::Algorithm.into()), "{secret:?}");
    }
    let other = supabase_sessions(URL, Some("another-secret-of-at-least-32-characters"));
    assert_eq!(
        other.verify(&token, now()).await,
        Err(InvalidToken::Signature.into())
    );
}

#[tokio::test]
async fn signing_keys_come_from_the_project_and_keep_their_algorithm() {
    let server = MockServer::start().await;
    let secret = base64url(SECRET);
    let set = json!({ "keys": [ec_jwk("ec"), rsa_jwk(&MINT, "rsa"), { "kty": "oct", "kid": "oct", "alg": "HS256", "k": secret }] });
    Mock::given(path("/auth/v1/.well-known/jwks.json"))
        .respond_with(ResponseTemplate::new(200).set_body_json(&set))
        .mount(&server)
        .await;
    let url = server.uri();
    let sessions = supabase_sessions(&url, None);
    let named = |algorithm: &str, kid: &str| with(header(algorithm), json!({ "kid": kid }));
    let claims = claims(&url);

    let es = es256(&named("ES256", "ec"), &claims);
    assert_eq!(sessions.verify(&es, now()).await.unwrap().user_id, UUID);
    let rs = MINT.sign(&named("RS256", "rsa"), &claims).unwrap();
    assert_eq!(sessions.verify(&rs, now()).await.unwrap().user_id, UUID);

    let public_point = [
        &[4][..],
        &URL_SAFE_NO_PAD
            .decode(ec_jwk("ec")["x"].as_str().unwrap())
            .unwrap(),
    ]
    .concat();
    let cases = [
        (
            "ES256 with the RSA key",
            es256(&named("ES256", "rsa"), &claims),
            InvalidToken::Algorithm,
        ),
        (
            "RS256 with the EC key",
            MINT.sign(&named("RS256", "ec"), &claims).unwrap(),
            InvalidToken::Algorithm,
        ),
        (
            "HS256 by a public key",
            hs256(&public_point, &named("HS256", "ec"), &claims),
            InvalidToken::Algorithm,
        ),
        (
            "HS256 by a published key",
            hs256(SECRET.as_bytes(), &named("HS256", "oct"), &claims),
            InvalidToken::Algorithm,
        ),
        (
            "a stranger's key",
            STRANGER.sign(&named("RS256", "rsa"), &claims).unwrap(),
            InvalidToken::Signature,
        ),
        (
            "no key named",
            es256(&with(header("ES256"), json!({ "kid": null })), &claims),
            InvalidToken::UnknownKey,
        ),
        (
            "no such key",
            es256(&named("ES256", "gone"), &claims),
            InvalidToken::UnknownKey,
        ),
    ];
    for (name, token, expected) in cases {
        assert_eq!(
            sessions.verify(&token, now()).await,
            Err(SessionError::Invalid(expected)),
            "{name}"
        );
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 1);

    // While a project migrates, both kinds of tokens are good.
    let both = supabase_sessions(&url, Some(SECRET));
    assert!(both.verify(&es, now()).await.is_ok());
    assert!(
        both.verify(&hs256(SECRET.as_bytes(), &header("HS256"), &claims), now())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn clerk_and_supabase_stand_side_by_side() {
    let clerk = Some(clerk_settings(KeySource::Pem(MINT.public_pem().to_owned())));
    let supabase = Some(SupabaseSettings {
        url: format!("{URL}/"),
        jwt_secret: Some(SECRET.into()),
    });
    let sessions = Sessions::new(&SessionSettings { clerk, supabase }).unwrap();
    let of_clerk = MINT.sign(&clerk_header(), &clerk_claims()).unwrap();
    assert_eq!(
        sessions.verify(&of_clerk, now()).await.unwrap().user_id,
        USER
    );
    let of_supabase = hs256(SECRET.as_bytes(), &header("HS256"), &claims(URL));
    assert_eq!(
        sessions.verify(&of_supabase, now()).await.unwrap().user_id,
        UUID
    );

    // Each provider's key is good for its own issuer only.
    let crossed = hs256(SECRET.as_bytes(), &header("HS256"), &clerk_claims());
    assert_eq!(
        sessions.verify(&crossed, now()).await,
        Err(InvalidToken::Algorithm.into())
    );
}

#[test]
fn settings_that_can_not_work_are_refused() {
    let build = |url: &str, secret: Option<&str>| {
        let supabase = SupabaseSettings {
            url: url.to_owned(),
            jwt_secret: secret.map(Into::into),
        };
        Sessions::new(&SessionSettings {
            clerk: None,
            supabase: Some(supabase),
        })
        .err()
    };
    for bad in [
        "",
        "abc.supabase.co",
        "http://abc.supabase.co",
        "https://abc.supabase.co/auth/v1",
    ] {
        let error = build(bad, None);
        assert!(
            matches!(
                error,
                Some(AccessError::Url {
                    setting: "SUPABASE_URL",
                    ..
                })
            ),
            "{bad}: {error:?}"
        );
    }
    let short = build(URL, Some("short-secret")).unwrap();
    assert_eq!(
        short.to_string(),
        "SUPABASE_JWT_SECRET must have at least 32 bytes"
    );
    assert_eq!(build("http://127.0.0.1:54321", Some(SECRET)), None);
}

#[test]
fn debug_shows_no_secret() {
    let settings = SupabaseSettings {
        url: URL.to_owned(),
        jwt_secret: Some(SECRET.into()),
    };
    assert!(!format!("{settings:?}").contains(SECRET));
}
