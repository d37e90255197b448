//! The deliveries that are sent: Razorpay's `payment.captured`, every one a new payment, signed when it is sent.
//!
//! Owns payloads by their numbers and the bytes of a whole HTTP request; never sends them.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::load::{Expected, Requests};

/// Users that the payments are spread over.
pub const USERS: u64 = 100_000;
/// Of so many payments one is of the hot user, where there is one.
const HOT_IN: u64 = 5;
/// What the webhook is signed with.
pub const SECRET: &str = "bench-only-webhook-secret";
const BODY: &str = include_str!("payment_captured.json");
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Makes signed payments by their numbers: the same number, the same bytes.
pub struct Payments {
    template: Template,
    mac: Hmac<Sha256>,
    /// From this number on every fifth payment is of one user.
    pub hot_from: Option<u64>,
    body: Vec<u8>,
}

/// What is sent of a payment beside what every request has.
pub struct Signed<'a> {
    /// Lower-case hex.
    pub signature: [u8; 64],
    /// What the provider calls the event.
    pub event_id: Vec<u8>,
    pub body: &'a [u8],
}

impl Payments {
    /// # Errors
    /// When the template is no JSON or names a place that nobody knows.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            template: Template::parse(BODY)?,
            mac: Hmac::new_from_slice(SECRET.as_bytes()).context("any length is a key")?,
            hot_from: None,
            body: Vec::new(),
        })
    }

    /// # Errors
    /// Never: writing to memory does not fail.
    pub fn sign(&mut self, number: u64) -> std::io::Result<Signed<'_>> {
        let hot = self.hot_from.is_some_and(|from| number >= from)
            && scramble(number.rotate_left(17)).is_multiple_of(HOT_IN);
        let user = if hot { 0 } else { user_of(number) };
        self.body.clear();
        self.template.write(number, user, &mut self.body)?;
        let mut mac = self.mac.clone();
        mac.update(&self.body);
        let mut signature = [0; 64];
        hex::encode_to_slice(mac.finalize().into_bytes(), &mut signature)
            .map_err(std::io::Error::other)?;
        let mut event_id = Vec::with_capacity(14);
        write_id(scramble(!number), 14, &mut event_id);
        Ok(Signed {
            signature,
            event_id,
            body: &self.body,
        })
    }
}

/// Which user pays.
pub const fn user_of(number: u64) -> u64 {
    scramble(number) % USERS
}

/// Writes a user's id.
pub fn write_user_id(user: u64, text: &mut Vec<u8>) {
    text.extend_from_slice(b"user_3RkJ4");
    write_id(scramble(user), 11, text);
    write_id(scramble(!user), 11, text);
}

/// Writes one delivery after the other.
pub struct Deliveries {
    head: String,
    pub payments: Payments,
    next: u64,
}

impl Deliveries {
    /// Deliveries to this address; `first` numbers the first payment.
    ///
    /// # Errors
    /// As [`Payments::new`].
    pub fn new(address: SocketAddr, first: u64) -> anyhow::Result<Self> {
        Ok(Self {
            head: format!(
                "POST /webhooks/razorpay HTTP/1.1\r\nhost: {address}\r\nuser-agent: Razorpay-Webhook/v1\r\n\
                 content-type: application/json\r\naccept: */*\r\n"
            ),
            payments: Payments::new()?,
            next: first,
        })
    }

    /// Writes the delivery of one payment.
    ///
    /// # Errors
    /// Never: writing to memory does not fail.
    pub fn write(&mut self, number: u64, request: &mut Vec<u8>) -> std::io::Result<()> {
        let signed = self.payments.sign(number)?;
        request.extend_from_slice(self.head.as_bytes());
        request.extend_from_slice(b"x-razorpay-signature: ");
        request.extend_from_slice(&signed.signature);
        request.extend_from_slice(b"\r\nx-razorpay-event-id: ");
        request.extend_from_slice(&signed.event_id);
        write!(request, "\r\ncontent-length: {}\r\n\r\n", signed.body.len())?;
        request.extend_from_slice(signed.body);
        Ok(())
    }

    /// Writes the delivery of the next new payment.
    ///
    /// # Errors
    /// Never: writing to memory does not fail.
    pub fn write_new(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        let number = self.next;
        self.next += 1;
        self.write(number, request)?;
        Ok(Expected {
            text: "\"recorded\"",
            stored: true,
        })
    }
}

impl Requests for Deliveries {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        self.write_new(request)
    }
}

/// A payload with places for what differs from one to the next.
pub struct Template(Vec<Piece>);

impl Template {
    /// # Errors
    /// When it is no JSON or names a place that nobody knows.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        let body: serde_json::Value = serde_json::from_str(json)?;
        let pieces = body
            .to_string()
            .split('%')
            .enumerate()
            .map(|(number, text)| Piece::parse(number, text))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self(pieces))
    }

    /// Writes the payload of a number and a user.
    ///
    /// # Errors
    /// Never: writing to memory does not fail.
    pub fn write(&self, number: u64, user: u64, body: &mut Vec<u8>) -> std::io::Result<()> {
        self.0
            .iter()
            .try_for_each(|piece| piece.write(number, user, body))
    }
}

enum Piece {
    Text(String),
    Payment,
    Order,
    User,
    Email,
    EmailId,
    Rrn,
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
            "EMAIL_ID" => Self::EmailId,
            "RRN" => Self::Rrn,
            other => anyhow::bail!("a payload has no such place: {other}"),
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
            Self::User => write_user_id(user, body),
            Self::Email => write!(body, "payer.{user}@example.com")?,
            Self::EmailId => write_id(scramble(user), 20, body),
            Self::Rrn => write!(body, "{:012}", number % 1_000_000_000_000)?,
        }
        Ok(())
    }
}

/// A number that looks like chance and is another one for every input (splitmix64).
pub const fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A number as text of fixed width in base 62. Eleven digits hold any number.
pub fn write_id(mut number: u64, digits: usize, text: &mut Vec<u8>) {
    for _ in 0..digits {
        let digit = usize::try_from(number % 62).unwrap_or(0);
        text.push(BASE62[digit]);
        number /= 62;
    }
}
