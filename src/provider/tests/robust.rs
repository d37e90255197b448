//! Whatever comes in, nothing panics.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::razorpay::CheckoutSignature;
use super::super::stripe::session_from_api;
use super::*;

const HEADERS: [&str; 9] = [
    "svix-id",
    "svix-timestamp",
    "svix-signature",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-razorpay-signature",
    "x-razorpay-event-id",
    "stripe-signature",
];

/// The names and the texts that the readers look for: random JSON would never hold them.
const WORDS: [&str; 58] = [
    "type",
    "event",
    "data",
    "payload",
    "payment",
    "order",
    "entity",
    "id",
    "status",
    "captured",
    "notes",
    "user_id",
    "sku",
    "amount",
    "currency",
    "created_at",
    "updated_at",
    "timestamp",
    "email",
    "email_address",
    "email_addresses",
    "primary_email_address_id",
    "verification",
    "first_name",
    "object",
    "created",
    "account",
    "livemode",
    "previous_attributes",
    "metadata",
    "mode",
    "payment_status",
    "amount_total",
    "amount_subtotal",
    "amount_received",
    "amount_captured",
    "amount_refunded",
    "amount_paid",
    "subtotal",
    "client_reference_id",
    "customer_details",
    "payment_intent",
    "latest_charge",
    "charge",
    "invoice",
    "subscription",
    "subscription_details",
    "parent",
    "lines",
    "line_items",
    "items",
    "price",
    "plan",
    "pricing",
    "price_details",
    "proration",
    "balance_transactions",
    "paid",
];
const TEXTS: [&str; 27] = [
    "user.created",
    "user.updated",
    "user.deleted",
    "payment.captured",
    "order.paid",
    "captured",
    "pay_1",
    "INR",
    "checkout.session.completed",
    "payment_intent.succeeded",
    "charge.succeeded",
    "invoice.paid",
    "invoice_payment.paid",
    "refund.updated",
    "charge.refunded",
    "charge.dispute.closed",
    "customer.subscription.updated",
    "payment",
    "subscription",
    "paid",
    "complete",
    "succeeded",
    "lost",
    "active",
    "cs_1",
    "pi_1",
    "payment_intent",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-10_i64..100_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        proptest::sample::select(TEXTS.to_vec()).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let name = proptest::sample::select(WORDS.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..8).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A payload of a right type whose inner values are anything.
fn event() -> impl Strategy<Value = Value> {
    (proptest::sample::select(TEXTS.to_vec()), value(), value()).prop_map(|(name, one, other)| {
        // Clerk's object is `data` itself, Stripe's is in it.
        let mut data = one.as_object().cloned().unwrap_or_default();
        data.insert("object".to_owned(), one.clone());
        data.insert("previous_attributes".to_owned(), other.clone());
        json!({
            "type": name,
            "event": name,
            "id": "evt_1",
            "data": data,
            "payload": {"payment": {"entity": one}, "order": {"entity": other}},
            "created_at": other,
        })
    })
}

fn header() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..80),
        Just(b"1795000300".to_vec()),
        Just(b"msg_1".to_vec()),
        "(v1,[A-Za-z0-9+/]{43}= ?){0,3}".prop_map(String::into_bytes),
        "[0-9a-f]{64}".prop_map(String::into_bytes),
        "t=1795000300(,v1=[0-9a-f]{64}){0,3}".prop_map(String::into_bytes),
    ];
    (proptest::sample::select(HEADERS.to_vec()), value)
}

proptest! {
    #![proptest_config(crate::seeded::seeded())]

    #[test]
    fn no_bytes_and_headers_are_taken_or_panic(
        headers in vec(header(), 0..8),
        body in vec(any::<u8>(), 0..200),
    ) {
        let delivery = || Delivery {
            headers: Headers::new(headers.iter().map(|(name, value)| (*name, value.as_slice()))),
            body: &body,
            received_at: now(),
        };
        prop_assert!(clerk().verify(&delivery()).is_err());
        prop_assert!(razorpay().verify(&delivery()).is_err());
        prop_assert!(stripe().verify(&delivery()).is_err());
    }

    #[test]
    fn no_signed_object_panics(event in event()) {
        let _ = clerk_says(&event);
        let _ = razorpay_says(&event);
        let _ = stripe_says(&event);
        let entity = &event["data"]["object"];
        let _ = session_from_api(entity.to_string().as_bytes(), None, 1, &rules(), SALT);
        let _ = capture_from_api(entity.to_string().as_bytes(), Some(b"{}"), None, 1, &rules(), SALT);
    }

    #[test]
    fn no_signed_bytes_panic(body in vec(any::<u8>(), 0..200)) {
        let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), body.clone()).unwrap();
        if let Ok(verified) = verify(&clerk(), &signed) {
            let _ = clerk().translate(&verified, &rules(), SALT);
        }
        let signed = sign::razorpay_webhook(&secret(RAZORPAY_SECRET), "e", body.clone()).unwrap();
        if let Ok(verified) = verify(&razorpay(), &signed) {
            let _ = razorpay().translate(&verified, &rules(), SALT);
        }
        let signed = sign::stripe_webhook(&secret(STRIPE_SECRET), now(), body.clone()).unwrap();
        if let Ok(verified) = verify(&stripe(), &signed) {
            let _ = stripe().translate(&verified, &stripe_rules(), SALT);
        }
        let _ = capture_from_api(&body, Some(&body), None, 1, &rules(), SALT);
        let _ = session_from_api(&body, None, 1, &rules(), SALT);
    }

    #[test]
    fn what_is_signed_is_taken_and_one_changed_byte_is_not(
        event in event(),
        at in any::<proptest::sample::Index>(),
    ) {
        let signed = sign::svix(&secret(CLERK_SECRET), "msg_1", now(), event.to_string()).unwrap();
        prop_assert!(verify(&clerk(), &signed).is_ok());
        let mut changed = signed;
        let index = at.index(changed.body.len());
        changed.body[index] ^= 1;
        prop_assert_eq!(verify(&clerk(), &changed).unwrap_err(), Rejected::NoMatch);
        let mut signed = sign::stripe_webhook(&secret(STRIPE_SECRET), now(), event.to_string()).unwrap();
        prop_assert!(verify(&stripe(), &signed).is_ok());
        signed.body[index] ^= 1;
        prop_assert_eq!(verify(&stripe(), &signed).unwrap_err(), Rejected::NoMatch);
    }

    #[test]
    fn no_checkout_is_taken_or_panics(order in ".*", payment in ".*", signature in ".*") {
        let key = secret("key");
        prop_assert!(CheckoutSignature::verify(&key, &order, &payment, &signature).is_err());
    }

    #[test]
    fn a_checkout_that_was_signed_is_taken(
        order in "order_[A-Za-z0-9]{14}",
        payment in "pay_[A-Za-z0-9]{14}",
    ) {
        let key = secret("key");
        let signature = sign::razorpay_checkout(&key, &order, &payment).unwrap();
        prop_assert_eq!(CheckoutSignature::verify(&key, &order, &payment, &signature), Ok(()));
        prop_assert!(CheckoutSignature::verify(&key, &payment, &order, &signature).is_err());
    }
}
