//! The demo's story: what is sent, what must come back, and how it is told.

use std::net::SocketAddr;

use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::ISSUER;
use super::razorpay_stand_in::RazorpayStandIn;
use super::sealed::sealed;
use crate::access::mint::TokenMint;
use crate::app::system_now;
use crate::audit::replay;
use crate::cli::audit::print;
use crate::cli::send::{new_id, post};
use crate::config::Config;
use crate::ledger::Source;
use crate::postgres::Database;
use crate::provider::sample::{self, SampleDispute, SamplePayment, SampleRefund, SampleUser};
use crate::provider::sign::{self, SignedDelivery};

/// How long the demo's session tokens live, so that there is time to try things out.
const TOKEN_TTL_S: u32 = 3600;
/// Who signs up and pays.
const USER: &str = "user_2demoDemoDemoDemoDemoDemo00";

/// The throw-away secrets of one demo.
pub struct Secrets {
    clerk: SecretString,
    razorpay_webhook: SecretString,
    razorpay_key: SecretString,
    service_key: SecretString,
    audit_key: SecretString,
    mint: TokenMint,
}

impl Secrets {
    pub fn of(config: &Config, mint: TokenMint) -> anyhow::Result<Self> {
        let first = |secrets: &[SecretString]| {
            secrets
                .first()
                .cloned()
                .ok_or_else(|| anyhow::anyhow!("a demo secret is missing"))
        };
        let some = |secret: &Option<SecretString>| {
            secret
                .clone()
                .ok_or_else(|| anyhow::anyhow!("a demo secret is missing"))
        };
        Ok(Self {
            clerk: first(&config.clerk_webhook_secrets)?,
            razorpay_webhook: first(&config.razorpay_webhook_secrets)?,
            razorpay_key: some(&config.razorpay_api.key_secret)?,
            service_key: some(&config.api_keys.service)?,
            audit_key: some(&config.api_keys.audit)?,
            mint,
        })
    }

    fn token(&self) -> anyhow::Result<String> {
        Ok(self
            .mint
            .clerk_token(USER, ISSUER, None, system_now(), TOKEN_TTL_S)?)
    }
}

pub struct Story {
    origin: String,
    client: Client,
    secrets: Secrets,
    razorpay: RazorpayStandIn,
    database: Database,
}

/// What came back, and whether it is what had to.
struct Answer {
    status: StatusCode,
    body: Value,
}

