//! What the events come to, stream by stream, and whether everything that is stored beside them says the same: states,
//! rows, payments and their credits, and the sum of it all.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use serde_json::Value;

use crate::fold::purchase::{self, Purchase};
use crate::fold::user::{self, Slice, Stored, User};
use crate::fold::{Object, Say, differences, number, read, said};
use crate::manifest::{Content, Scope};
use crate::record::{EventRecord, Row, StreamRecord};
use crate::report::{Finding, Found, Totals, checks};

/// Columns that an export of an older release does not have.
const NEWER_COLUMNS: [&str; 4] = [
    "erasure_requested",
    "erased",
    "deleted_at_us",
    "payer_erased",
];

/// A stream: where it is, how far it came, what its events come to, and whether its state and its row were seen.
#[derive(Debug)]
struct Stream<F> {
    shard: i16,
    version: i64,
    fold: F,
    state_seen: bool,
    row_seen: bool,
}

/// Of a user: beside the stream, what is stored in several rows.
#[derive(Debug, Default)]
struct UserRows {
    user: User,
    balance_seen: bool,
    /// The credits that the state says are in lots that are rows.
    behind: i128,
    movements: Vec<Moved>,
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

/// What users got of a purchase.
#[derive(Debug, Default)]
struct Got {
    user: String,
    times: u32,
    credits: i128,
    expires_at_s: Option<i64>,
    clawed_back: i128,
    held_back: i128,
}

#[derive(Debug, Default)]
pub(super) struct History {
    users: HashMap<String, Stream<UserRows>>,
    purchases: HashMap<String, Stream<Purchase>>,
    /// By purchase.
    got: HashMap<String, Got>,
    /// What became of holds and spends, by place; and whether its row was seen.
    settled: HashMap<(i16, i64), (&'static str, bool)>,
    digest: RandomState,
    pub(super) totals: Totals,
}

impl History {
    pub(super) fn streams(&self) -> u64 {
        (self.users.len() + self.purchases.len()) as u64
    }

    pub(super) fn event(&mut self, event: &EventRecord, found: &mut Found) {
        let mut say = |check, what| {
            found.add(
                Finding::new(check, what)
                    .at(event.shard, event.position)
                    .of(&event.aggregate_type, &event.aggregate_id),
            );
        };
        let types: &[&str] = match event.aggregate_type.as_str() {
            "user" => &user::TYPES,
            "purchase" => &purchase::TYPES,
            _ => &[],
        };
        let event_type = event.event_type.as_str();
        if !types.contains(&event_type) || event.event_version != "1.0" {
            let what = format!("nothing is known of {event_type} {}", event.event_version);
            say(checks::UNKNOWN_EVENT, what);
        }
        match event.aggregate_type.as_str() {
            "user" => {
                let stream = follow(&mut self.users, event, &mut say);
                match read(&event.payload, event_type) {
                    Ok(fields) if user::TYPES.contains(&event_type) => {
                        let UserRows {
                            user, movements, ..
                        } = &mut stream.fold;
                        let settled = user.apply(event, &fields, &mut self.totals, &mut say);
                        if let Some((position, how)) = settled
                            && self
                                .settled
                                .insert((event.shard, position), (how, false))
                                .is_some()
                        {
                            let what = format!("{}-{position} was settled before", event.shard);
                            say(checks::RULE_BROKEN, what);
                        }
                        if user.moved_sequence == event.sequence {
                            movements.push(Moved {
                                sequence: event.sequence,
                                position: event.position,
                                delta: fields.delta,
                                balance: fields.balance,
                                rest: self.digest.hash_one(rest(event, &fields)),
                                seen: false,
                            });
                            self.got(event, &fields, &mut say);
                        }
                    }
                    Ok(_) => {}
                    Err(what) => say(checks::UNREADABLE, what),
                }
            }
            "purchase" => {
                let stream = follow(&mut self.purchases, event, &mut say);
                match read(&event.payload, event_type) {
                    Ok(fields) if purchase::TYPES.contains(&event_type) => {
                        stream.fold.apply(event, &fields, &mut say);
                    }
                    Ok(_) => {}
                    Err(what) => say(checks::UNREADABLE, what),
                }
            }
            _ => {}
        }
    }

