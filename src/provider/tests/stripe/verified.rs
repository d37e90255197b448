//! Whether a delivery is Stripe's, whose money it tells of, and what it is known by.

use super::*;

fn signed(body: &str) -> SignedDelivery {
    sign::stripe_webhook(&secret(STRIPE_SECRET), now(), body).unwrap()
}

/// The same delivery under another signature header.
fn judge(header: &str) -> Result<(), Rejected> {
    let mut other = signed("{}");
    header.clone_into(&mut other.headers[0].1);
    verify(&stripe(), &other).map(|_| ())
}

#[test]
fn the_secret_is_taken_as_text_with_its_prefix() {
    let bare = STRIPE_SECRET.trim_start_matches("whsec_");
    for (other, verdict) in [(STRIPE_SECRET, None), (bare, Some(Rejected::NoMatch))] {
        let signed = sign::stripe_webhook(&secret(other), now(), "{}").unwrap();
        assert_eq!(verify(&stripe(), &signed).err(), verdict);
    }
}

#[test]
fn time_stamps_are_bounded_in_the_past_and_in_the_future() {
    for (seconds, verdict) in [
        (-300, None),
        (300, None),
        (-301, Some(Rejected::TooOld)),
        (301, Some(Rejected::TooNew)),
    ] {
        let sent_at = now() + chrono::TimeDelta::seconds(seconds);
        let signed = sign::stripe_webhook(&secret(STRIPE_SECRET), sent_at, "{}").unwrap();
        assert_eq!(verify(&stripe(), &signed).err(), verdict, "{seconds}");
        // What nobody signed is never untimely, whatever it says.
        let unsigned = format!("t={},v1={}", sent_at.timestamp(), "00".repeat(32));
        assert_eq!(judge(&unsigned), Err(Rejected::NoMatch), "{seconds}");
    }
}

#[test]
fn a_header_is_read_in_one_way_only() {
    let good = signed("{}").headers[0].1.clone();
    let code = good.split_once("v1=").unwrap().1.to_owned();
    let at = now().timestamp();
    for fine in [
        good.clone(),
        format!("v1={code},t={at}"),
        format!("t={at},v0={code},v1=00,junk,v1={code},v1="),
    ] {
        assert_eq!(judge(&fine), Ok(()), "{fine}");
    }
    let bad_header = Rejected::BadHeader("stripe-signature");
    for (header, rejected) in [
        (format!("t={at},t={at},v1={code}"), bad_header),
        (format!("t=0{at},v1={code}"), bad_header),
        (format!("t=+{at},v1={code}"), bad_header),
        (format!("t= {at},v1={code}"), bad_header),
        (format!("T={at},v1={code}"), bad_header),
        (format!("t=,v1={code}"), bad_header),
        (format!("t={at},v0={code}"), Rejected::NoKnownScheme),
        (format!("t={at},V1={code}"), Rejected::NoKnownScheme),
        (format!("t={at},v1=sha256={code}"), Rejected::NoMatch),
        (
            format!("t={at},v1={}", code.to_uppercase()),
            Rejected::NoMatch,
        ),
        (format!("t={at},v1={code}00"), Rejected::NoMatch),
        (" ".to_owned(), Rejected::MissingHeader("stripe-signature")),
    ] {
        assert_eq!(judge(&header), Err(rejected), "{header}");
    }
}

#[test]
fn the_number_of_signatures_is_bounded() {
    let code = signed("{}").headers[0]
        .1
        .split_once("v1=")
        .unwrap()
        .1
        .to_owned();
    let with_decoys = |decoys: usize| {
        let at = now().timestamp();
        judge(&format!("t={at},{}v1={code}", "v1=00,".repeat(decoys)))
    };
    assert_eq!(with_decoys(63), Ok(()));
    assert_eq!(with_decoys(64), Err(Rejected::NoMatch));
    assert_eq!(
        with_decoys(2000),
        Err(Rejected::BadHeader("stripe-signature"))
    );
}

