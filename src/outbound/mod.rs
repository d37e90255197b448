//! The calls that we make to providers' APIs and to a witness of seals, each with a limit on its time and on the size of
//! its answer.
//!
//! Moves bytes and understands nothing of them: what they mean is read in [`crate::provider`]. Must never put
//! a secret into an error, a log line or a URL, and never follow where an answer points.

mod client;
pub mod razorpay;
pub mod stripe;
pub mod witness;

pub use razorpay::RazorpayApi;
pub use stripe::StripeApi;
pub use witness::WitnessApi;

/// Why a provider's API gave no answer that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The API knows no such object.
    #[error("the provider knows no such object")]
    NotFound,
    /// The API refuses us, for example 401 for wrong keys; or points elsewhere (3xx). Asking again does not help.
    #[error("the provider answered status {0}")]
    Refused(u16),
    /// No answer in time, or one that says so (429, 5xx). Asking again may help.
    #[error("the provider's API is unavailable: {0}")]
    Unavailable(&'static str),
    /// The answer is larger than any that makes sense.
    #[error("the provider's answer is too large")]
    TooLarge,
}

/// Why a client can not be made from the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// Not `http` or `https` and a host, or more than that.
    #[error("the API's URL must be an origin, like https://api.example.com")]
    BadOrigin,
    /// Not `http` or `https` and a host, or with a user or a fragment.
    #[error("must be a URL of https or http, without a user and a fragment")]
    BadUrl,
    /// A key is empty.
    #[error("the API's keys must not be empty")]
    EmptyKey,
    /// A key holds what no header can.
    #[error("the API's key holds control characters or letters beyond ASCII")]
    BadKey,
    /// The HTTP client can not be set up, for example without any trusted certificates.
    #[error("the HTTP client can not be set up")]
    Client,
}
