//! API keys that this service gives out: how they look, whose they may be, and which are good.
//!
//! Pure. A key is `cl_`, 12 hex digits that are shown and name it, and 64 that nobody keeps: 256 random bits. Must never
//! put more of a key than its prefix into an error or a log line.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::api_key::{KeyDigest, Principal, Scope};

/// What every key begins with, so that one is recognised where it should not be.
const MARK: &str = "cl_";
/// Random bytes of the prefix.
const PREFIX_BYTES: usize = 6;
/// Random bytes of the rest.
const SECRET_BYTES: usize = 32;
/// Random bytes of a key.
pub const KEY_BYTES: usize = PREFIX_BYTES + SECRET_BYTES;
/// Characters of a prefix.
const PREFIX_CHARS: usize = MARK.len() + 2 * PREFIX_BYTES;
/// Characters of a key.
const KEY_CHARS: usize = MARK.len() + 2 * KEY_BYTES;
/// The longest name, in characters.
const NAME_MAX_CHARS: usize = 64;

/// Whose a key is: 1 to 64 of `a-z`, `0-9`, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName(String);

/// A name that no key can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 of a-z, 0-9, _, - and .")]
pub struct InvalidName;

impl std::str::FromStr for KeyName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if (1..=NAME_MAX_CHARS).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName)
        }
    }
}

impl KeyName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The part of a key that is shown, and names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPrefix(String);

/// A text that names no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the prefix of a key: cl_ and 12 hex digits")]
pub struct InvalidPrefix;

impl std::str::FromStr for KeyPrefix {
    type Err = InvalidPrefix;

    /// A prefix, or a whole key: whoever has found one that leaked has no other name for it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.len() {
            PREFIX_CHARS | KEY_CHARS if is_of_a_key(text) => {
                Ok(Self(text[..PREFIX_CHARS].to_owned()))
            }
            _ => Err(InvalidPrefix),
        }
    }
}

impl KeyPrefix {
    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of what may be a key; none: it is not one of ours.
    fn of(presented: &str) -> Option<Self> {
        (presented.len() == KEY_CHARS)
            .then(|| presented.parse().ok())
            .flatten()
    }
}

