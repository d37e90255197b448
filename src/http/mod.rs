//! HTTP: the whole URL map, and what is the same for every request.
//!
//! Handlers extract, call and reply. No rule and no SQL text may be in this module; statuses are known in [`problem`]
//! only.

mod account;
mod admin;
mod admission;
mod audit;
mod body;
mod connection;
mod credits;
mod docs;
mod health;
mod idempotency;
mod identity;
mod leaving;
mod limits;
mod me;
mod methods;
mod metrics;
pub mod openapi;
mod page;
mod payments;
mod pieces;
pub mod problem;
mod users;
mod webhooks;

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::{AppConfig, Server};
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{Route, guard};

use crate::access::Scope;
use crate::app::App;
use crate::store::{Outcome, Unit};
use admission::{Admission, Lateness};
use body::Room;
use connection::Connection;
pub use leaving::{TURNING_AWAY, turn_away};
pub use methods::Methods;
use problem::{Code, Problem};

/// How long a request waits for its unit. Providers give up after 5 to 15 s; the unit goes on, and a retry finds it.
const COMMIT_WAIT: Duration = Duration::from_secs(10);
/// How long the head of a request may take to arrive.
const HEAD_ARRIVAL: Duration = Duration::from_secs(5);
/// How long a connection is kept after an answer that closes it, for the other side to read that.
const LINGER: Duration = Duration::from_secs(1);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Connections of one worker that are open at once; more wait to be accepted. Fewer where the system lets this process
/// open fewer files: see [`connections_per_worker`].
const CONNECTIONS_PER_WORKER: usize = 10_000;
/// Files that are kept for all but connections of clients: sessions of the database, outbound calls, witnesses.
const OTHER_FILES: usize = 256;

/// On every answer that does not say otherwise: nothing of it is kept by a cache or guessed at by a browser, and a page that
/// a browser would make of it loads nothing, is in no frame, and tells nobody where it was. Static, so that they cost a
/// webhook no allocation. (That only TLS is to be spoken is said by who speaks it: the proxy.)
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Open,
    /// Whoever holds a provider's secret.
    ProviderSignature,
    /// A signed-in user.
    Session,
    /// A backend whose key has the scope.
    ApiKey(Scope),
}

/// One line of the URL map.
pub struct Entry {
    /// The method of the path. Where it is `GET`, `HEAD` is answered too: the same without the body.
    pub method: &'static str,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
    handler: fn() -> Route,
}

const fn entry(
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: fn() -> Route,
) -> Entry {
    Entry {
        method,
        path,
        access,
        handler,
    }
}

const fn get(path: &'static str, access: Access, handler: fn() -> Route) -> Entry {
    entry("GET", path, access, handler)
}

const fn post(path: &'static str, access: Access, handler: fn() -> Route) -> Entry {
    entry("POST", path, access, handler)
}

const fn put(path: &'static str, access: Access, handler: fn() -> Route) -> Entry {
    entry("PUT", path, access, handler)
}

const fn delete(path: &'static str, access: Access, handler: fn() -> Route) -> Entry {
    entry("DELETE", path, access, handler)
}

/// The whole URL map. A path may come several times, with a method each.
pub const ROUTES: [Entry; 38] = [
    post("/webhooks/{provider}", Access::ProviderSignature, || {
        web::post().to(webhooks::receive)
    }),
    post("/v1/payments/verify", Access::Session, || {
        web::post().to(payments::verify)
    }),
    get("/v1/me", Access::Session, || read().to(me::me)),
    get("/v1/me/balance", Access::Session, || read().to(me::balance)),
    get("/v1/me/entries", Access::Session, || read().to(me::entries)),
    get("/v1/me/purchases", Access::Session, || {
        read().to(me::purchases)
    }),
    get("/v1/users", READ, || read().to(users::list)),
    get("/v1/users/{user_id}", READ, || read().to(users::user)),
    delete("/v1/users/{user_id}", WRITE, || {
        web::delete().to(users::delete)
    }),
    get("/v1/users/{user_id}/balance", READ, || {
        read().to(users::balance)
    }),
    get("/v1/users/{user_id}/entries", READ, || {
        read().to(users::entries)
    }),
    get("/v1/users/{user_id}/purchases", READ, || {
        read().to(users::purchases)
    }),
    get("/v1/users/{user_id}/lots", READ, || read().to(users::lots)),
    post("/v1/users/{user_id}/spends", WRITE, || {
        web::post().to(credits::spend)
    }),
    post("/v1/users/{user_id}/grants", WRITE, || {
        web::post().to(credits::grant)
    }),
    post("/v1/users/{user_id}/holds", WRITE, || {
        web::post().to(credits::hold)
    }),
    put("/v1/users/{user_id}/plan", WRITE, || {
        web::put().to(credits::change_plan)
    }),
    post("/v1/users/{user_id}/referral", WRITE, || {
        web::post().to(credits::refer)
    }),
    post("/v1/holds/{hold_id}/capture", WRITE, || {
        web::post().to(credits::capture)
    }),
    post("/v1/holds/{hold_id}/release", WRITE, || {
        web::post().to(credits::release)
    }),
    post("/v1/spends/{entry_id}/reverse", WRITE, || {
        web::post().to(credits::reverse)
    }),
    post("/v1/bulk", WRITE, || web::post().to(credits::bulk)),
    get("/v1/admin/overview", ADMIN, || read().to(admin::overview)),
    get("/v1/admin/inbox", ADMIN, || read().to(admin::inbox)),
    get("/v1/admin/purchases", ADMIN, || read().to(admin::purchases)),
    post("/v1/admin/inbox/{source}/{event_id}/retry", ADMIN, || {
        web::post().to(admin::retry)
    }),
    post("/v1/admin/recover", ADMIN, || {
        web::post().to(admin::recover)
    }),
    post("/v1/admin/purchases/{purchase_id}/resolve", ADMIN, || {
        web::post().to(admin::resolve)
    }),
    get("/v1/audit/events", AUDIT, || read().to(audit::events)),
    get("/v1/audit/streams/{type}/{id}", AUDIT, || {
        read().to(audit::stream)
    }),
    get("/v1/audit/seals", AUDIT, || read().to(audit::seals)),
    get("/v1/audit/proof/{shard}/{position}", AUDIT, || {
        read().to(audit::proof)
    }),
    get("/v1/audit/consistency/{first}/{second}", AUDIT, || {
        read().to(audit::consistency)
    }),
    get("/health/live", Access::Open, || read().to(health::live)),
    get("/health/ready", Access::Open, || read().to(health::ready)),
    get("/metrics", Access::Open, || read().to(metrics::metrics)),
    get("/openapi.json", Access::Open, || read().to(openapi::serve)),
    get("/docs", Access::Open, || read().to(docs::serve)),
];

