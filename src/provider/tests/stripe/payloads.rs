//! One payload of every kind, signed, verified and translated.

use super::super::fixtures::check;
use super::*;

/// The user that most of the payloads are about.
const PRIYA: &str = "user_3RkJ4hi245d8WxbYllUz4trG8pG";

/// What each payload must come to, where only events of test mode are taken.
const TABLE: [(&str, &str); 43] = [
    (
        "charge.dispute.closed.inquiry_warning_closed",
        "ignore inquiry, status warning_closed: no money moved",
    ),
    (
        "charge.dispute.closed.lost",
        "dispute stripe:pi_3Si2D1nR6tsVyH8UU5Rh6LWs du_1SFGCJFP9N17vlOoKBImFX54 1011 lost 4900",
    ),
    (
        "charge.dispute.closed.won",
        "dispute stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno du_1SrPudpn6LgLQUOH7s2CNh0W 1022 won",
    ),
    (
        "charge.dispute.created.inquiry",
        "ignore inquiry, status warning_needs_response: no money moved",
    ),
    (
        "charge.dispute.created",
        "dispute stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno du_1SrPudpn6LgLQUOH7s2CNh0W 10 open 4900",
    ),
    (
        "charge.dispute.funds_reinstated",
        "dispute stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno du_1SrPudpn6LgLQUOH7s2CNh0W 1022 won",
    ),
    (
        "charge.dispute.funds_withdrawn",
        "dispute stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno du_1SrPudpn6LgLQUOH7s2CNh0W 10 open 4900",
    ),
    (
        "charge.refunded.full_after_partial",
        "refund stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno total 4900",
    ),
    (
        "charge.refunded.full_single",
        "refund stripe:pi_3Savmthv1cke7ia45oCfe6Hi total 4900",
    ),
    (
        "charge.refunded.partial",
        "refund stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno total 1500",
    ),
    (
        "checkout.session.async_payment_failed",
        "ignore event type checkout.session.async_payment_failed",
    ),
    (
        "checkout.session.async_payment_succeeded",
        "capture stripe:pi_3SDkOYXMlEn13GrcJY6vxUBq 4900 USD user=PRIYA sku=pack_500 payer=PRIYA",
    ),
    (
        "checkout.session.completed.async_unpaid",
        "ignore payment_status unpaid",
    ),
    (
        "checkout.session.completed.jpy_zero_decimal",
        "capture stripe:pi_3SX1eJ6p7iCcVxMeNYtQYw5L 7500 JPY user=PRIYA sku=pack_500 payer=PRIYA",
    ),
    (
        "checkout.session.completed.kwd_three_decimal",
        "capture stripe:pi_3Scevq8jW3hqE22pd319nC5H 15250 KWD user=PRIYA sku=pack_500 payer=PRIYA",
    ),
    (
        "checkout.session.completed.no_payment_required",
        "capture stripe:cs_test_a1uZ8dkB1CpVDVofKENFB6ubDkFMwFgrki4iRL4cqoNICvOB8weo1NBlY3 0 USD user=PRIYA sku=pack_500 payer=PRIYA",
    ),
    (
        "checkout.session.completed.no_user_reference",
        "capture stripe:pi_3SAh4fDCxCfjVMdfr4HXWXVO 4900 USD sku=pack_500 payer=PRIYA",
    ),
    (
        "checkout.session.completed.payment_paid",
        "capture stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno 4900 USD user=PRIYA sku=pack_500 payer=PRIYA",
    ),
    (
        "checkout.session.completed.subscription",
        "capture stripe:in_1S9rEYMKUmr9VTzwvMKHnHVf 2000 USD user=PRIYA subscription=sub_1SQ39mtIkSW1di97Hh4bmpaU payer=PRIYA",
    ),
    (
        "checkout.session.expired",
        "ignore event type checkout.session.expired",
    ),
    (
        "customer.subscription.created.acacia_top_level_period",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1741000000/2 plan=pro",
    ),
    (
        "customer.subscription.created",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1795000000/0",
    ),
    (
        "customer.subscription.deleted",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1797592000/6",
    ),
    (
        "customer.subscription.updated.activated_same_second",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1795000000/2 plan=pro",
    ),
    (
        "customer.subscription.updated.cancel_at_period_end",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1795500000/2 plan=pro",
    ),
    (
        "customer.subscription.updated.past_due",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1797592003/3 plan=pro",
    ),
    (
        "customer.subscription.updated.renewed",
        "subscription sub_1SQ39mtIkSW1di97Hh4bmpaU PRIYA 1797592000/2 plan=pro",
    ),
    (
        "invoice.paid.acacia_pre_basil",
        "capture stripe:in_1SOcmlMP3P1EfnZngkT23y19 2000 USD user=PRIYA sku=pro_monthly merges=stripe:pi_3SeyLmt10S9NvhL0Xmp3zz1D subscription=sub_1SQ39mtIkSW1di97Hh4bmpaU payer=PRIYA",
    ),
    (
        "invoice.paid.basil",
        "capture stripe:in_1S07vyklCUtaaaIE0R7kRSo4 2000 USD user=PRIYA sku=pro_monthly subscription=sub_1SQ39mtIkSW1di97Hh4bmpaU payer=PRIYA",
    ),
    (
        "invoice.paid.endive",
        "capture stripe:in_1S9rEYMKUmr9VTzwvMKHnHVf 2000 USD user=PRIYA sku=pro_monthly subscription=sub_1SQ39mtIkSW1di97Hh4bmpaU payer=PRIYA",
    ),
    (
        "invoice.paid.endive.zero_amount_trial",
        "ignore amount_paid 0",
    ),
    (
        "invoice.payment_failed.endive",
        "ignore event type invoice.payment_failed",
    ),
    (
        "invoice.payment_succeeded.endive",
        "capture stripe:in_1S9rEYMKUmr9VTzwvMKHnHVf 2000 USD user=PRIYA sku=pro_monthly subscription=sub_1SQ39mtIkSW1di97Hh4bmpaU payer=PRIYA",
    ),
    (
        "invoice_payment.paid.endive",
        "merge stripe:pi_3S9i4mwL1dmD7UHHbqTFUllG into stripe:in_1S9rEYMKUmr9VTzwvMKHnHVf",
    ),
    (
        "payment_intent.payment_failed",
        "ignore event type payment_intent.payment_failed",
    ),
    (
        "payment_intent.succeeded.connect_account",
        "ignore connect account acct_1SAkO4XWpg3WGWvb",
    ),
    (
        "payment_intent.succeeded",
        "capture stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno 4900 USD user=PRIYA",
    ),
    ("payment_intent.succeeded.livemode", "ignore livemode true"),
    (
        "refund.created.partial",
        "refund stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno re_3SEct0YPJJZ3iMbQV4qv0eaG 1500",
    ),
    (
        "refund.created.remainder",
        "refund stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno re_3SkWyJlZxiof1kDbwwrUhMja 3400",
    ),
    (
        "refund.failed",
        "refund stripe:pi_3Savmthv1cke7ia45oCfe6Hi re_3SI9hk07gmdusBRw7SzzgWH6 4900 failed",
    ),
    (
        "refund.updated",
        "refund stripe:pi_3SAJJhsqF3qlbYgh1SEUjjno re_3SEct0YPJJZ3iMbQV4qv0eaG 1500",
    ),
    (
        "thin.v1.payment_intent.succeeded",
        "ignore thin event v1.payment_intent.succeeded: the endpoint must send snapshot events",
    ),
];

#[test]
fn every_payload_of_stripe_comes_to_what_it_should() {
    let stripe = Stripe::new(&[secret(STRIPE_SECRET)], Some(false)).unwrap();
    let table = TABLE.map(|(name, wanted)| (name, wanted.to_owned()));
    let outcome = |translated| {
        let shown = shown(translated).replace(PRIYA, "PRIYA");
        shown.replace("priya.raman@example.com", "PRIYA")
    };
    check("stripe", table.to_vec(), outcome, |id, body| {
        let signed = sign::stripe_webhook(&secret(STRIPE_SECRET), now(), body).unwrap();
        let verified = verify(&stripe, &signed).unwrap();
        assert_eq!((verified.key(), verified.provider_event_id()), (id, id));
        stripe.translate(&verified, &stripe_rules(), SALT)
    });
}
