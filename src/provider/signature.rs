//! What the signature schemes share: keys, a body's code under them, the comparison in constant time, and how old a
//! delivery may be.
//!
//! Must never show a secret: a key keeps only the prepared hash state and a short fingerprint.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::Rejected;

/// How far a time stamp may be from the time of receipt, either way, in seconds; inclusive.
const TOLERANCE_S: u64 = 300;

/// Why a configured secret is of no use. Never holds the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The list of secrets is empty.
    #[error("no secret is given")]
    None,
    /// A secret is empty or blank: anybody could sign with it.
    #[error("the secret is empty")]
    Empty,
    /// A secret of Svix is not base64 with padding after the optional `whsec_`.
    #[error("the secret is not base64 (expected whsec_ and base64 with its padding)")]
    NotBase64,
    /// A secret holds control characters, most likely the line end of the file that it came from.
    #[error("the secret holds a line end or another control character")]
    ControlCharacter,
}

/// A secret, ready to sign and to verify.
#[derive(Clone)]
pub(super) struct Key {
    mac: Hmac<Sha256>,
    fingerprint: String,
}

impl Key {
    /// A key whose bytes are the secret's text itself.
    pub fn of_text(secret: &SecretString) -> Result<Self, BadSecret> {
        let text = usable(secret)?;
        Self::new(text.as_bytes(), text)
    }

    /// A key whose bytes were read from the secret's text.
    pub fn decoded(
        secret: &SecretString,
        decode: impl FnOnce(&str) -> Result<Vec<u8>, BadSecret>,
    ) -> Result<Self, BadSecret> {
        let text = usable(secret)?;
        Self::new(&decode(text)?, text)
    }

    fn new(key: &[u8], text: &str) -> Result<Self, BadSecret> {
        if key.is_empty() {
            return Err(BadSecret::Empty);
        }
        Ok(Self {
            // HMAC takes keys of any length, so this can not fail.
            mac: Hmac::new_from_slice(key).map_err(|_| BadSecret::Empty)?,
            fingerprint: hex::encode(&Sha256::digest(text)[..4]),
        })
    }

    /// The first 8 hex digits of the SHA-256 of the secret's text.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The code of a message given in parts.
    pub fn code(&self, parts: &[&[u8]]) -> Code {
        let mut mac = self.mac.clone();
        for part in parts {
            mac.update(part);
        }
        Code(mac)
    }
}

fn usable(secret: &SecretString) -> Result<&str, BadSecret> {
    let text = secret.expose_secret();
    if text.trim().is_empty() {
        return Err(BadSecret::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(BadSecret::ControlCharacter);
    }
    Ok(text)
}

/// All the keys of a receiver, newest first.
pub(super) fn keys(
    secrets: &[SecretString],
    key: impl Fn(&SecretString) -> Result<Key, BadSecret>,
) -> Result<Vec<Key>, BadSecret> {
    if secrets.is_empty() {
        return Err(BadSecret::None);
    }
    secrets.iter().map(key).collect()
}

/// The code that a message has under a key.
pub(super) struct Code(Hmac<Sha256>);

impl Code {
    /// Whether a candidate is this code. Takes the same time wherever they differ.
    pub fn is(&self, candidate: &[u8]) -> bool {
        self.0.clone().verify_slice(candidate).is_ok()
    }

    /// The code's bytes, for the sender's side.
    pub fn bytes(self) -> Vec<u8> {
        self.0.finalize().into_bytes().to_vec()
    }
}

/// Reads a code written as 64 lower-case hex digits; any other spelling is none.
pub(super) fn lower_hex(text: &str) -> Option<[u8; 32]> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut code = [0; 32];
    (plain && hex::decode_to_slice(text, &mut code).is_ok()).then_some(code)
}

/// Reads a time stamp: plain digits without a leading zero; any other spelling is none.
pub(super) fn plain_seconds(timestamp: &str) -> Option<i64> {
    let plain = !timestamp.starts_with('0') && timestamp.bytes().all(|b| b.is_ascii_digit());
    timestamp.parse().ok().filter(|_| plain)
}

/// Whether a time stamp in seconds since 1970 is at most 300 seconds from the time of receipt. Asked of what is signed
/// only: a verdict on the time may lead to a look at the clock, which nobody else is to cause.
pub(super) fn check_age(sent_at_s: i64, received_at: DateTime<Utc>) -> Result<(), Rejected> {
    let received_at_s = received_at.timestamp();
    if sent_at_s.abs_diff(received_at_s) <= TOLERANCE_S {
        Ok(())
    } else if sent_at_s < received_at_s {
        Err(Rejected::TooOld)
    } else {
        Err(Rejected::TooNew)
    }
}
