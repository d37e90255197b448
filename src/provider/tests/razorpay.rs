//! Every quirk of Razorpay's payments by itself, from its webhooks and from its API.

use super::super::razorpay::{CheckoutRejected, CheckoutSignature};
use super::super::sample::{self, SamplePayment};
use super::*;

fn payment() -> Value {
    json!({ "id": "pay_1", "amount": 49_900, "currency": "INR", "status": "captured", "created_at": 5 })
}

fn captured(payment: &Value) -> Value {
    json!({ "event": "payment.captured", "payload": { "payment": { "entity": payment } }, "created_at": 9 })
}

#[test]
fn the_status_decides_and_not_the_flag() {
    let says = |payment: Value| razorpay_says(&captured(&payment));
    for flag in [json!(true), json!(false), json!("1"), json!(null)] {
        let body = captured(&with(payment(), "captured", flag));
        assert_eq!(
            capture_in(razorpay_says(&body)).purchase_id.as_str(),
            "razorpay:pay_1"
        );
    }
    let authorized = with(
        with(payment(), "status", json!("authorized")),
        "captured",
        json!(true),
    );
    assert_eq!(
        says(authorized),
        Translated::Ignore("payment status authorized".to_owned())
    );
    let strange = with(payment(), "status", json!("a new\u{0} word"));
    assert_eq!(
        says(strange),
        Translated::Ignore("payment status a new word".to_owned())
    );
}

#[test]
fn a_payment_that_can_not_be_read_is_parked() {
    let park = |payment: Value, field| {
        assert_eq!(
            razorpay_says(&captured(&payment)),
            parked(field),
            "{payment}"
        );
    };
    park(json!(null), "payload.payment.entity");
    park(
        without(payment(), "status"),
        "payload.payment.entity.status",
    );
    for id in [
        json!(null),
        json!(""),
        json!("pay_"),
        json!("order_1"),
        json!("pay_1|2"),
        json!("pay_é"),
        json!("PAY_1"),
    ] {
        park(with(payment(), "id", id), "payload.payment.entity.id");
    }
    for amount in [
        json!(null),
        json!(-1),
        json!(1.5),
        json!("49900"),
        json!(u64::MAX),
    ] {
        park(
            with(payment(), "amount", amount),
            "payload.payment.entity.amount",
        );
    }
    for currency in [json!(null), json!(""), json!("RUPEE"), json!(356)] {
        park(
            with(payment(), "currency", currency),
            "payload.payment.entity.currency",
        );
    }
    assert_eq!(
        razorpay_says(&json!({"event": "order.paid"})),
        parked("payload.payment.entity")
    );
    assert_eq!(razorpay_says(&json!({"payload": {}})), parked("event"));
}

#[test]
fn the_user_and_the_sku_come_from_the_payments_notes_then_the_orders() {
    let named = |payment_notes: Value, order_notes: Value| {
        let body = json!({"event": "order.paid", "payload": {
            "payment": {"entity": with(payment(), "notes", payment_notes)},
            "order": {"entity": {"id": "1", "notes": order_notes}},
        }});
        let capture = capture_in(razorpay_says(&body));
        (
            capture.user_id.map(String::from),
            capture.price.map(|p| p.sku),
        )
    };
    let both = |user: &str| (Some(user.to_owned()), Some("credits_500".to_owned()));
    let order = json!({"user_id": "order_user", "sku": "credits_500"});
    assert_eq!(named(json!({"user_id": "u"}), order.clone()), both("u"));
    for none in [
        json!([]),
        json!(null),
        json!({}),
        json!({"user_id": "a b", "sku": 7}),
        json!("x"),
    ] {
        assert_eq!(
            named(none.clone(), order.clone()),
            both("order_user"),
            "{none}"
        );
    }
    assert_eq!(
        named(json!([]), json!([])),
        (None, Some("credits_500".to_owned()))
    );
    let unknown = json!({"user_id": "u", "sku": "credits_9000"});
    assert_eq!(named(unknown, order), (Some("u".to_owned()), None));
}