    /// What a user gets of a purchase, and what is taken or held back: never more than it gave.
    fn got(&mut self, event: &EventRecord, fields: &user::Fields, say: &mut Say<'_>) {
        let Some(id) = &fields.purchase_id else {
            return;
        };
        let got = self.got.entry(id.clone()).or_default();
        let user = &event.aggregate_id;
        match event.event_type.as_str() {
            "CreditsPurchased" => {
                got.times += 1;
                if got.times > 1 {
                    let what = format!("credits of {id} were given before");
                    return say(checks::CREDITS_WITHOUT_PAYMENT, what);
                }
                (got.user, got.credits) = (user.clone(), fields.credits);
                got.expires_at_s = fields.expires_at_s;
            }
            "CreditsClawedBack" => {
                got.clawed_back += fields.credits;
                got.held_back -= fields.released;
            }
            "CreditsRestored" => {
                got.clawed_back -= fields.credits;
                got.held_back -= fields.released;
            }
            _ => got.held_back += fields.credits,
        }
        let withheld = got.clawed_back + got.held_back;
        if got.user != *user || got.clawed_back.min(got.held_back) < 0 || withheld > got.credits {
            let what = format!(
                "of {} credits of {id} for {:?}, {} are clawed back and {} held back after it",
                got.credits, got.user, got.clawed_back, got.held_back
            );
            say(checks::WITHHELD_DIFFERS, what);
        }
    }

    /// Compares a stored state with what its events come to.
    pub(super) fn stream(&mut self, stored: &StreamRecord, found: &mut Found) {
        let id = stored.aggregate_id.as_str();
        let finding = |what: String| {
            let finding = Finding::new(checks::STATE_DIFFERS, what).in_shard(stored.shard);
            finding.of(&stored.aggregate_type, id)
        };
        let mut state: Object = match serde_json::from_str(&stored.state) {
            Ok(state) => state,
            Err(error) => return found.add(finding(said(&error))),
        };
        let (made, shard, version, twice) = match stored.aggregate_type.as_str() {
            "user" => {
                let Some(stream) = self.users.get_mut(id) else {
                    return found.add(finding(NO_EVENT.to_owned()));
                };
                // A bound and no fact: no hold times out before it.
                state.remove("holds");
                let lots = state.remove("lots");
                if let Some(what) = lots.and_then(|lots| stream.fold.lots(&lots)) {
                    found.add(finding(what));
                }
                let twice = std::mem::replace(&mut stream.state_seen, true);
                (
                    stream.fold.user.state(),
                    stream.shard,
                    stream.version,
                    twice,
                )
            }
            "purchase" => {
                let Some(stream) = self.purchases.get_mut(id) else {
                    return found.add(finding(NO_EVENT.to_owned()));
                };
                let twice = std::mem::replace(&mut stream.state_seen, true);
                (stream.fold.state(), stream.shard, stream.version, twice)
            }
            _ => return found.add(finding(NO_EVENT.to_owned())),
        };
        if twice {
            found.add(finding("it is there twice".to_owned()));
        }
        for (name, said, made) in [
            ("shard", i64::from(stored.shard), i64::from(shard)),
            ("version", stored.version, version),
        ] {
            if said != made {
                found.add(finding(format!("{name} is {said}, the events make {made}")));
            }
        }
        if let Some(what) = differences(&state, &made, &[]) {
            found.add(finding(what));
        }
    }

    /// Compares a row with what the events come to.
    pub(super) fn row(&mut self, content: Content, row: &Row, found: &mut Found) {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let int = |name: &str| row.get(name).and_then(Value::as_i64).unwrap_or(i64::MIN);
        let (kind, id) = match content {
            Content::Purchases => ("purchase", text("purchase_id")),
            _ => ("user", text("user_id")),
        };
        let place = (i16::try_from(int("shard")).unwrap_or(-1), int("position"));
        let what = match content {
            Content::Settlements => self.settlement(place, text("settlement")),
            Content::Purchases => self.purchases.get_mut(id).map_or(no_event(), |stream| {
                once(&mut stream.row_seen).or_else(|| compare(row, &stream.fold.row(id)))
            }),
            _ => match self.users.get_mut(id) {
                None => no_event(),
                Some(stream) => match content {
                    Content::Balance if stream.fold.user.moved_sequence > 0 => {
                        once(&mut stream.fold.balance_seen)
                            .or_else(|| compare(row, &stream.fold.user.balance_row(id)))
                    }
                    Content::Users if stream.fold.user.known => once(&mut stream.row_seen)
                        .or_else(|| compare(row, &stream.fold.user.users_row(id))),
                    Content::Entries => stream.fold.entry(row, &self.digest),
                    Content::Lots => {
                        let (lot, shard) = (int("lot"), stream.shard);
                        stream
                            .fold
                            .user
                            .lots
                            .get_mut(&lot)
                            .map_or(no_event(), |known| {
                                store(&mut known.stored, Stored::InRow)
                                    .or_else(|| compare(row, &known.row(id, lot, shard)))
                            })
                    }
                    Content::Holds if place.0 == stream.shard => stream
                        .fold
                        .user
                        .holds
                        .get_mut(&place.1)
                        .map_or(no_event(), |hold| {
                            let due = (hold.times_out_at_s != int("times_out_at_s")).then(|| {
                                format!("times_out_at_s should be {}", hold.times_out_at_s)
                            });
                            store(&mut hold.stored, Stored::InRow).or(due)
                        }),
                    _ => no_event(),
                },
            },
        };
        if let Some(what) = what {
            let mut finding =
                Finding::new(checks::ROW_DIFFERS, format!("{}: {what}", content.as_str()));
            if !id.is_empty() {
                finding = finding.of(kind, id);
            }
            if row.contains_key("position") {
                finding = finding.at(place.0, place.1);
            }
            found.add(finding);
        }
    }

