//! What the API answers of a checkout session.

use super::*;

fn session(payment_status: &str) -> Value {
    sample::session(&sale(), payment_status)
}

fn ask(session: &Value) -> Result<(Option<String>, SessionStatus), BadAnswer> {
    let answer = session_from_api(
        session.to_string().as_bytes(),
        None,
        7,
        &stripe_rules(),
        SALT,
    )?;
    assert_eq!(answer.session_id, "cs_test_1");
    Ok((answer.user_id.map(String::from), answer.status))
}

fn status(session: &Value) -> SessionStatus {
    ask(session).unwrap().1
}

fn captured(session: &Value) -> CapturePayment {
    match status(session) {
        SessionStatus::Captured(capture) => *capture,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_paid_session_is_read_as_the_webhook_is() {
    let by_webhook = capture_in(says("checkout.session.completed", &session("paid")));
    let by_api = captured(&session("paid"));
    assert_eq!(by_api.paid_at_s, 7);
    assert_eq!(by_webhook.paid_at_s, AT_S);
    let price = by_webhook.price.clone();
    assert_eq!(
        CapturePayment {
            paid_at_s: AT_S,
            price,
            ..by_api.clone()
        },
        by_webhook
    );
    assert_eq!(by_api.price.unwrap().sku, "pack_500");
}

#[test]
fn the_expanded_charge_says_when_it_was_paid_and_what_went_back() {
    let intent = json!({
        "id": "pi_1", "status": "succeeded", "metadata": {"user_id": "of_intent", "sku": "pack_500"},
        "latest_charge": {"id": "ch_1", "created": 5, "amount": 4900, "amount_captured": 4900, "amount_refunded": 1500},
    });
    let session = with(session("paid"), "payment_intent", intent);
    let capture = captured(&session);
    assert_eq!(capture.purchase_id.as_str(), "stripe:pi_1");
    assert_eq!((capture.paid_at_s, capture.refunded_total_minor), (5, 1500));
    // What the session does not say, its payment intent may.
    assert_eq!(ask(&session).unwrap().0.as_deref(), Some("user_1"));
    let bare = with(
        with(session, "client_reference_id", json!(null)),
        "metadata",
        json!({}),
    );
    assert_eq!(ask(&bare).unwrap().0.as_deref(), Some("of_intent"));
    assert_eq!(captured(&bare).user_id.unwrap().as_str(), "of_intent");
}

#[test]
fn the_lines_name_the_price() {
    let priced = |price: &str, amount: i64| {
        let sale = StripeSale {
            price_id: Some(price.to_owned()),
            amount_minor: amount,
            ..sale()
        };
        captured(&sample::session(&sale, "paid"))
            .price
            .map(|price| price.sku)
    };
    assert_eq!(
        priced("price_1SjE2UIwn4ecfiRIZWn4YDvA", 2000).as_deref(),
        Some("pro_monthly")
    );
    assert_eq!(priced("price_pack", 4900).as_deref(), Some("pack_500"));
    // The price of one pack and the amount of another.
    assert_eq!(priced("price_pack", 2000), None);
    assert_eq!(priced("price_other", 2000).as_deref(), Some("pro_monthly"));
}

#[test]
fn a_session_that_is_not_paid_may_still_be_or_not() {
    let with_status = |session_status: &str, intent: Value| {
        let session = with(session("unpaid"), "status", json!(session_status));
        status(&with(session, "payment_intent", intent))
    };
    let intent = |status: &str| json!({"id": "pi_1", "status": status});
    for (session_status, intent, wanted) in [
        ("open", json!(null), SessionStatus::Pending),
        (
            "open",
            intent("requires_payment_method"),
            SessionStatus::Pending,
        ),
        ("expired", json!(null), SessionStatus::Expired),
        ("expired", intent("canceled"), SessionStatus::Expired),
        ("complete", json!("pi_1"), SessionStatus::Pending),
        ("complete", intent("processing"), SessionStatus::Pending),
        (
            "complete",
            intent("requires_payment_method"),
            SessionStatus::Failed,
        ),
        ("complete", intent("canceled"), SessionStatus::Failed),
    ] {
        assert_eq!(
            with_status(session_status, intent.clone()),
            wanted,
            "{session_status} {intent}"
        );
    }
    // A free one that the buyer has not finished.
    let open = with(session("no_payment_required"), "amount_total", json!(0));
    assert_eq!(
        status(&with(open.clone(), "status", json!("open"))),
        SessionStatus::Pending
    );
    assert_eq!(captured(&open).purchase_id.as_str(), "stripe:cs_test_1");
    for (name, value) in [("mode", "setup"), ("payment_status", "word_of_tomorrow")] {
        assert_eq!(
            status(&with(session("paid"), name, json!(value))),
            SessionStatus::NothingDue
        );
    }
}

#[test]
fn an_answer_of_no_use_is_told() {
    let bytes = |bytes: &[u8], livemode| session_from_api(bytes, livemode, 7, &rules(), SALT).err();
    assert_eq!(bytes(b"[]", None), Some(BadAnswer::NotJson));
    assert_eq!(bytes(&[0xff], None), Some(BadAnswer::NotJson));
    for (name, value) in [
        ("id", json!(null)),
        ("id", json!("pi_1")),
        ("mode", json!(null)),
        ("payment_status", json!(null)),
        ("amount_total", json!(null)),
        ("currency", json!(null)),
        ("payment_intent", json!(null)),
    ] {
        let error = ask(&with(session("paid"), name, value)).unwrap_err();
        assert_eq!(error, BadAnswer::MissingField(name));
    }
    let session = session("paid").to_string();
    assert_eq!(bytes(session.as_bytes(), Some(false)), None);
    assert_eq!(
        bytes(session.as_bytes(), Some(true)),
        Some(BadAnswer::OtherMode)
    );
    let silent = without(self::session("paid"), "livemode").to_string();
    assert_eq!(
        bytes(silent.as_bytes(), Some(true)),
        Some(BadAnswer::MissingField("livemode"))
    );
}
