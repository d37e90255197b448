//! Events of one moment in an order in which they may have been decided.
//!
//! A shard is in order by itself, and what one decision wrote into several shards has one time. So between shards of one
//! moment only this is to be found: a purchase's events come right before what they changed for its user, wherever both
//! live. Everything else of different shards is of different users, and does not meet.

use std::collections::HashMap;

use crate::audit::history::{Cause, Recorded};
use crate::ledger::{Event, PurchaseEvent, PurchaseId, StreamId};

/// What tells units apart that are about purchases: a delivery is a unit, whatever purchases it is about; of what else
/// causes events there may be several of one moment, each about one purchase.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key<'a> {
    cause: &'a Cause,
    purchase: Option<&'a PurchaseId>,
}

impl<'a> Key<'a> {
    fn of(recorded: &'a Recorded) -> Option<Self> {
        let purchase = match (&recorded.stream, &recorded.event) {
            (StreamId::Purchase(id), _) => id,
            (StreamId::User(_), event) => event.movement()?.purchase_id?,
        };
        let cause = &recorded.cause;
        Some(Self {
            cause,
            purchase: Some(purchase).filter(|_| cause.provider_event_id.is_none()),
        })
    }
}

/// What one decision wrote about purchases.
#[derive(Default)]
struct Unit {
    /// Events of purchases.
    events: Vec<usize>,
    /// It changed something for a user.
    moves_credits: bool,
    done: bool,
}

/// Orders the events of one moment, which come in the order of shards and positions.
pub(super) fn causal(moment: Vec<Recorded>) -> Vec<Recorded> {
    let first = moment.first().map(|one| one.place.shard);
    if moment.iter().all(|one| Some(one.place.shard) == first) {
        return moment;
    }
    let order = Ordering::of(&moment).order();
    let mut moment: Vec<Option<Recorded>> = moment.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|index| moment.get_mut(index)?.take())
        .collect()
}

struct Ordering<'a> {
    moment: &'a [Recorded],
    /// The unit of each event, if it is about a purchase.
    unit_of: Vec<Option<usize>>,
    units: Vec<Unit>,
    /// The events of each purchase, in the order of its stream.
    purchases: HashMap<&'a PurchaseId, Vec<usize>>,
    order: Vec<usize>,
}

impl<'a> Ordering<'a> {
    fn of(moment: &'a [Recorded]) -> Self {
        let mut ordering = Self {
            moment,
            unit_of: Vec::with_capacity(moment.len()),
            units: Vec::new(),
            purchases: HashMap::new(),
            order: Vec::with_capacity(moment.len()),
        };
        let mut numbers: HashMap<Key<'a>, usize> = HashMap::new();
        for (index, recorded) in moment.iter().enumerate() {
            let unit = Key::of(recorded).map(|key| {
                *numbers.entry(key).or_insert_with(|| {
                    ordering.units.push(Unit::default());
                    ordering.units.len() - 1
                })
            });
            ordering.unit_of.push(unit);
            let Some(unit) = unit.and_then(|unit| ordering.units.get_mut(unit)) else {
                continue;
            };
            match &recorded.stream {
                StreamId::Purchase(id) => {
                    unit.events.push(index);
                    ordering.purchases.entry(id).or_default().push(index);
                }
                StreamId::User(_) => unit.moves_credits = true,
            }
        }
        for unit in &mut ordering.units {
            // A merge comes before what it says of the whole, wherever that lives.
            unit.events.sort_by_key(|index| !is_merge(&moment[*index]));
        }
        ordering
    }

    fn order(mut self) -> Vec<usize> {
        for index in 0..self.moment.len() {
            match (self.unit_of[index], &self.moment[index].stream) {
                (None, _) => self.order.push(index),
                (Some(unit), StreamId::User(_)) => {
                    self.run(unit);
                    self.order.push(index);
                }
                (Some(unit), StreamId::Purchase(id)) => {
                    if !self.units[unit].moves_credits && !self.waits(id, index) {
                        self.run(unit);
                    }
                }
            }
        }
        for unit in 0..self.units.len() {
            self.run(unit);
        }
        self.order
    }

    /// Whether an earlier event of the purchase waits for its place in the user's stream.
    fn waits(&self, id: &PurchaseId, index: usize) -> bool {
        self.before(id, index)
            .any(|earlier| self.unit_of[earlier] != self.unit_of[index] && !self.is_done(earlier))
    }

    fn before(&self, id: &PurchaseId, index: usize) -> impl Iterator<Item = usize> {
        let events = self.purchases.get(id).into_iter().flatten().copied();
        events.take_while(move |earlier| *earlier != index)
    }

    fn is_done(&self, index: usize) -> bool {
        self.unit_of[index].is_none_or(|unit| self.units[unit].done)
    }

    /// Takes a unit's events, after what came before in the streams of its purchases.
    fn run(&mut self, unit: usize) {
        if std::mem::replace(&mut self.units[unit].done, true) {
            return;
        }
        let moment = self.moment;
        for index in std::mem::take(&mut self.units[unit].events) {
            if let StreamId::Purchase(id) = &moment[index].stream {
                let earlier = self.before(id, index);
                let units: Vec<usize> = earlier.filter_map(|one| self.unit_of[one]).collect();
                for earlier in units {
                    self.run(earlier);
                }
            }
            self.order.push(index);
        }
    }
}

