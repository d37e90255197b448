//! How often anybody may ask: so many requests a second for each caller and for each client address.
//!
//! Owns the counting. It is this process's own: of several instances each counts what comes to it. Memory is bounded: a
//! caller is forgotten when nothing is held against it, and all are when there are too many at once.
//!
//! A caller starts with `burst` requests and gains one every 1/rate seconds, up to `burst` (the generic cell rate
//! algorithm of `governor`).

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;

use arc_swap::ArcSwap;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// The most callers, and the most addresses, that are counted at once.
const COUNTED_MAX: usize = 100_000;

/// How often anybody may ask. By default as often as they like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimitSettings {
    /// `RATE_LIMIT_PER_KEY`: requests per second of one API key's principal, or of one signed-in user.
    pub per_key: Option<NonZeroU32>,
    /// `RATE_LIMIT_PER_ADDRESS`: requests per second of one client address.
    pub per_address: Option<NonZeroU32>,
    /// `RATE_LIMIT_BURST`: how many requests may come at once; none: as many as in a second.
    pub burst: Option<NonZeroU32>,
    /// `TRUSTED_PROXIES`: how many proxies stand before the service, whose entries in `X-Forwarded-For` are believed.
    pub trusted_proxies: usize,
}

/// Too many requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests of this {of}; the next is taken in {retry_after_s} s")]
pub struct TooOften {
    /// What is counted.
    of: &'static str,
    /// After how many seconds one more is taken, at least 1.
    pub retry_after_s: u32,
}

/// Counts requests. Shared by all workers.
pub struct RateLimits {
    per_caller: Option<Counter<Caller>>,
    per_address: Option<Counter<IpAddr>>,
    trusted_proxies: usize,
}

/// Who is counted. A user may have the name of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Caller {
    Principal(String),
    User(String),
}

impl RateLimits {
    /// Counts as these settings say.
    pub fn new(settings: &RateLimitSettings) -> Self {
        let quota =
            |rate: NonZeroU32| Quota::per_second(rate).allow_burst(settings.burst.unwrap_or(rate));
        Self {
            per_caller: settings
                .per_key
                .map(|rate| Counter::new(quota(rate), DefaultClock::default(), COUNTED_MAX)),
            per_address: settings
                .per_address
                .map(|rate| Counter::new(quota(rate), DefaultClock::default(), COUNTED_MAX)),
            trusted_proxies: settings.trusted_proxies,
        }
    }

    /// Whether addresses are counted at all.
    pub const fn counts_addresses(&self) -> bool {
        self.per_address.is_some()
    }

    /// How many proxies stand before the service.
    pub const fn trusted_proxies(&self) -> usize {
        self.trusted_proxies
    }

    /// Counts a request of the principal of an API key.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn count_principal(&self, name: &str) -> Result<(), TooOften> {
        match &self.per_caller {
            Some(counter) => counter.count(&Caller::Principal(name.to_owned()), "API key's name"),
            None => Ok(()),
        }
    }

    /// Counts a request of a signed-in user.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn count_user(&self, user_id: &str) -> Result<(), TooOften> {
        match &self.per_caller {
            Some(counter) => counter.count(&Caller::User(user_id.to_owned()), "user"),
            None => Ok(()),
        }
    }

    /// Counts a request from an address.
    ///
    /// # Errors
    /// [`TooOften`].
    pub fn count_address(&self, address: IpAddr) -> Result<(), TooOften> {
        match &self.per_address {
            Some(counter) => counter.count(&one_client(address), "client address"),
            None => Ok(()),
        }
    }
}

/// The part of an address that one client has: of IPv6 the first 64 bits, since every client has all addresses behind them
/// (RFC 4291, section 2.5.4).
fn one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

type Limiter<K, C> = RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Requests by key.
struct Counter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    quota: Quota,
    clock: C,
    counted_max: usize,
    limiter: ArcSwap<Limiter<K, C>>,
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Counter<K, C> {
    fn new(quota: Quota, clock: C, counted_max: usize) -> Self {
        Self {
            limiter: ArcSwap::from_pointee(limiter(quota, clock.clone())),
            quota,
            clock,
            counted_max,
        }
    }

    fn count(&self, key: &K, of: &'static str) -> Result<(), TooOften> {
        let limiter = self.limiter.load();
        if limiter.len() >= self.counted_max {
            self.forget(&limiter);
        }
        limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            TooOften {
                of,
                retry_after_s: u32::try_from(seconds).unwrap_or(u32::MAX).max(1),
            }
        })
    }

    /// Forgets whom nothing is held against. If that is not half of them, all: it must not be done again at once.
    fn forget(&self, full: &Limiter<K, C>) {
        full.retain_recent();
        if full.len() > self.counted_max / 2 {
            let empty = limiter(self.quota, self.clock.clone());
            self.limiter.store(Arc::new(empty));
        }
    }
}