#[test]
fn credits_are_never_read_from_notes() {
    let notes = json!({"user_id": "u", "credits": "1000000", "pack": "credits_9000"});
    let body = captured(&with(with(payment(), "notes", notes), "amount", json!(100)));
    assert_eq!(capture_in(razorpay_says(&body)).price, None);
}

#[test]
fn the_time_of_payment_falls_back() {
    let paid_at = |body: &Value| capture_in(razorpay_says(body)).paid_at_s;
    assert_eq!(paid_at(&captured(&payment())), 5);
    let body = captured(&without(payment(), "created_at"));
    assert_eq!(paid_at(&body), 9);
    let body = without(body, "created_at");
    assert_eq!(paid_at(&body), now().timestamp());
    // Milliseconds, or no time that a calendar has: money is a fact, and does not wait for a better one.
    for strange in [
        100_000_000_001,
        1_795_000_000_000,
        253_402_300_800,
        i64::MAX,
        0,
        -1,
    ] {
        let entity = with(payment(), "created_at", json!(strange));
        assert_eq!(paid_at(&captured(&entity)), 9, "{strange}");
        let body = with(captured(&entity), "created_at", json!(strange));
        assert_eq!(paid_at(&body), now().timestamp(), "{strange}");
    }
}

#[test]
fn the_life_of_credits_begins_at_the_time_of_payment() {
    let price = capture_in(razorpay_says(&captured(&payment())))
        .price
        .unwrap();
    assert_eq!(price.expires_at_s, Some(5 + 365 * 86_400));
}

#[test]
fn the_payer_is_kept_beside_and_a_strange_order_left_out() {
    let entity = with(payment(), "email", json!("payer@x.example"));
    let capture = capture_in(razorpay_says(&captured(&with(
        entity,
        "order_id",
        json!("order_1"),
    ))));
    let payer = profile_of(&capture.payer.unwrap());
    assert_eq!(payer.email.as_deref(), Some("payer@x.example"));
    assert!(!payer.email_verified);
    assert_eq!(capture.order_id.as_deref(), Some("order_1"));
    for strange in [json!(null), json!(""), json!("plink_1|ref|paid"), json!(7)] {
        let entity = with(
            with(payment(), "order_id", strange.clone()),
            "email",
            strange,
        );
        let capture = capture_in(razorpay_says(&captured(&entity)));
        assert_eq!(capture.order_id, None);
    }
}

#[test]
fn the_api_and_the_webhook_come_to_one_command() {
    let webhook: Value = read_json("razorpay/payment.captured.notes_object.json");
    let entity = webhook["payload"]["payment"]["entity"].to_string();
    let user = UserId::parse("user_session").unwrap();
    let told = capture_from_api(
        entity.as_bytes(),
        None,
        Some(user.clone()),
        7,
        &rules(),
        SALT,
    )
    .unwrap();
    assert_eq!(told.payment_id, "pay_Rf1DLxPeMKIsXE");
    assert_eq!(told.order_id.as_deref(), Some("order_RYq85MF90MFRV9"));
    let ApiStatus::Captured(capture) = told.status else {
        panic!("not captured");
    };
    let expected = CapturePayment {
        claimant: Some(user),
        ..capture_in(razorpay_says(&webhook))
    };
    assert_eq!(*capture, expected);
}

