//! The key cache against a real HTTP server: how often it asks, what it keeps, what it never takes.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::super::jwks::{ASK_FIRST, FRESH, MAX_AGE, MAX_RESPONSE_BYTES, MIN_INTERVAL, key_set};
use super::super::{ClerkSettings, InvalidToken, KeySource, SessionError, Sessions};
use super::*;

const PATH: &str = "/.well-known/jwks.json";

async fn serve(server: &MockServer, answer: ResponseTemplate) {
    server.reset().await;
    Mock::given(method("GET"))
        .and(path(PATH))
        .respond_with(answer)
        .mount(server)
        .await;
}

fn keys(keys: &[Value]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }))
}

async fn requests(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

/// Sessions whose keys come from `server`, which is the issuer too.
fn sessions(server: &MockServer) -> Sessions {
    let settings = clerk_settings(KeySource::Jwks(format!("{}{PATH}", server.uri())));
    clerk_sessions(ClerkSettings {
        issuer: None,
        ..settings
    })
}

/// A token valid at `now`, signed by `mint` and said to be signed with the key `kid`.
fn token(server: &MockServer, mint: &TokenMint, kid: &str, now: DateTime<Utc>) -> String {
    let s = now.timestamp();
    let claims = with(
        clerk_claims(),
        json!({ "iss": server.uri(), "iat": s, "nbf": s, "exp": s + 60 }),
    );
    mint.sign(&with(clerk_header(), json!({ "kid": kid })), &claims)
        .unwrap()
}

async fn check(
    sessions: &Sessions,
    server: &MockServer,
    kid: &str,
    now: DateTime<Utc>,
) -> Result<(), SessionError> {
    sessions
        .verify(&token(server, &MINT, kid, now), now)
        .await
        .map(|_| ())
}

const UNKNOWN: Result<(), SessionError> = Err(SessionError::Invalid(InvalidToken::UnknownKey));
const UNAVAILABLE: Result<(), SessionError> = Err(SessionError::KeysUnavailable);

#[tokio::test]
async fn keys_are_fetched_once_and_the_issuer_is_that_of_the_url() {
    let server = MockServer::start().await;
    serve(&server, keys(&[rsa_jwk(&MINT, "a")])).await;
    let sessions = sessions(&server);
    for _ in 0..3 {
        assert_eq!(check(&sessions, &server, "a", now()).await, Ok(()));
    }
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_key_of_another_pair_does_not_fit() {
    let server = MockServer::start().await;
    serve(
        &server,
        keys(&[rsa_jwk(&STRANGER, "a"), rsa_jwk(&MINT, "b")]),
    )
    .await;
    let result = check(&sessions(&server), &server, "a", now()).await;
    assert_eq!(result, Err(SessionError::Invalid(InvalidToken::Signature)));
}

#[tokio::test]
async fn a_new_key_is_fetched_but_not_more_often_than_the_interval() {
    let server = MockServer::start().await;
    serve(&server, keys(&[rsa_jwk(&STRANGER, "old")])).await;
    let sessions = sessions(&server);
    assert_eq!(check(&sessions, &server, "new", now()).await, UNKNOWN);
    assert_eq!(
        check(&sessions, &server, "other", now() + TimeDelta::seconds(29)).await,
        UNKNOWN
    );
    assert_eq!(
        check(&sessions, &server, "other", now() - TimeDelta::seconds(29)).await,
        UNKNOWN
    );
    assert_eq!(
        requests(&server).await,
        1,
        "two unknown keys within the interval cause one fetch"
    );

    serve(
        &server,
        keys(&[rsa_jwk(&STRANGER, "old"), rsa_jwk(&MINT, "new")]),
    )
    .await;
    assert_eq!(
        check(&sessions, &server, "new", now() + MIN_INTERVAL).await,
        Ok(())
    );
    assert_eq!(requests(&server).await, 1, "counted anew since the reset");
}

#[tokio::test]
async fn many_at_once_cause_one_fetch() {
    let server = MockServer::start().await;
    serve(
        &server,
        keys(&[rsa_jwk(&MINT, "a")]).set_delay(Duration::from_millis(200)),
    )
    .await;
    let sessions = sessions(&server);
    let known =
        futures_util::future::join_all((0..20).map(|_| check(&sessions, &server, "a", now())));
    let made_up: Vec<String> = (0..20).map(|index| format!("made-up-{index}")).collect();
    let unknown = futures_util::future::join_all(
        made_up
            .iter()
            .map(|kid| check(&sessions, &server, kid, now())),
    );
    let (known, unknown) = tokio::join!(known, unknown);
    assert!(known.iter().all(Result::is_ok));
    assert!(unknown.iter().all(|result| *result == UNKNOWN));
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_the_request_that_began_it_ends() {
    let server = MockServer::start().await;
    serve(
        &server,
        keys(&[rsa_jwk(&MINT, "a")]).set_delay(Duration::from_millis(300)),
    )
    .await;
    let sessions = sessions(&server);
    let cut = tokio::time::timeout(
        Duration::from_millis(50),
        check(&sessions, &server, "a", now()),
    )
    .await;
    assert!(cut.is_err(), "the request must end before the fetch does");
    assert_eq!(check(&sessions, &server, "a", now()).await, Ok(()));
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn keys_at_hand_outlive_a_failing_server() {
    let server = MockServer::start().await;
    serve(&server, keys(&[rsa_jwk(&MINT, "a")])).await;
    let sessions = sessions(&server);
    assert_eq!(check(&sessions, &server, "a", now()).await, Ok(()));
    // A good key set, but for its length.
    let good = json!({ "keys": [rsa_jwk(&MINT, "b")] }).to_string();
    let too_long = format!("{good}{}", " ".repeat(MAX_RESPONSE_BYTES + 1 - good.len()));
    for failure in [
        ResponseTemplate::new(500),
        ResponseTemplate::new(302).insert_header("location", "/elsewhere"),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(200).set_body_string("{}"),
        ResponseTemplate::new(200).set_body_string(too_long),
    ] {
        serve(&server, failure).await;
        let mut later = now() + ASK_FIRST;
        assert_eq!(check(&sessions, &server, "a", later).await, Ok(()), "kept");
        later += MIN_INTERVAL;
        assert_eq!(
            check(&sessions, &server, "b", later).await,
            UNAVAILABLE,
            "an unknown key may be a new one"
        );
        assert_eq!(requests(&server).await, 2, "no redirect is followed");
    }
    assert_eq!(
        check(&sessions, &server, "a", now() + MAX_AGE).await,
        UNAVAILABLE,
        "but not for ever"
    );
}

#[tokio::test]
async fn without_any_key_a_failing_server_means_try_again_later() {
    let server = MockServer::start().await;
    serve(&server, ResponseTemplate::new(500)).await;
    let sessions = sessions(&server);
    assert_eq!(check(&sessions, &server, "a", now()).await, UNAVAILABLE);
    assert_eq!(check(&sessions, &server, "a", now()).await, UNAVAILABLE);
    assert_eq!(
        requests(&server).await,
        1,
        "a failure does not lift the interval"
    );
    serve(&server, keys(&[rsa_jwk(&MINT, "a")])).await;
    assert_eq!(
        check(&sessions, &server, "a", now() + MIN_INTERVAL).await,
        Ok(())
    );
}

#[tokio::test]
async fn revoked_keys_are_forgotten() {
    let server = MockServer::start().await;
    serve(&server, keys(&[rsa_jwk(&MINT, "a")])).await;
    let sessions = sessions(&server);
    assert_eq!(check(&sessions, &server, "a", now()).await, Ok(()));
    serve(&server, keys(&[])).await;

    // Fresh: not asked. Aging: used, while a fetch runs beside.
    assert_eq!(
        check(
            &sessions,
            &server,
            "a",
            now() + FRESH - TimeDelta::seconds(1)
        )
        .await,
        Ok(())
    );
    assert_eq!(requests(&server).await, 0);
    assert_eq!(check(&sessions, &server, "a", now() + FRESH).await, Ok(()));
    let forgotten = async {
        while check(&sessions, &server, "a", now() + FRESH).await != UNKNOWN {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgotten)
        .await
        .unwrap();
    assert_eq!(requests(&server).await, 1);
}

#[tokio::test]
async fn after_a_quiet_time_a_revoked_key_is_not_used_even_once() {
    let server = MockServer::start().await;
    serve(&server, keys(&[rsa_jwk(&MINT, "a")])).await;
    let sessions = sessions(&server);
    assert_eq!(check(&sessions, &server, "a", now()).await, Ok(()));
    serve(&server, keys(&[])).await;
    assert_eq!(
        check(&sessions, &server, "a", now() + ASK_FIRST).await,
        UNKNOWN
    );
}

#[tokio::test]
async fn a_clerk_token_must_name_its_key_and_may_not_be_es256() {
    let server = MockServer::start().await;
    serve(&server, keys(&[rsa_jwk(&MINT, "a"), ec_jwk("e")])).await;
    let sessions = sessions(&server);
    let claims = with(clerk_claims(), json!({ "iss": server.uri() }));
    let no_kid = MINT
        .sign(&with(clerk_header(), json!({ "kid": null })), &claims)
        .unwrap();
    assert_eq!(sessions.verify(&no_kid, now()).await.map(|_| ()), UNKNOWN);
    let es = es256(
        &with(clerk_header(), json!({ "alg": "ES256", "kid": "e" })),
        &claims,
    );
    assert_eq!(
        sessions.verify(&es, now()).await,
        Err(InvalidToken::Algorithm.into())
    );
    assert_eq!(requests(&server).await, 0, "neither is worth a fetch");
    // The key is there, but it is of another kind than the token says.
    let mixed = MINT
        .sign(&with(clerk_header(), json!({ "kid": "e" })), &claims)
        .unwrap();
    assert_eq!(
        sessions.verify(&mixed, now()).await,
        Err(InvalidToken::Algorithm.into())
    );
}

#[test]
fn only_usable_asymmetric_keys_are_taken() {
    let rsa = rsa_jwk(&MINT, "k");
    let ec = ec_jwk("k");
    let modulus = rsa["n"].as_str().unwrap();
    let padded = base64url([&[0, 0][..], &URL_SAFE_NO_PAD.decode(modulus).unwrap()].concat());
    let taken = [
        rsa.clone(),
        ec.clone(),
        with(rsa.clone(), json!({ "use": null, "alg": null })),
        with(
            rsa.clone(),
            json!({ "key_ops": ["verify"], "x5c": ["x"], "n": padded }),
        ),
    ];
    let left = [
        json!({ "kty": "oct", "kid": "k", "alg": "HS256", "k": base64url("a secret that everybody can read") }),
        json!({ "kty": "oct", "kid": "k", "alg": "RS256", "k": base64url("x"), "n": modulus, "e": "AQAB" }),
        json!({ "kty": "OKP", "kid": "k", "crv": "Ed25519", "x": base64url([7; 32]) }),
        with(rsa.clone(), json!({ "alg": "HS256" })),
        with(rsa.clone(), json!({ "alg": "RSA-OAEP" })),
        with(rsa.clone(), json!({ "use": "enc" })),
        with(rsa.clone(), json!({ "key_ops": ["encrypt"] })),
        with(rsa.clone(), json!({ "kid": null })),
        with(rsa.clone(), json!({ "n": base64url([0xff; 128]) })),
        with(rsa.clone(), json!({ "n": base64url([0xff; 2000]) })),
        with(rsa.clone(), json!({ "n": "" })),
        with(rsa.clone(), json!({ "n": "!" })),
        with(rsa, json!({ "e": "AA" })),
        with(ec.clone(), json!({ "crv": "P-384" })),
        with(ec.clone(), json!({ "x": base64url([1; 31]) })),
        with(ec, json!({ "y": null })),
        json!(null),
        json!("k"),
    ];
    let read = |keys: &[&Value]| key_set(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    for key in &taken {
        assert!(read(&[key]).contains_key("k"), "{key}");
    }
    for key in &left {
        assert!(read(&[key]).is_empty(), "{key}");
        assert_eq!(
            read(&[key, &taken[0]]).len(),
            1,
            "one bad key spoils no other: {key}"
        );
    }
    assert!(
        key_set(b"").is_none() && key_set(b"[]").is_none() && key_set(br#"{"keys":{}}"#).is_none()
    );
}

#[test]
fn the_number_of_keys_is_bounded() {
    let many: Vec<Value> = (0..100).map(|index| ec_jwk(&index.to_string())).collect();
    assert_eq!(
        key_set(json!({ "keys": many }).to_string().as_bytes())
            .unwrap()
            .len(),
        64
    );
}

#[tokio::test]
async fn a_point_that_is_not_on_the_curve_verifies_nothing() {
    let server = MockServer::start().await;
    let off_curve = with(ec_jwk("e"), json!({ "x": base64url([9; 32]) }));
    Mock::given(path("/auth/v1/.well-known/jwks.json"))
        .respond_with(keys(&[off_curve]))
        .mount(&server)
        .await;
    let claims = json!({ "iss": format!("{}/auth/v1", server.uri()) });
    let token = es256(
        &json!({ "alg": "ES256", "kid": "e", "typ": "JWT" }),
        &claims,
    );
    let result = supabase_sessions(&server.uri(), None)
        .verify(&token, now())
        .await;
    assert_eq!(result, Err(SessionError::Invalid(InvalidToken::Signature)));
}