    fn settlement(&mut self, place: (i16, i64), how: &str) -> Option<String> {
        let Some((known, seen)) = self.settled.get_mut(&place) else {
            return no_event();
        };
        let differs = *known != how;
        once(seen)
            .or_else(|| differs.then(|| format!("settlement is {how}, the events make {known}")))
    }

    /// What can be said only when all was seen.
    pub(super) fn finish(&mut self, scope: &Scope, found: &mut Found) {
        let mut findings = Vec::new();
        let mut missing = |kind: &str, id: &str, what: String| {
            findings.push(Finding::new(checks::ROW_MISSING, what).of(kind, id));
        };
        for (id, stream) in &self.users {
            self.totals.balance += stream.fold.user.account.balance;
            self.totals.owed += stream.fold.user.owed();
            for what in stream.missing() {
                missing("user", id, what);
            }
        }
        for (id, stream) in &self.purchases {
            for (seen, what) in [
                (stream.state_seen, "streams"),
                (stream.row_seen, "purchases"),
            ] {
                if !seen {
                    missing("purchase", id, format!("{what} has no row of it"));
                }
            }
        }
        for ((shard, position), (how, seen)) in &self.settled {
            if !seen {
                let what = format!("settlements has no row of it: {how}");
                findings.push(Finding::new(checks::ROW_MISSING, what).at(*shard, *position));
            }
        }
        self.check_payments(&mut findings);
        self.check_parts(scope, &mut findings);
        let totals = &self.totals;
        let came =
            totals.purchased + totals.granted - totals.spent - totals.expired - totals.clawed_back;
        let there = totals.balance - totals.owed;
        if came != there {
            let what = format!("all movements make {came} credits, the accounts hold {there}");
            findings.push(Finding::new(checks::CONSERVATION, what));
        }
        findings.sort_by(|a, b| {
            (&a.stream, a.shard, a.position, a.check)
                .cmp(&(&b.stream, b.shard, b.position, b.check))
        });
        for finding in findings {
            found.add(finding);
        }
    }

    /// Every payment and its credits, one to one.
    fn check_payments(&mut self, findings: &mut Vec<Finding>) {
        for (id, stream) in &self.purchases {
            let mut add = |check, what| findings.push(Finding::new(check, what).of("purchase", id));
            match (stream.fold.gives(), self.got.remove(id)) {
                (None, None) => {}
                (None, Some(got)) => {
                    let what = format!("{} got {} credits for it", got.user, got.credits);
                    add(checks::CREDITS_WITHOUT_PAYMENT, what);
                }
                (Some(gives), None) => {
                    let what = format!(
                        "{} did not get its {} credits",
                        gives.user, gives.price.credits
                    );
                    add(checks::PAYMENT_WITHOUT_CREDITS, what);
                }
                (Some(gives), Some(got)) => {
                    let made = (gives.user, gives.price.credits, gives.price.expires_at_s);
                    if (got.user.as_str(), got.credits, got.expires_at_s) != made {
                        let what = format!(
                            "it gives {} credits to {} until {:?}; {} got {} until {:?}",
                            made.1, made.0, made.2, got.user, got.credits, got.expires_at_s
                        );
                        add(checks::CREDITS_WITHOUT_PAYMENT, what);
                    }
                    if (got.clawed_back, got.held_back) != (gives.clawed_back, gives.held_back) {
                        let what = format!(
                            "its money takes {} credits back and holds {}; of the user {} were taken and {} held",
                            gives.clawed_back, gives.held_back, got.clawed_back, got.held_back
                        );
                        add(checks::WITHHELD_DIFFERS, what);
                    }
                }
            }
        }
        for (id, got) in &self.got {
            let what = format!(
                "{} got {} credits for it, and it has no event",
                got.user, got.credits
            );
            findings.push(Finding::new(checks::CREDITS_WITHOUT_PAYMENT, what).of("purchase", id));
        }
    }