/// The payment's notes first, then its order's, as when the webhook brings both.
#[test]
fn the_api_and_the_webhook_read_the_order_alike() {
    let ask = |payment: &Value, order: Option<&Value>| {
        let order = order.map(Value::to_string);
        let payment = payment.to_string();
        let order = order.as_ref().map(String::as_bytes);
        capture_from_api(payment.as_bytes(), order, None, 7, &rules(), SALT)
    };
    let order_notes = json!({"user_id": "order_user", "sku": "credits_500"});
    let order = json!({"id": "order_1", "notes": order_notes});
    for (notes, lacks) in [
        (json!({"user_id": "u", "sku": "credits_500"}), false),
        (json!({"user_id": "u", "sku": "credits_9000"}), false),
        (json!({"user_id": "u"}), true),
        (json!({"sku": "credits_500"}), true),
        (json!({"user_id": "a b", "sku": " "}), true),
        (json!([]), true),
    ] {
        let entity = with(
            with(payment(), "order_id", json!("order_1")),
            "notes",
            notes,
        );
        assert_eq!(
            ask(&entity, None).unwrap().order_may_say_more,
            lacks,
            "{entity}"
        );
        let body = json!({"event": "order.paid", "payload": {
            "payment": {"entity": entity}, "order": {"entity": order},
        }});
        let both = ask(&entity, Some(&order)).unwrap();
        assert!(!both.order_may_say_more);
        let ApiStatus::Captured(capture) = both.status else {
            panic!("not captured");
        };
        assert_eq!(*capture, capture_in(razorpay_says(&body)));
    }
    // No order, nothing to ask.
    assert!(!ask(&payment(), None).unwrap().order_may_say_more);
    let entity = with(payment(), "order_id", json!("order_1"));
    let other = with(order.clone(), "id", json!("order_2"));
    assert_eq!(ask(&entity, Some(&other)), Err(BadAnswer::OtherOrder));
    assert_eq!(ask(&payment(), Some(&order)), Err(BadAnswer::OtherOrder));
    assert_eq!(
        ask(&payment(), Some(&json!({}))),
        Err(BadAnswer::OtherOrder)
    );
    assert_eq!(ask(&entity, Some(&json!([]))), Err(BadAnswer::NotJson));
}

#[test]
fn the_api_tells_every_status() {
    let ask = |entity: &Value| {
        capture_from_api(entity.to_string().as_bytes(), None, None, 7, &rules(), SALT)
    };
    for (text, status) in [
        ("created", ApiStatus::Created),
        ("authorized", ApiStatus::Authorized),
        ("failed", ApiStatus::Failed),
        ("on_hold", ApiStatus::Other("on_hold".to_owned())),
    ] {
        // Only a captured payment needs its amount.
        let entity = json!({"id": "pay_1", "status": text, "amount": null});
        assert_eq!(ask(&entity).unwrap().status, status);
    }
    let timeless = ask(&without(payment(), "created_at")).unwrap();
    assert!(matches!(timeless.status, ApiStatus::Captured(c) if c.paid_at_s == 7));
    for name in ["id", "status", "amount", "currency"] {
        assert_eq!(
            ask(&without(payment(), name)),
            Err(BadAnswer::MissingField(name))
        );
    }
    assert_eq!(ask(&json!([])), Err(BadAnswer::NotJson));
}

/// Money that came and went back is two facts, and both are recorded.
#[test]
fn the_api_says_how_much_of_a_payment_went_back() {
    let ask = |entity: &Value| {
        let json = entity.to_string();
        let told = capture_from_api(json.as_bytes(), None, None, 7, &rules(), SALT).unwrap();
        match told.status {
            ApiStatus::Captured(capture) => capture.refunded_total_minor,
            other => panic!("not captured: {other:?}"),
        }
    };
    assert_eq!(ask(&payment()), 0);
    assert_eq!(ask(&with(payment(), "amount_refunded", json!(100))), 100);
    assert_eq!(ask(&with(payment(), "status", json!("refunded"))), 49_900);
}

#[test]
fn what_a_subscriptions_payment_lacks_is_read_from_the_subscription() {
    let charged = |payment: &Value, subscription: &Value| {
        let payload =
            json!({"payment": {"entity": payment}, "subscription": {"entity": subscription}});
        capture_in(razorpay_says(
            &json!({"event": "subscription.charged", "payload": payload}),
        ))
    };
    let notes = json!({"user_id": "u", "sku": "credits_500"});
    let subscription = json!({"id": "sub_1", "plan_id": "plan_1", "notes": notes});
    for (payment_notes, user) in [(json!([]), "u"), (json!({"user_id": "payer"}), "payer")] {
        let entity = with(payment(), "notes", payment_notes);
        let capture = charged(&entity, &subscription);
        assert_eq!(capture.user_id.unwrap().as_str(), user);
        assert_eq!(capture.price.unwrap().sku, "credits_500");
        assert_eq!(capture.subscription_id.as_deref(), Some("sub_1"));
    }
    // The flag is the text "1" in older payloads; the status decides.
    let legacy = with(payment(), "captured", json!("1"));
    assert_eq!(charged(&legacy, &json!(null)).subscription_id, None);
    for id in [json!(null), json!("plan_1"), json!("sub_"), json!(1)] {
        let strange = with(subscription.clone(), "id", id);
        assert_eq!(charged(&payment(), &strange).subscription_id, None);
    }
    let nothing = json!({"event": "subscription.charged", "payload": {}});
    assert_eq!(razorpay_says(&nothing), parked("payload.payment.entity"));
}

