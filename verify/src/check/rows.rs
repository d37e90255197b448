//! What is stored of a user in rows: movements, lots, holds; compared with what the events come to.

use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use serde_json::Value;

use super::history::Stream;
use crate::fold::user::{self, BurnKey, Slice, Stored, User};
use crate::fold::{Object, amount, differences, number};
use crate::record::{EventRecord, Row};

/// Of a user: beside the stream, what is stored in several rows.
#[derive(Debug, Default)]
pub(super) struct UserRows {
    pub(super) user: User,
    pub(super) balance_seen: bool,
    /// What the state says of the lots that are rows.
    behind: Option<Behind>,
    remembers: bool,
    movements: Vec<Moved>,
}

/// The lots of a state.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SaidLots {
    open: Vec<Object>,
    behind: Option<Behind>,
    remembers: bool,
}

/// What a state says of the lots that are rows: their credits; that none burns before one place in the order of burning,
/// and none ends before one time, seconds since 1970.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    #[serde(deserialize_with = "amount")]
    credits: i128,
    after: BurnKey,
    #[serde(default)]
    due_at_s: Option<i64>,
}

/// A movement of credits, for its row in `entries`. What the columns of texts and times hold is kept as a digest that
/// nobody can aim at.
#[derive(Debug)]
struct Moved {
    sequence: i64,
    position: i64,
    delta: i128,
    balance: i128,
    rest: u64,
    seen: bool,
}

pub(super) const NO_EVENT: &str = "no event calls for it";

#[expect(
    clippy::unnecessary_wraps,
    reason = "one of the ways in which a row may differ"
)]
pub(super) fn no_event() -> Option<String> {
    Some(NO_EVENT.to_owned())
}

/// A row is seen once.
pub(super) fn once(seen: &mut bool) -> Option<String> {
    std::mem::replace(seen, true).then(|| "it is there twice".to_owned())
}

/// A lot or a hold is stored in one place.
pub(super) fn store(stored: &mut Stored, place: Stored) -> Option<String> {
    let twice = std::mem::replace(stored, place) != Stored::Nowhere;
    twice.then(|| "it is there twice".to_owned())
}

pub(super) fn compare(row: &Row, made: &Value) -> Option<String> {
    differences(row, made.as_object()?)
}

impl Stream<UserRows> {
    /// What the events call for and nobody stored.
    pub(super) fn missing(&self) -> Vec<String> {
        let UserRows {
            user,
            balance_seen,
            behind,
            movements,
            ..
        } = &self.fold;
        let behind = behind.map_or(0, |behind| behind.credits);
        let mut missing = Vec::new();
        for (there, table) in [
            (self.state_seen, "streams"),
            (*balance_seen || user.moved_sequence == 0, "balance"),
            (self.row_seen || !user.known, "users"),
        ] {
            if !there {
                missing.push(format!("{table} has no row of it"));
            }
        }
        for entry in movements.iter().filter(|entry| !entry.seen) {
            missing.push(format!("entries has no row of number {}", entry.sequence));
        }
        let nowhere = user
            .lots
            .all
            .iter()
            .filter(|(_, lot)| lot.stored == Stored::Nowhere);
        missing.extend(nowhere.map(|(id, _)| format!("neither its state nor lots has lot {id}")));
        let nowhere = user
            .holds
            .iter()
            .filter(|(_, hold)| hold.stored == Stored::Nowhere);
        missing
            .extend(nowhere.map(|(position, _)| {
                format!("holds has no row of hold {}-{position}", self.shard)
            }));
        let in_rows = user
            .lots
            .all
            .values()
            .filter(|lot| lot.stored == Stored::InRow);
        let in_rows: i128 = in_rows.map(|lot| lot.remaining).sum();
        if self.state_seen && in_rows != behind {
            missing.push(format!(
                "its state says that lots has {behind} of its credits, it has {in_rows}"
            ));
        }
        missing
    }
}

impl UserRows {
    /// Takes in a movement of credits.
    pub(super) fn moved(
        &mut self,
        event: &EventRecord,
        fields: &user::Fields,
        digest: &RandomState,
    ) {
        self.movements.push(Moved {
            sequence: event.sequence,
            position: event.position,
            delta: fields.delta,
            balance: fields.balance,
            rest: digest.hash_one(rest_of(event, fields)),
            seen: false,
        });
    }

    /// What a state says of its holds is a bound: none times out before it, seconds since 1970.
    pub(super) fn holds(&self, bound: Option<&Value>) -> Option<String> {
        let first = self
            .user
            .holds
            .values()
            .map(|hold| hold.times_out_at_s)
            .min()?;
        let kept = bound
            .and_then(Value::as_i64)
            .is_some_and(|bound| bound <= first);
        (!kept).then(|| format!("holds should be {first} at most"))
    }