    /// Where several ids are the same money, both sides say so, and the whole learned what the part knew.
    fn check_parts(&self, scope: &Scope, findings: &mut Vec<Finding>) {
        let elsewhere = |id: &String| *scope != Scope::Whole && !self.purchases.contains_key(id);
        for (id, stream) in &self.purchases {
            let purchase = &stream.fold;
            let mut add =
                |what| findings.push(Finding::new(checks::RULE_BROKEN, what).of("purchase", id));
            if let Some(whole) = purchase.part_of.as_ref().filter(|whole| !elsewhere(whole)) {
                let known = self.purchases.get(whole).and_then(|whole| {
                    let mut parts = whole.fold.absorbed.iter();
                    parts.find(|(part, _)| part == id)
                });
                if known.map(|(_, known)| known) != purchase.whole_before.as_ref() {
                    add(format!("{whole} did not take over what was known of it"));
                }
            }
            for (part, _) in purchase
                .absorbed
                .iter()
                .filter(|(part, _)| !elsewhere(part))
            {
                let of = self
                    .purchases
                    .get(part)
                    .and_then(|part| part.fold.part_of.as_ref());
                if of != Some(id) {
                    add(format!("it took over {part}, which is no part of it"));
                }
            }
        }
    }
}

const NO_EVENT: &str = "no event calls for it";

#[expect(
    clippy::unnecessary_wraps,
    reason = "one of the ways in which a row may differ"
)]
fn no_event() -> Option<String> {
    Some(NO_EVENT.to_owned())
}

/// A row is seen once.
fn once(seen: &mut bool) -> Option<String> {
    std::mem::replace(seen, true).then(|| "it is there twice".to_owned())
}

/// A lot or a hold is stored in one place.
fn store(stored: &mut Stored, place: Stored) -> Option<String> {
    let twice = std::mem::replace(stored, place) != Stored::Nowhere;
    twice.then(|| "it is there twice".to_owned())
}

fn compare(row: &Row, made: &Value) -> Option<String> {
    differences(row, made.as_object()?, &NEWER_COLUMNS)
}

/// The stream of an event, which is the next one in it.
fn follow<'a, F: Default>(
    streams: &'a mut HashMap<String, Stream<F>>,
    event: &EventRecord,
    say: &mut Say<'_>,
) -> &'a mut Stream<F> {
    let stream = streams
        .entry(event.aggregate_id.clone())
        .or_insert_with(|| Stream {
            shard: event.shard,
            version: 0,
            fold: F::default(),
            state_seen: false,
            row_seen: false,
        });
    let next = stream.version.saturating_add(1);
    if event.sequence != next {
        say(
            checks::SEQUENCE_BROKEN,
            format!(
                "it is number {} of its stream, number {next} was to come",
                event.sequence
            ),
        );
    }
    if event.shard != stream.shard {
        say(
            checks::SEQUENCE_BROKEN,
            format!("its stream is in shard {}", stream.shard),
        );
    }
    stream.version = event.sequence;
    stream
}

impl Stream<UserRows> {
    /// What the events call for and nobody stored.
    fn missing(&self) -> Vec<String> {
        let UserRows {
            user,
            balance_seen,
            behind,
            movements,
        } = &self.fold;
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
        let in_rows = user.lots.values().filter(|lot| lot.stored == Stored::InRow);
        let in_rows: i128 = in_rows.map(|lot| lot.remaining).sum();
        if self.state_seen && in_rows != *behind {
            missing.push(format!(
                "its state says that lots has {behind} of its credits, it has {in_rows}"
            ));
        }
        missing
    }
}

impl UserRows {
    /// Compares the lots of a state: those that burn first are in it, of the others it has the sum.
    fn lots(&mut self, lots: &Value) -> Option<String> {
        let open = lots.get("open").and_then(Value::as_array);
        for said in open.into_iter().flatten() {
            let id = said.get("id").and_then(Value::as_i64).unwrap_or(0);
            let wrong = match (self.user.lots.get_mut(&id), said.as_object()) {
                (Some(lot), Some(said)) => store(&mut lot.stored, Stored::InState)
                    .or_else(|| differences(said, &lot.state(id), &[])),
                _ => no_event(),
            };
            if let Some(what) = wrong {
                return Some(format!("lot {id}: {what}"));
            }
        }
        let behind = lots.get("behind").and_then(|behind| behind.get("credits"));
        self.behind = behind.and_then(Value::as_i64).unwrap_or(0).into();
        None
    }

    fn entry(&mut self, row: &Row, digest: &RandomState) -> Option<String> {
        let entry: Entry = match serde_json::from_value(Value::Object(row.clone())) {
            Ok(entry) => entry,
            Err(_) => return Some("it has other columns than entries have".to_owned()),
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
        let wrong = once(&mut moved.seen).or_else(|| differences(&said.collect(), &made, &[]));
        let rest = || "one of its texts, times or slices is not that of the event".to_owned();
        wrong.or_else(|| (digest.hash_one(entry.rest()) != moved.rest).then(rest))
    }
}

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
fn rest<'a>(event: &'a EventRecord, fields: &'a user::Fields) -> Rest<'a> {
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