/// The order of a payment link has its id without the prefix; the payment has it with.
#[test]
fn what_a_links_payment_lacks_is_read_from_the_link_and_then_from_its_order() {
    let paid = |link_notes: Value, order_notes: Value| {
        let entity = with(payment(), "order_id", json!("order_1"));
        let payload = json!({
            "payment": {"entity": with(entity, "notes", json!([]))},
            "payment_link": {"entity": {"id": "plink_1", "notes": link_notes}},
            "order": {"entity": {"id": "1", "notes": order_notes}},
        });
        let capture = capture_in(razorpay_says(
            &json!({"event": "payment_link.paid", "payload": payload}),
        ));
        assert_eq!(capture.order_id.as_deref(), Some("order_1"));
        capture.user_id.map(String::from)
    };
    let notes = |user: &str| json!({ "user_id": user });
    assert_eq!(paid(notes("link"), notes("order")).as_deref(), Some("link"));
    assert_eq!(paid(json!(null), notes("order")).as_deref(), Some("order"));
    assert_eq!(paid(json!(null), json!([])), None);
}

/// As in a sample of Razorpay's own documentation.
#[test]
fn the_time_of_an_event_may_lie_in_its_payload() {
    let payload =
        json!({"payment": {"entity": without(payment(), "created_at")}, "created_at": 11});
    let body = json!({"event": "payment.captured", "payload": payload});
    assert_eq!(capture_in(razorpay_says(&body)).paid_at_s, 11);
}

#[test]
fn the_samples_are_read_like_the_real_ones() {
    let payment = SamplePayment {
        payment_id: "pay_1".to_owned(),
        order_id: Some("order_1".to_owned()),
        amount_minor: 49_900,
        currency: "INR".to_owned(),
        user_id: Some("user_1".to_owned()),
        sku: Some("credits_500".to_owned()),
        email: None,
        created_at: now(),
    };
    let one = capture_in(razorpay_says(&sample::razorpay_payment_captured(&payment)));
    let other = capture_in(razorpay_says(&sample::razorpay_order_paid(&payment)));
    assert_eq!(one, other);
    assert_eq!(one.user_id.unwrap().as_str(), "user_1");
    assert_eq!(one.price.unwrap().credits.get(), 500);
}

#[test]
fn a_checkout_needs_ids_of_the_right_kind_and_the_right_spelling() {
    let key = secret("key");
    let judge = |order: &str, payment: &str, signature: &str| {
        CheckoutSignature::verify(&key, order, payment, signature)
    };
    // Signed over exactly these texts, so nothing but the check of the ids can refuse them.
    for (order, payment, wanted) in [
        ("order_1", "pay_1", "ok"),
        ("", "pay_1", "missing_param"),
        ("order_1", "", "missing_param"),
        ("pay_1", "sub_1", "bad_id_prefix"),
        ("plink_1|ref|paid", "pay_1", "bad_id_prefix"),
        ("order_1|ref|paid", "pay_1", "no_match"),
        ("order_", "pay_1", "no_match"),
        ("order_1", "pay_1 ", "no_match"),
    ] {
        let signature = sign::razorpay_checkout(&key, order, payment).unwrap();
        let verdict =
            judge(order, payment, &signature).map_or_else(CheckoutRejected::verdict, |()| "ok");
        assert_eq!(verdict, wanted, "{order}|{payment}");
    }
    let signature = sign::razorpay_checkout(&key, "order_1", "pay_1").unwrap();
    let upper = signature.to_uppercase();
    assert_eq!(
        judge("order_1", "pay_1", &upper),
        Err(CheckoutRejected::NoMatch)
    );
    let missing = CheckoutRejected::MissingParam("razorpay_signature");
    assert_eq!(judge("order_1", "pay_1", ""), Err(missing));
}