fn limiter<K: Hash + Eq + Clone, C: Clock>(quota: Quota, clock: C) -> Limiter<K, C> {
    RateLimiter::new(quota, DashMapStateStore::default(), clock)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    /// Counts with a clock that stands still until it is moved.
    fn counter(
        rate: u32,
        burst: u32,
        counted_max: usize,
    ) -> (Counter<u32, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::per_second(number(rate)).allow_burst(number(burst));
        (Counter::new(quota, clock.clone(), counted_max), clock)
    }

    #[test]
    fn a_burst_is_taken_and_then_so_many_a_second() {
        let (counter, clock) = counter(2, 3, 100);
        let count = || counter.count(&1, "key").is_ok();
        assert_eq!(
            [count(), count(), count(), count()],
            [true, true, true, false]
        );
        clock.advance(Duration::from_millis(499));
        assert!(!count());
        clock.advance(Duration::from_millis(1));
        assert_eq!([count(), count()], [true, false]);
        // Who has waited long has one burst, not more.
        clock.advance(Duration::from_hours(1));
        assert_eq!(
            [count(), count(), count(), count()],
            [true, true, true, false]
        );
    }

    #[test]
    fn one_caller_does_not_count_for_another() {
        let (counter, _clock) = counter(1, 1, 100);
        for key in 0..50 {
            assert!(counter.count(&key, "key").is_ok());
            assert!(counter.count(&key, "key").is_err());
        }
    }

    #[test]
    fn a_refusal_says_in_whole_seconds_when_to_come_again() {
        // One that is refused loses nothing by having asked.
        let (counter, clock) = counter(1, 5, 100);
        while counter.count(&1, "key").is_ok() {}
        for _ in 0..100 {
            let refused = counter.count(&1, "key").unwrap_err();
            assert_eq!(refused.retry_after_s, 1);
        }
        clock.advance(Duration::from_millis(900));
        assert_eq!(counter.count(&1, "key").unwrap_err().retry_after_s, 1);
        clock.advance(Duration::from_millis(100));
        assert!(counter.count(&1, "key").is_ok());
    }

    #[test]
    fn however_many_ask_few_are_remembered() {
        let (counter, clock) = counter(1, 1, 1000);
        for key in 0..10_000 {
            assert!(counter.count(&key, "key").is_ok());
            assert!(counter.limiter.load().len() <= 1000);
        }
        // Those whose time is over are forgotten, the others are not.
        clock.advance(Duration::from_secs(5));
        let before = counter.limiter.load_full();
        for key in 20_000..20_100 {
            assert!(counter.count(&key, "key").is_ok());
        }
        before.retain_recent();
        assert!(Arc::ptr_eq(&before, &counter.limiter.load()));
        assert_eq!(before.len(), 100);
        assert!(counter.count(&20_000, "key").is_err());
    }

    #[test]
    fn without_settings_nobody_is_counted() {
        let limits = RateLimits::new(&RateLimitSettings::default());
        for _ in 0..10_000 {
            limits.count_principal("service").unwrap();
            limits.count_user("user_1").unwrap();
            limits.count_address([127, 0, 0, 1].into()).unwrap();
        }
        assert!(!limits.counts_addresses());
    }

    #[test]
    fn a_user_is_not_a_principal_of_the_same_name() {
        let limits = RateLimits::new(&RateLimitSettings {
            per_key: Some(number(1)),
            ..RateLimitSettings::default()
        });
        limits.count_principal("service").unwrap();
        limits.count_user("service").unwrap();
        limits.count_address([127, 0, 0, 1].into()).unwrap();
    }

    #[test]
    fn a_client_has_one_address_of_version_4_or_a_subnet_of_version_6() {
        let client = |text: &str| one_client(text.parse().unwrap());
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:0:0:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    }
}
