//! Clerk: every claim that must be refused is refused, each alone, and for its own reason.

use serde_json::{Value, json};

use super::super::mint::{TokenMint, pem};
use super::super::{
    AccessError, ClerkSettings, InvalidToken, KeySource, Session, SessionError, SessionSettings,
    Sessions,
};
use super::*;

async fn verify(header: Value, claims: Value) -> Result<Session, SessionError> {
    let token = MINT.sign(&header, &claims).unwrap();
    clerk_by_pem().verify(&token, now()).await
}

#[tokio::test]
async fn a_good_token_is_a_session() {
    let session = verify(clerk_header(), clerk_claims()).await.unwrap();
    assert_eq!(
        session,
        Session {
            user_id: USER.to_owned(),
            session_id: "sess_1".to_owned(),
            impersonated_by: None
        }
    );
}

#[tokio::test]
async fn claims_that_are_not_needed_may_be_absent() {
    let claims = with(
        clerk_claims(),
        json!({ "sts": null, "v": null, "fva": null, "o": null }),
    );
    assert!(verify(clerk_header(), claims).await.is_ok());
}

#[tokio::test]
async fn an_impersonated_session_names_the_actor() {
    let claims = with(
        clerk_claims(),
        json!({ "act": { "iss": "https://dashboard.clerk.com", "sub": "user_boss" } }),
    );
    let session = verify(clerk_header(), claims).await.unwrap();
    assert_eq!(
        (session.user_id.as_str(), session.impersonated_by.as_deref()),
        (USER, Some("user_boss"))
    );
}

#[tokio::test]
async fn wrong_claims_are_refused() {
    use InvalidToken::{Claim, Issuer, NotYetValid, Pending};
    let cases = [
        (json!({ "iss": "https://clerk.example.org" }), Issuer),
        (json!({ "iss": "https://clerk.example.com/" }), Issuer),
        (json!({ "iss": null }), Issuer),
        (json!({ "iss": [ISSUER] }), Issuer),
        (json!({ "azp": "https://evil.example.com" }), Claim("azp")),
        (
            json!({ "azp": "https://app.example.com.evil.com" }),
            Claim("azp"),
        ),
        (json!({ "azp": null }), Claim("azp")),
        (json!({ "azp": [ORIGIN] }), Claim("azp")),
        (json!({ "aud": "convex" }), Claim("aud")),
        (json!({ "aud": ["convex"] }), Claim("aud")),
        (json!({ "sts": "pending" }), Pending),
        (json!({ "sts": "frozen" }), Claim("sts")),
        (json!({ "sts": false }), Claim("sts")),
        (json!({ "sub": null }), Claim("sub")),
        (json!({ "sub": "" }), Claim("sub")),
        (json!({ "sub": 7 }), Claim("sub")),
        (json!({ "sub": "user_" }), Claim("sub")),
        (json!({ "sub": "mch_2abc" }), Claim("sub")),
        (json!({ "sub": "user_a/../b" }), Claim("sub")),
        (
            json!({ "sub": format!("user_{}", "a".repeat(200)) }),
            Claim("sub"),
        ),
        (json!({ "sid": null }), Claim("sid")),
        (json!({ "sid": "" }), Claim("sid")),
        (json!({ "v": 3 }), Claim("v")),
        (json!({ "v": "2" }), Claim("v")),
        (json!({ "act": {} }), Claim("act")),
        (json!({ "act": "user_boss" }), Claim("act")),
        (json!({ "act": { "sub": "" } }), Claim("act")),
        (json!({ "exp": null }), Claim("exp")),
        (json!({ "exp": (NOW_S + 60).to_string() }), Claim("exp")),
        (json!({ "nbf": null }), Claim("nbf")),
        (json!({ "iat": null }), Claim("iat")),
        (json!({ "nbf": NOW_S + 6 }), NotYetValid),
        (json!({ "iat": NOW_S + 6 }), NotYetValid),
    ];
    for (change, expected) in cases {
        let result = verify(clerk_header(), with(clerk_claims(), change.clone())).await;
        assert_eq!(result, Err(SessionError::Invalid(expected)), "{change}");
    }
}

