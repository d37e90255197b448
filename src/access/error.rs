//! The errors of `access`: one enum for settings that can not work, one for tokens that do not prove who is asking.
//!
//! None of them may carry text from a token, a key or a secret: only names of settings and claims.

/// Settings that can not work. Found once, at start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// A PEM names no issuer, so without one a token of any Clerk instance with that key would be accepted.
    #[error(
        "CLERK_ISSUER is required: set it to the Frontend API URL, for example https://clerk.example.com (it is only derived from a CLERK_JWKS_URL that ends in /.well-known/jwks.json)"
    )]
    ClerkIssuerMissing,
    /// The PEM is not an RSA public key this service can use.
    #[error("CLERK_JWT_KEY {problem}")]
    ClerkKey {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A URL is unusable.
    #[error("{setting} {problem}")]
    Url {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An HS256 secret shorter than its hash can be guessed offline from one token (RFC 7518 section 3.2).
    #[error("SUPABASE_JWT_SECRET must have at least {min_bytes} bytes")]
    SupabaseSecretTooShort {
        /// The shortest length that is accepted, in bytes.
        min_bytes: usize,
    },
    /// An API key is unusable.
    #[error("{setting} {problem}")]
    ApiKey {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two API keys are equal, so it would be unclear who is asking.
    #[error("{first} and {second} must not be equal")]
    ApiKeysEqual {
        /// Name of one setting.
        first: &'static str,
        /// Name of the other setting.
        second: &'static str,
    },
    /// The HTTP client that fetches public keys can not be built, for example because there are no root certificates.
    #[error("the HTTP client for public keys can not be built: {0}")]
    HttpClient(String),
}

/// Why a session token was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Neither Clerk nor Supabase is configured, so no session token can be judged.
    #[error("no session provider is configured")]
    NotConfigured,
    /// The token proves nothing. A new token of the same kind would not help.
    #[error("the session token is not valid: {0}")]
    Invalid(#[from] InvalidToken),
    /// The token was good but its time is over: the client asks its provider for a fresh one and tries again.
    #[error("the session token has expired")]
    Expired,
    /// The provider's public keys can not be fetched now, so the token can not be judged. Try again later.
    #[error("the public keys of the session provider can not be fetched now")]
    KeysUnavailable,
}

/// What is wrong with a token that is not valid. Carries names of claims only, never their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// Longer than 8 KiB.
    #[error("it is too long")]
    TooLong,
    /// Not three parts of base64url, or a part is not the JSON object it must be.
    #[error("it is not a JSON web token")]
    Malformed,
    /// The algorithm is not one that the issuer's configuration allows, or not the one of the named key.
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// The header's `typ` is not `JWT`, or the header demands an extension (`crit`).
    #[error("its header is not that of a session token")]
    Header,
    /// No configured provider has this issuer.
    #[error("its issuer is not known here")]
    Issuer,
    /// The provider has no public key of this id.
    #[error("its key is not known")]
    UnknownKey,
    /// The signature does not fit.
    #[error("its signature does not fit")]
    Signature,
    /// `nbf` or `iat` lies in the future.
    #[error("it is not valid yet")]
    NotYetValid,
    /// The session has tasks left to do before it may be used (Clerk `sts`).
    #[error("its session is pending")]
    Pending,
    /// It belongs to an anonymous user (Supabase `is_anonymous`).
    #[error("its user is anonymous")]
    Anonymous,
    /// This claim is missing or has a value that is not accepted.
    #[error("its claim `{0}` is missing or not accepted")]
    Claim(&'static str),
}
