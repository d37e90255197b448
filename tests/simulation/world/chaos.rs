//! Breaks what the plan says, when it says so; several things at once, as it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use credit_ledger::postgres::{ConnectOptions, PostgresError};
use credit_ledger::projection::{READ_MODELS, rebuild};
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_postgres::error::SqlState;

use super::World;
use super::apis::Weather;
use super::plan::Fault;
use crate::link::{Point, Then};
use crate::stage::Cluster;

/// What a lane runs to write a batch.
const APPEND: &str = "append_batch";

/// Until everything has broken and the last fault is over.
pub async fn break_things(world: &Arc<World>, cluster: &Arc<Cluster>) {
    let mut faults = JoinSet::new();
    for (at, fault) in world.plan.faults.clone() {
        let (world, cluster) = (Arc::clone(world), Arc::clone(cluster));
        faults.spawn(async move {
            world.at(at).await;
            let kind = fault.kind();
            if world.inflict(&cluster, fault).await {
                world.books.broke(&kind);
            }
        });
    }
    while let Some(ended) = faults.join_next().await {
        ended.unwrap();
    }
    world.at(world.plan.size.span).await;
}

impl World {
    /// Whether it happened by now. What waits for its moment says itself when that comes.
    async fn inflict(self: &Arc<Self>, cluster: &Cluster, fault: Fault) -> bool {
        let (instances, links) = (&self.stage.instances, &self.stage.links);
        let asked = Point::Asked(APPEND);
        let committed = Point::Committed(APPEND);
        let kind = fault.kind();
        let world = Arc::clone(self);
        let kill = |one: usize| {
            let kill = instances[one].signaller(Signal::KILL);
            let (world, kind) = (Arc::clone(self), fault.kind());
            move || {
                kill();
                world.books.broke(&kind);
            }
        };
        let broke = move || world.books.broke(&kind);
        match fault {
            Fault::Kill(one) => return instances[one].signal(Signal::KILL),
            Fault::Terminate(one) => return instances[one].signal(Signal::TERM),
            Fault::Pause(one, time) => {
                let paused = instances[one].signal(Signal::STOP);
                sleep(time).await;
                instances[one].signal(Signal::CONT);
                return paused;
            }
            Fault::KillBeforeAppend(one) => {
                drop(links[one].arm(asked, Then::Cut, kill(one)));
                return false;
            }
            Fault::KillAfterCommit(one) => {
                drop(links[one].arm(committed, Then::Cut, kill(one)));
                return false;
            }
            Fault::LoseCommit(one) => {
                drop(links[one].arm(committed, Then::Cut, broke));
                return false;
            }
            Fault::HangAtCommit(one) => {
                drop(links[one].arm(committed, Then::Hang, broke));
                return false;
            }
            Fault::Cut(one) => return links[one].cut() > 0,
            Fault::Hang(one, time) => {
                let hung = links[one].hang();
                sleep(time).await;
                links[one].cut();
                return hung;
            }
            Fault::Slow(one, by, time) => {
                links[one].slow_down(by);
                sleep(time).await;
                links[one].slow_down(Duration::ZERO);
            }
            Fault::Refuse(one, time) => {
                links[one].refuse(true);
                sleep(time).await;
                links[one].refuse(false);
            }
            Fault::KillPostmaster => return cluster.kill_postmaster(),
            Fault::KillServer => return cluster.kill_all_processes().await,
            Fault::KillSession => return self.kill_session().await,
            Fault::Crowd(time) => return self.crowd(time).await,
            Fault::EndSessions => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity
                            where datname = current_database() and pid <> pg_backend_pid()";
                return self.run(end, Duration::ZERO).await;
            }
            Fault::LongTransaction(time) => {
                let write = "begin; create temporary table elsewhere (n int); insert into elsewhere values (1)";
                return self.run(write, time).await;
            }
            Fault::LockTable(time) => {
                let lock = "begin; set local lock_timeout = '2s'; lock table events in share mode";
                return self.run(lock, time).await;
            }
            Fault::Skew(one, by_s) => self.stage.skew(one, TimeDelta::seconds(by_s)),
            Fault::Pass(hours) => self.stage.pass(TimeDelta::hours(hours)),
            Fault::ApiDown(time) => self.weather(Weather::Down, time).await,
            Fault::ApiSlow(time) => self.weather(Weather::Slow, time).await,
            Fault::RotateSecrets => self.secret.store(1, Ordering::Relaxed),
            Fault::Rebuild => {
                // The database may go away under it: then it is done at the next start.
                let mut made = 0;
                for model in READ_MODELS {
                    let database = &self.stage.database;
                    let done = rebuild::rebuild(database, model.name, &mut |_, _| {}).await;
                    made += usize::from(done.is_ok());
                }
                return made > 0;
            }
        }
        true
    }

    /// Of those on the database, which are the services' but for a few, any. Not while there are none.
    async fn kill_session(&self) -> bool {
        let options = ConnectOptions::default();
        let Ok(session) = self.stage.database.connect_as_login(&options).await else {
            return false;
        };
        let any = "select pid from pg_stat_activity
                    where datname = current_database() and application_name like 'credit-ledger%'
                      and pid <> pg_backend_pid()
                    order by random() limit 1";
        let found = session.query_opt(any, &[]).await.ok().flatten();
        let pid = found.and_then(|row| Pid::from_raw(row.get(0)));
        pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    /// Takes connections until there are none, and keeps them so long. Not while the database is down.
    async fn crowd(&self, time: Duration) -> bool {
        let options = ConnectOptions::default();
        let mut taken = Vec::new();
        let full = loop {
            match self.stage.database.connect_as_login(&options).await {
                Ok(session) => taken.push(session),
                Err(PostgresError::Connect { source, .. }) => {
                    break source.code() == Some(&SqlState::TOO_MANY_CONNECTIONS);
                }
                Err(_) => break false,
            }
        };
        if full {
            sleep(time).await;
        }
        full
    }

    /// In a session of its own, which stays so long. Not while the database is down, nor if it is in vain.
    async fn run(&self, sql: &str, time: Duration) -> bool {
        let options = ConnectOptions::default();
        let Ok(session) = self.stage.database.connect_as_login(&options).await else {
            return false;
        };
        let done = session.batch_execute(sql).await.is_ok();
        sleep(time).await;
        done
    }

    async fn weather(&self, weather: Weather, time: Duration) {
        self.apis.set(weather);
        sleep(time).await;
        self.apis.set(Weather::Fine);
    }
}
