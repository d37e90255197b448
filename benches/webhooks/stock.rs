//! Stock cqrs-es with postgres-es 0.5, put together as its book does: `postgres_cqrs`, and a `GenericQuery` for each view.
//!
//! The aggregates are the service's own, and so are the facts: a purchase is captured, and its user has the credits. The
//! framework commits one aggregate at a time, and each view after it.

use std::sync::Arc;

use anyhow::bail;
use cqrs_es::persist::GenericQuery;
use cqrs_es::{Aggregate, AggregateError, EventEnvelope, View};
use credit_ledger::ledger::purchase::PurchaseCommand;
use credit_ledger::ledger::user::UserCommand;
use credit_ledger::ledger::{Purchase, PurchaseEvent, User};
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use postgres_es::{PostgresCqrs, PostgresViewRepository, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::baseline::{Payment, Record, Recorded};

/// How often a command that met another one on the same aggregate is tried.
const ATTEMPTS: u8 = 10;

/// What a user has.
#[derive(Debug, Default, Serialize, Deserialize)]
struct BalanceView {
    balance: i64,
}

impl View<User> for BalanceView {
    fn update(&mut self, event: &EventEnvelope<User>) {
        self.balance += event
            .payload
            .movement()
            .map_or(0, |movement| movement.delta);
    }
}

/// What was bought.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PurchaseView {
    user_id: Option<String>,
    amount_minor: i64,
    currency: String,
    order_id: Option<String>,
    credits: i64,
    paid_at_s: i64,
}

impl View<Purchase> for PurchaseView {
    fn update(&mut self, event: &EventEnvelope<Purchase>) {
        if let PurchaseEvent::PaymentCaptured {
            amount_minor,
            currency,
            order_id,
            user_id,
            price,
            paid_at_s,
            ..
        } = &event.payload
        {
            *self = Self {
                user_id: user_id.as_ref().map(ToString::to_string),
                amount_minor: *amount_minor,
                currency: currency.to_string(),
                order_id: order_id.clone(),
                credits: price.as_ref().map_or(0, |price| price.credits.get()),
                paid_at_s: *paid_at_s,
            };
        }
    }
}

/// The framework on its pool.
pub struct Stock {
    purchases: PostgresCqrs<Purchase>,
    users: PostgresCqrs<User>,
}

impl Stock {
    /// Makes its tables.
    pub async fn open(database: &Database, connections: u32) -> anyhow::Result<Self> {
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await?;
        client.batch_execute(include_str!("sql/stock.sql")).await?;
        let options = database.sqlx_options(Role::App, &ConnectOptions::default());
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .connect_with(options)
            .await?;
        Ok(Self {
            purchases: framework::<PurchaseView, _>(&pool, "purchase_view"),
            users: framework::<BalanceView, _>(&pool, "balance_view"),
        })
    }
}

fn framework<V, A>(pool: &PgPool, view: &str) -> PostgresCqrs<A>
where
    V: View<A> + 'static,
    A: Aggregate<Services = ()> + 'static,
{
    let views = PostgresViewRepository::<V, A>::new(view, pool.clone());
    let query = GenericQuery::<_, V, A>::new(Arc::new(views));
    postgres_cqrs(pool.clone(), vec![Box::new(query)], ())
}

impl Record for Stock {
    async fn record(&self, payment: Payment) -> anyhow::Result<Recorded> {
        let capture = payment.capture;
        let (Some(user_id), Some(price)) = (&capture.user_id, &capture.price) else {
            bail!("the payment names no user or no pack");
        };
        let credit = UserCommand::CreditPurchase {
            purchase_id: capture.purchase_id.clone(),
            price: price.clone(),
        };
        let purchase_id = capture.purchase_id.clone();
        let user_id = user_id.clone();
        let captured = PurchaseCommand::Capture(capture);
        execute(&self.purchases, purchase_id.as_str(), captured).await?;
        execute(&self.users, user_id.as_str(), credit).await?;
        // It does not say whether there was anything new.
        Ok(Recorded::New)
    }
}

async fn execute<A>(cqrs: &PostgresCqrs<A>, id: &str, command: A::Command) -> anyhow::Result<()>
where
    A: Aggregate,
    A::Command: Clone,
{
    for _ in 0..ATTEMPTS {
        match cqrs.execute(id, command.clone()).await {
            Ok(()) => return Ok(()),
            Err(AggregateError::AggregateConflict) => {}
            Err(error) => bail!("{error}"),
        }
    }
    bail!("{ATTEMPTS} conflicts in a row")
}
