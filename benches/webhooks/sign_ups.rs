//! Sign-ups beside payments: Clerk's `user.created`, every one a new user with a bonus, so two events.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use credit_ledger::app::system_now;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::delivery::{Template, USERS, scramble, write_id};
use super::goals::{Goal, Goals};
use super::load::{Expected, Requests};
use super::rates::{Rates, rate};
use super::stage::Stage;
use super::{ours, server};

const PAYMENTS: &str = "payments";
const SIGN_UPS: &str = "sign-ups";
const CONNECTIONS: usize = 64;

/// Measures both in turn.
///
/// # Errors
/// On the first wrong answer; also when what is stored is not what was acknowledged.
pub async fn measure(stage: &Stage<'_>, goals: &mut Goals) -> anyhow::Result<()> {
    let mut rates = Rates::of(&[PAYMENTS, SIGN_UPS]);
    for round in 0..stage.arguments.rounds {
        for what in Stage::in_turn(round, &[PAYMENTS, SIGN_UPS]) {
            let name = stage.database_name("sign_ups", round);
            let cell = stage
                .with_service(&name, async |database, target| {
                    if what == PAYMENTS {
                        return stage.pay(target, database, CONNECTIONS, &mut 0).await;
                    }
                    let requests = SignUps::new(target.address())?;
                    let cell = stage.send(target, CONNECTIONS, requests).await?;
                    let sql = include_str!("sql/sign_ups_found.sql");
                    let found = server::count(database, sql).await?;
                    let acknowledged = cell.measured.stored;
                    ensure!(
                        found.recorded == acknowledged && found.in_balances == acknowledged,
                        "{acknowledged} sign-ups were acknowledged, {} bonuses are there, {} are in the balances",
                        found.recorded,
                        found.in_balances
                    );
                    Ok(cell)
                })
                .await?;
            rates.add(what, cell);
        }
    }
    rates.print();
    goals.note(Goal::Signups, stage.pass, rates.ratio(SIGN_UPS, rate));
    Ok(())
}

/// Writes one sign-up after the other, signed as Svix does.
struct SignUps {
    address: SocketAddr,
    template: Template,
    mac: Hmac<Sha256>,
    next: u64,
    id: Vec<u8>,
    body: Vec<u8>,
}

impl SignUps {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let secret = ours::CLERK_SECRET.trim_start_matches("whsec_");
        Ok(Self {
            address,
            template: Template::parse(include_str!("user_created.json"))?,
            mac: Hmac::new_from_slice(&STANDARD.decode(secret)?).context("any length is a key")?,
            next: 0,
            id: Vec::new(),
            body: Vec::new(),
        })
    }
}

impl Requests for SignUps {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        let number = self.next;
        self.next += 1;
        self.id.clear();
        self.id.extend_from_slice(b"msg_");
        write_id(scramble(!number), 14, &mut self.id);
        self.body.clear();
        self.template
            .write(number, USERS + number, &mut self.body)?;
        let sent_at_s = system_now().timestamp();
        let mut mac = self.mac.clone();
        mac.update(&self.id);
        mac.update(format!(".{sent_at_s}.").as_bytes());
        mac.update(&self.body);
        let mut signature = [0; 44];
        STANDARD
            .encode_slice(mac.finalize().into_bytes(), &mut signature)
            .map_err(std::io::Error::other)?;
        write!(
            request,
            "POST /webhooks/clerk HTTP/1.1\r\nhost: {}\r\nuser-agent: Svix-Webhooks/1.40\r\naccept: */*\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nsvix-timestamp: {sent_at_s}\r\nsvix-id: ",
            self.address,
            self.body.len()
        )?;
        request.extend_from_slice(&self.id);
        request.extend_from_slice(b"\r\nsvix-signature: v1,");
        request.extend_from_slice(&signature);
        request.extend_from_slice(b"\r\n\r\n");
        request.extend_from_slice(&self.body);
        Ok(Expected {
            text: "\"recorded\"",
            stored: true,
        })
    }
}
