//! Who is asking: session tokens of Clerk and Supabase, and the API keys of this service.
//!
//! This module owns the rules of authentication, the public keys of the identity providers and the list of scopes.
//! It must never know HTTP routes or what time it is: the time of the request is passed in, and the only I/O is fetching
//! public keys (`jwks`) and reading and writing the table of API keys (`registry`). It must never put a token, a key or a
//! secret into an error or a log line.
//!
//! In reading order:
//! - [`session`]: the entry point, one token in, one [`Session`] out;
//! - `token`: a JWT taken apart, its signature and its times;
//! - `clerk`, `supabase`: the claims each provider must have set;
//! - `jwks`: the cache of public keys;
//! - [`api_key`]: keys of backends, operators and auditors, and their scopes; those of the settings;
//! - [`issued`], [`registry`]: those that this service gives out, and where they are kept;
//! - [`rate_limit`]: how often anybody may ask;
//! - [`mint`]: throw-away tokens for the demo and for tests.

pub mod api_key;
pub mod issued;
pub mod mint;
pub mod rate_limit;
pub mod registry;
pub mod session;

mod clerk;
mod error;
mod jwks;
mod supabase;
mod token;
mod url;

#[cfg(test)]
mod tests;

pub use api_key::{ApiKeySettings, ApiKeys, Principal, Scope, UnknownScope};
pub use clerk::{ClerkSettings, KeySource};
pub use error::{AccessError, InvalidToken, SessionError};
pub use rate_limit::{RateLimitSettings, RateLimits};
pub use registry::{IssuedKeys, KeysUnavailable};
pub use session::{Session, SessionSettings, Sessions};
pub use supabase::SupabaseSettings;
