//! Headers, secrets, bodies: what makes a delivery genuine, and what is known of it then.

use super::*;

#[test]
fn a_header_that_comes_twice_is_refused() {
    let mut signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), "{}").unwrap();
    assert!(verify(&clerk(), &signed).is_ok());
    signed.headers.push(("svix-id", "msg_1".to_owned()));
    let error = verify(&clerk(), &signed).unwrap_err();
    assert_eq!(error, Rejected::DuplicateHeader("svix-id"));
    assert_eq!(error.verdict(), "bad_header");

    let mut signed = sign::razorpay_webhook(&secret(RAZORPAY_SECRET), "evt_1", "{}").unwrap();
    signed
        .headers
        .push(("X-Razorpay-Signature", "00".to_owned()));
    assert_eq!(
        verify(&razorpay(), &signed).unwrap_err(),
        Rejected::DuplicateHeader("x-razorpay-signature")
    );
}

#[test]
fn ids_of_svix_that_can_not_be_stored_are_refused_though_signed() {
    for (id, rejected) in [
        ("", Rejected::MissingHeader("svix-id")),
        ("  ", Rejected::MissingHeader("svix-id")),
        ("msg\n1", Rejected::BadHeader("svix-id")),
        (&"m".repeat(256), Rejected::BadHeader("svix-id")),
    ] {
        let signed = sign::svix(&secret(CLERK_SECRET), id, now(), "{}").unwrap();
        assert_eq!(verify(&clerk(), &signed).unwrap_err(), rejected, "{id:?}");
    }
    let signed = sign::svix(&secret(CLERK_SECRET), &"m".repeat(255), now(), "{}").unwrap();
    assert!(verify(&clerk(), &signed).is_ok());
}

#[test]
fn the_two_families_of_headers_do_not_mix() {
    let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), "{}").unwrap();
    let rename = |from: &str| {
        let mut renamed = signed.clone();
        for (name, _) in &mut renamed.headers {
            if *name == from {
                *name = "webhook-signature";
            }
        }
        renamed
    };
    assert_eq!(
        verify(&clerk(), &rename("svix-signature")).unwrap_err(),
        Rejected::MissingHeader("svix-signature")
    );
    assert!(verify(&clerk(), &rename("nothing")).is_ok());
}

#[test]
fn the_number_of_signatures_is_bounded() {
    let with_decoys = |decoys: usize| {
        let mut signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), "{}").unwrap();
        let decoy = "v1,AAAA ".repeat(decoys);
        signed.headers[2].1.insert_str(0, &decoy);
        verify(&clerk(), &signed).map(|_| ())
    };
    assert_eq!(with_decoys(63), Ok(()));
    assert_eq!(with_decoys(64), Err(Rejected::NoMatch));
    assert_eq!(
        with_decoys(2000),
        Err(Rejected::BadHeader("svix-signature"))
    );
}

#[test]
fn time_stamps_are_plain_numbers_within_five_minutes() {
    let judge = |timestamp: &str| {
        let signed = SignedDelivery {
            headers: vec![
                ("svix-id", "msg_1".to_owned()),
                ("svix-timestamp", timestamp.to_owned()),
                ("svix-signature", "v1,AAAA".to_owned()),
            ],
            body: b"{}".to_vec(),
        };
        verify(&clerk(), &signed).unwrap_err()
    };
    for bad in [
        "0",
        "01795000300",
        "1795000300abc",
        "99999999999999999999",
        "1e9",
        "１",
    ] {
        assert_eq!(judge(bad), Rejected::BadTimestamp, "{bad}");
    }
    // What nobody signed is never untimely, whatever it says.
    for unsigned in ["1794999999", "1795000600", "1794999999999999999"] {
        assert_eq!(judge(unsigned), Rejected::NoMatch, "{unsigned}");
    }
    for (seconds, verdict) in [
        (-300, None),
        (300, None),
        (-301, Some(Rejected::TooOld)),
        (301, Some(Rejected::TooNew)),
    ] {
        let sent_at = now() + chrono::TimeDelta::seconds(seconds);
        let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", sent_at, "{}").unwrap();
        assert_eq!(verify(&clerk(), &signed).err(), verdict, "{seconds}");
    }
}

#[test]
fn the_secret_that_matched_is_named_and_not_shown() {
    let old = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSv");
    let both = Clerk::new(&[secret(CLERK_SECRET), old.clone()]).unwrap();
    let by = |key: &SecretString| {
        let signed = sign::svix(key, "msg_1", now(), "{}").unwrap();
        let verified = verify(&both, &signed).unwrap();
        verified.secret_fingerprint().to_owned()
    };
    let (new, old) = (by(&secret(CLERK_SECRET)), by(&old));
    assert_ne!(new, old);
    assert_eq!(new, "96ad2ccd");
}

