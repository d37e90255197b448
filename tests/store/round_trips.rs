//! How often a lane waits for PostgreSQL: twice for each batch, whatever is in it and however much.

use std::sync::Arc;

use credit_ledger::ledger::LedgerError;
use credit_ledger::ledger::command::SpendCredits;
use credit_ledger::ledger::event::Note;
use credit_ledger::provider::razorpay::Razorpay;
use credit_ledger::provider::sample::SamplePayment;
use credit_ledger::provider::sign::SignedDelivery;
use credit_ledger::provider::{Delivery, Headers, Provider as _, Rules, Translated};
use credit_ledger::store::StoreError;
use futures_util::future::join_all;

use super::*;
use crate::support::Options;
use crate::support::app::{RAZORPAY_SECRET, config};
use crate::support::proxy::Proxy;

/// Round trips of a batch: what it decides on, and what it writes.
const OF_A_BATCH: usize = 2;

/// A ledger whose one lane reaches PostgreSQL through a proxy.
struct Counted {
    proxy: Proxy,
    ledger: Ledger,
    rules: Rules,
}

impl Counted {
    async fn start() -> Self {
        let database = cluster::fresh_database().await;
        let proxy = Proxy::before(&database).await;
        let settings = LedgerSettings {
            lanes: 1,
            queue: 100,
            ..LedgerSettings::default()
        };
        let (ledger, _lanes) = Ledger::start(&proxy.database().await, settings, system_clock())
            .await
            .unwrap();
        Self {
            proxy,
            ledger,
            rules: config(database.name(), &Options::default()).rules,
        }
    }

    /// What becomes of a unit, and in how many round trips.
    async fn execute(&self, unit: Unit) -> (Outcome, usize) {
        let before = self.proxy.round_trips();
        let outcome = self.ledger.execute(unit).await.unwrap();
        (outcome, self.proxy.round_trips() - before)
    }

    /// What becomes of units that are handed in one after another, without waiting.
    async fn execute_all(&self, units: Vec<Unit>) -> Vec<Result<Outcome, StoreError>> {
        join_all(units.into_iter().map(|unit| self.ledger.execute(unit))).await
    }

    /// A delivery of a payment, as Razorpay tells of it.
    fn paid(
        &self,
        key: &str,
        tell: fn(&SamplePayment) -> SignedDelivery,
        payment: &SamplePayment,
    ) -> Unit {
        let signed = tell(payment);
        let headers = signed.headers.iter();
        let delivery = Delivery {
            headers: Headers::new(headers.map(|(name, value)| (*name, value.as_bytes()))),
            body: &signed.body,
            received_at: payment.created_at,
        };
        let razorpay = Razorpay::new(&[RAZORPAY_SECRET.into()]).unwrap();
        let verified = razorpay.verify(&delivery).unwrap();
        match razorpay.translate(&verified, &self.rules, Salt([1; 16])) {
            Translated::Apply(command) => of_delivery(key, Work::Apply(command)),
            other => panic!("{other:?}"),
        }
    }

    /// Sixty-four: payments of known and of new users, sign-ups, spends, and one in eight a duplicate within the batch.
    fn mixture(&self) -> Vec<(Unit, bool)> {
        let mut units = vec![];
        let mut paid = payment(None);
        for n in 0..64 {
            let unit = match n % 8 {
                0..=3 => {
                    paid = payment(Some(&format!("user_{}", n % 20)));
                    self.paid(&format!("pay {n}"), captured, &paid)
                }
                4 => self.paid(&format!("pay {}", n - 1), captured, &paid),
                5 | 6 => register(&format!("msg {n}"), &format!("new_{n}"), "free"),
                _ => spend(&format!("key {n}"), 1, 1),
            };
            units.push((unit, n % 8 == 4));
        }
        units
    }
}

fn of_delivery(key: &str, work: Work) -> Unit {
    Unit {
        origin: delivered(key),
        work,
    }
}

fn spend(key: &str, digest: u8, credits: i64) -> Unit {
    Unit {
        work: Work::Apply(Command::SpendCredits(SpendCredits {
            user_id: UserId::parse("user_1").unwrap(),
            credits: Credits::new(credits).unwrap(),
            allow_partial: false,
            note: Note::default(),
        })),
        ..request(key, digest, "user_1")
    }
}

/// What is done, and whether that came of it.
type Step = (&'static str, Unit, fn(&Outcome) -> bool);

fn is_recorded(outcome: &Outcome) -> bool {
    *outcome == Outcome::Recorded
}

fn is_duplicate(outcome: &Outcome) -> bool {
    *outcome == Outcome::Duplicate
}

fn is_answered(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { hit: false, .. })
}

fn is_answered_again(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Answered { hit: true, .. })
}

