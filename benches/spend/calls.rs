//! The calls that are sent: spends of one credit and looks at the balance, as a product's backend makes them.
//!
//! Owns the bytes of whole HTTP requests; never sends them.

use std::io::Write as _;
use std::net::SocketAddr;

use super::load::{Expected, Requests};

/// The backend's API key.
pub const API_KEY: &str = "bench-only-service-key-0000";

/// Whose credits are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Users {
    /// What their ids begin with.
    pub prefix: &'static str,
    /// How many there are; they take turns.
    pub number: u64,
}

impl Users {
    /// The id of one of them.
    pub fn id(self, number: u64) -> String {
        format!("{}{}", self.prefix, number % self.number)
    }
}

/// Writes one spend after the other, each under a new idempotency key.
pub struct Spends {
    address: SocketAddr,
    users: Users,
    /// What the keys begin with; no run has the same.
    run: String,
    next: u64,
}

impl Spends {
    /// Spends of these users at this address.
    pub const fn new(address: SocketAddr, users: Users, run: String) -> Self {
        Self {
            address,
            users,
            run,
            next: 0,
        }
    }
}

impl Requests for Spends {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        const BODY: &str = r#"{"amount":1,"reason":"one request"}"#;
        let number = self.next;
        self.next += 1;
        write!(
            request,
            "POST /v1/users/{}/spends HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {API_KEY}\r\n\
             idempotency-key: {}-{number}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            // Neighbours in time are none in the index.
            self.users.id(number.wrapping_mul(7_919)),
            self.address,
            self.run,
            BODY.len(),
        )?;
        Ok(Expected {
            text: "\"entry_id\"",
            stored: true,
        })
    }
}

/// Writes one look at a balance after the other.
pub struct Balances {
    address: SocketAddr,
    users: Users,
    next: u64,
}

impl Balances {
    /// Of these users at this address.
    pub const fn new(address: SocketAddr, users: Users) -> Self {
        Self {
            address,
            users,
            next: 0,
        }
    }
}

impl Requests for Balances {
    fn write_next(&mut self, request: &mut Vec<u8>) -> std::io::Result<Expected> {
        let user = self.users.id(self.next);
        self.next += 1;
        write!(
            request,
            "GET /v1/users/{user}/balance HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {API_KEY}\r\n\r\n",
            self.address,
        )?;
        Ok(Expected {
            text: "\"available\"",
            stored: false,
        })
    }
}
