//! The database as the rest of the program holds it. Owns the way to a server (a URL, or the private cluster) and
//! hands out sessions; never runs a statement of the ledger.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::{Client, Config, NoTls, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    OLDEST_SERVER_VERSION_NUM,
    cluster::Cluster,
    connect::{self, ConnectOptions, Driving, PoolOptions},
    error::{PostgresError, error_chain},
    layout,
    migrate::{self, MigrationReport},
    roles::{self, Role, RoleUse, quote_identifier},
    tls::{self, TrustedRoots},
    url,
};

/// The database inside the private cluster.
const DEFAULT_DATABASE: &str = "credit_ledger";
/// A database that every server has.
const MAINTENANCE_DATABASE: &str = "postgres";
/// Between two looks at a server that is coming up.
const START_POLL: Duration = Duration::from_millis(25);
/// How long the server is asked to leave off what a session does.
const LEAVING_OFF: Duration = Duration::from_secs(5);
/// How often `create database` is tried while others use its template or make the same one.
const CREATE_TRIES_MAX: u32 = 50;
const CREATE_PAUSE: Duration = Duration::from_millis(100);

/// Which database to use.
#[derive(Debug, Clone, Default)]
pub struct DatabaseSettings {
    /// `DATABASE_URL`. `None`: the private cluster. What a URL may say is told in `url.rs`; in short: rustls always
    /// verifies the server, `sslmode=require` means what libpq calls `verify-full`, `sslrootcert=` names the CA.
    pub url: Option<SecretString>,
    /// `DATA_DIR`: where the private cluster lives, in its folder `postgres`. Default: `/var/lib/credit-ledger` for
    /// root, else `$XDG_DATA_HOME/credit-ledger` or `~/.local/share/credit-ledger`.
    pub data_dir: Option<PathBuf>,
    /// `PG_BIN_DIR`: where `postgres` and `initdb` are. Default: they are looked for.
    pub bin_dir: Option<PathBuf>,
    /// The database inside the private cluster. Default: `credit_ledger`. A URL names its own.
    pub database: Option<String>,
}

/// One database on one server. Cloning is cheap; the private cluster lives as long as any clone or sibling, or
/// until [`Database::close`].
#[derive(Clone)]
pub struct Database {
    pub(super) server: Arc<Server>,
    pub(super) name: String,
    separate_roles: Arc<AtomicBool>,
}

pub(super) struct Server {
    /// Host, user, password and TLS mode.
    pub(super) config: Config,
    tls: Option<MakeRustlsConnect>,
    pub(super) roots: Option<TrustedRoots>,
    /// Did the first connection use TLS?
    pub(super) encrypted: AtomicBool,
    cluster: Option<Cluster>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("target", &self.target())
            .field("private", &self.server.cluster.is_some())
            .field("separate_roles", &self.separate_roles)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Starts or joins the private cluster, or connects to the server of the URL, and checks the server's version.
    /// In the private cluster the database is made if it is missing; a server of the user's is never given a new
    /// database, because a mistyped name must not become an empty ledger (see [`Database::create`]).
    pub async fn open(settings: &DatabaseSettings) -> Result<Self, PostgresError> {
        let database = match &settings.url {
            Some(url) => Self::open_url(url).await?,
            None => Self::open_cluster(settings).await?,
        };
        let client = database
            .connect_as_login(&ConnectOptions::default())
            .await?;
        check_version(&client).await?;
        warn_of_lost_commits(&client).await?;
        let encrypted = client
            .query_one("select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)", &[])
            .await
            .map_err(PostgresError::query("ask about TLS"))?
            .get(0);
        database
            .server
            .encrypted
            .store(encrypted, Ordering::Release);
        database
            .separate_roles
            .store(roles::in_use(&client).await?, Ordering::Release);
        Ok(database)
    }

