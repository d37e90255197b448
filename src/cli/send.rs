//! `send`: sign a sample delivery with the configured secret and post it, as the provider would.

use std::process::ExitCode;

use clap::Args;
use reqwest::Client;
use secrecy::SecretString;
use serde_json::Value;

use super::exit;
use crate::app::{random_bytes, system_now};
use crate::config::Config;
use crate::ledger::{Money, Source};
use crate::provider::Providers;
use crate::provider::catalog::Pack;
use crate::provider::sample::stripe::{self, StripeSale};
use crate::provider::sample::{self, SamplePayment, SampleUser};
use crate::provider::sign::{self, SignedDelivery};

/// Why there is nothing to send.
fn no_such_sample() -> anyhow::Error {
    anyhow::anyhow!(
        "there are samples of clerk: user.created, user.updated, user.deleted; \
         razorpay: {}; stripe: {}",
        sample::RAZORPAY_TYPES.join(", "),
        stripe::TYPES.join(", ")
    )
}

/// Flags of `send`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// clerk, razorpay or stripe.
    provider: String,
    /// For example user.created or payment.captured.
    event_type: String,
    /// Whom it is about.
    #[arg(long, default_value = "user_2sampleSampleSampleSample00")]
    user: String,
    /// The e-mail address in it.
    #[arg(long, default_value = "sample@example.com")]
    email: String,
    /// The pack that is paid for. Default: the first of the catalog; for invoices and subscriptions, the first with a
    /// plan.
    #[arg(long)]
    sku: Option<String>,
    /// The payment's id. Default: a new one. What went back of it or is contested is all of it. At Stripe the ids of its session, charge, refund and so on end as it does.
    #[arg(long, value_name = "pay_…|pi_…")]
    payment: Option<String>,
    /// The provider's event id. Default: a new one; give one twice to see a duplicate of Clerk or Stripe.
    #[arg(long)]
    event_id: Option<String>,
    /// Where the service is. Default: where the settings say that it listens.
    #[arg(long, value_name = "ORIGIN")]
    url: Option<String>,
}

pub async fn run(arguments: Arguments, config: Config) -> anyhow::Result<ExitCode> {
    let source = Providers::KNOWN
        .into_iter()
        .find(|source| source.as_str() == arguments.provider)
        .ok_or_else(no_such_sample)?;
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
    let event_id = |prefix: &str| match &arguments.event_id {
        Some(id) => Ok(id.clone()),
        None => new_id(prefix),
    };
    Ok(match source {
        Source::Clerk => {
            let secret = first(&config.clerk_webhook_secrets, "CLERK_WEBHOOK_SECRET")?;
            let body = clerk_body(arguments)?.to_string();
            sign::svix(secret, &event_id("msg_")?, system_now(), body)?
        }
        Source::Razorpay => {
            let secret = first(&config.razorpay_webhook_secrets, "RAZORPAY_WEBHOOK_SECRET")?;
            let body = razorpay_body(arguments, config)?.to_string();
            sign::razorpay_webhook(secret, &event_id("")?, body)?
        }
        Source::Stripe => {
            let secret = first(&config.stripe_webhook_secrets, "STRIPE_WEBHOOK_SECRET")?;
            let sale = sale(arguments, config)?;
            let body = stripe::event(&arguments.event_type, &event_id("evt_")?, &sale)
                .ok_or_else(no_such_sample)?;
            sign::stripe_webhook(secret, system_now(), body.to_string())?
        }
        Source::Api | Source::Admin | Source::System => return Err(no_such_sample()),
    })
}

fn clerk_body(arguments: &Arguments) -> anyhow::Result<Value> {
    let user = SampleUser {
        user_id: arguments.user.clone(),
        email: Some(arguments.email.clone()),
        first_name: Some("Sam".to_owned()),
        last_name: Some("Ple".to_owned()),
        updated_at: system_now(),
    };
    Ok(match arguments.event_type.as_str() {
        "user.created" => sample::clerk_user_created(&user),
        "user.updated" => sample::clerk_user_updated(&user),
        "user.deleted" => sample::clerk_user_deleted(&user.user_id, user.updated_at),
        _ => return Err(no_such_sample()),
    })
}

fn razorpay_body(arguments: &Arguments, config: &Config) -> anyhow::Result<Value> {
    let payment = payment(arguments, config)?;
    sample::razorpay_event(&arguments.event_type, &payment).ok_or_else(no_such_sample)
}

/// A payment for a pack of the catalog, at its first price.
fn payment(arguments: &Arguments, config: &Config) -> anyhow::Result<SamplePayment> {
    let pack = pack(arguments, config, |_| true)?;
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

/// The same at Stripe.
fn sale(arguments: &Arguments, config: &Config) -> anyhow::Result<StripeSale> {
    let recurring = ["invoice", "customer.subscription"]
        .iter()
        .any(|prefix| arguments.event_type.starts_with(prefix));
    let pack = pack(arguments, config, |pack| !recurring || pack.plan.is_some())?;
    let price: Option<&Money> = pack.and_then(|pack| pack.prices.first());
    Ok(StripeSale {
        tail: match &arguments.payment {
            Some(id) => id.strip_prefix("pi_").unwrap_or(id).to_owned(),
            None => new_id("")?,
        },
        amount_minor: price.map_or(599, |price| price.amount_minor),
        currency: price.map_or_else(
            || "usd".to_owned(),
            |price| price.currency.as_str().to_lowercase(),
        ),
        user_id: Some(arguments.user.clone()),
        sku: pack.map(|pack| pack.sku.clone()),
        price_id: pack.and_then(|pack| pack.stripe_price_ids.first().cloned()),
        email: Some(arguments.email.clone()),
        created_at: system_now(),
    })
}

/// The pack that was asked for, or the first one that is fit for it, or the first one.
fn pack<'a>(
    arguments: &Arguments,
    config: &'a Config,
    fit: impl Fn(&Pack) -> bool,
) -> anyhow::Result<Option<&'a Pack>> {
    let packs = config.rules.catalog.packs();
    let Some(sku) = &arguments.sku else {
        return Ok(packs.iter().find(|pack| fit(pack)).or(packs.first()));
    };
    let named = packs.iter().find(|pack| pack.sku == *sku);
    Ok(Some(named.ok_or_else(|| {
        anyhow::anyhow!("the catalog has no pack {sku}")
    })?))
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
