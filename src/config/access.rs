//! Who may ask, and how often.

use std::num::NonZeroU32;

use super::{ConfigError, Settings, value};
use crate::access::{
    ClerkSettings, KeySource, RateLimitSettings, SessionSettings, SupabaseSettings,
};

/// The most requests per second, and the most at once, that a limit can be set to.
const RATE_MAX: u64 = 100_000;
/// The most proxies that can stand before the service.
const PROXIES_MAX: u64 = 16;

impl Settings<'_> {
    pub(super) fn sessions(&self) -> Result<SessionSettings, ConfigError> {
        let keys = match (self.text("CLERK_JWT_KEY"), self.text("CLERK_JWKS_URL")) {
            (Some(_), Some(_)) => {
                return Err(value(
                    "CLERK_JWKS_URL",
                    "must not be set beside CLERK_JWT_KEY",
                ));
            }
            (Some(pem), None) => Some(KeySource::Pem(pem)),
            (None, Some(url)) => Some(KeySource::Jwks(url)),
            (None, None) => {
                let rule = "needs CLERK_JWT_KEY or CLERK_JWKS_URL, too";
                self.refuse("CLERK_ISSUER", rule)?;
                self.refuse("CLERK_AUTHORIZED_PARTIES", rule)?;
                None
            }
        };
        let supabase_url = self.text("SUPABASE_URL");
        if supabase_url.is_none() {
            self.refuse("SUPABASE_JWT_SECRET", "needs SUPABASE_URL, too")?;
        }
        Ok(SessionSettings {
            clerk: keys.map(|keys| ClerkSettings {
                keys,
                issuer: self.text("CLERK_ISSUER"),
                authorized_parties: self.list("CLERK_AUTHORIZED_PARTIES"),
            }),
            supabase: supabase_url.map(|url| SupabaseSettings {
                url,
                jwt_secret: self.secret("SUPABASE_JWT_SECRET"),
            }),
        })
    }

    pub(super) fn rate_limits(&self) -> Result<RateLimitSettings, ConfigError> {
        let per_key = self.rate("RATE_LIMIT_PER_KEY")?;
        let per_address = self.rate("RATE_LIMIT_PER_ADDRESS")?;
        if per_key.is_none() && per_address.is_none() {
            let rule = "needs RATE_LIMIT_PER_KEY or RATE_LIMIT_PER_ADDRESS, too";
            self.refuse("RATE_LIMIT_BURST", rule)?;
        }
        if per_address.is_none() {
            self.refuse("TRUSTED_PROXIES", "needs RATE_LIMIT_PER_ADDRESS, too")?;
        }
        let rule = "must be 0 to 16";
        let proxies = self.number("TRUSTED_PROXIES", 0, PROXIES_MAX, rule)?;
        Ok(RateLimitSettings {
            per_key,
            per_address,
            burst: self.rate("RATE_LIMIT_BURST")?,
            trusted_proxies: usize::try_from(proxies.unwrap_or(0))
                .map_err(|_| value("TRUSTED_PROXIES", rule))?,
        })
    }

    fn rate(&self, name: &'static str) -> Result<Option<NonZeroU32>, ConfigError> {
        let rule = "must be 1 to 100000";
        let number = self.number(name, 1, RATE_MAX, rule)?;
        number
            .map(|number| {
                let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
                number.ok_or_else(|| value(name, rule))
            })
            .transpose()
    }
}