const fn is_merge(recorded: &Recorded) -> bool {
    matches!(
        recorded.event,
        Event::Purchase(PurchaseEvent::PaymentMerged { .. })
    )
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ledger::event::{CreditsAdded, PurchaseAdjusted};
    use crate::ledger::{Account, Credits, Place, UserEvent, UserId};

    fn recorded(place: (i16, i64), cause: &str, stream: StreamId, event: Event) -> Recorded {
        Recorded {
            place: Place {
                shard: place.0,
                position: place.1,
            },
            recorded_at: DateTime::UNIX_EPOCH,
            stream,
            sequence: place.1,
            event,
            cause: Cause {
                source: "stripe".to_owned(),
                provider_event_id: cause.starts_with("evt").then(|| cause.to_owned()),
                metadata: cause.to_owned(),
            },
        }
    }

    fn id(purchase: &str) -> PurchaseId {
        PurchaseId::parse(format!("stripe:{purchase}")).unwrap()
    }

    fn of_purchase(
        place: (i16, i64),
        cause: &str,
        purchase: &str,
        event: PurchaseEvent,
    ) -> Recorded {
        recorded(
            place,
            cause,
            StreamId::Purchase(id(purchase)),
            Event::Purchase(event),
        )
    }

    fn of_user(place: (i16, i64), cause: &str, event: UserEvent) -> Recorded {
        let user = UserId::parse("user_1").unwrap();
        recorded(place, cause, StreamId::User(user), Event::User(event))
    }

    fn told() -> PurchaseEvent {
        PurchaseEvent::PayerErased {}
    }

    fn added() -> CreditsAdded {
        CreditsAdded {
            credits: Credits::ZERO,
            repaid: Credits::ZERO,
            delta: 0,
            account: Account::default(),
        }
    }

    fn bought(purchase: &str) -> UserEvent {
        UserEvent::CreditsPurchased {
            purchase_id: id(purchase),
            added: added(),
            expires_at_s: None,
        }
    }

    fn clawed_back(purchase: &str) -> UserEvent {
        UserEvent::CreditsClawedBack(PurchaseAdjusted {
            purchase_id: id(purchase),
            credits: Credits::ZERO,
            released: Credits::ZERO,
            slices: vec![],
            own: Credits::ZERO,
            repaid: Credits::ZERO,
            delta: 0,
            account: Account::default(),
        })
    }

    fn other() -> UserEvent {
        UserEvent::SignupBonusGranted(added())
    }

    /// Shard, position.
    fn places(moment: Vec<Recorded>) -> Vec<(i16, i64)> {
        let ordered = causal(moment).into_iter();
        ordered
            .map(|one| (one.place.shard, one.place.position))
            .collect()
    }

    #[test]
    fn a_purchase_is_decided_right_before_what_it_gives_wherever_it_lives() {
        let before = vec![
            of_purchase((0, 1), "evt_1", "a", told()),
            of_user((1, 1), "api", other()),
            of_user((1, 2), "evt_1", bought("a")),
            of_user((1, 3), "api", other()),
        ];
        assert_eq!(places(before), [(1, 1), (0, 1), (1, 2), (1, 3)]);
        let behind = vec![
            of_user((0, 1), "api", other()),
            of_user((0, 2), "evt_1", bought("a")),
            of_purchase((1, 1), "evt_1", "a", told()),
        ];
        assert_eq!(places(behind), [(0, 1), (1, 1), (0, 2)]);
    }

    #[test]
    fn the_stream_of_a_purchase_stays_in_order() {
        // The payment names nobody; then it is claimed, which gives; then it learns something; then it is refunded.
        let moment = vec![
            of_purchase((0, 1), "evt_1", "a", told()),
            of_purchase((0, 2), "{}", "a", told()),
            of_purchase((0, 3), "evt_2", "a", told()),
            of_purchase((0, 4), "evt_3", "a", told()),
            of_user((1, 1), "{}", bought("a")),
            of_user((1, 2), "api", other()),
            of_user((1, 3), "evt_3", clawed_back("a")),
        ];
        let expected = [(0, 1), (0, 2), (1, 1), (1, 2), (0, 3), (0, 4), (1, 3)];
        assert_eq!(places(moment), expected);
    }

    #[test]
    fn a_merge_comes_before_what_it_says_of_the_whole() {
        let merged = PurchaseEvent::PaymentMerged { into: id("in") };
        let moment = vec![
            of_purchase((0, 1), "evt_1", "in", told()),
            of_user((1, 1), "evt_1", clawed_back("pi")),
            of_user((1, 2), "evt_1", bought("in")),
            of_purchase((2, 1), "evt_1", "pi", merged),
        ];
        assert_eq!(places(moment), [(2, 1), (0, 1), (1, 1), (1, 2)]);
    }

    #[test]
    fn what_others_cause_in_the_same_moment_is_told_apart_by_the_purchase() {
        let moment = vec![
            of_purchase((0, 1), "{}", "a", told()),
            of_purchase((0, 2), "{}", "b", told()),
            of_user((1, 1), "{}", bought("a")),
            of_user((1, 2), "api", other()),
            of_user((1, 3), "{}", bought("b")),
        ];
        assert_eq!(places(moment), [(0, 1), (1, 1), (1, 2), (0, 2), (1, 3)]);
    }
}