fn deliveries(counted: &Counted) -> Vec<Step> {
    let (first, stranger, unclaimed) = (
        payment(Some("user_1")),
        payment(Some("user_2")),
        payment(None),
    );
    let paid = |key, tell, payment| counted.paid(key, tell, payment);
    let sign_up = || register("msg_1", "user_1", "free");
    let reason = "a test".to_owned();
    let ignore = Work::Ignore {
        reason: reason.clone(),
    };
    let park = Work::Park {
        reason,
        waits_for: None,
    };
    vec![
        ("a sign-up", sign_up(), is_recorded),
        ("its delivery again", sign_up(), is_duplicate),
        ("a payment", paid("a", captured, &first), is_recorded),
        (
            "its delivery again",
            paid("a", captured, &first),
            is_duplicate,
        ),
        (
            "another about it",
            paid("b", order_paid, &first),
            is_duplicate,
        ),
        ("of a stranger", paid("c", captured, &stranger), is_recorded),
        ("of nobody", paid("d", captured, &unclaimed), is_recorded),
        ("nothing of ours", of_delivery("e", ignore), |outcome| {
            *outcome == Outcome::Ignored
        }),
        ("what must wait", of_delivery("f", park), |outcome| {
            *outcome == Outcome::Parked
        }),
    ]
}

/// Of the user whose deliveries came before.
fn calls() -> Vec<Step> {
    let without_a_key = Unit {
        origin: Origin::System,
        ..spend("no key", 1, 9999)
    };
    vec![
        ("a spend under a key", spend("k1", 1, 5), is_answered),
        ("the same again", spend("k1", 1, 5), is_answered_again),
        ("another under its key", spend("k1", 2, 5), |outcome| {
            *outcome == reused()
        }),
        ("one that is refused", spend("k2", 1, 9999), is_answered),
        ("the same again", spend("k2", 1, 9999), is_answered_again),
        ("one without a key", without_a_key, |outcome| {
            matches!(
                outcome,
                Outcome::Refused(LedgerError::InsufficientCredits { .. })
            )
        }),
    ]
}

/// A line may be slow, and each round trip of a start is waited for: one session asks what the ledger is like, one is the
/// lane's.
#[tokio::test]
async fn a_lane_is_there_after_few_round_trips() {
    let counted = Counted::start().await;
    let round_trips = counted.proxy.round_trips();
    assert!(round_trips <= 30, "{round_trips}");
}

#[tokio::test]
async fn a_unit_alone_is_two_round_trips_whatever_it_is() {
    let counted = Counted::start().await;
    for (what, unit, expected) in deliveries(&counted).into_iter().chain(calls()) {
        let (outcome, round_trips) = counted.execute(unit).await;
        assert!(expected(&outcome), "{what}: {outcome:?}");
        assert_eq!(round_trips, OF_A_BATCH, "{what}");
    }
}

#[track_caller]
fn assert_all_done(outcomes: Vec<Result<Outcome, StoreError>>, duplicates: &[bool]) {
    assert_eq!(outcomes.len(), duplicates.len());
    for (n, (outcome, duplicate)) in outcomes.into_iter().zip(duplicates).enumerate() {
        let expected = match outcome.unwrap() {
            Outcome::Recorded | Outcome::Answered { hit: false, .. } => !duplicate,
            Outcome::Duplicate => *duplicate,
            _ => false,
        };
        assert!(expected, "unit {n}");
    }
}

#[tokio::test]
async fn sixty_four_units_that_come_together_are_two_round_trips() {
    let counted = Counted::start().await;
    counted.execute(register("msg_1", "user_1", "free")).await;
    let (units, duplicates): (Vec<_>, Vec<_>) = counted.mixture().into_iter().unzip();
    let before = counted.proxy.round_trips();
    // All are handed in before the lane runs once: this test has one thread.
    let outcomes = counted.execute_all(units).await;
    assert_eq!(counted.proxy.round_trips() - before, OF_A_BATCH);
    assert_all_done(outcomes, &duplicates);
}

#[tokio::test]
async fn units_that_come_while_a_batch_is_on_its_way_are_the_next_one() {
    let counted = Arc::new(Counted::start().await);
    counted.execute(register("msg_1", "user_1", "free")).await;
    let before = counted.proxy.round_trips();
    counted.proxy.keep_back();
    let first = tokio::spawn({
        let counted = Arc::clone(&counted);
        async move { counted.execute(register("msg_2", "user_2", "free")).await }
    });
    counted.proxy.has_kept_back().await;
    assert_eq!(counted.proxy.round_trips() - before, 1);
    let (units, duplicates): (Vec<_>, Vec<_>) = counted.mixture().into_iter().unzip();
    let (outcomes, ()) = tokio::join!(counted.execute_all(units), async {
        counted.proxy.let_go();
    });
    assert_eq!(counted.proxy.round_trips() - before, 2 * OF_A_BATCH);
    assert_all_done(outcomes, &duplicates);
    let (outcome, _) = first.await.unwrap();
    assert_eq!(outcome, Outcome::Recorded);
}
