//! Clerk: sign-ups and changes of users, delivered by Svix.
//!
//! Scheme (docs.svix.com, "Verifying webhooks manually"): HMAC-SHA256 over `id.timestamp.body` with the
//! base64-decoded secret, written as `v1,<base64>`; several in one header while a secret is rotated.
//! Must never take the first e-mail address for the primary one, and never read user-writable metadata.
//!
//! A ban changes no profile and no credits: Clerk ends the user's sessions, and with them all that a user can do here.
//! Metadata that we write comes back as `user.updated` with a newer `updated_at`, and is recorded as a newer profile even
//! if nothing in it is new: the ledger knows a profile by its salted digest only, so that it can be erased, and must know
//! which `updated_at` was the last.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::json::{Object, clean, clean_email};
use super::signature::{BadSecret, Key, check_age, keys, plain_seconds};
use super::{
    Delivery, Headers, ParkReason, Provider, Rejected, Rules, Translated, Verified, ignored_type,
    is_event_id, json_object, missing,
};
use crate::ledger::command::{ChangeProfile, Command, RegisterUser};
use crate::ledger::event::ProfileVersion;
use crate::ledger::{Personal, Profile, Salt, Source, UserId};

/// How many signatures are looked at. Svix keeps at most 10 old keys.
const SIGNATURES_MAX: usize = 64;
/// The longest signature header in bytes; room for [`SIGNATURES_MAX`] of the longest kind.
const SIGNATURE_HEADER_MAX_BYTES: usize = 8 * 1024;
/// The longest name that is kept, in bytes.
const NAME_MAX_BYTES: usize = 255;

/// The names of the three headers. A request is read by one whole family, never by a mix.
struct Family {
    id: &'static str,
    timestamp: &'static str,
    signature: &'static str,
}

const SVIX: Family = Family {
    id: "svix-id",
    timestamp: "svix-timestamp",
    signature: "svix-signature",
};

/// The names of the Standard Webhooks specification, which Svix sends when white-labelled.
const STANDARD_WEBHOOKS: Family = Family {
    id: "webhook-id",
    timestamp: "webhook-timestamp",
    signature: "webhook-signature",
};

/// Verifies and reads Clerk's webhooks.
pub struct Clerk {
    keys: Vec<Key>,
}

impl Clerk {
    /// Takes the endpoint's signing secrets, newest first.
    ///
    /// # Errors
    /// [`BadSecret`] when there is none, or one is not `whsec_` (optional) and base64.
    pub fn new(secrets: &[SecretString]) -> Result<Self, BadSecret> {
        Ok(Self {
            keys: keys(secrets, svix_key)?,
        })
    }
}

/// The key in a Svix secret: what follows `whsec_`, decoded.
pub(super) fn svix_key(secret: &SecretString) -> Result<Key, BadSecret> {
    Key::decoded(secret, |text| {
        let encoded = text.strip_prefix("whsec_").unwrap_or(text);
        STANDARD.decode(encoded).map_err(|_| BadSecret::NotBase64)
    })
}

impl Provider for Clerk {
    fn source(&self) -> Source {
        Source::Clerk
    }

