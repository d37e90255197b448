//! API keys of backends, operators and auditors, and what each may do; the keys of the settings.
//!
//! Owns the scopes and the comparison of keys. Keeps SHA-256 digests only, never a key: a key has at least 16
//! characters and is meant to be random, so a slow hash would add nothing but load.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::error::AccessError;

/// Shortest key accepted, in characters.
const MIN_KEY_CHARS: usize = 16;
/// Longest key looked at, in characters. Bounds the work of hashing.
const MAX_KEY_CHARS: usize = 512;

/// Something an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `credits:read`: look at users, balances and histories.
    CreditsRead,
    /// `credits:write`: spend, grant, hold, reverse; change plans.
    CreditsWrite,
    /// `admin`: operate the service. Allows everything else too.
    Admin,
    /// `audit`: read the whole event log and its proofs.
    Audit,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [
        Self::CreditsRead,
        Self::CreditsWrite,
        Self::Admin,
        Self::Audit,
    ];

    /// The name used in settings and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreditsRead => "credits:read",
            Self::CreditsWrite => "credits:write",
            Self::Admin => "admin",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: use credits:read, credits:write, admin or audit")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or(UnknownScope)
    }
}

/// Whom an API key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name that is recorded with what the principal does.
    pub name: String,
    scopes: Vec<Scope>,
}

impl Principal {
    /// A principal that may do what these scopes say.
    pub fn new(name: impl Into<String>, scopes: impl Into<Vec<Scope>>) -> Self {
        Self {
            name: name.into(),
            scopes: scopes.into(),
        }
    }

    /// Whether the principal may do this. `admin` may do everything.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes
            .iter()
            .any(|held| *held == scope || *held == Scope::Admin)
    }

    /// The scopes it was given.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }
}

/// The API keys of the environment. Not set or blank means that there is no such key.
#[derive(Debug, Clone, Default)]
pub struct ApiKeySettings {
    /// `ADMIN_API_KEY`: principal `admin`, every scope.
    pub admin: Option<SecretString>,
    /// `SERVICE_API_KEY`: principal `service`, `credits:read` and `credits:write`.
    pub service: Option<SecretString>,
    /// `AUDIT_API_KEY`: principal `audit`, scope `audit`.
    pub audit: Option<SecretString>,
}

/// The API keys of the settings. Its `Debug` shows principals, not digests.
pub struct ApiKeys {
    entries: Vec<Entry>,
}

struct Entry {
    setting: &'static str,
    digest: KeyDigest,
    principal: Arc<Principal>,
}

impl ApiKeys {
    /// Reads the keys. A key that is too short, can not be sent in a header or is used twice is an error.
    pub fn new(settings: &ApiKeySettings) -> Result<Self, AccessError> {
        let given = [
            (
                "ADMIN_API_KEY",
                &settings.admin,
                Principal::new("admin", Scope::ALL),
            ),
            (
                "SERVICE_API_KEY",
                &settings.service,
                Principal::new("service", [Scope::CreditsRead, Scope::CreditsWrite]),
            ),
            (
                "AUDIT_API_KEY",
                &settings.audit,
                Principal::new("audit", [Scope::Audit]),
            ),
        ];
        let mut entries: Vec<Entry> = Vec::with_capacity(given.len());
        for (setting, key, principal) in given {
            let Some(key) = key
                .as_ref()
                .map(|key| key.expose_secret().trim())
                .filter(|key| !key.is_empty())
            else {
                continue;
            };
            check_key(setting, key)?;
            let digest = KeyDigest::of(key);
            let is_same = |entry: &&Entry| bool::from(entry.digest.is(&digest));
            if let Some(same) = entries.iter().find(is_same) {
                return Err(AccessError::ApiKeysEqual {
                    first: same.setting,
                    second: setting,
                });
            }
            entries.push(Entry {
                setting,
                digest,
                principal: Arc::new(principal),
            });
        }
        Ok(Self { entries })
    }

    /// Whether there is no key at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whom this key speaks for, if it is known.
    ///
    /// Every known key is compared, in constant time, and a hit does not end the search: the time tells nothing about
    /// how much of a key was right, or which one it was.
    pub fn find(&self, presented: &str) -> Option<&Arc<Principal>> {
        if presented.len() > MAX_KEY_CHARS {
            return None;
        }
        let presented = KeyDigest::of(presented);
        let mut found = u32::MAX;
        for (index, entry) in (0_u32..).zip(&self.entries) {
            found.conditional_assign(&index, entry.digest.is(&presented));
        }
        self.entries
            .get(usize::try_from(found).ok()?)
            .map(|entry| &entry.principal)
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.entries.iter().map(|entry| &entry.principal))
            .finish()
    }
}

fn check_key(setting: &'static str, key: &str) -> Result<(), AccessError> {
    let refuse = |problem| Err(AccessError::ApiKey { setting, problem });
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse(
            "must consist of printable ASCII characters without spaces, since it is sent in a header",
        );
    }
    if key.len() < MIN_KEY_CHARS {
        return refuse(
            "must have at least 16 characters: use a random one, for example from `openssl rand -hex 32`",
        );
    }
    if key.len() > MAX_KEY_CHARS {
        return refuse("must have at most 512 characters");
    }
    Ok(())
}

