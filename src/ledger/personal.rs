//! Personal data: names and e-mail addresses. It lives beside the log, in rows that can be deleted; an event
//! carries only the salted digest of its row, so the history still proves what was there and tells nothing.
//!
//! Must never be put into an event, a log line or an error.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// 16 random bytes that keep a digest from being guessed from a list of known addresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 16]);

/// What is known of a person, as the provider said it.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Profile {
    /// The primary e-mail address, or the payer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Whether the identity provider saw the person prove that the address is theirs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub email_verified: bool,
    /// Given name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    /// Family name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Profile(..)")
    }
}

/// A row of personal data, ready to be stored: the profile's very bytes, their salt and their digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Personal {
    salt: Salt,
    profile_json: String,
    digest: String,
    email: Email,
}

/// What a profile says of an e-mail address.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Email {
    None,
    Unproven,
    Verified,
}

impl Personal {
    /// Fixes the bytes of a profile and digests them.
    pub fn new(profile: &Profile, salt: Salt) -> Self {
        // Four optional strings and a bool: serialising them can not fail.
        let profile_json = serde_json::to_string(profile).unwrap_or_else(|_| "{}".to_owned());
        let digest = digest(salt, &profile_json);
        Self {
            salt,
            profile_json,
            digest,
            email: match (&profile.email, profile.email_verified) {
                (None, _) => Email::None,
                (Some(_), false) => Email::Unproven,
                (Some(_), true) => Email::Verified,
            },
        }
    }

    /// Whether it has an e-mail address.
    pub fn has_email(&self) -> bool {
        self.email != Email::None
    }

    /// Whether it has an e-mail address that the person has proven to own.
    pub fn has_verified_email(&self) -> bool {
        self.email == Email::Verified
    }

    /// The salt to store.
    pub const fn salt(&self) -> Salt {
        self.salt
    }

    /// The JSON to store, byte for byte what was digested.
    pub fn profile_json(&self) -> &str {
        &self.profile_json
    }

    /// The digest that the event carries.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl fmt::Debug for Personal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Personal({})", self.digest)
    }
}

/// Lower-case hex of SHA-256(salt, profile bytes).
pub fn digest(salt: Salt, profile_json: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(salt.0);
    hash.update(profile_json.as_bytes());
    credit_ledger_verify::hex(&hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_personal() {
        let profile = Profile {
            email: Some("a@example.com".to_owned()),
            ..Profile::default()
        };
        let row = Personal::new(&profile, Salt([7; 16]));
        assert!(!format!("{profile:?}{row:?}").contains("example"));
    }

    #[test]
    fn the_salt_changes_the_digest() {
        let profile = Profile::default();
        let one = Personal::new(&profile, Salt([1; 16]));
        let two = Personal::new(&profile, Salt([2; 16]));
        assert_ne!(one.digest(), two.digest());
        assert_eq!(one.digest(), digest(Salt([1; 16]), one.profile_json()));
    }
}
