//! What is set up, in a line for the log: names of providers and principals, never a value.

use std::fmt;

use super::Config;
use crate::ledger::Source;

/// What is set up, by names that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetUp {
    /// Whose webhooks are taken.
    pub providers: Vec<Source>,
    /// Whose session tokens are taken.
    pub sessions: Vec<&'static str>,
    /// The principals that have an API key.
    pub api_keys: Vec<&'static str>,
    /// Whether seals are signed, and who is told of them.
    pub seals: Vec<&'static str>,
}

impl Config {
    /// What is set up, to be said at start: a secret that did not arrive is seen there.
    pub fn set_up(&self) -> SetUp {
        let providers = [
            (Source::Clerk, !self.clerk_webhook_secrets.is_empty()),
            (Source::Razorpay, !self.razorpay_webhook_secrets.is_empty()),
            (Source::Stripe, !self.stripe_webhook_secrets.is_empty()),
        ];
        let sessions = [
            ("clerk", self.sessions.clerk.is_some()),
            ("supabase", self.sessions.supabase.is_some()),
        ];
        let api_keys = [
            ("admin", self.api_keys.admin.is_some()),
            ("service", self.api_keys.service.is_some()),
            ("audit", self.api_keys.audit.is_some()),
        ];
        let seals = self.seals.as_ref();
        let seals = [
            ("signed", seals.is_some()),
            (
                "to a file",
                seals.is_some_and(|one| one.witness_file.is_some()),
            ),
            (
                "to a URL",
                seals.is_some_and(|one| one.witness_url.is_some()),
            ),
        ];
        SetUp {
            providers: those_set(providers),
            sessions: those_set(sessions),
            api_keys: those_set(api_keys),
            seals: those_set(seals),
        }
    }
}

fn those_set<T>(names: impl IntoIterator<Item = (T, bool)>) -> Vec<T> {
    let set = names.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(name, _)| name).collect()
}

impl fmt::Display for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers: Vec<&str> = self.providers.iter().map(|one| one.as_str()).collect();
        for (separator, what, names) in [
            ("", "webhooks", &providers),
            ("; ", "sessions", &self.sessions),
            ("; ", "API keys", &self.api_keys),
            ("; ", "seals", &self.seals),
        ] {
            let names = if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            };
            write!(f, "{separator}{what}: {names}")?;
        }
        Ok(())
    }
}
