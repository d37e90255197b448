//! Session tokens: one token in, one [`Session`] out.
//!
//! Owns the choice of the verifier. It is made by the issuer the token claims, but keys, algorithms and the expected
//! claims of that verifier come from the configuration alone, so a lie about the issuer leads to a refusal.

use chrono::{DateTime, Utc};

use super::clerk::{Clerk, ClerkSettings};
use super::error::{AccessError, InvalidToken, SessionError};
use super::supabase::{Supabase, SupabaseSettings};
use super::token::Unverified;

/// The identity providers whose sessions are accepted. Both, one or none.
#[derive(Debug, Clone, Default)]
pub struct SessionSettings {
    /// Clerk, if its sessions are accepted.
    pub clerk: Option<ClerkSettings>,
    /// Supabase, if its sessions are accepted.
    pub supabase: Option<SupabaseSettings>,
}

/// Who a valid session token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The user: a Clerk id (`user_…`) or a Supabase id (a UUID in lower case). The two can not be confused.
    pub user_id: String,
    /// The provider's id of the session, for logs.
    pub session_id: String,
    /// The user id of the operator who acts as this user (Clerk `act`). To be recorded, or refused, where money moves.
    pub impersonated_by: Option<String>,
}

/// Verifies session tokens. Made once; shared by all requests.
pub struct Sessions {
    clerk: Option<Clerk>,
    supabase: Option<Supabase>,
}

impl Sessions {
    /// Checks the settings. Fetches nothing yet: public keys are fetched with the first token that needs them.
    pub fn new(settings: &SessionSettings) -> Result<Self, AccessError> {
        Ok(Self {
            clerk: settings.clerk.as_ref().map(Clerk::new).transpose()?,
            supabase: settings.supabase.as_ref().map(Supabase::new).transpose()?,
        })
    }

    /// Verifies one token, without the `Bearer ` before it, at the time `now`.
    ///
    /// Waits only when public keys must be fetched first: at most 5 s for the fetch, and 5 s more for one already
    /// under way.
    pub async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Session, SessionError> {
        if self.clerk.is_none() && self.supabase.is_none() {
            return Err(SessionError::NotConfigured);
        }
        let token = Unverified::parse(token)?;
        let issuer = token.claimed_issuer().ok_or(InvalidToken::Issuer)?;
        if let Some(clerk) = self.clerk.as_ref().filter(|clerk| clerk.issuer() == issuer) {
            return clerk.verify(token, now).await;
        }
        if let Some(supabase) = self
            .supabase
            .as_ref()
            .filter(|supabase| supabase.issuer() == issuer)
        {
            return supabase.verify(token, now).await;
        }
        Err(InvalidToken::Issuer.into())
    }
}