impl Story {
    pub fn new(
        address: SocketAddr,
        secrets: Secrets,
        razorpay: RazorpayStandIn,
        database: Database,
    ) -> anyhow::Result<Self> {
        let client = Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(15))
            .build()?;
        Ok(Self {
            origin: format!("http://{address}"),
            client,
            secrets,
            razorpay,
            database,
        })
    }

    /// Tells it all. `false`: something came out otherwise than it must.
    pub async fn tell(&self) -> anyhow::Result<bool> {
        println!("Serving on {}\n", self.origin);
        let (first, second) = (payment()?, payment()?);
        let mut good = self.sign_up().await?;
        good &= self.purchase_with_the_webhook_first(&first).await?;
        good &= self.purchase_with_the_browser_first(&second).await?;
        good &= self.forgery().await?;
        good &= self.refund(&first).await?;
        good &= self.dispute(&second).await?;
        good &= self.audit().await?;
        println!(
            "\n{}",
            if good {
                "All as it must be."
            } else {
                "Something is NOT as it must be."
            }
        );
        Ok(good)
    }

    async fn sign_up(&self) -> anyhow::Result<bool> {
        let created = self.created()?;
        let mut good = self
            .webhook(
                "A user signs up at Clerk",
                Source::Clerk,
                &created,
                200,
                &json!({"status": "recorded"}),
            )
            .await?;
        let duplicate = json!({"status": "duplicate", "idempotent": true});
        good &= self
            .webhook(
                "Clerk delivers the same event again",
                Source::Clerk,
                &created,
                200,
                &duplicate,
            )
            .await?;
        let expected = json!({"registered": true, "balance": 20});
        good &= self.me("The user has the signup bonus", &expected).await?;
        Ok(good)
    }

    async fn purchase_with_the_webhook_first(&self, paid: &SamplePayment) -> anyhow::Result<bool> {
        let what = "The user pays; Razorpay says payment.captured";
        let expected = json!({"status": "recorded"});
        let mut good = self
            .webhook(
                what,
                Source::Razorpay,
                &self.captured(paid)?,
                200,
                &expected,
            )
            .await?;
        let what = "Razorpay says order.paid of the same money";
        let expected = json!({"status": "duplicate"});
        good &= self
            .webhook(
                what,
                Source::Razorpay,
                &self.order_paid(paid)?,
                200,
                &expected,
            )
            .await?;
        let what = "The browser returns from checkout after the webhook";
        let expected = json!({
            "success": true, "credits_added": 500, "balance": 520, "already_processed": true
        });
        good &= self.verify(what, paid, 200, &expected).await?;
        Ok(good)
    }

    async fn purchase_with_the_browser_first(&self, paid: &SamplePayment) -> anyhow::Result<bool> {
        self.razorpay
            .knows(&sample::razorpay_payment(paid, "authorized"));
        let what = "The user pays again; the browser is faster than the webhook, and Razorpay's API has no money yet";
        let expected = json!({"success": false, "status": "pending"});
        let mut good = self.verify(what, paid, 202, &expected).await?;
        self.razorpay
            .knows(&sample::razorpay_payment(paid, "captured"));
        let what =
            "The browser asks again; still no webhook, but Razorpay's API has the money by now";
        let expected = json!({
            "success": true, "credits_added": 500, "balance": 1020, "already_processed": false
        });
        good &= self.verify(what, paid, 200, &expected).await?;
        let what = "The webhook of that payment arrives late";
        let expected = json!({"status": "duplicate", "idempotent": true});
        good &= self
            .webhook(
                what,
                Source::Razorpay,
                &self.captured(paid)?,
                200,
                &expected,
            )
            .await?;
        Ok(good)
    }

    async fn forgery(&self) -> anyhow::Result<bool> {
        let mut tampered = self.captured(&payment()?)?;
        tampered.body = String::from_utf8_lossy(&tampered.body)
            .replace("49900", "99900")
            .into_bytes();
        let what = "Somebody changes the amount of a delivery";
        let expected = json!({"code": "invalid_signature"});
        let mut good = self
            .webhook(what, Source::Razorpay, &tampered, 400, &expected)
            .await?;
        let expected = json!({"balance": 1020, "available": 1020});
        good &= self
            .me("The user has what was paid for, once", &expected)
            .await?;
        Ok(good)
    }

    /// Half of a payment goes back, and half of its credits with it, once, whatever tells of it.
    async fn refund(&self, paid: &SamplePayment) -> anyhow::Result<bool> {
        let half = SampleRefund {
            refund_id: new_id("rfnd_")?,
            amount_minor: paid.amount_minor / 2,
            refunded_total_minor: paid.amount_minor / 2,
        };
        let mut good = true;
        for (what, event_type, status) in [
            (
                "Half of the first payment is refunded; Razorpay says refund.created",
                "refund.created",
                "recorded",
            ),
            (
                "Razorpay says refund.processed of the same refund",
                "refund.processed",
                "duplicate",
            ),
        ] {
            let delivery = self.by_razorpay(&sample::razorpay_refund(event_type, paid, &half))?;
            let expected = json!({ "status": status });
            good &= self
                .webhook(what, Source::Razorpay, &delivery, 200, &expected)
                .await?;
        }
        let expected = json!({"balance": 770, "available": 770, "debt": 0});
        good &= self
            .me("Half of its credits are clawed back", &expected)
            .await?;
        Ok(good)
    }

    /// A contested payment's credits are held back until the dispute is decided.
    async fn dispute(&self, paid: &SamplePayment) -> anyhow::Result<bool> {
        let chargeback = SampleDispute {
            dispute_id: new_id("disp_")?,
            amount_minor: paid.amount_minor,
            phase: "chargeback",
        };
        let mut good = true;
        for (what, event_type, then, held) in [
            (
                "The user's bank contests the second payment",
                "payment.dispute.created",
                "Its credits are held back until that is decided",
                500,
            ),
            (
                "The dispute is won",
                "payment.dispute.won",
                "The credits are available again",
                0,
            ),
        ] {
            let body = sample::razorpay_dispute(event_type, paid, &chargeback);
            let delivery = self.by_razorpay(&body)?;
            let expected = json!({"status": "recorded"});
            good &= self
                .webhook(what, Source::Razorpay, &delivery, 200, &expected)
                .await?;
            let expected = json!({"balance": 770, "held": held, "available": 770 - held});
            good &= self.me(then, &expected).await?;
        }
        Ok(good)
    }

    async fn audit(&self) -> anyhow::Result<bool> {
        println!("The auditor tells the history again with postgres-es:");
        let report = replay::replay(&self.database, &mut |_, _| {}).await?;
        print!("   ");
        print(&report);
        println!();
        let (client, key) = (&self.client, &self.secrets.audit_key);
        let sealed = sealed(client, &self.origin, key, report.events).await?;
        Ok(report.differences.is_empty() && sealed)
    }

    /// Says how to go on by hand.
    pub fn invite(&self) -> anyhow::Result<()> {
        println!("\nStill serving, until Ctrl-C. The user's own view:\n");
        println!(
            "  curl -s {}/v1/me -H 'Authorization: Bearer {}'\n",
            self.origin,
            self.secrets.token()?
        );
        println!("The backend's view:\n");
        println!(
            "  curl -s {}/v1/users/{USER}/entries -H 'Authorization: Bearer {}'",
            self.origin,
            self.secrets.service_key.expose_secret()
        );
        Ok(())
    }

    fn created(&self) -> anyhow::Result<SignedDelivery> {
        let user = SampleUser {
            user_id: USER.to_owned(),
            email: Some("demo@example.com".to_owned()),
            first_name: Some("Demo".to_owned()),
            last_name: None,
            updated_at: system_now(),
        };
        let body = sample::clerk_user_created(&user).to_string();
        Ok(sign::svix(
            &self.secrets.clerk,
            &new_id("msg_")?,
            system_now(),
            body,
        )?)
    }

    fn captured(&self, payment: &SamplePayment) -> anyhow::Result<SignedDelivery> {
        self.by_razorpay(&sample::razorpay_payment_captured(payment))
    }

    fn order_paid(&self, payment: &SamplePayment) -> anyhow::Result<SignedDelivery> {
        self.by_razorpay(&sample::razorpay_order_paid(payment))
    }

    fn by_razorpay(&self, body: &Value) -> anyhow::Result<SignedDelivery> {
        Ok(sign::razorpay_webhook(
            &self.secrets.razorpay_webhook,
            &new_id("")?,
            body.to_string(),
        )?)
    }

    async fn webhook(
        &self,
        what: &str,
        source: Source,
        delivery: &SignedDelivery,
        status: u16,
        expected: &Value,
    ) -> anyhow::Result<bool> {
        let (got, body) = post(&self.client, &self.origin, source, delivery).await?;
        let answer = Answer {
            status: got,
            body: serde_json::from_str(&body)?,
        };
        Ok(told(
            what,
            &format!("POST /webhooks/{source}"),
            &answer,
            status,
            expected,
        ))
    }

    async fn verify(
        &self,
        what: &str,
        payment: &SamplePayment,
        status: u16,
        expected: &Value,
    ) -> anyhow::Result<bool> {
        let order_id = payment.order_id.clone().unwrap_or_default();
        let key = &self.secrets.razorpay_key;
        let signature = sign::razorpay_checkout(key, &order_id, &payment.payment_id)?;
        let body = json!({
            "razorpay_order_id": order_id,
            "razorpay_payment_id": payment.payment_id,
            "razorpay_signature": signature,
        });
        let request = self
            .client
            .post(format!("{}/v1/payments/verify", self.origin))
            .json(&body);
        let answer = self.ask(request).await?;
        Ok(told(
            what,
            "POST /v1/payments/verify",
            &answer,
            status,
            expected,
        ))
    }

    async fn me(&self, what: &str, expected: &Value) -> anyhow::Result<bool> {
        let answer = self
            .ask(self.client.get(format!("{}/v1/me", self.origin)))
            .await?;
        Ok(told(what, "GET /v1/me", &answer, 200, expected))
    }

    /// Asks as the signed-in user.
    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let response = request.bearer_auth(self.secrets.token()?).send().await?;
        Ok(Answer {
            status: response.status(),
            body: response.json().await?,
        })
    }
}

/// A payment of the pack for the user.
fn payment() -> anyhow::Result<SamplePayment> {
    Ok(SamplePayment {
        payment_id: new_id("pay_")?,
        order_id: Some(new_id("order_")?),
        amount_minor: 49_900,
        currency: "INR".to_owned(),
        user_id: Some(USER.to_owned()),
        sku: Some("credits_500".to_owned()),
        email: Some("demo@example.com".to_owned()),
        created_at: system_now(),
    })
}

/// Prints a step and whether it came out as it must.
fn told(what: &str, request: &str, answer: &Answer, status: u16, expected: &Value) -> bool {
    let wanted = expected.as_object().into_iter().flatten();
    let good = answer.status == status
        && wanted
            .into_iter()
            .all(|(name, value)| answer.body[name] == *value);
    println!("{what}");
    println!("   {request} → {} {}", answer.status.as_u16(), answer.body);
    if !good {
        println!("   EXPECTED {status} with {expected}");
    }
    println!();
    good
}