    /// Makes the roles, applies what is missing of the migrations, and sets the rights. Any number of instances may
    /// call it at once on any number of databases; each waits for its turn, two minutes at most. Refuses a schema
    /// that a newer release has made.
    ///
    /// Pools and sessions made before the first call act as the login; make them after it.
    pub async fn migrate(&self) -> Result<MigrationReport, PostgresError> {
        let client = self.connect_as_login(&migrate::connect_options()).await?;
        let report = migrate::run(client).await?;
        self.separate_roles
            .store(report.roles == RoleUse::Separate, Ordering::Release);
        if let RoleUse::LoginOnly { reason } = &report.roles {
            tracing::warn!(
                %reason,
                "no separate roles: everything runs as the login, and only triggers keep the history from being changed"
            );
        }
        Ok(report)
    }

    /// For commands, which do not migrate.
    ///
    /// # Errors
    /// [`PostgresError::SchemaTooNew`] for a schema that a newer release has made.
    pub async fn refuse_newer_schema(&self) -> Result<(), PostgresError> {
        let client = self
            .connect(Role::Auditor, &ConnectOptions::default())
            .await?;
        migrate::refuse_newer(&client).await.map(drop)
    }

    /// A session of its own that acts as `role`. It ends when the client is dropped.
    pub async fn connect(
        &self,
        role: Role,
        options: &ConnectOptions,
    ) -> Result<Client, PostgresError> {
        self.connect_with(self.role_name(role), options).await
    }

    /// The same, but nothing is answered until somebody [drives](Driving::beside) the connection.
    pub async fn connect_undriven(
        &self,
        role: Role,
        options: &ConnectOptions,
    ) -> Result<(Client, Driving), PostgresError> {
        self.connect_undriven_with(self.role_name(role), options)
            .await
    }

    /// Ends a session in the middle of what it does, whose outcome is then not known. The server is asked to leave off, too, for
    /// a while and without an answer: a commit that waits for a standby does not notice that nobody waits for it, so each
    /// would keep its session until the standby is back. Where it leaves off waiting the commit stays, and can be seen.
    pub fn give_up(&self, client: Client) {
        let (session, tls) = (client.cancel_token(), self.server.tls.clone());
        drop(client);
        tokio::spawn(async move {
            let left_off = async {
                match tls {
                    Some(tls) => session.cancel_query(tls).await,
                    None => session.cancel_query(NoTls).await,
                }
            };
            // Where the server is out of reach the session stays: no new one can be made there either.
            let _ = tokio::time::timeout(LEAVING_OFF, left_off).await;
        });
    }

    /// A session that acts as the login itself: for what no role may do, like making databases.
    pub async fn connect_as_login(
        &self,
        options: &ConnectOptions,
    ) -> Result<Client, PostgresError> {
        self.connect_with(None, options).await
    }