const READ: Access = Access::ApiKey(Scope::CreditsRead);
const WRITE: Access = Access::ApiKey(Scope::CreditsWrite);
const ADMIN: Access = Access::ApiKey(Scope::Admin);
const AUDIT: Access = Access::ApiKey(Scope::Audit);

/// The methods that a path of the map answers.
pub fn allowed(path: &str) -> Methods {
    let entries = ROUTES.iter().filter(|entry| entry.path == path);
    Methods::of(entries.map(|entry| entry.method))
}

/// A route that reads. The server leaves the body out of what it answers to `HEAD`.
fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Answers on this listener until the server's handle stops it.
///
/// # Errors
/// When the listener can not be used.
pub fn serve(
    app: Arc<App>,
    listener: TcpListener,
    workers: usize,
    drain: Duration,
) -> std::io::Result<Server> {
    let (admission, room) = (Data::new(Admission::default()), Data::new(Room::default()));
    let builder = Server::build()
        .workers(workers)
        .max_concurrent_connections(connections_per_worker(open_files_max(), workers))
        .shutdown_timeout(drain.as_secs())
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen("http", listener, move || {
        let headers = HEADERS
            .into_iter()
            .fold(DefaultHeaders::new(), DefaultHeaders::add);
        let app = actix_web::App::new()
            .app_data(Data::from(Arc::clone(&app)))
            .app_data(admission.clone())
            .app_data(room.clone())
            .app_data(Lateness::of_this_worker())
            .wrap(from_fn(limits::bounded))
            .wrap(headers)
            .configure(routes)
            .into_factory()
            .map_err(|error: actix_web::Error| error.error_response());
        let stopping = stopping.clone();
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(HEAD_ARRIVAL)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|connection: &Connection, data| {
                data.insert(connection.requests());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(async |stream: TcpStream| {
            let connection = Connection::new(stream);
            let peer = connection.peer();
            Ok::<_, Infallible>((connection, peer))
        })
        .map_err(|never| match never {})
        .and_then(service)
    })?;
    Ok(server.run())
}

/// How many files this process may open at once; none: there is no limit.
fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// As many connections that not even all of them leave the program without a file to reach its database with.
fn connections_per_worker(open_files_max: Option<u64>, workers: usize) -> usize {
    let files = open_files_max.map_or(usize::MAX, |files| {
        usize::try_from(files).unwrap_or(usize::MAX)
    });
    let share = files.saturating_sub(OTHER_FILES) / workers.max(1);
    share.clamp(1, CONNECTIONS_PER_WORKER)
}

fn routes(config: &mut ServiceConfig) {
    let mut paths: Vec<&str> = Vec::with_capacity(ROUTES.len());
    for Entry { path, .. } in &ROUTES {
        if paths.contains(path) {
            continue;
        }
        paths.push(path);
        let entries = ROUTES.iter().filter(|entry| entry.path == *path);
        let resource = entries.fold(web::resource(*path), |resource, entry| {
            resource.route((entry.handler)())
        });
        let methods = allowed(path);
        let other = move || async move { Err::<&str, _>(not_allowed(methods)) };
        config.service(resource.default_service(web::to(other)));
    }
    config.default_service(web::to(|| async {
        Err::<&str, _>(Code::NotFound.because("no such route"))
    }));
}

fn not_allowed(methods: Methods) -> Problem {
    Code::MethodNotAllowed(methods).because(format!("only {methods} is answered here"))
}

/// Hands a unit to the store and waits, for a while, for what becomes of it.
async fn submit(app: &App, unit: Unit) -> Result<Outcome, Problem> {
    in_time(COMMIT_WAIT, app.ledger.execute(unit)).await
}

/// Waits, for a while, for work that is safe to repeat and goes on without us.
async fn in_time<T, E: Into<Problem>>(
    wait: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Problem> {
    match tokio::time::timeout(wait, work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(Code::Unavailable.because("it takes too long; asking again is safe")),
    }
}

#[cfg(test)]
mod tests {
    use super::connections_per_worker;

    #[test]
    fn connections_leave_files_for_the_rest() {
        for (files, workers, connections) in [
            (None, 2, 10_000),
            (Some(u64::MAX), 2, 10_000),
            (Some(20_256), 2, 10_000),
            (Some(1024), 2, 384),
            (Some(1024), 1, 768),
            (Some(0), 0, 1),
        ] {
            assert_eq!(
                connections_per_worker(files, workers),
                connections,
                "{files:?}"
            );
        }
    }
}