    /// Compares the lots of a state: those that burn first are in it, of the others it has the sum.
    pub(super) fn lots(&mut self, lots: &Value) -> Option<String> {
        let said: SaidLots = match serde_json::from_value(lots.clone()) {
            Ok(said) => said,
            Err(_) => return Some("its lots can not be read".to_owned()),
        };
        (self.behind, self.remembers) = (said.behind, said.remembers);
        for said in &said.open {
            let id = said.get("id").and_then(Value::as_i64).unwrap_or(0);
            let wrong = match self.user.lots.all.get_mut(&id) {
                Some(lot) => store(&mut lot.stored, Stored::InState)
                    .or_else(|| differences(said, &lot.state(id))),
                None => no_event(),
            };
            if let Some(what) = wrong {
                return Some(format!("lot {id}: {what}"));
            }
        }
        None
    }

    /// What a state says of lots that are rows are bounds, which decide when rows are read at all: what is behind them is
    /// never burnt and never ends.
    pub(super) fn bounds(&self) -> Vec<String> {
        let all = self.user.lots.all.iter();
        let rows = || all.clone().filter(|(_, lot)| lot.stored == Stored::InRow);
        let mut wrong = Vec::new();
        if let Some(Behind {
            after, due_at_s, ..
        }) = self.behind
        {
            let open = rows().filter(|(_, lot)| lot.remaining > 0);
            let first = open.map(|(id, lot)| lot.burn_key(*id)).min();
            if let Some(first) = first.filter(|first| after > *first) {
                wrong.push(format!(
                    "its lots in rows burn from {first:?} on, it says from {after:?} on"
                ));
            }
            let ends = rows().filter_map(|(_, lot)| lot.ends_at_s()).min();
            if let Some(ends_s) = ends.filter(|ends_s| due_at_s.is_none_or(|due_s| due_s > *ends_s))
            {
                wrong.push(format!(
                    "a lot in a row ends at {ends_s}, it says not before {due_at_s:?}"
                ));
            }
        }
        if !self.remembers && rows().any(|(_, lot)| lot.remaining == 0) {
            wrong.push("it does not say that there are rows of lots that ended".to_owned());
        }
        wrong
    }

    pub(super) fn entry(&mut self, row: &Row, digest: &RandomState) -> Option<String> {
        let entry = serde_json::from_value(Value::Object(row.clone()));
        let Some(entry) = entry.ok().filter(|_: &Entry| row.len() == ENTRY_COLUMNS) else {
            return Some("it has other columns than entries have".to_owned());
        };
        let index = self
            .movements
            .binary_search_by_key(&entry.sequence, |moved| moved.sequence);
        let Some(moved) = index.ok().and_then(|index| self.movements.get_mut(index)) else {
            return no_event();
        };
        let mut made = Object::new();
        made.insert("position".to_owned(), moved.position.into());
        made.insert("delta".to_owned(), number(moved.delta));
        made.insert("balance".to_owned(), number(moved.balance));
        let said = ["position", "delta", "balance"];
        let said = said
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), row.get(name)?.clone())));
        let wrong = once(&mut moved.seen).or_else(|| differences(&said.collect(), &made));
        let rest = || "one of its texts, times or slices is not that of the event".to_owned();
        wrong.or_else(|| (digest.hash_one(entry.rest()) != moved.rest).then(rest))
    }
}

/// How many columns `entries` has.
const ENTRY_COLUMNS: usize = 15;

/// A row of `entries`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "these columns are compared by name")]
struct Entry {
    user_id: String,
    sequence: i64,
    shard: i16,
    position: i64,
    #[serde(rename = "type")]
    event_type: String,
    delta: i64,
    balance: i64,
    purchase_id: Option<String>,
    source: String,
    provider_event_id: Option<String>,
    recorded_at_us: i64,
    slices: Option<Vec<Slice>>,
    about: Option<String>,
    reason: Option<String>,
    reference: Option<String>,
}

/// The columns of an entry that are kept as a digest.
type Rest<'a> = (i16, i64, [Option<&'a str>; 7], Option<&'a [Slice]>);

impl Entry {
    fn rest(&self) -> Rest<'_> {
        let texts = [
            Some(self.event_type.as_str()),
            Some(self.source.as_str()),
            self.provider_event_id.as_deref(),
            self.purchase_id.as_deref(),
            self.about.as_deref(),
            self.reason.as_deref(),
            self.reference.as_deref(),
        ];
        (
            self.shard,
            self.recorded_at_us,
            texts,
            self.slices.as_deref(),
        )
    }
}

/// The same columns as an event makes them. What comes in whole says no more than that.
fn rest_of<'a>(event: &'a EventRecord, fields: &'a user::Fields) -> Rest<'a> {
    let whole = matches!(
        event.event_type.as_str(),
        "CreditsPurchased" | "SignupBonusGranted"
    );
    let told = |text: Option<&'a str>| text.filter(|_| !whole);
    let texts = [
        Some(event.event_type.as_str()),
        Some(event.source.as_str()),
        event.provider_event_id.as_deref(),
        fields.purchase_id.as_deref(),
        told(fields.about()),
        told(fields.reason.as_deref()),
        told(fields.reference.as_deref()),
    ];
    let slices = fields.slices.as_deref().or(fields.returned.as_deref());
    (
        event.shard,
        event.recorded_at_us,
        texts,
        slices.filter(|_| !whole),
    )
}
