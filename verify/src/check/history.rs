//! What the events come to, stream by stream, and whether everything that is stored beside them says the same: states,
//! rows, payments and their credits, and the sum of it all.

use std::collections::HashMap;
use std::hash::RandomState;

use serde_json::{Value, json};

use super::payments::{Payments, check_parts};
use super::rows::{NO_EVENT, UserRows, compare, no_event, once, store};
use crate::fold::purchase::{self, Purchase};
use crate::fold::user::{self, Stored};
use crate::fold::{Say, differences, read, said};
use crate::json;
use crate::manifest::{Content, Scope};
use crate::record::{EventRecord, Row, StreamRecord};
use crate::report::{Finding, Found, Totals, checks};

/// A stream: where it is, how far it came, what its events come to, and whether its state and its row were seen.
#[derive(Debug)]
pub(super) struct Stream<F> {
    pub(super) shard: i16,
    pub(super) version: i64,
    pub(super) fold: F,
    pub(super) state_seen: bool,
    pub(super) row_seen: bool,
}

#[derive(Debug, Default)]
pub(super) struct History {
    users: HashMap<String, Stream<UserRows>>,
    purchases: HashMap<String, Stream<Purchase>>,
    payments: Payments,
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
        let known = types.contains(&event_type);
        if !known || event.event_version != "1.0" {
            let what = format!("nothing is known of {event_type} {}", event.event_version);
            say(checks::UNKNOWN_EVENT, what);
        }
        match event.aggregate_type.as_str() {
            "user" => {
                let stream = follow(&mut self.users, event, &mut say);
                match read::<user::Fields>(&event.payload, event_type) {
                    Ok(fields) if known => {
                        let user = &mut stream.fold.user;
                        let settled = user.apply(event, &fields, &mut self.totals, &mut say);
                        if user.moved_sequence == event.sequence {
                            stream.fold.moved(event, &fields, &self.digest);
                            self.payments.event(event, &fields, &mut say);
                        }
                        if let Some((position, how)) = settled {
                            let place = (event.shard, position);
                            if self.settled.insert(place, (how, false)).is_some() {
                                let what = format!("{}-{position} was settled before", event.shard);
                                say(checks::RULE_BROKEN, what);
                            }
                        }
                    }
                    Ok(_) => {}
                    Err(what) => say(checks::UNREADABLE, what),
                }
            }
            "purchase" => {
                let stream = follow(&mut self.purchases, event, &mut say);
                match read::<purchase::Fields>(&event.payload, event_type) {
                    Ok(fields) if known => stream.fold.apply(event, &fields, &mut say),
                    Ok(_) => {}
                    Err(what) => say(checks::UNREADABLE, what),
                }
            }
            _ => {}
        }
    }

    /// Compares a stored state with what its events come to.
    pub(super) fn stream(&mut self, stored: &StreamRecord, found: &mut Found) {
        let id = stored.aggregate_id.as_str();
        let finding = |what: String| {
            let finding = Finding::new(checks::STATE_DIFFERS, what).in_shard(stored.shard);
            finding.of(&stored.aggregate_type, id)
        };
        let mut state = match serde_json::from_str(&stored.state) {
            Ok(json::Object(state)) => state,
            Err(error) => return found.add(finding(said(&error))),
        };
        let (made, shard, version, twice) = match stored.aggregate_type.as_str() {
            "user" => {
                let Some(stream) = self.users.get_mut(id) else {
                    return found.add(finding(NO_EVENT.to_owned()));
                };
                let holds = state.remove("holds");
                if let Some(what) = stream.fold.holds(holds.as_ref()) {
                    found.add(finding(what));
                }
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
        if let Some(what) = differences(&state, &made) {
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
            Content::Settlements => self.settlement(place, row),
            Content::Purchases => self.purchases.get_mut(id).map_or_else(no_event, |stream| {
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
                        let lots = &mut stream.fold.user.lots.all;
                        lots.get_mut(&lot).map_or_else(no_event, |known| {
                            store(&mut known.stored, Stored::InRow)
                                .or_else(|| compare(row, &known.row(id, lot, shard)))
                        })
                    }
                    Content::Holds if place.0 == stream.shard => {
                        let holds = &mut stream.fold.user.holds;
                        holds.get_mut(&place.1).map_or_else(no_event, |hold| {
                            let made = json!({
                                "shard": place.0, "position": place.1, "user_id": id,
                                "times_out_at_s": hold.times_out_at_s,
                            });
                            store(&mut hold.stored, Stored::InRow).or_else(|| compare(row, &made))
                        })
                    }
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

    fn settlement(&mut self, place: (i16, i64), row: &Row) -> Option<String> {
        let Some((how, seen)) = self.settled.get_mut(&place) else {
            return no_event();
        };
        let made = json!({ "shard": place.0, "position": place.1, "settlement": how });
        once(seen).or_else(|| compare(row, &made))
    }

    /// Of one user's history every stream is the user's, or of a purchase that is the user's or that the user's events name.
    fn check_scope(&self, user: &str, findings: &mut Vec<Finding>) {
        let mut add = |kind, id: &String| {
            let what = format!("it is not of user/{user}");
            findings.push(Finding::new(checks::SCOPE_DIFFERS, what).of(kind, id));
        };
        for id in self.users.keys().filter(|id| *id != user) {
            add("user", id);
        }
        for (id, stream) in &self.purchases {
            if stream.fold.user_id.as_deref() != Some(user) && !self.payments.name(id) {
                add("purchase", id);
            }
        }
    }

    /// What can be said only when all was seen.
    pub(super) fn finish(&mut self, scope: &Scope, found: &mut Found) {
        let (mut findings, mut bounds) = (Vec::new(), Vec::new());
        let mut missing = |kind: &str, id: &str, what: String| {
            findings.push(Finding::new(checks::ROW_MISSING, what).of(kind, id));
        };
        for (id, stream) in &self.users {
            self.totals.balance += stream.fold.user.account.balance;
            self.totals.owed += stream.fold.user.owed();
            for what in stream.missing() {
                missing("user", id, what);
            }
            for what in stream.fold.bounds() {
                bounds.push(Finding::new(checks::STATE_DIFFERS, what).of("user", id));
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
        if let Scope::User(user) = scope {
            self.check_scope(user, &mut findings);
        }
        std::mem::take(&mut self.payments).finish(&self.purchases, &mut findings);
        check_parts(&self.purchases, scope, &mut findings);
        let totals = &self.totals;
        let came =
            totals.purchased + totals.granted - totals.spent - totals.expired - totals.clawed_back;
        let there = totals.balance - totals.owed;
        if came != there {
            let what = format!("all movements make {came} credits, the accounts hold {there}");
            findings.push(Finding::new(checks::CONSERVATION, what));
        }
        findings.append(&mut bounds);
        findings.sort_by(|a, b| {
            (&a.stream, a.shard, a.position, a.check)
                .cmp(&(&b.stream, b.shard, b.position, b.check))
        });
        for finding in findings {
            found.add(finding);
        }
    }
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
        // Told once, not with each event behind it.
        stream.shard = event.shard;
    }
    stream.version = event.sequence;
    stream
}
