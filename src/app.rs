//! The program put together: build, listen, run until stopped.
//!
//! The only place that asks the clock and the source of randomness; everything else is handed both.

mod background;
mod comparing;
mod stopping;

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpSocket;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::access::{AccessError, ApiKeys, IssuedKeys, RateLimits, Sessions};
use crate::audit::seal::Sealer;
use crate::audit::seal::proof::Seals;
use crate::audit::seal::task as sealing;
use crate::config::{Config, Referral};
use crate::http;
use crate::ledger::Salt;
use crate::outbound::{RazorpayApi, SetupError, StripeApi, WitnessApi};
use crate::postgres::{Database, PoolOptions, PostgresError, Role};
use crate::projection::rebuild;
use crate::provider::clerk::Clerk;
use crate::provider::razorpay::Razorpay;
use crate::provider::stripe::Stripe;
use crate::provider::{BadSecret, Provider, Providers, Rules};
use crate::reads::Reads;
use crate::store::{Backlog, ClockOff, Ledger, StoreError};
use crate::telemetry::Telemetry;
use crate::upkeep::{self, erasing};
use background::Background;
pub use comparing::ClockDoubt;
use comparing::Comparing;
use stopping::Stopper;

/// How long requests that were accepted may take to finish once nothing begins any more: as long as one waits for its
/// commit, so that each has its answer.
const DRAIN: Duration = Duration::from_secs(10);
/// How long the lanes may take, which by then have nothing left unless the database hangs: a second longer than it takes to
/// see that nothing begins, to finish it, and to close its connections.
const LANES_END: Duration = Duration::from_secs(13);
/// When the program ends whatever hangs; both are counted from when no more is accepted. A private database that is
/// still there then is told to stop by the end of this process.
const END: Duration = Duration::from_millis(13_500);

/// How many answers are read at once.
const ANSWERS_AT_ONCE: usize = 12;
/// How many other reads there are at once.
const LOOKUPS_AT_ONCE: usize = 4;
/// How many proofs of events are made at once.
const PROOFS_AT_ONCE: usize = 2;

/// How many connections may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 1024;

/// What answers requests. Shared by all workers.
pub struct App {
    /// Where units go.
    pub ledger: Ledger,
    /// Where answers come from.
    pub reads: Reads,
    /// Where deliveries, readiness and upkeep look: sessions of their own, so that no number of lists is in their way.
    pub lookups: Reads,
    /// What commits left to do.
    pub backlog: Backlog,
    /// What was sealed.
    pub seals: Seals,
    /// Who seals, where the key is set.
    pub sealer: Option<Arc<Sealer>>,
    /// What is said in numbers.
    pub telemetry: Telemetry,
    /// Who may deliver.
    pub providers: Providers,
    /// What a sign-up gets and what payments buy.
    pub rules: Rules,
    /// What a recommendation gives.
    pub referral: Referral,
    /// Whose session tokens are taken.
    pub sessions: Sessions,
    /// Which backends may ask: by the settings.
    pub api_keys: ApiKeys,
    /// And by the database.
    pub issued_keys: IssuedKeys,
    /// How often anybody may ask.
    pub limits: RateLimits,
    /// Razorpay's API, where its keys are set.
    pub razorpay_api: Option<RazorpayApi>,
    /// What Razorpay signs checkouts with.
    pub razorpay_key_secret: Option<SecretString>,
    /// Stripe's API, where its key is set.
    pub stripe_api: Option<StripeApi>,
    /// Whether Stripe's live mode or test mode is taken; `None`: both.
    pub stripe_livemode: Option<bool>,
    /// How long after a payment that names nobody its payer's address is looked at.
    pub match_after: Duration,
    /// How long after a user was deleted their personal data is erased without being asked; `None`: never.
    pub erase_after: Option<Duration>,
    /// How long verify-payment waits for the webhook.
    pub verify_wait: Duration,
    /// What time it is.
    pub clock: Clock,
    comparing: Comparing,
    stopping: AtomicBool,
    upkeep_rounds: AtomicU64,
    requests_begun: AtomicU64,
}

/// What time it is: the system's clock, or a test's.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> Clock {
    Arc::new(system_now)
}

/// What the system's clock says.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system's clock"
)]
pub fn system_now() -> DateTime<Utc> {
    Utc::now()
}

