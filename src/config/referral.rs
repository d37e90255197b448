//! What a recommendation gives to both sides.

use serde::Deserialize;

use crate::ledger::Credits;

/// `[referral]` of the file. Nothing for both sides: there are no rewards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Referral {
    /// What the one who came gets.
    pub referred_credits: Credits,
    /// What the one who recommended gets.
    pub referrer_credits: Credits,
}

impl Referral {
    /// Whether anybody gets anything.
    pub const fn is_on(&self) -> bool {
        !self.referred_credits.is_zero() || !self.referrer_credits.is_zero()
    }
}
