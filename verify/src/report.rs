//! What a verification comes to: how much was seen, up to which seal it is proven, and what does not agree.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::manifest::Scope;

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
    /// All agrees with itself, but no signature vouches for it, or there is no event that it could vouch for.
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
    /// How many of each of [`checks`].
    pub found_by_check: BTreeMap<&'static str, u64>,
    /// The first [`LISTED`] of them, and the first [`LISTED_OF_EACH`] of each check; or all, if that was asked for.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What can be said in the end.
    pub const fn verdict(&self) -> Verdict {
        match self.signatures {
            _ if self.found > 0 => Verdict::Findings,
            Signatures::NotVerified | Signatures::NothingSigned => Verdict::Unproven,
            _ if self.events == 0 => Verdict::Unproven,
            Signatures::Verified | Signatures::Waived => Verdict::Clean,
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

impl Report {
    /// Clean is what was sealed; what came after it, nobody vouches for.
    fn fmt_clean(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signatures, self.sealed_up_to) {
            (Signatures::Verified, Some(SealedUpTo { seal, .. })) => {
                write!(f, "verdict     clean up to seal {seal}")?;
            }
            _ => write!(f, "verdict     clean, but no signature was verified")?,
        }
        match (self.signatures, self.unsealed_events) {
            (Signatures::Verified, 1..) => writeln!(
                f,
                "; {} events behind it are proven by nobody",
                self.unsealed_events
            ),
            _ => writeln!(f),
        }
    }
}

impl fmt::Display for Report {
    /// What was seen, what was proven and what was not, the findings, one a line, and the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            Scope::Whole => writeln!(f, "scope       the whole ledger")?,
            Scope::User(id) => writeln!(f, "scope       user/{} and its purchases", Shown(id))?,
        }
        writeln!(
            f,
            "seen        {} events of {} streams, {} deliveries, {} rows, {} seals",
            self.events, self.streams, self.deliveries, self.rows, self.seals
        )?;
        let Totals {
            purchased,
            granted,
            spent,
            expired,
            clawed_back,
            balance,
            owed,
        } = self.totals;
        writeln!(
            f,
            "credits     {purchased} purchased + {granted} granted - {spent} spent - {expired} expired - {clawed_back} clawed back = {balance} in balances - {owed} owed"
        )?;
        match self.sealed_up_to {
            None => writeln!(f, "sealed      nothing: there is no seal")?,
            Some(SealedUpTo { seal, sealed_at_us }) => {
                writeln!(
                    f,
                    "sealed      up to seal {seal} of {}; {} events came after it",
                    Time(sealed_at_us),
                    self.unsealed_events
                )?;
            }
        }
        let signatures = match self.signatures {
            Signatures::Verified => "every seal's, by a key that was given",
            Signatures::NothingSigned => {
                "NONE: a key was given, and there is nothing that it signed"
            }
            Signatures::NotVerified => {
                "NOT VERIFIED: no key was given; whoever made this may have made all of it up"
            }
            Signatures::Waived => {
                "not verified, as was asked; whoever made this may have made all of it up"
            }
        };
        writeln!(f, "signatures  {signatures}")?;
        match (self.witnessed, &self.scope) {
            (0, _) => writeln!(
                f,
                "witness     none; a history that was cut off after an earlier seal, or rolled back and sealed anew by its own key, would not be told"
            )?,
            (seals, _) => writeln!(
                f,
                "witness     {seals} seals are those that the witness was told of"
            )?,
        }
        if self.scope != Scope::Whole {
            writeln!(
                f,
                "not proven  that nothing came after these events: only the whole ledger shows that"
            )?;
        }
        for finding in &self.findings {
            writeln!(f, "FINDING     {finding}")?;
        }
        if self.found > self.findings.len() as u64 {
            writeln!(
                f,
                "FINDING     … and {} more",
                self.found - self.findings.len() as u64
            )?;
        }
        match self.verdict() {
            Verdict::Clean => self.fmt_clean(f),
            Verdict::Findings => {
                let each = self.found_by_check.iter();
                let each: Vec<String> = each.map(|(check, n)| format!("{n} {check}")).collect();
                writeln!(
                    f,
                    "verdict     {} findings: {}",
                    self.found,
                    each.join(", ")
                )
            }
            Verdict::Unproven if self.events == 0 => {
                writeln!(f, "verdict     UNPROVEN: there is no event to judge")
            }
            Verdict::Unproven => writeln!(
                f,
                "verdict     UNPROVEN: it agrees with itself, and no signature vouches for it"
            ),
        }
    }
}

/// A time as RFC 3339 in UTC, to the second.
struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(1_000_000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Days since 0000-03-01, in eras of 400 years (Howard Hinnant, chrono-compatible date algorithms).
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let shifted = (5 * day + 2) / 153;
        let day = day - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_findings_hides_none_of_another_kind() {
        let mut found = Found::default();
        for _ in 0..2 * LISTED {
            found.add(Finding::new(checks::HASH_DIFFERS, "a"));
        }
        for _ in 0..2 * LISTED {
            found.add(Finding::new(checks::ROLLED_BACK, "b"));
        }
        let listed = |check| found.listed.iter().filter(|one| one.check == check).count();
        assert_eq!(listed(checks::HASH_DIFFERS), LISTED);
        assert_eq!(listed(checks::ROLLED_BACK) as u64, LISTED_OF_EACH);
        assert_eq!(found.count, 4 * LISTED as u64);
        assert_eq!(found.by_check[checks::ROLLED_BACK], 2 * LISTED as u64);
    }

    #[test]
    fn times_are_shown_as_the_calendar_has_them() {
        for (time_us, shown) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1_795_000_000_123_456, "2026-11-18T11:06:40Z"),
            (4_107_542_399_000_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Time(time_us).to_string(), shown);
        }
    }
}