    /// A pool of sessions that act as `role`. Nothing is connected yet.
    ///
    /// A returned connection is not cleaned (`RecyclingMethod::Fast`): open transactions only by `.transaction()`,
    /// which rolls back when dropped, and never change a session's settings.
    pub fn pool(
        &self,
        role: Role,
        options: &PoolOptions,
    ) -> Result<deadpool_postgres::Pool, PostgresError> {
        use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
        let config = self.config(self.role_name(role), &options.connect);
        let recycling = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let driven = connect::Driven(self.server.tls.clone());
        let manager = Manager::from_connect(config, driven, recycling);
        Pool::builder(manager)
            .max_size(options.max_size)
            .wait_timeout(Some(options.wait_timeout))
            .create_timeout(Some(options.connect.connect_timeout))
            .recycle_timeout(Some(options.connect.connect_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(PostgresError::Pool)
    }

    /// Another database of the same server, with the same login. It need not exist yet.
    #[must_use]
    pub fn sibling(&self, database: &str) -> Self {
        Self {
            server: Arc::clone(&self.server),
            name: database.to_owned(),
            separate_roles: Arc::new(AtomicBool::new(self.separate_roles.load(Ordering::Acquire))),
        }
    }

    /// Makes this database if it is missing, as a copy of `template` (which nobody may be using) or of an empty one.
    /// `false`: it was there already.
    pub async fn create(&self, template: Option<&str>) -> Result<bool, PostgresError> {
        check_name(&self.name)?;
        template.map_or(Ok(()), check_name)?;
        let client = self
            .sibling(MAINTENANCE_DATABASE)
            .connect_as_login(&ConnectOptions::default())
            .await?;
        let copy_of = quote_identifier(template.unwrap_or("template0"));
        let statement = format!(
            "create database {} template {copy_of}",
            quote_identifier(&self.name)
        );
        let mut tries = 0;
        loop {
            tries += 1;
            let exists = client
                .query_one(
                    "select exists (select from pg_database where datname = $1)",
                    &[&self.name],
                )
                .await
                .map_err(PostgresError::query("look for the database"))?
                .get::<_, bool>(0);
            if exists {
                return Ok(false);
            }
            match client.batch_execute(&statement).await {
                Ok(()) => return Ok(true),
                Err(error) if tries < CREATE_TRIES_MAX && is_create_race(&error) => {
                    tokio::time::sleep(CREATE_PAUSE).await;
                }
                Err(source) => {
                    return Err(PostgresError::Query {
                        action: "make the database",
                        source,
                    });
                }
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, for people: host, port and name, never a user or password.
    pub fn target(&self) -> String {
        let mut config = self.server.config.clone();
        url::describe(config.dbname(&self.name))
    }

    /// Do sessions act as separate roles (see [`RoleUse`])?
    pub fn has_separate_roles(&self) -> bool {
        self.separate_roles.load(Ordering::Acquire)
    }

    /// Where the private cluster keeps its files, and whether this process manages it. `None` with a URL.
    pub fn private_cluster(&self) -> Option<(PathBuf, bool)> {
        self.server
            .cluster
            .as_ref()
            .map(|cluster| (cluster.root().to_owned(), cluster.is_manager()))
    }

    /// Stops the private cluster if this process manages it (another process that has joined it then takes it over)
    /// and waits for its end, 13 s at most. Connections must be done with. No effect on a server of a URL.
    pub async fn close(&self) {
        if let Some(cluster) = &self.server.cluster {
            cluster.stop().await;
        }
    }

    async fn open_url(url: &SecretString) -> Result<Self, PostgresError> {
        let parsed = url::parse(url.expose_secret())?;
        let tls = match parsed.roots.clone() {
            None => None,
            Some(roots) => Some(
                tokio::task::spawn_blocking(move || tls::connector(&roots))
                    .await
                    .map_err(|_| {
                        PostgresError::Tls("the certificates could not be read".to_owned())
                    })??,
            ),
        };
        Ok(Self::new(
            parsed.database,
            parsed.config,
            tls,
            parsed.roots,
            None,
        ))
    }

    async fn open_cluster(settings: &DatabaseSettings) -> Result<Self, PostgresError> {
        let name = settings.database.as_deref().unwrap_or(DEFAULT_DATABASE);
        check_name(name)?;
        let data_dir = settings
            .data_dir
            .clone()
            .map_or_else(layout::default_data_dir, Ok)?;
        let cluster = Cluster::open(data_dir, settings.bin_dir.clone()).await?;
        let config = cluster.config();
        let database = Self::new(name.to_owned(), config, None, None, Some(cluster));
        if let Err(error) = database.await_cluster().await {
            database.close().await;
            return Err(error);
        }
        database.create(None).await?;
        Ok(database)
    }

    fn new(
        name: String,
        config: Config,
        tls: Option<MakeRustlsConnect>,
        roots: Option<TrustedRoots>,
        cluster: Option<Cluster>,
    ) -> Self {
        let server = Server {
            config,
            tls,
            roots,
            encrypted: AtomicBool::new(false),
            cluster,
        };
        Self {
            server: Arc::new(server),
            name,
            separate_roles: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Tries to connect until the private server answers: it may be starting, replaying its log, or be restarted by
    /// another process.
    async fn await_cluster(&self) -> Result<(), PostgresError> {
        let Some(cluster) = &self.server.cluster else {
            return Ok(());
        };
        let maintenance = self.sibling(MAINTENANCE_DATABASE);
        let started = Instant::now();
        loop {
            let result = match cluster.check_socket_dir() {
                Ok(()) => {
                    maintenance
                        .connect_as_login(&ConnectOptions::default())
                        .await
                }
                Err(error) => Err(error),
            };
            let Err(error) = result else {
                return Ok(());
            };
            let code = sql_state(&error);
            let replaying = code == Some(&SqlState::CANNOT_CONNECT_NOW);
            if code.is_some_and(|code| !replaying && *code != SqlState::ADMIN_SHUTDOWN) {
                return Err(error);
            }
            if started.elapsed() > cluster.patience(replaying) {
                return Err(cluster.start_failed(started.elapsed(), &error_chain(&error)));
            }
            tokio::time::sleep(START_POLL).await;
        }
    }

    pub(super) fn role_name(&self, role: Role) -> Option<&'static str> {
        self.has_separate_roles().then(|| role.name())
    }

    fn config(&self, role: Option<&str>, options: &ConnectOptions) -> Config {
        let mut config = self.server.config.clone();
        config.dbname(&self.name);
        options.apply(&mut config, role);
        config
    }

    async fn connect_with(
        &self,
        role: Option<&str>,
        options: &ConnectOptions,
    ) -> Result<Client, PostgresError> {
        let (client, driving) = self.connect_undriven_with(role, options).await?;
        driving.by_itself();
        Ok(client)
    }

    async fn connect_undriven_with(
        &self,
        role: Option<&str>,
        options: &ConnectOptions,
    ) -> Result<(Client, Driving), PostgresError> {
        let config = self.config(role, options);
        let connecting = connect::connect(&config, self.server.tls.as_ref());
        match tokio::time::timeout(options.connect_timeout, connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(source)) => Err(PostgresError::Connect {
                target: self.target(),
                hint: hint(&source),
                source,
            }),
            Err(_) => Err(PostgresError::ConnectTimeout {
                target: self.target(),
                waited_ms: options.connect_timeout.as_millis(),
            }),
        }
    }
}

/// A server may be told to say "committed" before it is so. That is its owner's choice, and must not go unseen.
async fn warn_of_lost_commits(client: &Client) -> Result<(), PostgresError> {
    let sql = "select name from pg_settings where name in ('fsync', 'full_page_writes') and setting = 'off'";
    let rows = client
        .query(sql, &[])
        .await
        .map_err(PostgresError::query("look at the server's settings"))?;
    for row in rows {
        let setting: &str = row.get("name");
        tracing::warn!(
            setting,
            "off on this server: a crash can lose or damage what was acknowledged"
        );
    }
    Ok(())
}

async fn check_version(client: &Client) -> Result<(), PostgresError> {
    let row = client
        .query_one(
            "select current_setting('server_version_num')::integer, current_setting('server_version')",
            &[],
        )
        .await
        .map_err(PostgresError::query("ask for the server's version"))?;
    if u32::try_from(row.get::<_, i32>(0)).is_ok_and(|version| version >= OLDEST_SERVER_VERSION_NUM)
    {
        Ok(())
    } else {
        Err(PostgresError::ServerTooOld { found: row.get(1) })
    }
}

fn check_name(name: &str) -> Result<(), PostgresError> {
    if (1..=63).contains(&name.len()) && !name.contains('\0') {
        Ok(())
    } else {
        Err(PostgresError::DatabaseName(name.to_owned()))
    }
}

fn sql_state(error: &PostgresError) -> Option<&SqlState> {
    match error {
        PostgresError::Connect { source, .. } => source.code(),
        _ => None,
    }
}

/// The template is in use, or another session makes the same database.
fn is_create_race(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [
            SqlState::OBJECT_IN_USE,
            SqlState::DUPLICATE_DATABASE,
            SqlState::UNIQUE_VIOLATION,
        ]
        .contains(code)
    })
}

fn hint(error: &tokio_postgres::Error) -> &'static str {
    if error.code() == Some(&SqlState::INVALID_CATALOG_NAME) {
        " (make the database first, for example with `createdb`)"
    } else if error_chain(error).contains("certificate") {
        " (the server's certificate is always verified: name its CA with sslrootcert=, or use sslmode=disable)"
    } else {
        ""
    }
}