#[tokio::test]
async fn times_are_judged_by_the_time_passed_in_with_5_s_of_leeway() {
    let token = MINT.sign(&clerk_header(), &clerk_claims()).unwrap();
    let sessions = clerk_by_pem();
    let early = Err(SessionError::Invalid(InvalidToken::NotYetValid));
    let late = Err(SessionError::Expired);
    let cases = [
        (NOW_S - 1000, early),
        (NOW_S - 6, early),
        (NOW_S - 5, Ok(())),
        (NOW_S + 64, Ok(())),
        (NOW_S + 65, late),
        (NOW_S + 1_000_000, late),
    ];
    for (seconds, expected) in cases {
        assert_eq!(
            sessions.verify(&token, at(seconds)).await.map(|_| ()),
            expected,
            "{}",
            seconds - NOW_S
        );
    }
}

#[tokio::test]
async fn times_at_the_ends_of_their_range_do_not_overflow() {
    let expired = verify(
        clerk_header(),
        with(clerk_claims(), json!({ "exp": i64::MIN })),
    )
    .await;
    assert_eq!(expired, Err(SessionError::Expired));
    assert!(
        verify(
            clerk_header(),
            with(clerk_claims(), json!({ "exp": i64::MAX }))
        )
        .await
        .is_ok()
    );
    let early = verify(
        clerk_header(),
        with(clerk_claims(), json!({ "nbf": i64::MAX })),
    )
    .await;
    assert_eq!(early, Err(SessionError::Invalid(InvalidToken::NotYetValid)));
}

#[tokio::test]
async fn wrong_headers_are_refused() {
    use InvalidToken::{Algorithm, Header, Malformed};
    let cases = [
        (json!({ "alg": "none" }), Algorithm),
        (json!({ "alg": "RS512" }), Algorithm),
        (json!({ "alg": "PS256" }), Algorithm),
        (json!({ "alg": "ES256" }), Algorithm),
        (json!({ "alg": "rs256" }), Algorithm),
        (json!({ "alg": null }), Malformed),
        (json!({ "typ": null }), Header),
        (json!({ "typ": "at+jwt" }), Header),
        (json!({ "crit": ["exp"] }), Header),
    ];
    for (change, expected) in cases {
        let result = verify(with(clerk_header(), change.clone()), clerk_claims()).await;
        assert_eq!(result, Err(SessionError::Invalid(expected)), "{change}");
    }
}

#[tokio::test]
async fn tokens_without_a_good_signature_are_refused() {
    use InvalidToken::{Algorithm, Signature};
    let none = with(clerk_header(), json!({ "alg": "none" }));
    let symmetric = with(clerk_header(), json!({ "alg": "HS256" }));
    let good = MINT.sign(&clerk_header(), &clerk_claims()).unwrap();
    let (_, good_signature) = good.rsplit_once('.').unwrap();
    let richer = with(clerk_claims(), json!({ "sub": "user_rich" }));
    let cases = [
        (
            "none, no signature",
            format!("{}.", unsigned(&none, &clerk_claims())),
            Algorithm,
        ),
        (
            "none, a signature",
            format!("{}.{good_signature}", unsigned(&none, &clerk_claims())),
            Algorithm,
        ),
        (
            "no signature",
            format!("{}.", unsigned(&clerk_header(), &clerk_claims())),
            Signature,
        ),
        (
            "another user",
            format!("{}.{good_signature}", unsigned(&clerk_header(), &richer)),
            Signature,
        ),
        (
            "another key",
            STRANGER.sign(&clerk_header(), &clerk_claims()).unwrap(),
            Signature,
        ),
        // RS/HS confusion: the public key is no secret, so a verifier that asks the header takes these.
        (
            "HS256 by PEM",
            hs256(MINT.public_pem().as_bytes(), &symmetric, &clerk_claims()),
            Algorithm,
        ),
        (
            "HS256 by DER",
            hs256(MINT.public_pkcs1(), &symmetric, &clerk_claims()),
            Algorithm,
        ),
        (
            "HS256 said to be RS256",
            hs256(
                MINT.public_pem().as_bytes(),
                &clerk_header(),
                &clerk_claims(),
            ),
            Signature,
        ),
    ];
    for (name, token, expected) in cases {
        let result = clerk_by_pem().verify(&token, now()).await;
        assert_eq!(result, Err(SessionError::Invalid(expected)), "{name}");
    }
}