/// What is kept of a key. It has no `==`, which would end at the first byte that differs, and no `Debug`.
pub(super) struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Of a key as it is presented.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// As it was stored.
    pub const fn stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be stored.
    pub const fn into_bytes(self) -> [u8; 32] {
        self.0
    }

    /// Whether both are of the same key. Takes the same time wherever they differ.
    pub fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMIN: &str = "admin-key-0123456789";
    const SERVICE: &str = "service-key-0123456789";
    const AUDIT: &str = "audit-key-0123456789";

    fn settings(admin: &str, service: &str, audit: &str) -> ApiKeySettings {
        ApiKeySettings {
            admin: Some(admin.into()),
            service: Some(service.into()),
            audit: Some(audit.into()),
        }
    }

    fn refusal(admin: &str, service: &str, audit: &str) -> String {
        ApiKeys::new(&settings(admin, service, audit))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn every_key_has_its_principal_and_scopes() {
        let keys = ApiKeys::new(&settings(ADMIN, SERVICE, AUDIT)).unwrap();
        let cases = [
            (ADMIN, "admin", [true, true, true, true]),
            (SERVICE, "service", [true, true, false, false]),
            (AUDIT, "audit", [false, false, false, true]),
        ];
        for (key, name, allowed) in cases {
            let principal = keys.find(key).unwrap();
            assert_eq!(principal.name, name);
            assert_eq!(
                Scope::ALL.map(|scope| principal.allows(scope)),
                allowed,
                "{name}"
            );
        }
    }

    #[test]
    fn admin_allows_all_even_as_the_only_scope() {
        let principal = Principal::new("ops", [Scope::Admin]);
        assert!(Scope::ALL.iter().all(|scope| principal.allows(*scope)));
        assert!(
            !Scope::ALL
                .iter()
                .any(|scope| Principal::new("nobody", []).allows(*scope))
        );
    }

    #[test]
    fn unknown_keys_are_nobody() {
        let keys = ApiKeys::new(&settings(ADMIN, SERVICE, AUDIT)).unwrap();
        let nearly = [
            "",
            " ",
            "admin",
            "admin-key-0123456788",
            "admin-key-012345678",
            "ADMIN-KEY-0123456789",
            "é🔑",
        ];
        for key in nearly
            .into_iter()
            .chain([format!("{ADMIN} ").as_str(), &"a".repeat(10_000_000)])
        {
            assert!(keys.find(key).is_none());
        }
    }

    #[test]
    fn blank_is_not_set() {
        let none = ApiKeys::new(&ApiKeySettings::default()).unwrap();
        assert!(none.is_empty() && none.find("").is_none());
        let blank = ApiKeys::new(&settings("", " \n", AUDIT)).unwrap();
        assert!(!blank.is_empty());
        assert!(blank.find("").is_none() && blank.find(" \n").is_none());
        assert_eq!(blank.find(AUDIT).unwrap().name, "audit");
    }

    #[test]
    fn space_around_a_key_in_a_file_does_not_matter() {
        let keys = ApiKeys::new(&settings(&format!(" {ADMIN}\n"), "", "")).unwrap();
        assert_eq!(keys.find(ADMIN).unwrap().name, "admin");
    }

    #[test]
    fn bad_keys_are_refused_with_the_name_of_the_setting_and_not_the_key() {
        for (text, part) in [
            (
                refusal("short", "", ""),
                "ADMIN_API_KEY must have at least 16 characters",
            ),
            (
                refusal("", "123456789012345", ""),
                "SERVICE_API_KEY must have at least 16 characters",
            ),
            (
                refusal("", "", "two words, long enough"),
                "AUDIT_API_KEY must consist of printable ASCII",
            ),
            (
                refusal("", "", &"é".repeat(20)),
                "AUDIT_API_KEY must consist of printable ASCII",
            ),
            (
                refusal(&"a".repeat(513), "", ""),
                "ADMIN_API_KEY must have at most 512 characters",
            ),
            (
                refusal(ADMIN, SERVICE, ADMIN),
                "ADMIN_API_KEY and AUDIT_API_KEY must not be equal",
            ),
        ] {
            assert!(text.starts_with(part), "{text}");
            assert!(
                !text.contains(ADMIN) && !text.contains("two words") && !text.contains("1234"),
                "{text}"
            );
        }
    }

    #[test]
    fn debug_shows_neither_key_nor_digest() {
        let given = settings(ADMIN, SERVICE, AUDIT);
        let shown = format!("{given:?} {:?}", ApiKeys::new(&given).unwrap());
        let digest = KeyDigest::of(ADMIN).into_bytes();
        assert!(
            !shown.contains(ADMIN) && !shown.contains(&hex::encode(digest)[..8]),
            "{shown}"
        );
        assert!(
            !shown.contains(
                &digest[0..4]
                    .iter()
                    .map(u8::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        );
    }

    #[test]
    fn scopes_are_read_back_from_their_names() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert_eq!("Credits:Read".parse::<Scope>(), Err(UnknownScope));
    }
}
