//! The deliveries that are sent: Razorpay's `payment.captured`, every one a new payment, signed when it is sent.
//!
//! Owns the bytes of a whole HTTP request; never sends them.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::load::Requests;

/// Users that the payments are spread over.
const USERS: u64 = 100_000;
/// What the webhook is signed with.
pub const SECRET: &str = "bench-only-webhook-secret";
const BODY: &str = include_str!("payment_captured.json");
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Writes one delivery after the other.
pub struct Deliveries {
    head: String,
    pieces: Vec<Piece>,
    mac: Hmac<Sha256>,
    next: u64,
    body: Vec<u8>,
}

enum Piece {
    Text(String),
    Payment,
    Order,
    User,
    Email,
    Rrn,
}

impl Deliveries {
    /// Deliveries to this address; `first` numbers the first payment.
    ///
    /// # Errors
    /// When the template is no JSON or names a place that nobody knows.
    pub fn new(address: SocketAddr, first: u64) -> anyhow::Result<Self> {
        let body: serde_json::Value = serde_json::from_str(BODY)?;
        let pieces = body
            .to_string()
            .split('%')
            .enumerate()
            .map(|(number, text)| Piece::parse(number, text))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            head: format!(
                "POST /webhooks/razorpay HTTP/1.1\r\nhost: {address}\r\nuser-agent: Razorpay-Webhook/v1\r\n\
                 content-type: application/json\r\naccept: */*\r\n"
            ),
            pieces,
            mac: Hmac::new_from_slice(SECRET.as_bytes()).context("any length is a key")?,
            next: first,
            body: Vec::new(),
        })
    }
}

impl Requests for Deliveries {
    const ANSWERED: &'static str = "\"recorded\"";

    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<()> {
        let number = self.next;
        self.next += 1;
        let user = scramble(number) % USERS;
        self.body.clear();
        for piece in &self.pieces {
            piece.write(number, user, &mut self.body)?;
        }
        let mut mac = self.mac.clone();
        mac.update(&self.body);
        let mut signature = [0; 64];
        hex::encode_to_slice(mac.finalize().into_bytes(), &mut signature)
            .map_err(std::io::Error::other)?;
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(b"x-razorpay-signature: ");
        request.extend_from_slice(&signature);
        request.extend_from_slice(b"\r\nx-razorpay-event-id: ");
        write_id(scramble(!number), 14, request);
        write!(request, "\r\ncontent-length: {}\r\n\r\n", self.body.len())?;
        request.extend_from_slice(&self.body);
        Ok(())
    }
}

impl Piece {
    /// Texts and names of places take turns, as `%` stands on both sides of each name.
    fn parse(number: usize, text: &str) -> anyhow::Result<Self> {
        if number.is_multiple_of(2) {
            return Ok(Self::Text(text.to_owned()));
        }
        Ok(match text {
            "PAYMENT" => Self::Payment,
            "ORDER" => Self::Order,
            "USER" => Self::User,
            "EMAIL" => Self::Email,
            "RRN" => Self::Rrn,
            other => anyhow::bail!("payment_captured.json: no such place: {other}"),
        })
    }

    fn write(&self, number: u64, user: u64, body: &mut Vec<u8>) -> std::io::Result<()> {
        match self {
            Self::Text(text) => body.extend_from_slice(text.as_bytes()),
            Self::Payment => {
                body.extend_from_slice(b"pay_Rf1");
                write_id(scramble(number), 11, body);
            }
            Self::Order => {
                body.extend_from_slice(b"order_Rf1");
                write_id(scramble(number.rotate_left(32)), 11, body);
            }
            Self::User => {
                body.extend_from_slice(b"user_3RkJ4");
                write_id(scramble(user), 11, body);
                write_id(scramble(!user), 11, body);
            }
            Self::Email => write!(body, "payer.{user}@example.com")?,
            Self::Rrn => write!(body, "{:012}", number % 1_000_000_000_000)?,
        }
        Ok(())
    }
}

/// A number that looks like chance and is another one for every input (splitmix64).
const fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number as text of fixed width in base 62. Eleven digits hold any number.
fn write_id(mut number: u64, digits: usize, text: &mut Vec<u8>) {
    for _ in 0..digits {
        let digit = usize::try_from(number % 62).unwrap_or(0);
        text.push(BASE62[digit]);
        number /= 62;
    }
}
