//! Balances read, beside a bare handler that does the same single prepared SELECT.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};

use actix_web::error::ErrorInternalServerError;
use actix_web::web::{self, Data, Path};
use actix_web::{HttpResponse, HttpServer};
use credit_ledger::config::Config;
use credit_ledger::postgres::{Database, PoolOptions, Role};
use deadpool_postgres::Pool;
use serde::Serialize;

use super::delivery::{USERS, scramble, user_of, write_user_id};
use super::goals::{Goal, Goals};
use super::load::{Expected, Requests};
use super::rates::{Rates, rate};
use super::running::{self, Running};
use super::stage::{Stage, Target};
use super::{ours, payments};

const BARE: &str = "a bare handler, the same SELECT";
const OURS: &str = "credit-ledger";
const CONNECTIONS: usize = 64;
/// As many as the service reads with.
const POOL: usize = 16;
const SQL: &str = include_str!("../../projections/balance/get.sql");

/// Measures both in turn, on one database.
///
/// # Errors
/// On the first wrong answer.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let name = stage.database_name("reads", 0);
    let database = stage.server.create(&name).await?;
    let stored = if stage.arguments.quick { 2_000 } else { USERS };
    let config = ours::config(stage.server.folder(), &name)?;
    payments::store(&database, &config, stored).await?;
    let mut rates = Rates::of(&[BARE, OURS]);
    for round in 0..stage.arguments.rounds {
        for what in Stage::in_turn(round, &[BARE, OURS]) {
            let running = if what == OURS {
                running::service(config.clone()).await?
            } else {
                bare(&config, &database)?
            };
            let target = Target::here(running.address);
            let requests = Balances {
                address: running.address,
                stored,
                turn: 0,
            };
            let cell = stage.send(&target, CONNECTIONS, requests).await;
            running.stop().await?;
            rates.add(what, cell?);
        }
    }
    stage.server.drop_database(&name).await?;
    rates.print();
    goals.note(Goal::Reads, stage.pass, rates.ratio(OURS, rate));
    Ok(())
}

/// Asks for the balances of those who have paid, in no order.
struct Balances {
    address: SocketAddr,
    stored: u64,
    turn: u64,
}

impl Requests for Balances {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        self.turn += 1;
        request.extend_from_slice(b"GET /v1/users/");
        write_user_id(user_of(scramble(self.turn) % self.stored), request);
        write!(
            request,
            "/balance HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            self.address,
            ours::API_KEY
        )?;
        Ok(Expected {
            text: "\"available\"",
            stored: false,
        })
    }
}

/// The same answer as the service's.
#[derive(Serialize)]
struct Balance<'a> {
    user_id: &'a str,
    balance: i64,
    held: i64,
    available: i64,
    debt: i64,
    version: i64,
}

/// Serves with as many workers as the service has, and asks nobody for a key.
fn bare(config: &Config, database: &Database) -> anyhow::Result<Running> {
    let pool = Data::new(database.pool(Role::App, &PoolOptions::for_reads(POOL))?);
    let listener = TcpListener::bind(config.listen)?;
    let address = listener.local_addr()?;
    let server = HttpServer::new(move || {
        actix_web::App::new()
            .app_data(Data::clone(&pool))
            .route("/v1/users/{id}/balance", web::get().to(balance))
    })
    .workers(config.workers)
    .disable_signals()
    .listen(listener)?
    .run();
    Ok(running::other(address, server))
}

async fn balance(pool: Data<Pool>, user_id: Path<String>) -> actix_web::Result<HttpResponse> {
    let client = pool.get().await.map_err(ErrorInternalServerError)?;
    let select = client.prepare_cached(SQL).await;
    let select = select.map_err(ErrorInternalServerError)?;
    let user_id = user_id.as_str();
    let row = client.query_one(&select, &[&user_id]).await;
    let row = row.map_err(ErrorInternalServerError)?;
    let (balance, held): (i64, i64) = (row.get("balance"), row.get("held"));
    Ok(HttpResponse::Ok().json(Balance {
        user_id,
        balance,
        held,
        available: balance - held,
        debt: row.get("debt"),
        version: row.get("version"),
    }))
}
