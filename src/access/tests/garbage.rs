//! Bytes that are no token: a refusal each time, never a panic, and nothing of the token in the error.

use proptest::prelude::*;
use serde_json::json;

use super::super::{InvalidToken, SessionError, SessionSettings, Sessions};
use super::*;

#[tokio::test]
async fn garbage_is_refused() {
    use InvalidToken::{Issuer, Malformed, TooLong};
    let header = base64url(clerk_header().to_string());
    let claims = base64url(clerk_claims().to_string());
    let not_utf8 = base64url([0xff, 0xfe, 0x80]);
    let deep = base64url(format!("{}1{}", "[".repeat(1000), "]".repeat(1000)));
    let twice = base64url(r#"{"alg":"none","alg":"RS256","typ":"JWT"}"#);
    let cases = [
        (String::new(), Malformed),
        (".".to_owned(), Malformed),
        ("..".to_owned(), Malformed),
        ("...".to_owned(), Malformed),
        ("a.b.c".to_owned(), Malformed),
        ("ключ.🔑.é".to_owned(), Malformed),
        ("Bearer x.y.z".to_owned(), Malformed),
        (format!("{header}.{claims}"), Malformed),
        (format!("{header}.{claims}.AAAA.AAAA"), Malformed),
        (format!("{header}.{claims}.A"), Malformed),
        (format!("{header}.{claims}.AA=="), Malformed),
        (format!("{header}.{claims}.+/+/"), Malformed),
        (format!(" {header}.{claims}.AAAA"), Malformed),
        (format!("{header}.{not_utf8}.AAAA"), Malformed),
        (format!("{not_utf8}.{claims}.AAAA"), Malformed),
        (format!("{header}.{deep}.AAAA"), Malformed),
        (format!("{header}.{}.AAAA", base64url("[]")), Malformed),
        (format!("{header}.{}.AAAA", base64url("null")), Malformed),
        (format!("{twice}.{claims}.AAAA"), Malformed),
        (format!("{header}.{}.AAAA", base64url("{}")), Issuer),
        (format!("{header}.{claims}.{}", "A".repeat(8192)), TooLong),
        ("A".repeat(50_000_000), TooLong),
    ];
    let sessions = clerk_by_pem();
    for (token, expected) in cases {
        let shown = token.chars().take(80).collect::<String>();
        assert_eq!(
            sessions.verify(&token, now()).await,
            Err(SessionError::Invalid(expected)),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn with_no_provider_every_token_meets_the_same_answer() {
    let sessions = Sessions::new(&SessionSettings::default()).unwrap();
    for token in [
        String::new(),
        MINT.sign(&clerk_header(), &clerk_claims()).unwrap(),
    ] {
        assert_eq!(
            sessions.verify(&token, now()).await,
            Err(SessionError::NotConfigured)
        );
    }
}

#[tokio::test]
async fn errors_say_nothing_of_the_token() {
    let claims = with(
        clerk_claims(),
        json!({ "azp": "https://hunter2.example.com" }),
    );
    let token = MINT.sign(&clerk_header(), &claims).unwrap();
    let error = clerk_by_pem().verify(&token, now()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the session token is not valid: its claim `azp` is missing or not accepted"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

proptest! {
    #![proptest_config(crate::seeded::seeded())]

    #[test]
    fn nothing_random_is_a_session(token in ".{0,300}", cut in 0_usize..400, flip in 0_usize..8) {
        let good = MINT.sign(&clerk_header(), &clerk_claims()).unwrap();
        let mut bent = good.clone().into_bytes();
        let place = cut % bent.len();
        bent[place] = bent[place].wrapping_add(1 + u8::try_from(flip).unwrap()) & 0x7f;
        let bent = String::from_utf8(bent).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sessions = clerk_by_pem();
        for bad in [token.as_str(), &good[..good.len() - 1 - cut], bent.as_str()] {
            prop_assert!(runtime.block_on(sessions.verify(bad, now())).is_err(), "{bad}");
        }
    }
}
