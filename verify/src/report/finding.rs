//! What does not agree, and where: one finding, and all of them as they come up.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// How many findings are listed. All are counted.
pub const LISTED: usize = 100;
/// How many of each check are listed in any case: a flood of one hides no other.
pub const LISTED_OF_EACH: u64 = 10;

/// What a finding is about: stable words, for whoever reads findings by machine.
pub mod checks {
    /// Positions of a shard are not 1, 2, 3 …: some are not there, or come twice.
    pub const POSITION_MISSING: &str = "position_missing";
    /// A hash is not the one over the event and the hash before it: one of the three was changed.
    pub const HASH_DIFFERS: &str = "hash_differs";
    /// Times of recording run back within a shard.
    pub const TIME_REVERSED: &str = "time_reversed";
    /// A shard does not end where the manifest or a seal says.
    pub const END_DIFFERS: &str = "end_differs";
    /// A stream is not of the user whose history it is said to be.
    pub const SCOPE_DIFFERS: &str = "scope_differs";
    /// A stream's events are not 1, 2, 3 …, or not all in one shard.
    pub const SEQUENCE_BROKEN: &str = "sequence_broken";
    /// Numbers of seals are not 1, 2, 3 …, or the last one is not there.
    pub const SEAL_MISSING: &str = "seal_missing";
    /// A seal does not agree with itself or with the seals before it.
    pub const SEAL_BROKEN: &str = "seal_broken";
    /// The events are not those that were sealed.
    pub const ROOT_DIFFERS: &str = "root_differs";
    /// A seal's signature is by none of the keys that were given.
    pub const SIGNATURE_INVALID: &str = "signature_invalid";
    /// A proof does not show that an event is in a seal, or a seal in the last one's head.
    pub const PROOF_INVALID: &str = "proof_invalid";
    /// A witness was told of a seal that is not there, or is another.
    pub const ROLLED_BACK: &str = "rolled_back";
    /// What a witness is said to have been told is signed by nobody.
    pub const WITNESS_INVALID: &str = "witness_invalid";
    /// A file is not there, or not as the manifest says.
    pub const FILE_DIFFERS: &str = "file_differs";
    /// A line is no record.
    pub const UNREADABLE: &str = "unreadable";
    /// An event of a type that this release does not know.
    pub const UNKNOWN_EVENT: &str = "unknown_event";
    /// An event breaks a rule: takes what is not there, settles twice, gives twice.
    pub const RULE_BROKEN: &str = "rule_broken";
    /// The account after an event is not what its credits make of the one before.
    pub const ACCOUNT_DIFFERS: &str = "account_differs";
    /// All credits given, less those taken, are not the balances less what is owed.
    pub const CONSERVATION: &str = "conservation";
    /// A user got credits of a purchase that does not give them.
    pub const CREDITS_WITHOUT_PAYMENT: &str = "credits_without_payment";
    /// A purchase gives credits that its user did not get.
    pub const PAYMENT_WITHOUT_CREDITS: &str = "payment_without_credits";
    /// What was taken back or held back is not what refunds and disputes take.
    pub const WITHHELD_DIFFERS: &str = "withheld_differs";
    /// A stored delivery is not the one that its events name.
    pub const DELIVERY_DIFFERS: &str = "delivery_differs";
    /// An event names a delivery that is not there, or names none.
    pub const DELIVERY_MISSING: &str = "delivery_missing";
    /// A state is not the fold of its stream.
    pub const STATE_DIFFERS: &str = "state_differs";
    /// A row of a read model is not what the events say.
    pub const ROW_DIFFERS: &str = "row_differs";
    /// A row is not there that the events call for.
    pub const ROW_MISSING: &str = "row_missing";
}

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// One of [`checks`].
    pub check: &'static str,
    /// Where in the log.
    pub shard: Option<i16>,
    /// The position in the shard.
    pub position: Option<i64>,
    /// Whose history: `user/…` or `purchase/…`.
    pub stream: Option<String>,
    /// What differs: what is said, and what should be.
    pub what: String,
}

impl Finding {
    /// A finding that has no place in the log.
    pub fn new(check: &'static str, what: impl Into<String>) -> Self {
        Self {
            check,
            shard: None,
            position: None,
            stream: None,
            what: what.into(),
        }
    }

    /// The same, about a place in the log.
    #[must_use]
    pub fn at(mut self, shard: i16, position: i64) -> Self {
        (self.shard, self.position) = (Some(shard), Some(position));
        self
    }

    /// The same, about a shard.
    #[must_use]
    pub const fn in_shard(mut self, shard: i16) -> Self {
        self.shard = Some(shard);
        self
    }

    /// The same, about a stream.
    #[must_use]
    pub fn of(mut self, aggregate_type: &str, aggregate_id: &str) -> Self {
        self.stream = Some(format!("{aggregate_type}/{aggregate_id}"));
        self
    }
}

/// A text that others wrote, as it may be shown: it can neither begin a line nor move what was shown before.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        for character in self.0.chars() {
            match character {
                '"' | '\'' => f.write_char(character)?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.check)?;
        if let Some(shard) = self.shard {
            write!(f, " shard {shard}")?;
        }
        if let Some(position) = self.position {
            write!(f, " position {position}")?;
        }
        if let Some(stream) = &self.stream {
            write!(f, " {}", Shown(stream))?;
        }
        write!(f, ": {}", Shown(&self.what))
    }
}

/// Findings as they come up.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) count: u64,
    pub(crate) by_check: BTreeMap<&'static str, u64>,
    pub(crate) listed: Vec<Finding>,
    /// Lists every one, however many there are.
    pub(crate) list_all: bool,
}

impl Found {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.count += 1;
        let of_check = self.by_check.entry(finding.check).or_default();
        *of_check += 1;
        if self.list_all || self.listed.len() < LISTED || *of_check <= LISTED_OF_EACH {
            self.listed.push(finding);
        }
    }
}
