//! One payload of every kind, signed, verified and translated: what it must come to.

use super::*;
use crate::ledger::command::{
    ChangeProfile, DisputePayment, DisputeStanding, RefundPayment, RegisterUser,
};

/// What a payload must come to.
#[derive(Debug, PartialEq)]
enum Want {
    /// A registration: user, verified e-mail.
    Register(String, Email),
    /// A changed profile.
    Change(String, Email),
    /// A deletion.
    Delete(String),
    /// A purchase: payment, user, amount and currency, sku.
    Capture(String, Option<String>, Money, Option<String>),
    /// A refund: payment, refund with its amount and whether it failed, sum of all refunds.
    Refund(String, (String, i64, bool), i64),
    /// A dispute: payment, dispute, stage, standing.
    Dispute(String, String, u32, DisputeStanding),
    /// Nothing, and why.
    Ignore(String),
}

#[derive(Debug, PartialEq)]
enum Email {
    Verified(String),
    Unverified(String),
    None,
}

const PRIYA: &str = "user_3RkJ4hi245d8WxbYllUz4trG8pG";

fn verified(email: &str) -> Email {
    Email::Verified(email.to_owned())
}

fn register(user_id: &str, email: Email) -> Want {
    Want::Register(user_id.to_owned(), email)
}

fn change(user_id: &str, email: Email) -> Want {
    Want::Change(user_id.to_owned(), email)
}

fn delete(user_id: &str) -> Want {
    Want::Delete(user_id.to_owned())
}

fn capture(payment: &str, user: Option<&str>, money: Money, sku: Option<&str>) -> Want {
    let purchase_id = format!("razorpay:{payment}");
    Want::Capture(
        purchase_id,
        user.map(str::to_owned),
        money,
        sku.map(str::to_owned),
    )
}

/// Of the payment that the fixtures refund and dispute.
fn refund(id: &str, amount_minor: i64, total_minor: i64) -> Want {
    let refund = (id.to_owned(), amount_minor, false);
    Want::Refund(
        "razorpay:pay_Rf1DLxPeMKIsXE".to_owned(),
        refund,
        total_minor,
    )
}

fn dispute(stage: u32, standing: DisputeStanding) -> Want {
    let purchase_id = "razorpay:pay_Rf1DLxPeMKIsXE".to_owned();
    Want::Dispute(
        purchase_id,
        "disp_RfFmhWZUnHlp3T".to_owned(),
        stage,
        standing,
    )
}

fn ignore(event_type: &str) -> Want {
    Want::Ignore(format!("event type {event_type}"))
}

fn clerk_table() -> Vec<(&'static str, Want)> {
    let priya = || verified("priya.raman@example.com");
    vec![
        ("session.created.ignored_type", ignore("session.created")),
        ("user.created", register(PRIYA, priya())),
        (
            "user.created.legacy_minimal",
            register(
                "user_29w83sxmDNGwOuLegacyg56FcC",
                verified("legacy@example.org"),
            ),
        ),
        (
            "user.created.multi_email_primary_second",
            register(
                "user_30HLq56d6wUNVa3sZzSZSkCUZ6q",
                verified("asha.k@new-mail.example"),
            ),
        ),
        (
            "user.created.oauth_google",
            register(
                "user_3uUlnn6Tqqg7OePwMknvCJkkE3B",
                verified("gita@example.org"),
            ),
        ),
        (
            "user.created.phone_only_no_email",
            register("user_3ED9ReiMeCA15Kl5ZJ91Tcu4SSs", Email::None),
        ),
        (
            "user.created.primary_email_unverified",
            register(
                "user_3yvUXkmRpD11TdGNED1HgHu3kz9",
                Email::Unverified("una@example.net".to_owned()),
            ),
        ),
        (
            "user.created.resignup_same_email_new_id",
            register("user_3U2Nk6BbEg6F140WwT262QEfiOj", priya()),
        ),
        ("user.deleted", delete(PRIYA)),
        (
            "user.deleted.with_external_id",
            delete("user_30HLq56d6wUNVa3sZzSZSkCUZ6q"),
        ),
        (
            "user.updated.all_emails_removed",
            change(PRIYA, Email::None),
        ),
        ("user.updated.banned", change(PRIYA, priya())),
        ("user.updated.metadata_echo", change(PRIYA, priya())),
        (
            "user.updated.primary_email_changed",
            change(PRIYA, verified("priya.iyer@example.com")),
        ),
    ]
}