fn is_of_a_key(text: &str) -> bool {
    text.strip_prefix(MARK).is_some_and(|digits| {
        digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A key that was just made. Its `Debug` does not show it.
pub struct NewKey {
    text: String,
    prefix: KeyPrefix,
}

impl NewKey {
    /// The key of these random bytes.
    pub fn of(random: &[u8; KEY_BYTES]) -> Self {
        let text = format!("{MARK}{}", hex::encode(random));
        let prefix = KeyPrefix(text[..PREFIX_CHARS].to_owned());
        Self { text, prefix }
    }

    /// The key itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// What it is called.
    pub const fn prefix(&self) -> &KeyPrefix {
        &self.prefix
    }

    /// What is kept of it.
    pub fn digest(&self) -> [u8; 32] {
        KeyDigest::of(&self.text).into_bytes()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NewKey").field(&self.prefix.0).finish()
    }
}

/// Keys that are good, as they were read.
#[derive(Default)]
pub struct GoodKeys(HashMap<KeyPrefix, (KeyDigest, Arc<Principal>)>);

/// What a presented text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A good key, and whom it speaks for.
    Principal(Arc<Principal>),
    /// It has the form of a key and is none of these.
    Unknown,
    /// It can not be one of our keys.
    NotAKey,
}

impl GoodKeys {
    /// Adds a key, as it is stored. A scope of another release gives no right here.
    pub fn add(&mut self, prefix: String, digest: [u8; 32], name: String, scopes: &[String]) {
        let scopes: Vec<Scope> = scopes
            .iter()
            .filter_map(|scope| scope.parse().ok())
            .collect();
        let principal = Arc::new(Principal::new(name, scopes));
        self.0
            .insert(KeyPrefix(prefix), (KeyDigest::stored(digest), principal));
    }

    /// Whom a key speaks for. The prefix, which is no secret, finds the digest that is compared, in constant time.
    pub fn find(&self, presented: &str) -> Found {
        let Some(prefix) = KeyPrefix::of(presented) else {
            return Found::NotAKey;
        };
        let presented = KeyDigest::of(presented);
        match self.0.get(&prefix) {
            Some((digest, principal)) if bool::from(digest.is(&presented)) => {
                Found::Principal(Arc::clone(principal))
            }
            _ => Found::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NewKey {
        NewKey::of(&[byte; KEY_BYTES])
    }

    fn keys(good: &[(&NewKey, &str, &[&str])]) -> GoodKeys {
        let mut keys = GoodKeys::default();
        for (key, name, scopes) in good {
            let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
            let prefix = key.prefix().as_str().to_owned();
            keys.add(prefix, key.digest(), (*name).to_owned(), &scopes);
        }
        keys
    }

    #[test]
    fn a_key_is_a_mark_a_name_and_256_bits() {
        let key = key(0xab);
        assert_eq!(key.reveal(), format!("cl_{}", "ab".repeat(38)));
        assert_eq!(key.prefix().as_str(), "cl_abababababab");
        assert_eq!(key.reveal().len() - key.prefix().as_str().len(), 256 / 4);
        assert!(!format!("{key:?}").contains(&key.reveal()[..20]));
    }

    #[test]
    fn several_keys_may_have_one_name_and_scopes_of_their_own() {
        let (first, second) = (key(1), key(2));
        let keys = keys(&[
            (&first, "shop", &["credits:read", "credits:write"]),
            (&second, "shop", &["credits:read", "a scope of tomorrow"]),
        ]);
        for (key, scopes) in [
            (&first, &[Scope::CreditsRead, Scope::CreditsWrite][..]),
            (&second, &[Scope::CreditsRead]),
        ] {
            let Found::Principal(principal) = keys.find(key.reveal()) else {
                panic!("{key:?} is not found");
            };
            assert_eq!(principal.name, "shop");
            assert_eq!(principal.scopes(), scopes);
        }
    }

    #[test]
    fn nothing_but_the_whole_key_is_the_key() {
        let good = key(1);
        let keys = keys(&[(&good, "shop", &["credits:read"])]);
        let text = good.reveal();
        let same_prefix = format!("{}{}", good.prefix().as_str(), "02".repeat(32));
        for (presented, found) in [
            (key(2).reveal(), Found::Unknown),
            (&same_prefix, Found::Unknown),
            (&text.to_uppercase(), Found::NotAKey),
            (&text[..text.len() - 1], Found::NotAKey),
            (&format!("{text}0"), Found::NotAKey),
            (&text.replace("01", "0g"), Found::NotAKey),
            (&text.replace("cl_", "sk_"), Found::NotAKey),
            (good.prefix().as_str(), Found::NotAKey),
            ("", Found::NotAKey),
            (&"é".repeat(40), Found::NotAKey),
        ] {
            assert_eq!(keys.find(presented), found, "{presented}");
        }
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "shop-2.backend_eu", &"x".repeat(64)] {
            assert_eq!(good.parse::<KeyName>().unwrap().as_str(), good);
        }
        for bad in ["", "Shop", "a b", "é", "a/b", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<KeyName>(), Err(InvalidName), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_named_by_its_prefix_or_by_itself() {
        let key = key(1);
        for text in [key.prefix().as_str(), key.reveal()] {
            assert_eq!(&text.parse::<KeyPrefix>().unwrap(), key.prefix());
        }
        for bad in [
            "",
            "cl_",
            "cl_01010101010",
            "cl_0101010101é",
            "cl_01010101010G",
        ] {
            assert_eq!(bad.parse::<KeyPrefix>(), Err(InvalidPrefix), "{bad}");
        }
    }
}
