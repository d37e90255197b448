//! What a product's backend does with credits, over HTTP.

mod bulk;
mod grants;
mod holds;
mod idempotency;
mod plans;
mod referrals;
mod spending;