#[tokio::test]
async fn a_key_sent_along_in_the_header_is_not_used() {
    let header = with(
        clerk_header(),
        json!({ "jwk": rsa_jwk(&STRANGER, "ins_1"), "jku": "https://evil.example.com/" }),
    );
    let token = STRANGER.sign(&header, &clerk_claims()).unwrap();
    let result = clerk_by_pem().verify(&token, now()).await;
    assert_eq!(result, Err(SessionError::Invalid(InvalidToken::Signature)));
}

#[tokio::test]
async fn azp_is_free_when_no_origins_are_configured() {
    for parties in [vec![], vec![" ".to_owned()]] {
        let keys = KeySource::Pem(MINT.public_pem().to_owned());
        let sessions = clerk_sessions(ClerkSettings {
            authorized_parties: parties,
            ..clerk_settings(keys)
        });
        for change in [
            json!({ "azp": null }),
            json!({ "azp": "https://else.example.com" }),
        ] {
            let token = MINT
                .sign(&clerk_header(), &with(clerk_claims(), change))
                .unwrap();
            assert!(sessions.verify(&token, now()).await.is_ok());
        }
    }
}

#[tokio::test]
async fn slashes_and_blanks_around_settings_do_not_matter() {
    let settings = ClerkSettings {
        keys: KeySource::Pem(MINT.public_pem().to_owned()),
        issuer: Some(" https://clerk.example.com/ ".to_owned()),
        authorized_parties: vec![
            "https://www.example.com".to_owned(),
            " https://app.example.com/".to_owned(),
        ],
    };
    let token = MINT.sign(&clerk_header(), &clerk_claims()).unwrap();
    assert!(clerk_sessions(settings).verify(&token, now()).await.is_ok());
}

#[tokio::test]
async fn public_keys_are_read_in_every_form_people_have() {
    let pkcs8 = MINT.public_pem().to_owned();
    let pkcs1 = pem("RSA PUBLIC KEY", MINT.public_pkcs1());
    let token = MINT.sign(&clerk_header(), &clerk_claims()).unwrap();
    for form in [
        pkcs8.replace('\n', "\\n"),
        pkcs8.replace('\n', "\r\n"),
        pkcs8.replace('\n', "\\r\\n"),
        format!("\n  {pkcs8}\n"),
        pkcs1.replace('\n', "\\n"),
        pkcs8,
        pkcs1,
    ] {
        let sessions = clerk_sessions(clerk_settings(KeySource::Pem(form.clone())));
        assert!(sessions.verify(&token, now()).await.is_ok(), "{form:?}");
    }
}

