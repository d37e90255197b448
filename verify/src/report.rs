//! What a verification comes to: how much was seen, up to which seal it is proven, and what does not agree.

use std::fmt;

use serde::Serialize;

use crate::manifest::Scope;

/// How many findings are listed. All are counted.
pub const LISTED: usize = 100;

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
            write!(f, " {stream}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// How far the history is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SealedUpTo {
    /// The last seal.
    pub seal: i64,
    /// When it was made, microseconds since 1970-01-01 UTC.
    pub sealed_at_us: i64,
}

/// Whether signatures were verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Signatures {
    /// Each seal's, by a key that was given.
    Verified,
    /// A key was given, and there is no seal.
    NothingSigned,
    /// No key was given, though none was waived.
    NotVerified,
    /// Whoever asked wanted none verified.
    Waived,
}

/// All movements of credits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Totals {
    /// Bought.
    pub purchased: i128,
    /// Given: at sign-up, by hand, with plans, for referrals.
    pub granted: i128,
    /// Used, less what was reversed.
    pub spent: i128,
    /// Ended unspent.
    pub expired: i128,
    /// Taken back with their money, less what was restored.
    pub clawed_back: i128,
    /// Sum of the balances.
    pub balance: i128,
    /// Sum of what users owe after their credits were taken back.
    pub owed: i128,
}

/// What can be said in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All agrees.
    Clean,
    /// Something does not.
    Findings,
    /// All agrees with itself, but no signature vouches for it.
    Unproven,
}

/// What a verification comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whose history.
    pub scope: Scope,
    /// Events seen.
    pub events: u64,
    /// Streams that they are of.
    pub streams: u64,
    /// Stored deliveries seen.
    pub deliveries: u64,
    /// Rows of states and read models compared.
    pub rows: u64,
    /// Seals seen.
    pub seals: u64,
    /// How far the history is sealed; nothing: not at all.
    pub sealed_up_to: Option<SealedUpTo>,
    /// Events that no seal covers yet.
    pub unsealed_events: u64,
    /// Whether signatures were verified.
    pub signatures: Signatures,
    /// How many seals a witness knew of that were found again.
    pub witnessed: u64,
    /// All movements of credits.
    pub totals: Totals,
    /// How many findings there are.
    pub found: u64,
    /// The first [`LISTED`] of them.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What can be said in the end.
    pub const fn verdict(&self) -> Verdict {
        match self.signatures {
            _ if self.found > 0 => Verdict::Findings,
            Signatures::NotVerified => Verdict::Unproven,
            Signatures::NothingSigned if self.events > 0 => Verdict::Unproven,
            _ => Verdict::Clean,
        }
    }

    /// 0: clean. 1: findings. 2: it can not be judged.
    pub const fn exit_code(&self) -> u8 {
        match self.verdict() {
            Verdict::Clean => 0,
            Verdict::Findings => 1,
            Verdict::Unproven => 2,
        }
    }
}

/// Findings as they come up.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) count: u64,
    pub(crate) listed: Vec<Finding>,
}

impl Found {
    pub(crate) fn add(&mut self, finding: Finding) {
        self.count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(finding);
        }
    }
}
