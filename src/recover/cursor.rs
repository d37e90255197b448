//! Where a sweep goes on. Callers hold it, so all of it is parsed into what may be handed to the database.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::ledger::{InvalidValue, PurchaseId, UserId};
use crate::reads::LATEST;

/// Where a sweep goes on, for each kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    pub(super) parked: Place<(Moment, Text, Text)>,
    pub(super) no_bonus: Place<UserId>,
    pub(super) unpriced: Place<(Moment, PurchaseId)>,
    pub(super) unclaimed: Place<(Moment, PurchaseId)>,
}

impl Cursor {
    /// Nothing is left of any kind.
    pub(super) fn is_end(&self) -> bool {
        self.parked == Place::End
            && self.no_bonus == Place::End
            && self.unpriced == Place::End
            && self.unclaimed == Place::End
    }
}

/// A place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place<T> {
    /// Before the first row.
    #[default]
    Start,
    /// Behind this row.
    After(T),
    /// Behind the last row.
    End,
}

/// A time that a row can have: 1970 to 9999, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub(super) struct Moment(DateTime<Utc>);

impl Moment {
    pub(super) const fn of(time: DateTime<Utc>) -> Self {
        Self(time)
    }

    pub(super) const fn time(self) -> DateTime<Utc> {
        self.0
    }
}

impl TryFrom<i64> for Moment {
    type Error = InvalidValue;

    fn try_from(micros: i64) -> Result<Self, InvalidValue> {
        DateTime::from_timestamp_micros(micros)
            .filter(|time| (DateTime::UNIX_EPOCH..=LATEST).contains(time))
            .map(Self)
            .ok_or(InvalidValue {
                field: "cursor",
                rule: "holds no time of a row",
            })
    }
}

impl From<Moment> for i64 {
    fn from(moment: Moment) -> Self {
        moment.0.timestamp_micros()
    }
}

/// A text that PostgreSQL can hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Text(String);

impl Text {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn of(stored: &str) -> Self {
        Self(stored.to_owned())
    }
}

impl TryFrom<String> for Text {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        if text.contains('\0') {
            return Err(InvalidValue {
                field: "cursor",
                rule: "holds a text of no row",
            });
        }
        Ok(Self(text))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}