    fn has_secret(&self, fingerprint: &str) -> bool {
        self.keys.iter().any(|key| key.fingerprint() == fingerprint)
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<Verified, Rejected> {
        let headers = &delivery.headers;
        let family = family(headers);
        let id = headers.require_once(family.id)?;
        let timestamp = headers.require_once(family.timestamp)?;
        let signatures = headers.require_once(family.signature)?;
        if !is_event_id(id) {
            return Err(Rejected::BadHeader(family.id));
        }
        if signatures.len() > SIGNATURE_HEADER_MAX_BYTES {
            return Err(Rejected::BadHeader(family.signature));
        }
        let sent_at_s = plain_seconds(timestamp).ok_or(Rejected::BadTimestamp)?;
        let candidates = candidates(signatures);
        let parts: [&[u8]; 5] = [
            id.as_bytes(),
            b".",
            timestamp.as_bytes(),
            b".",
            delivery.body,
        ];
        let key = self
            .keys
            .iter()
            .find(|key| {
                let code = key.code(&parts);
                candidates.iter().any(|candidate| code.is(candidate))
            })
            .ok_or(Rejected::NoMatch)?;
        check_age(sent_at_s, delivery.received_at)?;
        let body = json_object(delivery.body)?;
        Ok(Verified {
            source: Source::Clerk,
            key: id.to_owned(),
            provider_event_id: id.to_owned(),
            body: body.to_owned(),
            body_sha256: Sha256::digest(delivery.body).into(),
            headers: [
                (family.id, id),
                (family.timestamp, timestamp),
                (family.signature, signatures),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            secret_fingerprint: key.fingerprint().to_owned(),
            received_at: delivery.received_at,
        })
    }

    fn translate(&self, verified: &Verified, rules: &Rules, salt: Salt) -> Translated {
        read(verified, rules, salt).unwrap_or_else(Translated::Park)
    }
}

/// Any `svix-` header makes it that family, as in Svix's own libraries; so does none at all, since it is Clerk's.
fn family(headers: &Headers<'_>) -> &'static Family {
    let any = |family: &Family| {
        [family.id, family.timestamp, family.signature]
            .iter()
            .any(|name| headers.contains(name))
    };
    if any(&STANDARD_WEBHOOKS) && !any(&SVIX) {
        &STANDARD_WEBHOOKS
    } else {
        &SVIX
    }
}

/// The codes of version `v1` in a signature header. Other versions are skipped: `v1a` is another algorithm.
fn candidates(signatures: &str) -> Vec<Vec<u8>> {
    signatures
        .split(' ')
        .filter(|item| !item.is_empty())
        .take(SIGNATURES_MAX)
        .filter_map(|item| item.strip_prefix("v1,"))
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        .collect()
}

fn read(verified: &Verified, rules: &Rules, salt: Salt) -> Result<Translated, ParkReason> {
    let event = verified.event();
    let event_type = event.text("type").ok_or(missing("type"))?;
    let command = match event_type.as_str() {
        "user.created" => {
            let (user_id, profile, profile_version) = user(&event, verified, salt)?;
            Command::RegisterUser(RegisterUser {
                user_id,
                profile,
                profile_version,
                plan: rules.signup.plan.clone(),
                bonus: rules.signup.bonus_credits,
            })
        }
        "user.updated" => {
            let (user_id, profile, profile_version) = user(&event, verified, salt)?;
            Command::ChangeProfile(ChangeProfile {
                user_id,
                profile,
                profile_version,
            })
        }
        "user.deleted" => Command::DeleteUser {
            user_id: user_id(&event.object("data").unwrap_or_default())?,
        },
        other => return Ok(ignored_type(other)),
    };
    Ok(Translated::Apply(command))
}

fn user_id(data: &Object<'_>) -> Result<UserId, ParkReason> {
    data.text("id")
        .and_then(|id| UserId::parse(id).ok())
        .ok_or(missing("data.id"))
}

fn user(
    event: &Object<'_>,
    verified: &Verified,
    salt: Salt,
) -> Result<(UserId, Personal, ProfileVersion), ParkReason> {
    let data = event.object("data").unwrap_or_default();
    let user_id = user_id(&data)?;
    // All three in milliseconds. Old payloads have no `timestamp`.
    let updated_at_ms = data
        .time_ms("updated_at")
        .or_else(|| data.time_ms("created_at"))
        .or_else(|| event.time_ms("timestamp"))
        .ok_or(missing("data.updated_at"))?;
    let version = ProfileVersion {
        updated_at_ms,
        event_id: verified.provider_event_id().to_owned(),
    };
    Ok((user_id, Personal::new(&profile(&data), salt), version))
}

fn profile(data: &Object<'_>) -> Profile {
    let primary = data.text("primary_email_address_id").and_then(|id| {
        data.objects("email_addresses")
            .into_iter()
            .find(|address| address.text("id").as_deref() == Some(id.as_str()))
    });
    let email = primary
        .as_ref()
        .and_then(|address| address.text("email_address"))
        .and_then(|email| clean_email(&email));
    let status = primary
        .and_then(|address| address.object("verification"))
        .and_then(|verification| verification.text("status"));
    let name = |field| {
        data.text(field)
            .and_then(|name| clean(&name, NAME_MAX_BYTES))
    };
    Profile {
        email_verified: email.is_some() && status.as_deref() == Some("verified"),
        email,
        first_name: name("first_name"),
        last_name: name("last_name"),
    }
}
