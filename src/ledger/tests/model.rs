//! Random commands of all kinds, by a few users over a long time, against [`super::plain`]: what happens is the same word
//! by word, whatever of it is stored where, and whenever it is written down.

use proptest::prelude::*;
use proptest::sample::Index;

use super::order::{capture, dispute, refund, refunded_total};
use super::plain::{Plain, Step};
use super::stored::Stored;
use crate::ledger::command::{
    DisputeStanding, GrantCredits, HoldCredits, RegisterUser, ReverseSpend, SpendCredits,
};
use crate::ledger::event::{CreditsSpent, HoldCaptured, Note, ProfileVersion, UserEvent};
use crate::ledger::lots::{Lot, LotKind, Slice};
use crate::ledger::{
    Account, Command, Credits, Event, LedgerError, Personal, Place, Profile, Salt, StreamId, UserId,
};

const USERS: usize = 3;
/// Purchases, each of one user.
const PURCHASES: usize = 6;

/// What somebody does.
#[derive(Debug, Clone)]
enum Act {
    Wait(i64),
    Register {
        user: usize,
        bonus: i64,
    },
    GiveSignupBonus {
        user: usize,
        bonus: i64,
    },
    Grant {
        user: usize,
        credits: i64,
        kind: LotKind,
        priority: u8,
        lasts_s: Option<i64>,
    },
    Buy {
        purchase: usize,
        credits: i64,
        lasts_s: Option<i64>,
    },
    Refund {
        purchase: usize,
        refund: usize,
        amount_minor: i64,
        fails: bool,
    },
    RefundedTotal {
        purchase: usize,
        total_minor: i64,
    },
    Dispute {
        purchase: usize,
        dispute: usize,
        stage: u32,
        standing: DisputeStanding,
    },
    Spend {
        user: usize,
        credits: i64,
        partly: bool,
    },
    Hold {
        user: usize,
        credits: i64,
        lasts_s: i64,
    },
    Capture {
        hold: Index,
        credits: Option<i64>,
    },
    Release {
        hold: Index,
    },
    Reverse {
        entry: Index,
        credits: Option<i64>,
    },
    Plan {
        user: usize,
        plan: usize,
        bonus: i64,
        lasts_s: Option<i64>,
    },
    Refer {
        referred: usize,
        referrer: usize,
        credits: [i64; 2],
    },
    Settle {
        user: usize,
    },
    Together(Vec<Act>),
}

fn lasts() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 2 => (1..500_i64).prop_map(Some)]
}

fn standing() -> impl Strategy<Value = DisputeStanding> {
    prop_oneof![
        3 => (1..=900_i64).prop_map(|amount_minor| DisputeStanding::Open { amount_minor }),
        1 => Just(DisputeStanding::Won),
        2 => (0..=900_i64).prop_map(|amount_minor| DisputeStanding::Lost { amount_minor }),
    ]
}

fn some_of(most: i64) -> impl Strategy<Value = Option<i64>> {
    prop_oneof![2 => Just(None), 3 => (1..most).prop_map(Some)]
}