fn razorpay_table() -> Vec<(&'static str, Want)> {
    let user = Some(PRIYA);
    let sku = Some("credits_500");
    let inr = money(49_900, "INR");
    let open = DisputeStanding::Open {
        amount_minor: 49_900,
    };
    vec![
        ("order.paid", capture("pay_Rf1DLxPeMKIsXE", user, inr, sku)),
        (
            "payment.authorized.captured_true_quirk",
            ignore("payment.authorized"),
        ),
        ("payment.authorized", ignore("payment.authorized")),
        (
            "payment.authorized.late_after_failed",
            ignore("payment.authorized"),
        ),
        (
            "payment.captured.international_usd",
            capture("pay_RLm2Eodn0MZ2E2", user, money(4900, "USD"), None),
        ),
        (
            "payment.captured.kwd_three_decimal",
            capture(
                "pay_R3ZrnXVN4AoZED",
                user,
                money(15_250, "KWD"),
                Some("credits_500_kwd"),
            ),
        ),
        (
            "payment.captured.no_order_no_email",
            capture("pay_Rk8kcGVM3I3WUu", None, inr, sku),
        ),
        (
            "payment.captured.notes_empty_array",
            capture("pay_RI67p81weqjtfe", None, inr, sku),
        ),
        (
            "payment.captured.notes_object",
            capture("pay_Rf1DLxPeMKIsXE", user, inr, sku),
        ),
        (
            "payment.dispute.closed",
            Want::Ignore("dispute phase fraud: no money moves".to_owned()),
        ),
        ("payment.dispute.created", dispute(0, open)),
        (
            "payment.dispute.lost",
            dispute(
                2,
                DisputeStanding::Lost {
                    amount_minor: 49_900,
                },
            ),
        ),
        ("payment.dispute.under_review", dispute(0, open)),
        ("payment.dispute.won", dispute(3, DisputeStanding::Won)),
        ("payment.failed", ignore("payment.failed")),
        (
            "payment_link.paid",
            capture("pay_RBKDrum5RWY7fE", None, inr, sku),
        ),
        (
            "refund.created",
            refund("rfnd_R5vrvCHgyI5Ure", 15_000, 15_000),
        ),
        (
            "refund.failed",
            Want::Refund(
                "razorpay:pay_RI67p81weqjtfe".to_owned(),
                ("rfnd_ROqTLlBpFS8FGl".to_owned(), 49_900, true),
                0,
            ),
        ),
        (
            "refund.processed.full",
            refund("rfnd_Rqj17UHFNZiACw", 34_900, 49_900),
        ),
        (
            "refund.processed.partial",
            refund("rfnd_R5vrvCHgyI5Ure", 15_000, 15_000),
        ),
        (
            "refund.speed_changed.created_at_nested_quirk",
            ignore("refund.speed_changed"),
        ),
        ("subscription.cancelled", ignore("subscription.cancelled")),
        (
            "subscription.charged",
            capture("pay_RR3gFVwC9olL7I", user, money(99_900, "INR"), None),
        ),
        (
            "subscription.charged.legacy_captured_string",
            capture("pay_R40Pdi6OHMo5wq", user, money(99_900, "INR"), None),
        ),
        ("subscription.pending", ignore("subscription.pending")),
    ]
}