/// Random bytes of the system.
///
/// # Errors
/// When the system has none.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that draws randomness"
)]
pub fn random_bytes<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// What is made of the settings alone, so that a mistake in them is found before anything is started.
struct Parts {
    providers: Providers,
    sessions: Sessions,
    api_keys: ApiKeys,
    razorpay_api: Option<RazorpayApi>,
    stripe_api: Option<StripeApi>,
    witness: Option<WitnessApi>,
}

impl Parts {
    fn of(config: &Config) -> Result<Self, StartError> {
        Ok(Self {
            providers: providers(config)?,
            sessions: Sessions::new(&config.sessions)?,
            api_keys: ApiKeys::new(&config.api_keys)?,
            razorpay_api: razorpay_api(config)?,
            stripe_api: stripe_api(config)?,
            witness: witness(config)?,
        })
    }
}

impl App {
    /// The program without its door, on a database whose schema and read models are up to date: for commands. The lanes
    /// end when it is dropped.
    ///
    /// # Errors
    /// [`StartError`], with nothing left behind.
    pub async fn without_door(
        config: &Config,
        database: &Database,
        clock: Clock,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StartError> {
        Self::open(Parts::of(config)?, config, database, clock).await
    }

    async fn open(
        parts: Parts,
        config: &Config,
        database: &Database,
        clock: Clock,
    ) -> Result<(Self, Vec<JoinHandle<()>>), StartError> {
        let answers = database.pool(Role::App, &PoolOptions::for_reads(ANSWERS_AT_ONCE))?;
        let pool = database.pool(Role::App, &PoolOptions::for_reads(LOOKUPS_AT_ONCE))?;
        let proofs = database.pool(Role::App, &PoolOptions::for_reads(PROOFS_AT_ONCE))?;
        let (ledger, lanes) = Ledger::start(database, config.store, Arc::clone(&clock)).await?;
        let telemetry = Telemetry::default();
        let sealer = match &config.seals {
            None => None,
            Some(settings) => {
                let clock = Arc::clone(ledger.clock());
                let witness = parts.witness;
                Some(Sealer::new(database, settings, witness, clock, &telemetry)?)
            }
        };
        let sealing = telemetry.gauge(
            "credit_ledger_sealing",
            "1: this instance has a key, and seals",
        );
        sealing.set(f64::from(u8::from(sealer.is_some())));
        let lookups = Reads::new(pool.clone());
        let app = Self {
            comparing: Comparing::new(lookups.clone(), Arc::clone(ledger.clock())),
            ledger,
            seals: Seals::new(pool.clone(), proofs),
            sealer,
            telemetry,
            backlog: Backlog::new(pool.clone()),
            issued_keys: IssuedKeys::new(pool),
            lookups,
            reads: Reads::new(answers),
            providers: parts.providers,
            rules: config.rules.clone(),
            referral: config.referral,
            sessions: parts.sessions,
            api_keys: parts.api_keys,
            limits: RateLimits::new(&config.rate_limits),
            razorpay_api: parts.razorpay_api,
            razorpay_key_secret: config.razorpay_api.key_secret.clone(),
            stripe_api: parts.stripe_api,
            stripe_livemode: config.stripe_livemode,
            match_after: config.match_after,
            erase_after: config.erase_after,
            verify_wait: config.verify_wait,
            clock,
            stopping: AtomicBool::new(false),
            upkeep_rounds: AtomicU64::new(0),
            requests_begun: AtomicU64::new(0),
        };
        Ok((app, lanes))
    }

    /// How often this instance has looked for all of its upkeep.
    pub fn upkeep_rounds(&self) -> u64 {
        self.upkeep_rounds.load(Ordering::Relaxed)
    }

    /// Notes that it has looked for all of its upkeep once more.
    pub fn upkeep_round_ended(&self) {
        self.upkeep_rounds.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a request has come.
    pub fn request_began(&self) {
        self.requests_begun.fetch_add(1, Ordering::Relaxed);
    }

    /// What time it is.
    pub fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// Whether what is read from the clock can be relied on. Where nothing is known, the database is asked, by one for
    /// all and at most once a second.
    ///
    /// # Errors
    /// [`ClockDoubt`]
    pub async fn compare_clock(&self) -> Result<(), ClockDoubt> {
        self.comparing.known().await
    }

    /// As [`App::compare_clock`], and that the database answers now, or did a moment ago and is slow.
    ///
    /// # Errors
    /// [`ClockDoubt`]
    pub async fn ask_database(&self) -> Result<(), ClockDoubt> {
        self.comparing.is_there().await
    }

    /// As [`App::compare_clock`], but where the database does not answer nothing is known against the clock.
    ///
    /// # Errors
    /// [`ClockOff`]
    pub async fn check_clock(&self) -> Result<(), ClockOff> {
        match self.compare_clock().await {
            Err(ClockDoubt::Off(off)) => Err(off),
            Ok(()) | Err(ClockDoubt::Unanswered) => Ok(()),
        }
    }

    /// What time it is, for an answer that depends on it.
    ///
    /// # Errors
    /// [`ClockOff`]
    pub async fn checked_now(&self) -> Result<DateTime<Utc>, ClockOff> {
        self.check_clock().await?;
        Ok(self.now())
    }

    /// A fresh salt for personal data.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn salt(&self) -> Result<Salt, getrandom::Error> {
        random_bytes().map(Salt)
    }

    /// Whether no new work should be sent here.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

/// Why the program can not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No PostgreSQL, or none that can be used.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// The store can not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A read model can not be built.
    #[error(transparent)]
    Rebuild(#[from] rebuild::RebuildError),
    /// A setting of sessions or API keys can not be used.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A webhook secret can not be used.
    #[error("{setting}: {error}")]
    Secret {
        /// The setting.
        setting: &'static str,
        /// Why.
        error: BadSecret,
    },
    /// The settings of a provider's API can not be used.
    #[error("{settings}: {error}")]
    Outbound {
        /// The settings.
        settings: &'static str,
        /// Why.
        error: SetupError,
    },
    /// The address can not be listened on.
    #[error("can not listen on {address}: {error}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
}

/// A program that listens and has not begun to answer.
pub struct Application {
    app: Arc<App>,
    database: Database,
    listener: TcpListener,
    address: SocketAddr,
    workers: usize,
    upkeep_every: Duration,
    stop_delay: Duration,
    seal_every: Option<Duration>,
    lanes: Vec<JoinHandle<()>>,
}

impl Application {
    /// Finds or starts the database, brings its schema and read models up to date, opens the lanes, and listens.
    ///
    /// # Errors
    /// [`StartError`], with nothing left behind.
    pub async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let parts = Parts::of(&config)?;
        let listen = |error| StartError::Listen {
            address: config.listen,
            error,
        };
        // Bound first: a start on a port that is served fails before it touches the database. (Of two that start at
        // the same time, the later one fails when it listens.) Not listened on yet: who comes before there is an answer
        // is refused, and tries again, instead of waiting for one.
        let socket = bind(config.listen).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;

        let database = Database::open(&config.database).await?;
        database.migrate().await?;
        rebuild::bring_up_to_date(&database).await?;
        let (app, lanes) = App::open(parts, &config, &database, clock).await?;
        let listener = socket
            .listen(BACKLOG)
            .and_then(tokio::net::TcpListener::into_std);
        Ok(Self {
            app: Arc::new(app),
            database,
            listener: listener.map_err(listen)?,
            address,
            workers: config.workers,
            upkeep_every: config.upkeep_every,
            stop_delay: config.stop_delay,
            seal_every: config.seals.as_ref().map(|seals| seals.every),
            lanes,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What will answer requests. The program can not stop while this is held.
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The database that it uses.
    pub const fn database(&self) -> &Database {
        &self.database
    }

    /// Answers until `stop` is done, then finishes everything that was accepted.
    ///
    /// # Errors
    /// When the listener fails, or work beside the requests had panicked.
    pub async fn run_until(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Self {
            app,
            database,
            listener,
            workers,
            upkeep_every,
            stop_delay,
            seal_every,
            lanes,
            ..
        } = self;
        let door = listener.try_clone()?;
        let server = http::serve(Arc::clone(&app), listener, workers, DRAIN)?;
        let beside = begin_beside(&app, upkeep_every, seal_every);
        let told = Arc::new(OnceLock::new());
        let stopper = Stopper {
            app: Arc::clone(&app),
            handle: server.handle(),
            door,
            delay: stop_delay,
            told: Arc::clone(&told),
        };
        let mut stopper = tokio::spawn(stopper.run(stop));
        let result = server.await;
        // A server that ended without being told to has left it waiting.
        let _ = timeout(http::TURNING_AWAY, &mut stopper).await;
        stopper.abort();
        let told = told.get().copied().unwrap_or_else(Instant::now);
        let mut sound = true;
        for work in beside {
            sound &= work.stop().await;
        }
        // The last handle on the queues: the lanes finish what is in them and end.
        drop(app);
        let lanes_end = timeout_at(told + LANES_END, join_all(lanes)).await;
        let database_end = timeout_at(told + END, database.close()).await;
        if lanes_end.is_err() || database_end.is_err() {
            tracing::warn!("the database hangs; stopping without it");
        }
        sound &= lanes_end.into_iter().flatten().all(|lane| lane.is_ok());
        result?;
        if !sound {
            // Where was logged then; the text of a panic may hold data.
            let panicked = "work beside the requests had panicked";
            return Err(std::io::Error::other(panicked));
        }
        Ok(())
    }
}

/// Begins what goes on beside the requests: each by itself, so that none takes another along.
fn begin_beside(
    app: &Arc<App>,
    upkeep_every: Duration,
    seal_every: Option<Duration>,
) -> Vec<Background> {
    let to_erase = Arc::new(Notify::new());
    let (looks, told) = (Arc::clone(app), Arc::clone(&to_erase));
    let erases = Arc::clone(app);
    let mut begun = vec![
        Background::start(upkeep_every, move || {
            let (app, to_erase) = (Arc::clone(&looks), Arc::clone(&told));
            async move { upkeep::look(&app, upkeep_every, &to_erase).await }
        }),
        Background::start(upkeep_every, move || {
            let (app, to_erase) = (Arc::clone(&erases), Arc::clone(&to_erase));
            async move { erasing::run(&app, upkeep_every, &to_erase).await }
        }),
    ];
    if let Some((seals, every)) = app.sealer.clone().zip(seal_every) {
        let tells = Arc::clone(&seals);
        begun.push(Background::start(every, move || {
            let sealer = Arc::clone(&seals);
            async move { sealing::seal(&sealer, every).await }
        }));
        begun.push(Background::start(every, move || {
            let sealer = Arc::clone(&tells);
            async move { sealing::tell(&sealer, every).await }
        }));
    }
    begun
}

/// A socket at this address, on which nobody can connect yet. The address may have connections of an earlier process
/// that are still winding down.
fn bind(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The providers whose secrets are set.
///
/// # Errors
/// [`StartError::Secret`] for one that can not be used.
pub fn providers(config: &Config) -> Result<Providers, StartError> {
    let refuse = |setting| move |error| StartError::Secret { setting, error };
    let mut configured: Vec<Box<dyn Provider>> = Vec::new();
    if !config.clerk_webhook_secrets.is_empty() {
        let clerk = Clerk::new(&config.clerk_webhook_secrets);
        configured.push(Box::new(clerk.map_err(refuse("CLERK_WEBHOOK_SECRET"))?));
    }
    if !config.razorpay_webhook_secrets.is_empty() {
        let razorpay = Razorpay::new(&config.razorpay_webhook_secrets);
        configured.push(Box::new(
            razorpay.map_err(refuse("RAZORPAY_WEBHOOK_SECRET"))?,
        ));
    }
    if !config.stripe_webhook_secrets.is_empty() {
        let stripe = Stripe::new(&config.stripe_webhook_secrets, config.stripe_livemode);
        configured.push(Box::new(stripe.map_err(refuse("STRIPE_WEBHOOK_SECRET"))?));
    }
    Ok(Providers::new(configured))
}

fn razorpay_api(config: &Config) -> Result<Option<RazorpayApi>, StartError> {
    let settings = &config.razorpay_api;
    let (Some(id), Some(secret)) = (&settings.key_id, &settings.key_secret) else {
        return Ok(None);
    };
    RazorpayApi::new(&settings.origin, id.clone(), secret.clone())
        .map(Some)
        .map_err(|error| StartError::Outbound {
            settings: "RAZORPAY_KEY_ID, RAZORPAY_KEY_SECRET, RAZORPAY_API_URL",
            error,
        })
}

fn stripe_api(config: &Config) -> Result<Option<StripeApi>, StartError> {
    let settings = &config.stripe_api;
    let Some(key) = &settings.secret_key else {
        return Ok(None);
    };
    StripeApi::new(&settings.origin, key.clone())
        .map(Some)
        .map_err(|error| StartError::Outbound {
            settings: "STRIPE_SECRET_KEY, STRIPE_API_URL",
            error,
        })
}

fn witness(config: &Config) -> Result<Option<WitnessApi>, StartError> {
    let settings = config.seals.as_ref();
    let Some(settings) = settings.and_then(|seals| seals.witness_url.as_ref()) else {
        return Ok(None);
    };
    WitnessApi::new(settings.url.expose_secret(), settings.token.clone())
        .map(Some)
        .map_err(|error| StartError::Outbound {
            settings: "SEAL_WITNESS_URL, SEAL_WITNESS_TOKEN",
            error,
        })
}