/// What a backend does to a user.
fn call() -> impl Strategy<Value = Act> {
    let user = || 0..USERS;
    let kind = prop::sample::select(LotKind::ALL.to_vec());
    let priority = prop::sample::select(vec![0_u8, 50, 100, 100, 100]);
    prop_oneof![
        6 => (user(), 1..60_i64, kind, priority, lasts()).prop_map(
            |(user, credits, kind, priority, lasts_s)| Act::Grant { user, credits, kind, priority, lasts_s }
        ),
        6 => (user(), 1..150_i64, any::<bool>())
            .prop_map(|(user, credits, partly)| Act::Spend { user, credits, partly }),
        4 => (user(), 1..80_i64, 1..400_i64)
            .prop_map(|(user, credits, lasts_s)| Act::Hold { user, credits, lasts_s }),
        3 => (any::<Index>(), some_of(60)).prop_map(|(hold, credits)| Act::Capture { hold, credits }),
        1 => any::<Index>().prop_map(|hold| Act::Release { hold }),
        3 => (any::<Index>(), some_of(60)).prop_map(|(entry, credits)| Act::Reverse { entry, credits }),
        1 => (user(), 0..3_usize, 0..40_i64, lasts()).prop_map(
            |(user, plan, bonus, lasts_s)| Act::Plan { user, plan, bonus, lasts_s }
        ),
        1 => (user(), user(), any::<[bool; 2]>()).prop_map(|(referred, referrer, both)| Act::Refer {
            referred,
            referrer,
            credits: both.map(|gets| if gets { 7 } else { 0 }),
        }),
        1 => (user(), 0..30_i64).prop_map(|(user, bonus)| Act::Register { user, bonus }),
        1 => (user(), 0..30_i64).prop_map(|(user, bonus)| Act::GiveSignupBonus { user, bonus }),
        1 => user().prop_map(|user| Act::Settle { user }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let purchase = || 0..PURCHASES;
    prop_oneof![
        4 => prop_oneof![4 => 1..80_i64, 1 => 100..900_i64].prop_map(Act::Wait),
        16 => call(),
        3 => (purchase(), 1..120_i64, lasts()).prop_map(
            |(purchase, credits, lasts_s)| Act::Buy { purchase, credits, lasts_s }
        ),
        3 => (purchase(), 0..3_usize, 1..700_i64, prop::bool::weighted(0.4)).prop_map(
            |(purchase, refund, amount_minor, fails)| Act::Refund { purchase, refund, amount_minor, fails }
        ),
        1 => (purchase(), 1..=900_i64)
            .prop_map(|(purchase, total_minor)| Act::RefundedTotal { purchase, total_minor }),
        3 => (purchase(), 0..2_usize, 0..4_u32, standing()).prop_map(
            |(purchase, dispute, stage, standing)| Act::Dispute { purchase, dispute, stage, standing }
        ),
        2 => prop::collection::vec(call(), 1..5).prop_map(Act::Together),
    ]
}

/// The rules over the store, and the model.
#[derive(Default)]
struct World {
    stored: Stored,
    plain: Plain,
    holds: Vec<Place>,
    /// Spends and captured holds.
    entries: Vec<Place>,
}

fn user(number: usize) -> UserId {
    UserId::parse(format!("user_{number}")).unwrap()
}

fn credits(n: i64) -> Credits {
    Credits::new(n).unwrap()
}

impl World {
    /// The command; `None` where there is nothing to do it to.
    fn command(&self, act: &Act) -> Option<Command> {
        let now_s = self.stored.now_s;
        let ends = |lasts_s: Option<i64>| lasts_s.map(|lasts_s| now_s + lasts_s);
        Some(match act {
            Act::Wait(_) => return None,
            Act::Register { user: of, bonus } => Command::RegisterUser(RegisterUser {
                user_id: user(*of),
                profile: Personal::new(&Profile::default(), Salt([1; 16])),
                profile_version: ProfileVersion {
                    updated_at_ms: 1,
                    event_id: "msg_1".to_owned(),
                },
                plan: "free".to_owned(),
                bonus: credits(*bonus),
            }),
            Act::GiveSignupBonus { user: of, bonus } => Command::GrantSignupBonus {
                user_id: user(*of),
                bonus: credits(*bonus),
            },
            Act::Grant {
                user: of,
                credits: n,
                kind,
                priority,
                lasts_s,
            } => Command::GrantCredits(GrantCredits {
                user_id: user(*of),
                credits: credits(*n),
                kind: *kind,
                priority: *priority,
                expires_at_s: ends(*lasts_s),
                reason: "because".to_owned(),
                actor: "somebody".to_owned(),
            }),
            Act::Buy { .. }
            | Act::Refund { .. }
            | Act::RefundedTotal { .. }
            | Act::Dispute { .. } => return self.of_money(act),
            Act::Spend {
                user: of,
                credits: n,
                partly,
            } => Command::SpendCredits(SpendCredits {
                user_id: user(*of),
                credits: credits(*n),
                allow_partial: *partly,
                note: Note::default(),
            }),
            Act::Hold {
                user: of,
                credits: n,
                lasts_s,
            } => Command::HoldCredits(HoldCredits {
                user_id: user(*of),
                credits: credits(*n),
                lasts_s: *lasts_s,
                note: Note::default(),
            }),
            Act::Capture { .. } | Act::Release { .. } | Act::Reverse { .. } => {
                return self.of_settlement(act);
            }
            Act::Plan {
                user: of,
                plan,
                bonus,
                lasts_s,
            } => Command::ChangePlan {
                user_id: user(*of),
                plan: format!("plan_{plan}"),
                bonus: credits(*bonus),
                bonus_expires_at_s: ends(*lasts_s),
            },
            Act::Refer {
                referred,
                referrer,
                credits: both,
            } => Command::RewardReferral {
                referred: user(*referred),
                referrer: user(*referrer),
                referred_credits: credits(both[0]),
                referrer_credits: credits(both[1]),
            },
            Act::Settle { user: of } => Command::SettleUser { user_id: user(*of) },
            Act::Together(acts) => {
                Command::Together(acts.iter().filter_map(|act| self.command(act)).collect())
            }
        })
    }

    /// What a provider says of a purchase.
    fn of_money(&self, act: &Act) -> Option<Command> {
        let ends = |lasts_s: Option<i64>| lasts_s.map(|lasts_s| self.stored.now_s + lasts_s);
        let pay = |purchase: usize| format!("stripe:pi_{purchase}");
        Some(match act {
            Act::Buy {
                purchase,
                credits,
                lasts_s,
            } => {
                let owner = user(purchase % USERS);
                let mut paid = capture(&pay(*purchase), Some(owner.as_str()), Some(*credits));
                if let Some(price) = &mut paid.price {
                    price.expires_at_s = ends(*lasts_s);
                }
                Command::CapturePayment(Box::new(paid))
            }
            Act::Refund {
                purchase,
                refund: one,
                amount_minor,
                fails,
            } => refund(&pay(*purchase), &format!("re_{one}"), *amount_minor, *fails),
            Act::RefundedTotal {
                purchase,
                total_minor,
            } => refunded_total(&pay(*purchase), *total_minor),
            Act::Dispute {
                purchase,
                dispute: one,
                stage,
                standing,
            } => dispute(&pay(*purchase), &format!("du_{one}"), *stage, *standing),
            _ => return None,
        })
    }

    /// What becomes of a hold or an entry.
    fn of_settlement(&self, act: &Act) -> Option<Command> {
        Some(match act {
            Act::Capture { hold, credits: n } => Command::CaptureHold {
                hold: self.stored.hold(pick(*hold, &self.holds)?),
                credits: n.map(credits),
            },
            Act::Release { hold } => Command::ReleaseHold {
                hold: self.stored.hold(pick(*hold, &self.holds)?),
            },
            Act::Reverse { entry, credits: n } => {
                let entry_id = pick(*entry, &self.entries)?;
                let (user_id, slices) = self.entry(entry_id);
                Command::ReverseSpend(ReverseSpend {
                    user_id,
                    entry_id,
                    slices,
                    credits: n.map(credits),
                    reason: None,
                })
            }
            _ => return None,
        })
    }

    /// Whose an entry is, and what it used.
    fn entry(&self, place: Place) -> (UserId, Vec<Slice>) {
        match self.stored.event(place) {
            (
                StreamId::User(id),
                Event::User(
                    UserEvent::CreditsSpent(CreditsSpent { slices, .. })
                    | UserEvent::HoldCaptured(HoldCaptured { slices, .. }),
                ),
            ) => (id.clone(), slices.clone()),
            other => panic!("no entry: {other:?}"),
        }
    }

    /// Does what comes together, and compares all that follows.
    fn act(&mut self, acts: &[Act]) {
        for act in acts {
            if let Act::Wait(time_s) = act {
                self.stored.now_s += time_s;
            }
        }
        let commands: Vec<Command> = acts.iter().filter_map(|act| self.command(act)).collect();
        for (index, became) in self.stored.run_batch(&commands) {
            let command = &commands[index];
            let expected = self.plain.run(command, self.stored.now_s);
            match became {
                Err(error) => assert_eq!(Err(error), expected, "{command:?}"),
                Ok(recorded) => self.compare_steps(command, &recorded, &expected),
            }
        }
        self.compare_users();
    }

    fn compare_steps(
        &mut self,
        command: &Command,
        recorded: &[(Place, crate::ledger::Emitted)],
        expected: &Result<Vec<Step>, LedgerError>,
    ) {
        let mut steps = Vec::new();
        for (place, one) in recorded {
            let (StreamId::User(id), Event::User(event)) = (&one.stream, &one.event) else {
                continue;
            };
            steps.push(Step::of(id, event));
            match event {
                UserEvent::CreditsHeld(_) => self.holds.push(*place),
                UserEvent::CreditsSpent(_) | UserEvent::HoldCaptured(_) => {
                    self.entries.push(*place);
                }
                _ => {}
            }
            let number = self.stored.number(*place);
            self.plain.place(*place, id, number);
        }
        assert_eq!(&Ok(steps), expected, "{command:?}");
    }

    fn compare_users(&self) {
        for id in (0..USERS).map(user) {
            let (person, whole) = (self.plain.person(&id), self.stored.whole(&id));
            let account = whole.account;
            assert_eq!(account, person.account(), "{id}");
            assert!(
                account.debt.is_zero() || account.available() == 0,
                "{id}: {account:?}"
            );
            let lots: Vec<_> = whole.lots.open().iter().map(line).collect();
            let expected = person.open().into_iter().map(|lot| {
                (
                    lot.id,
                    lot.terms,
                    [lot.left, lot.contested, lot.ended, lot.counted],
                )
            });
            assert_eq!(lots, expected.collect::<Vec<_>>(), "{id}");
            let in_lots: i64 = whole
                .lots
                .open()
                .iter()
                .map(|lot| lot.remaining.get())
                .sum();
            assert_eq!(
                in_lots,
                account.balance.get() - account.reserved.get(),
                "{id}"
            );
            assert_eq!(self.stored.folded(&id), whole, "{id}");
            let now_s = self.stored.now_s;
            let seen = self.stored.look(&id).account;
            assert_eq!(
                seen,
                self.plain.look(&id, now_s).account(),
                "{id} at {now_s}"
            );
        }
    }

    fn seen(&self) -> Vec<Account> {
        (0..USERS)
            .map(|number| self.stored.look(&user(number)).account)
            .collect()
    }
}

fn line(lot: &Lot) -> (i64, crate::ledger::lots::Terms, [i64; 4]) {
    let parts = [lot.remaining, lot.contested, lot.expired, lot.counted];
    (lot.id, lot.terms.clone(), parts.map(Credits::get))
}

fn pick(index: Index, places: &[Place]) -> Option<Place> {
    (!places.is_empty()).then(|| *index.get(places))
}

/// Each case is long.
fn some_cases() -> ProptestConfig {
    let usual = crate::seeded::seeded();
    ProptestConfig {
        cases: usual.cases / 2,
        ..usual
    }
}

proptest! {
    #![proptest_config(some_cases())]

    #[test]
    fn what_happens_is_what_the_plain_rules_say(
        acts in prop::collection::vec(prop::collection::vec(act(), 1..4), 1..60)
    ) {
        let mut world = World::default();
        for together in &acts {
            world.act(together);
        }
        world.stored.verify();
    }

    /// Writing down what ended, at any times, changes nothing that anybody has.
    #[test]
    fn when_an_end_is_written_down_changes_nothing(
        acts in prop::collection::vec((act(), any::<[bool; USERS]>()), 1..80)
    ) {
        let (mut late, mut early) = (World::default(), World::default());
        for (act, settled) in &acts {
            late.act(std::slice::from_ref(act));
            early.act(std::slice::from_ref(act));
            for (number, _) in settled.iter().enumerate().filter(|(_, settled)| **settled) {
                early.act(&[Act::Settle { user: number }]);
            }
            prop_assert_eq!(late.seen(), early.seen());
        }
    }
}