#[test]
fn settings_that_can_not_work_are_refused() {
    let build = |clerk| {
        Sessions::new(&SessionSettings {
            clerk: Some(clerk),
            supabase: None,
        })
        .err()
        .unwrap()
    };
    let good = MINT.public_pem();
    let body = &good[27..good.len() - 26];
    for bad in [
        String::new(),
        "secret".to_owned(),
        good[..200].to_owned(),
        good.replace("PUBLIC", "PRIVATE"),
        good.replace("PUBLIC KEY", "CERTIFICATE"),
        body.to_owned(),
        pem("PUBLIC KEY", b"not DER"),
        pem("PUBLIC KEY", &[0x30, 0x80]),
        pem("RSA PUBLIC KEY", &MINT.public_pkcs1()[..100]),
        pem("RSA PUBLIC KEY", &[0x30, 6, 2, 1, 0x23, 2, 1, 3]),
    ] {
        let error = build(clerk_settings(KeySource::Pem(bad.clone())));
        assert!(
            matches!(error, AccessError::ClerkKey { .. }),
            "{bad:?}: {error}"
        );
    }
    for blank in [None, Some(" ".to_owned())] {
        let settings = ClerkSettings {
            issuer: blank,
            ..clerk_settings(KeySource::Pem(good.to_owned()))
        };
        assert_eq!(build(settings), AccessError::ClerkIssuerMissing);
    }
    let settings = ClerkSettings {
        issuer: Some("clerk.example.com".to_owned()),
        ..clerk_settings(KeySource::Pem(good.to_owned()))
    };
    assert!(matches!(
        build(settings),
        AccessError::Url {
            setting: "CLERK_ISSUER",
            ..
        }
    ));
    for bad in [
        "",
        "clerk.example.com",
        "http://clerk.example.com/.well-known/jwks.json",
        "https://api.clerk.com/v1/jwks",
    ] {
        let error = build(clerk_settings(KeySource::Jwks(bad.to_owned())));
        assert!(
            matches!(
                error,
                AccessError::Url {
                    setting: "CLERK_JWKS_URL",
                    ..
                }
            ),
            "{bad}: {error}"
        );
    }
    let settings = ClerkSettings {
        issuer: None,
        ..clerk_settings(KeySource::Jwks("https://a.example.com/keys".to_owned()))
    };
    assert_eq!(build(settings), AccessError::ClerkIssuerMissing);
}

#[test]
fn a_short_rsa_key_is_refused() {
    // SEQUENCE { INTEGER of 1024 bits, INTEGER 65537 }: odd, and so a modulus as far as parsing goes.
    let mut der = vec![0x30, 0x81, 0x89, 2, 0x81, 0x81, 0];
    der.extend([0xff; 128]);
    der.extend([2, 3, 1, 0, 1]);
    let clerk = Some(clerk_settings(KeySource::Pem(pem("RSA PUBLIC KEY", &der))));
    let error = Sessions::new(&SessionSettings {
        clerk,
        supabase: None,
    })
    .err()
    .unwrap();
    assert_eq!(
        error.to_string(),
        "CLERK_JWT_KEY is too short: RSA keys must have at least 2048 bits"
    );
}

#[test]
fn debug_shows_no_key() {
    let shown = format!(
        "{:?}",
        clerk_settings(KeySource::Pem(MINT.public_pem().to_owned()))
    );
    assert!(!shown.contains("BEGIN"), "{shown}");
}

#[tokio::test]
async fn minted_tokens_pass_every_check() {
    let mint = TokenMint::generate().unwrap();
    let sessions = clerk_sessions(clerk_settings(KeySource::Pem(mint.public_pem().to_owned())));
    let token = mint
        .clerk_token(USER, ISSUER, Some(ORIGIN), now(), 60)
        .unwrap();
    assert_eq!(sessions.verify(&token, now()).await.unwrap().user_id, USER);
    assert_eq!(
        sessions.verify(&token, at(NOW_S + 65)).await,
        Err(SessionError::Expired)
    );
    let without_origin = mint.clerk_token(USER, ISSUER, None, now(), 60).unwrap();
    assert_eq!(
        sessions.verify(&without_origin, now()).await,
        Err(InvalidToken::Claim("azp").into())
    );
    assert!(
        clerk_by_pem().verify(&token, now()).await.is_err(),
        "every mint has a key of its own"
    );
}