fn email(personal: &Personal) -> Email {
    let profile = profile_of(personal);
    match (profile.email, profile.email_verified) {
        (Some(email), true) => Email::Verified(email),
        (Some(email), false) => Email::Unverified(email),
        (None, false) => Email::None,
        (None, true) => panic!("no address is verified"),
    }
}

fn outcome(translated: Translated) -> Want {
    match translated {
        Translated::Apply(Command::RegisterUser(RegisterUser {
            user_id,
            profile,
            plan,
            bonus,
            ..
        })) => {
            assert_eq!((plan.as_str(), bonus.get()), ("free", 20));
            register(user_id.as_str(), email(&profile))
        }
        Translated::Apply(Command::ChangeProfile(ChangeProfile {
            user_id, profile, ..
        })) => change(user_id.as_str(), email(&profile)),
        Translated::Apply(Command::DeleteUser { user_id }) => delete(user_id.as_str()),
        Translated::Apply(Command::CapturePayment(capture)) => {
            assert_eq!(capture.paid_at_s, 1_795_000_000);
            assert_eq!(capture.claimant, None);
            if let Some(price) = &capture.price {
                assert_eq!(price.credits.get(), 500, "{}", price.sku);
            }
            Want::Capture(
                capture.purchase_id.to_string(),
                capture.user_id.map(String::from),
                capture.money,
                capture.price.map(|price| price.sku),
            )
        }
        Translated::Apply(Command::RefundPayment(RefundPayment {
            purchase_id,
            refund,
            refunded_total_minor,
        })) => {
            let refund = refund.unwrap();
            Want::Refund(
                purchase_id.to_string(),
                (refund.refund_id, refund.amount_minor, refund.failed),
                refunded_total_minor,
            )
        }
        Translated::Apply(Command::DisputePayment(DisputePayment {
            purchase_id,
            dispute_id,
            stage,
            standing,
            currency: _,
        })) => Want::Dispute(purchase_id.to_string(), dispute_id, stage.0, standing),
        Translated::Ignore(reason) => Want::Ignore(reason),
        other => panic!("unexpected: {other:?}"),
    }
}

/// Every file of a folder has its row, every row its file, and every file comes to what its row says.
pub(super) fn check<W: std::fmt::Debug + PartialEq>(
    folder: &str,
    table: Vec<(&'static str, W)>,
    outcome: impl Fn(Translated) -> W,
    deliver: impl Fn(&str, Vec<u8>) -> Translated,
) {
    let files: BTreeSet<String> = std::fs::read_dir(fixture(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let rows: BTreeSet<String> = table
        .iter()
        .map(|(name, _)| format!("{name}.json"))
        .collect();
    assert_eq!(files, rows);
    let ids = transport_ids();
    for (name, wanted) in table {
        let path = format!("{folder}/{name}.json");
        let body = std::fs::read(fixture(&path)).unwrap();
        assert_eq!(outcome(deliver(&ids[&path], body)), wanted, "{path}");
    }
}

fn transport_ids() -> std::collections::BTreeMap<String, String> {
    let manifest = read_json("manifest.json");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    manifest["fixtures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (text(row, "file"), text(row, "transport_id")))
        .collect()
}

#[test]
fn every_payload_of_clerk_comes_to_what_it_should() {
    check("clerk", clerk_table(), outcome, |id, body| {
        let signed = sign::svix(&secret(CLERK_SECRET), id, now(), body).unwrap();
        let verified = verify(&clerk(), &signed).unwrap();
        assert_eq!((verified.key(), verified.provider_event_id()), (id, id));
        clerk().translate(&verified, &rules(), SALT)
    });
}

#[test]
fn every_payload_of_razorpay_comes_to_what_it_should() {
    check("razorpay", razorpay_table(), outcome, |id, body| {
        let signed = sign::razorpay_webhook(&secret(RAZORPAY_SECRET), id, body).unwrap();
        let verified = verify(&razorpay(), &signed).unwrap();
        assert_eq!(verified.provider_event_id(), id);
        razorpay().translate(&verified, &rules(), SALT)
    });
}