#[test]
fn while_a_secret_is_rolled_the_one_that_matched_is_named() {
    let (new, old) = (secret("whsec_new"), secret("whsec_old"));
    let both = Stripe::new(&[new.clone(), old.clone()], None).unwrap();
    let by = |key: &SecretString| {
        let signed = sign::stripe_webhook(key, now(), "{}").unwrap();
        let verified = verify(&both, &signed).unwrap();
        verified.secret_fingerprint().to_owned()
    };
    assert_ne!(by(&new), by(&old));
    // One delivery carries a signature of each.
    let mut two = sign::stripe_webhook(&old, now(), "{}").unwrap();
    let of_new = sign::stripe_webhook(&new, now(), "{}").unwrap();
    let (_, code) = of_new.headers[0].1.split_once(',').unwrap();
    two.headers[0].1 = format!("{},{code}", two.headers[0].1);
    let verified = verify(&both, &two).unwrap();
    assert_eq!(verified.secret_fingerprint(), by(&new));
    assert_eq!(
        verified.headers(),
        [("stripe-signature".to_owned(), two.headers[0].1.clone())]
    );
}

#[test]
fn secrets_of_no_use_are_refused_at_the_start() {
    let new = |secrets: &[&str]| {
        let secrets: Vec<_> = secrets.iter().map(|text| secret(text)).collect();
        Stripe::new(&secrets, None).err()
    };
    assert_eq!(new(&[]), Some(BadSecret::None));
    assert_eq!(new(&["whsec_a", ""]), Some(BadSecret::Empty));
    assert_eq!(new(&["whsec_a\n"]), Some(BadSecret::ControlCharacter));
}