#[test]
fn secrets_of_no_use_are_refused_at_the_start() {
    assert_eq!(Clerk::new(&[]).err(), Some(BadSecret::None));
    assert_eq!(
        Clerk::new(&[secret("whsec_")]).err(),
        Some(BadSecret::Empty)
    );
    assert_eq!(
        Clerk::new(&[secret("whpk_AAAA")]).err(),
        Some(BadSecret::NotBase64)
    );
    assert_eq!(Razorpay::new(&[]).err(), Some(BadSecret::None));
    assert_eq!(
        Razorpay::new(&[secret("good"), secret(" ")]).err(),
        Some(BadSecret::Empty)
    );
    assert_eq!(
        Razorpay::new(&[secret("good\n")]).err(),
        Some(BadSecret::ControlCharacter)
    );
}

#[test]
fn razorpays_key_is_the_body_whatever_the_event_id_says() {
    let key_and_id = |event_id: Option<&str>, body: &str| {
        let id = event_id.unwrap_or_default();
        let mut signed = sign::razorpay_webhook(&secret(RAZORPAY_SECRET), id, body).unwrap();
        if event_id.is_none() {
            signed.headers.pop();
        }
        let verified = verify(&razorpay(), &signed).unwrap();
        (
            verified.key().to_owned(),
            verified.provider_event_id().to_owned(),
            verified.headers().len(),
        )
    };
    let key = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let derived = format!("sha256:{key}");
    assert_eq!(
        key_and_id(Some("evt_1"), "{}"),
        (key.to_owned(), "evt_1".to_owned(), 2)
    );
    assert_eq!(key_and_id(Some("evt_2"), "{}").0, key);
    for strange in [
        None,
        Some(""),
        Some(" "),
        Some("a\u{7}"),
        Some("é".repeat(128).as_str()),
    ] {
        assert_eq!(
            key_and_id(strange, "{}"),
            (key.to_owned(), derived.clone(), 1),
            "{strange:?}"
        );
    }
    assert_ne!(key_and_id(Some("evt_1"), "{ }").0, key);
}

#[test]
fn a_signed_body_that_is_no_object_is_malformed() {
    for body in ["", " ", "[]", "null", "{\"a\":1}x", "\u{feff}{}"] {
        let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), body).unwrap();
        assert!(
            verify(&clerk(), &signed).unwrap_err().is_malformed(),
            "{body:?}"
        );
        let signed = sign::razorpay_webhook(&secret(RAZORPAY_SECRET), "evt_1", body).unwrap();
        assert!(
            verify(&razorpay(), &signed).unwrap_err().is_malformed(),
            "{body:?}"
        );
    }
    let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), [b'{', 0xff, b'}']).unwrap();
    assert_eq!(verify(&clerk(), &signed).unwrap_err(), Rejected::NotJson);
}

#[test]
fn providers_are_found_by_name() {
    let providers = Providers::new([Box::new(clerk()) as Box<dyn Provider>]);
    assert!(matches!(providers.find("clerk"), Lookup::Found(p) if p.source() == Source::Clerk));
    assert!(matches!(providers.find("razorpay"), Lookup::NotConfigured));
    for unknown in ["api", "Clerk", "", "paddle"] {
        assert!(
            matches!(providers.find(unknown), Lookup::Unknown),
            "{unknown}"
        );
    }
    assert!(providers.configured().eq([Source::Clerk]));
}

#[test]
fn what_was_verified_shows_nothing_personal() {
    let body = r#"{"email":"a@x.example"}"#;
    let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), body).unwrap();
    let verified = verify(&clerk(), &signed).unwrap();
    assert_eq!(format!("{verified:?}"), "Verified(clerk msg_1)");
}

// ---- how a signature is spelled

#[test]
fn a_right_code_in_another_spelling_is_no_signature_of_razorpay() {
    let signed = sign::razorpay_webhook(&secret(RAZORPAY_SECRET), "evt_1", "{}").unwrap();
    let code = signed.headers[0].1.clone();
    for spelling in [
        code.to_uppercase(),
        format!("sha256={code}"),
        format!("{code}00"),
        format!(" {code}"),
        code[..62].to_owned(),
        format!("{}é", &code[..62]),
    ] {
        let mut other = signed.clone();
        other.headers[0].1.clone_from(&spelling);
        assert_eq!(
            verify(&razorpay(), &other).unwrap_err(),
            Rejected::NoMatch,
            "{spelling}"
        );
    }
}

#[test]
fn a_right_code_in_another_spelling_is_no_signature_of_svix() {
    let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), "{}").unwrap();
    let good = signed.headers[2].1.clone();
    let judge = |spelling: &str| {
        let mut other = signed.clone();
        spelling.clone_into(&mut other.headers[2].1);
        verify(&clerk(), &other).map(|_| ())
    };
    for bad in [
        good.trim_end_matches('=').to_owned(),
        good.replace("v1,", "v1a,"),
        good.replace("v1,", "v1,!"),
        good.replace("v1,", "v1, "),
        format!("{good},"),
        format!("{good}\t"),
    ] {
        assert!(judge(&bad).is_err(), "{bad}");
    }
    for fine in [
        format!("  {good}  "),
        format!("v1a,AAAA v9 nonsense {good}"),
        format!("v1,AAAA {good} {good}"),
    ] {
        assert_eq!(judge(&fine), Ok(()), "{fine}");
    }
}
