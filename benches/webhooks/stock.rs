//! Stock cqrs-es with postgres-es 0.5, put together as its book does: `postgres_cqrs`, and a `GenericQuery` for the view.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::bail;
use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::GenericQuery;
use cqrs_es::{Aggregate, AggregateError, DomainEvent, EventEnvelope, View};
use credit_ledger::postgres::{ConnectOptions, Database, Role};
use postgres_es::{PostgresCqrs, PostgresViewRepository, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;

use super::baseline::{Payment, Record, Recorded};

/// How often a command that met another one on the same user is tried.
const ATTEMPTS: u8 = 10;

/// A user's account.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
    payments: HashSet<String>,
}

/// A payment arrived.
#[derive(Clone)]
struct CapturePayment {
    purchase_id: String,
    credits: i64,
    amount_minor: i64,
    currency: String,
    order_id: Option<String>,
    paid_at_s: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum AccountEvent {
    CreditsPurchased {
        purchase_id: String,
        delta: i64,
        balance: i64,
        amount_minor: i64,
        currency: String,
        order_id: Option<String>,
        paid_at_s: i64,
    },
}

#[derive(Debug, thiserror::Error)]
#[error("the balance is too large")]
struct TooLarge;

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        "CreditsPurchased".to_owned()
    }
    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = CapturePayment;
    type Event = AccountEvent;
    type Error = TooLarge;
    type Services = ();

    async fn handle(
        &mut self,
        command: CapturePayment,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), TooLarge> {
        if self.payments.contains(&command.purchase_id) {
            return Ok(());
        }
        let event = AccountEvent::CreditsPurchased {
            balance: self.balance.checked_add(command.credits).ok_or(TooLarge)?,
            purchase_id: command.purchase_id,
            delta: command.credits,
            amount_minor: command.amount_minor,
            currency: command.currency,
            order_id: command.order_id,
            paid_at_s: command.paid_at_s,
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: AccountEvent) {
        let AccountEvent::CreditsPurchased {
            purchase_id,
            balance,
            ..
        } = event;
        self.balance = balance;
        self.payments.insert(purchase_id);
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct BalanceView {
    balance: i64,
}

impl View<Account> for BalanceView {
    fn update(&mut self, event: &EventEnvelope<Account>) {
        let AccountEvent::CreditsPurchased { delta, .. } = &event.payload;
        self.balance += delta;
    }
}

/// The framework on its pool.
pub struct Stock {
    cqrs: PostgresCqrs<Account>,
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
        let views =
            PostgresViewRepository::<BalanceView, Account>::new("balance_view", pool.clone());
        let query = GenericQuery::<_, BalanceView, Account>::new(Arc::new(views));
        Ok(Self {
            cqrs: postgres_cqrs(pool, vec![Box::new(query)], ()),
        })
    }
}

impl Record for Stock {
    async fn record(&self, payment: Payment) -> anyhow::Result<Recorded> {
        let command = CapturePayment {
            purchase_id: payment.purchase_id,
            credits: payment.credits,
            amount_minor: payment.amount_minor,
            currency: payment.currency,
            order_id: payment.order_id,
            paid_at_s: payment.paid_at_s,
        };
        for _ in 0..ATTEMPTS {
            match self.cqrs.execute(&payment.user_id, command.clone()).await {
                // It does not say whether there was anything new.
                Ok(()) => return Ok(Recorded::New),
                Err(AggregateError::AggregateConflict) => {}
                Err(error) => bail!("{error}"),
            }
        }
        bail!("{ATTEMPTS} conflicts in a row")
    }
}
