//! `send`: sign a sample delivery with the configured secret and post it, as the provider would.

use std::process::ExitCode;

use clap::Args;
use reqwest::Client;
use secrecy::SecretString;
use serde_json::Value;

use super::exit;
use crate::app::{random_bytes, system_now};
use crate::config::Config;
use crate::ledger::Source;
use crate::provider::sample::{self, SamplePayment, SampleUser};
use crate::provider::sign::{self, SignedDelivery};

/// What `send` can send, by provider.
const SAMPLES: &str =
    "clerk: user.created, user.updated, user.deleted; razorpay: payment.captured, order.paid";

/// Flags of `send`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// clerk or razorpay.
    provider: String,
    /// For example user.created or payment.captured.
    event_type: String,
    /// Whom it is about.
    #[arg(long, default_value = "user_2sampleSampleSampleSample00")]
    user: String,
    /// The e-mail address in it.
    #[arg(long, default_value = "sample@example.com")]
    email: String,
    /// The pack that is paid for. Default: the first of the catalog.
    #[arg(long)]
    sku: Option<String>,
    /// The payment's id. Default: a new one.
    #[arg(long, value_name = "pay_…")]
    payment: Option<String>,
    /// The provider's event id. Default: a new one; give one twice to see a duplicate of Clerk.
    #[arg(long)]
    event_id: Option<String>,
    /// Where the service is. Default: where the settings say that it listens.
    #[arg(long, value_name = "ORIGIN")]
    url: Option<String>,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let source = match arguments.provider.as_str() {
        "clerk" => Source::Clerk,
        "razorpay" => Source::Razorpay,
        _ => anyhow::bail!("there are samples of {SAMPLES}"),
    };
    let delivery = sign_sample(source, &arguments, &config)?;
    let origin = arguments
        .url
        .unwrap_or_else(|| format!("http://{}", config.listen));
    let client = Client::builder()
        .no_proxy()
        .timeout(std::time::Duration::from_secs(15))
        .build()?;
    let (status, answer) = post(&client, &origin, source, &delivery).await?;
    println!("{status} {answer}");
    Ok(exit(status.is_success()))
}

fn sign_sample(
    source: Source,
    arguments: &Arguments,
    config: &Config,
) -> anyhow::Result<SignedDelivery> {
    let event_id = match &arguments.event_id {
        Some(id) => id.clone(),
        None => new_id(if source == Source::Clerk { "msg_" } else { "" })?,
    };
    let body = sample_body(source, arguments, config)?.to_string();
    Ok(match source {
        Source::Clerk => {
            let secret = first(&config.clerk_webhook_secrets, "CLERK_WEBHOOK_SECRET")?;
            sign::svix(secret, &event_id, system_now(), body)?
        }
        Source::Razorpay | Source::Api | Source::Admin | Source::System => {
            let secret = first(&config.razorpay_webhook_secrets, "RAZORPAY_WEBHOOK_SECRET")?;
            sign::razorpay_webhook(secret, &event_id, body)?
        }
    })
}

fn sample_body(source: Source, arguments: &Arguments, config: &Config) -> anyhow::Result<Value> {
    let user = SampleUser {
        user_id: arguments.user.clone(),
        email: Some(arguments.email.clone()),
        first_name: Some("Sam".to_owned()),
        last_name: Some("Ple".to_owned()),
        updated_at: system_now(),
    };
    Ok(match (source, arguments.event_type.as_str()) {
        (Source::Clerk, "user.created") => sample::clerk_user_created(&user),
        (Source::Clerk, "user.updated") => sample::clerk_user_updated(&user),
        (Source::Clerk, "user.deleted") => {
            sample::clerk_user_deleted(&user.user_id, user.updated_at)
        }
        (Source::Razorpay, "payment.captured") => {
            sample::razorpay_payment_captured(&payment(arguments, config)?)
        }
        (Source::Razorpay, "order.paid") => {
            sample::razorpay_order_paid(&payment(arguments, config)?)
        }
        _ => anyhow::bail!("there are samples of {SAMPLES}"),
    })
}

/// A payment for a pack of the catalog, at its first price.
fn payment(arguments: &Arguments, config: &Config) -> anyhow::Result<SamplePayment> {
    let packs = config.rules.catalog.packs();
    let wanted = |sku: &String| packs.iter().find(|pack| pack.sku == *sku);
    let pack = match &arguments.sku {
        None => packs.first(),
        Some(sku) => {
            Some(wanted(sku).ok_or_else(|| anyhow::anyhow!("the catalog has no pack {sku}"))?)
        }
    };
    let price = pack.and_then(|pack| pack.prices.first());
    Ok(SamplePayment {
        payment_id: match &arguments.payment {
            Some(id) => id.clone(),
            None => new_id("pay_")?,
        },
        order_id: Some(new_id("order_")?),
        amount_minor: price.map_or(49_900, |price| price.amount_minor),
        currency: price.map_or_else(|| "INR".to_owned(), |price| price.currency.to_string()),
        user_id: Some(arguments.user.clone()),
        sku: pack.map(|pack| pack.sku.clone()),
        email: Some(arguments.email.clone()),
        created_at: system_now(),
    })
}

fn first<'a>(secrets: &'a [SecretString], setting: &str) -> anyhow::Result<&'a SecretString> {
    secrets
        .first()
        .ok_or_else(|| anyhow::anyhow!("{setting} is not set"))
}

/// A prefix and 14 random letters and digits, as Razorpay makes ids.
pub fn new_id(prefix: &str) -> anyhow::Result<String> {
    Ok(format!("{prefix}{}", hex::encode(random_bytes::<7>()?)))
}

/// Posts a delivery; gives the status and the body of the answer.
pub async fn post(
    client: &Client,
    origin: &str,
    source: Source,
    delivery: &SignedDelivery,
) -> anyhow::Result<(reqwest::StatusCode, String)> {
    let mut request = client
        .post(format!("{origin}/webhooks/{source}"))
        .body(delivery.body.clone());
    for (name, value) in &delivery.headers {
        request = request.header(*name, value);
    }
    let response = request.send().await?;
    Ok((response.status(), response.text().await?))
}