#[test]
fn the_key_is_the_signed_event_id() {
    let key = |body: &str| {
        let verified = verify(&stripe(), &signed(body)).unwrap();
        assert_eq!(verified.key(), verified.provider_event_id());
        verified.key().to_owned()
    };
    assert_eq!(key(r#"{"id":"evt_1"}"#), "evt_1");
    assert_eq!(key(r#"{"id":"evt_1","type":"invoice.paid"}"#), "evt_1");
    // Without one that can be stored, the body is told by its digest: a blank id must not swallow every other.
    let long = "e".repeat(256);
    for strange in ["", " ", "a\u{7}", &long] {
        let body = json!({"id": strange}).to_string();
        let digest = hex::encode(verify(&stripe(), &signed(&body)).unwrap().body_sha256());
        assert_eq!(key(&body), format!("sha256:{digest}"), "{strange:?}");
    }
    for body in [json!({}), json!({"id": null}), json!({"id": 7})] {
        assert!(key(&body.to_string()).starts_with("sha256:"), "{body}");
        let verified = verify(&stripe(), &signed(&body.to_string())).unwrap();
        assert_eq!(stripe().translate(&verified, &rules(), SALT), parked("id"));
    }
}

#[test]
fn a_signed_body_that_is_no_object_is_malformed() {
    for body in ["", " ", "[]", "null", "{\"a\":1}x", "\u{feff}{}"] {
        let rejected = verify(&stripe(), &signed(body)).unwrap_err();
        assert!(rejected.is_malformed(), "{body:?}");
    }
}

#[test]
fn a_thin_event_is_kept_and_says_what_to_change() {
    let body = json!({"id": "evt_1", "object": "v2.core.event", "created": "2026-11-18T11:06:39.412Z", "type": "v1.invoice.paid"});
    assert_eq!(
        stripe_says(&body),
        ignored("thin event v1.invoice.paid: the endpoint must send snapshot events")
    );
}

#[test]
fn the_money_of_a_connected_account_is_not_ours() {
    let body = event("payment_intent.succeeded", &sample::payment_intent(&sale()));
    assert!(matches!(stripe_says(&body), Translated::Apply(_)));
    let connected = with(body.clone(), "account", json!("acct_1"));
    assert_eq!(stripe_says(&connected), ignored("connect account acct_1"));
    // Whatever is there: it is not nothing.
    let strange = with(body.clone(), "account", json!({"id": "acct_1"}));
    assert_eq!(stripe_says(&strange), ignored("connect account "));
    let none = with(body, "account", json!(null));
    assert!(matches!(stripe_says(&none), Translated::Apply(_)));
}

#[test]
fn the_mode_of_an_event_is_compared_with_the_settings() {
    let body = event("payment_intent.succeeded", &sample::payment_intent(&sale()));
    let says = |taken: Option<bool>, body: &Value| {
        let stripe = Stripe::new(&[secret(STRIPE_SECRET)], taken).unwrap();
        let verified = verify(&stripe, &signed(&body.to_string())).unwrap();
        stripe.translate(&verified, &stripe_rules(), SALT)
    };
    for livemode in [true, false] {
        let body = with(body.clone(), "livemode", json!(livemode));
        for taken in [None, Some(livemode)] {
            assert!(matches!(says(taken, &body), Translated::Apply(_)));
        }
        let other = says(Some(!livemode), &body);
        assert_eq!(other, ignored(&format!("livemode {livemode}")));
    }
    let unknown = without(body, "livemode");
    assert!(matches!(says(None, &unknown), Translated::Apply(_)));
    assert_eq!(says(Some(true), &unknown), parked("livemode"));
}

#[test]
fn what_concerns_no_credits_is_ignored_by_its_type() {
    for name in [
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.canceled",
        "charge.failed",
        "charge.pending",
        "charge.updated",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
        "invoice.created",
        "invoice.finalized",
        "invoice.payment_failed",
        "invoice.voided",
        "customer.created",
        "customer.deleted",
        "payout.paid",
        "a.word.of.tomorrow",
    ] {
        // Whatever is in it.
        let wanted = ignored(&format!("event type {name}"));
        assert_eq!(says(name, &json!({})), wanted);
        assert_eq!(stripe_says(&json!({"id": "evt_1", "type": name})), wanted);
    }
    assert_eq!(
        stripe_says(&json!({"id": "evt_1", "type": "x\u{0}y"})),
        ignored("event type xy")
    );
}

#[test]
fn an_event_without_its_object_is_parked() {
    for data in [json!(null), json!({}), json!({"object": []}), json!([])] {
        let body = json!({"id": "evt_1", "type": "invoice.paid", "data": data});
        assert_eq!(stripe_says(&body), parked("data.object"), "{data}");
    }
    assert_eq!(stripe_says(&json!({"id": "evt_1"})), parked("type"));
}

#[test]
fn every_sample_is_read_like_the_real_one() {
    let sale = StripeSale {
        sku: Some("pro_monthly".to_owned()),
        price_id: Some("price_1SjE2UIwn4ecfiRIZWn4YDvA".to_owned()),
        amount_minor: 2000,
        ..sale()
    };
    let read = sample::TYPES.map(|name| {
        let body = sample::event(name, "evt_1", &sale).unwrap();
        shown(stripe_says(&body))
    });
    assert_eq!(
        read,
        [
            "capture stripe:pi_1 2000 USD user=user_1 sku=pro_monthly payer=payer@example.com",
            "capture stripe:pi_1 2000 USD user=user_1 sku=pro_monthly payer=payer@example.com",
            "capture stripe:in_1 2000 USD user=user_1 sku=pro_monthly subscription=sub_1 payer=payer@example.com",
            "merge stripe:pi_1 into stripe:in_1",
            "refund stripe:pi_1 total 2000",
            "refund stripe:pi_1 re_1 2000",
            "dispute stripe:pi_1 du_1 10 open 2000",
            "dispute stripe:pi_1 du_1 1011 lost 2000",
            "subscription sub_1 user_1 1795000000/2 plan=pro",
            "subscription sub_1 user_1 1795000000/6",
        ]
    );
    assert_eq!(sample::event("invoice.created", "evt_1", &sale), None);
}
