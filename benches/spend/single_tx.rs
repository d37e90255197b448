//! What a careful hand would write: one SQL transaction per spend, prepared statements, a pool, the same HTTP server.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse, HttpServer, error::InternalError};
use anyhow::Context as _;
use credit_ledger::config::Config;
use credit_ledger::postgres::{ConnectOptions, Database, PoolOptions, Role};
use deadpool_postgres::Pool;
use serde::Deserialize;

use super::calls::{API_KEY, Users};
use super::ours::CREDITS;
use super::running::{self, Running};

/// What a spend asks.
#[derive(Deserialize)]
struct Spend {
    amount: i64,
    reason: Option<String>,
}

/// Makes its tables and users, and serves with as many workers as the service has.
pub async fn start(
    config: &Config,
    database: &Database,
    connections: usize,
    users: &[Users],
) -> anyhow::Result<Running> {
    let client = database
        .connect_as_login(&ConnectOptions::default())
        .await?;
    client
        .batch_execute(include_str!("sql/single_tx.sql"))
        .await?;
    for users in users {
        let ids: Vec<String> = (0..users.number).map(|number| users.id(number)).collect();
        client
            .execute(include_str!("sql/insert_accounts.sql"), &[&ids, &CREDITS])
            .await?;
    }
    let pool = database.pool(
        Role::App,
        &PoolOptions {
            max_size: connections,
            wait_timeout: Duration::from_secs(30),
            connect: ConnectOptions::default(),
        },
    )?;
    let pool = Data::new(pool);
    let listener = TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(Data::clone(&pool))
            .route("/v1/users/{user_id}/spends", web::post().to(receive))
    })
    .workers(config.workers)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(running::other(address, server))
}

async fn receive(
    pool: Data<Pool>,
    user_id: Path<String>,
    request: HttpRequest,
    spend: Json<Spend>,
) -> actix_web::Result<HttpResponse> {
    let header = |name: &str| request.headers().get(name)?.to_str().ok();
    let key = header("idempotency-key").unwrap_or_default();
    if header("authorization").and_then(|value| value.strip_prefix("Bearer ")) != Some(API_KEY) {
        return Ok(HttpResponse::Unauthorized().finish());
    }
    let balance = take(&pool, &user_id, key, &spend)
        .await
        .map_err(|error| InternalError::new(error, StatusCode::SERVICE_UNAVAILABLE))?;
    Ok(match balance {
        Some(balance) => HttpResponse::Ok().json(serde_json::json!({
            "entry_id": key, "spent": spend.amount, "balance": balance, "available": balance,
        })),
        None => HttpResponse::PaymentRequired().finish(),
    })
}

/// The balance after it; `None`: there are too few.
async fn take(pool: &Pool, user_id: &str, key: &str, spend: &Spend) -> anyhow::Result<Option<i64>> {
    let mut client = pool.get().await?;
    let take = client
        .prepare_cached(include_str!("sql/take_credits.sql"))
        .await?;
    let insert = client
        .prepare_cached(include_str!("sql/insert_spend.sql"))
        .await?;
    let transaction = client.transaction().await?;
    let row = transaction
        .query_opt(&take, &[&user_id, &spend.amount])
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let balance: i64 = row.try_get("balance")?;
    transaction
        .execute(
            &insert,
            &[&key, &user_id, &spend.amount, &spend.reason, &balance],
        )
        .await?;
    transaction.commit().await.context("the commit")?;
    Ok(Some(balance))
}
