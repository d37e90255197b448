//! What happens in a round, drawn from a seed: who lives there, what becomes of them, and what breaks when.
//!
//! The same seed draws the same plan. It does not bring back the same interleaving: real processes have a will of their own.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::Strategy;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::support::lives::{Person, person};

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Who buys, and uses what was bought.
    pub buyers: usize,
    /// Who gets credits from the backend alone, with ends and priorities.
    pub guests: usize,
    /// Calls of the backend for each.
    pub calls: usize,
    /// In which all of it begins.
    pub span: Duration,
    /// How often something breaks.
    pub faults: usize,
}

/// Small enough for every change.
pub const SHORT: Size = Size {
    buyers: 24,
    guests: 8,
    calls: 24,
    span: Duration::from_secs(6),
    faults: 8,
};

/// For whoever has an hour.
pub const LONG: Size = Size {
    buyers: 60,
    guests: 16,
    calls: 40,
    span: Duration::from_secs(14),
    faults: 20,
};

/// Seconds by which the clocks of two services differ at most.
pub const CLOCKS_DIFFER_S: i64 = 10;

/// What breaks, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of a service.
    Kill(usize),
    /// SIGTERM of a service.
    Terminate(usize),
    /// SIGSTOP of a service.
    Pause(usize, Duration),
    /// kill -9 of a service before it appends.
    KillBeforeAppend(usize),
    /// kill -9 of a service between a commit and its answer.
    KillAfterCommit(usize),
    /// The answer to a commit is lost, and the connection with it.
    LoseCommit(usize),
    /// The same with a connection that stays open.
    HangAtCommit(usize),
    /// All connections of a service to the database are cut.
    Cut(usize),
    /// They stay open, and nothing passes.
    Hang(usize, Duration),
    /// Every message of a service takes so long.
    Slow(usize, Duration, Duration),
    /// No new connections to the database.
    Refuse(usize, Duration),
    /// kill -9 of the postmaster.
    KillPostmaster,
    /// kill -9 of all processes of the server.
    KillServer,
    /// kill -9 of one of the server's sessions; it then ends all others, and starts again.
    KillSession,
    /// All of its sessions are ended, one after the other.
    EndSessions,
    /// Others have all connections that are free.
    Crowd(Duration),
    /// Somebody writes elsewhere and does not end.
    LongTransaction(Duration),
    /// Somebody locks the log.
    LockTable(Duration),
    /// A service's clock is wrong by seconds.
    Skew(usize, i64),
    /// Time passes for all, by hours.
    Pass(i64),
    /// The providers' APIs are down.
    ApiDown(Duration),
    /// They answer late.
    ApiSlow(Duration),
    /// Providers sign with their next secret.
    RotateSecrets,
    /// The read models are made again.
    Rebuild,
}

impl Fault {
    /// How many kinds there are.
    pub const KINDS: usize = 24;

    /// Its name, without whom it concerns and for how long.
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        text.split('(').next().unwrap_or_default().to_owned()
    }
}

/// A user and what becomes of them.
#[derive(Debug, Clone)]
pub struct Buyer {
    /// As Razorpay and Clerk tell.
    pub of_razorpay: Person,
    /// As Stripe tells; whether they sign up or leave is told above.
    pub of_stripe: Person,
}

/// A round.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub size: Size,
    pub instances: usize,
    /// How long a payment that names nobody is left alone.
    pub match_after_ms: u32,
    /// Whether operators recover; they do by hand what must also be done without them.
    pub recovers: bool,
    pub buyers: Vec<Buyer>,
    /// When each begins.
    pub faults: Vec<(Duration, Fault)>,
}

impl Plan {
    pub fn draw(seed: u64, size: Size) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = Config {
            rng_seed: RngSeed::Fixed(seed),
            failure_persistence: None,
            ..Config::default()
        };
        let buyer = (person(3), person(5)).prop_map(|(of_razorpay, of_stripe)| {
            let of_stripe = Person {
                signs_up: of_razorpay.signs_up,
                leaves: of_razorpay.leaves,
                ..of_stripe
            };
            Buyer {
                of_razorpay: of_razorpay.settled(),
                of_stripe: of_stripe.settled(),
            }
        });
        let buyers = vec(buyer, size.buyers);
        let buyers = buyers
            .new_tree(&mut TestRunner::new(config))
            .unwrap()
            .current();
        let instances = rng.random_range(2..=4);
        let match_after_ms = *[0, 300, 10_000].choose(&mut rng).unwrap();
        let recovers = rng.random_bool(0.5);
        let mut faults: Vec<(Duration, Fault)> = (0..size.faults)
            .map(|_| (some_of(&mut rng, size.span), fault(&mut rng, instances)))
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            size,
            instances,
            match_after_ms,
            recovers,
            buyers,
            faults,
        }
    }

    /// Chance of its own for something of the round.
    pub fn chance(&self, of: u64) -> StdRng {
        StdRng::seed_from_u64(
            self.seed
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .wrapping_add(of),
        )
    }
}

/// A moment within a span.
pub fn some_of(rng: &mut StdRng, span: Duration) -> Duration {
    span.mul_f64(rng.random_range(0.0..1.0))
}

fn fault(rng: &mut StdRng, instances: usize) -> Fault {
    let one = rng.random_range(0..instances);
    let ms = |rng: &mut StdRng, range| Duration::from_millis(rng.random_range(range));
    match rng.random_range(0..28) {
        0 | 1 => Fault::Kill(one),
        2 => Fault::Terminate(one),
        3 => Fault::Pause(one, ms(rng, 500..5000)),
        4 => Fault::KillBeforeAppend(one),
        5 | 6 => Fault::KillAfterCommit(one),
        7 | 8 => Fault::LoseCommit(one),
        9 => Fault::HangAtCommit(one),
        10 => Fault::Cut(one),
        11 => Fault::Hang(one, ms(rng, 500..4000)),
        12 => Fault::Slow(one, ms(rng, 2..40), ms(rng, 500..3000)),
        13 => Fault::Refuse(one, ms(rng, 200..2000)),
        14 => Fault::KillPostmaster,
        15 => Fault::KillServer,
        16 => Fault::KillSession,
        17 => Fault::EndSessions,
        18 => Fault::Crowd(ms(rng, 500..4000)),
        19 => Fault::LongTransaction(ms(rng, 1000..6000)),
        20 => Fault::LockTable(ms(rng, 200..3000)),
        21 => Fault::Skew(
            one,
            rng.random_range(-CLOCKS_DIFFER_S / 2..=CLOCKS_DIFFER_S / 2),
        ),
        22 | 23 => Fault::Pass(rng.random_range(1..=30)),
        24 => Fault::ApiDown(ms(rng, 500..4000)),
        25 => Fault::ApiSlow(ms(rng, 500..4000)),
        26 => Fault::RotateSecrets,
        _ => Fault::Rebuild,
    }
}

#[test]
fn a_seed_draws_one_plan() {
    let [first, again, other] = [7, 7, 8].map(|seed| format!("{:?}", Plan::draw(seed, SHORT)));
    assert_eq!(first, again);
    assert_ne!(first, other);
}
