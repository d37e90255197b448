//! What a careful hand would write: one SQL transaction per webhook, prepared statements, a pool.

use std::time::Duration;

use credit_ledger::postgres::{ConnectOptions, Database, PoolOptions, Role};
use deadpool_postgres::Pool;

use super::baseline::{Payment, Record, Recorded};

const INSERT_INBOX: &str = include_str!("sql/single_tx/insert_inbox.sql");
const INSERT_PAYMENT: &str = include_str!("sql/single_tx/insert_payment.sql");
const ADD_CREDITS: &str = include_str!("sql/single_tx/add_credits.sql");

/// One transaction per webhook.
pub struct SingleTx {
    pool: Pool,
}

impl SingleTx {
    /// Makes its tables.
    pub async fn open(database: &Database, connections: usize) -> anyhow::Result<Self> {
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await?;
        client
            .batch_execute(include_str!("sql/single_tx.sql"))
            .await?;
        let pool = database.pool(
            Role::App,
            &PoolOptions {
                max_size: connections,
                wait_timeout: Duration::from_secs(30),
                connect: ConnectOptions::default(),
            },
        )?;
        Ok(Self { pool })
    }
}

impl Record for SingleTx {
    async fn record(&self, payment: Payment) -> anyhow::Result<Recorded> {
        let mut client = self.pool.get().await?;
        let insert_inbox = client.prepare_cached(INSERT_INBOX).await?;
        let insert_payment = client.prepare_cached(INSERT_PAYMENT).await?;
        let add_credits = client.prepare_cached(ADD_CREDITS).await?;
        let transaction = client.transaction().await?;
        let new = transaction
            .execute(
                &insert_inbox,
                &[
                    &payment.source,
                    &payment.key,
                    &payment.provider_event_id,
                    &payment.body,
                    &payment.received_at,
                ],
            )
            .await?;
        if new == 0 {
            return Ok(Recorded::Duplicate);
        }
        let new = transaction
            .execute(
                &insert_payment,
                &[
                    &payment.purchase_id,
                    &payment.user_id,
                    &payment.amount_minor,
                    &payment.currency,
                    &payment.order_id,
                    &payment.credits,
                    &payment.paid_at_s,
                    &payment.received_at,
                ],
            )
            .await?;
        if new == 1 {
            transaction
                .execute(&add_credits, &[&payment.user_id, &payment.credits])
                .await?;
        }
        transaction.commit().await?;
        Ok(if new == 1 {
            Recorded::New
        } else {
            Recorded::Duplicate
        })
    }
}
