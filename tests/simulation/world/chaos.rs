//! Breaks what the plan says, when it says so; several things at once, as it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use credit_ledger::postgres::ConnectOptions;
use credit_ledger::projection::{READ_MODELS, rebuild};
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;

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
            world.books.faults.fetch_add(1, Ordering::Relaxed);
            world.inflict(&cluster, fault).await;
        });
    }
    while let Some(ended) = faults.join_next().await {
        ended.unwrap();
    }
    world.at(world.plan.size.span).await;
}

impl World {
    async fn inflict(&self, cluster: &Cluster, fault: Fault) {
        let (instances, links) = (&self.stage.instances, &self.stage.links);
        let asked = Point::Asked(APPEND);
        let committed = Point::Committed(APPEND);
        match fault {
            Fault::Kill(one) => instances[one].signal(Signal::KILL),
            Fault::Terminate(one) => instances[one].signal(Signal::TERM),
            Fault::Pause(one, time) => {
                instances[one].signal(Signal::STOP);
                sleep(time).await;
                instances[one].signal(Signal::CONT);
            }
            Fault::KillBeforeAppend(one) => {
                drop(links[one].arm(asked, Then::Cut, instances[one].signaller(Signal::KILL)));
            }
            Fault::KillAfterCommit(one) => {
                drop(links[one].arm(committed, Then::Cut, instances[one].signaller(Signal::KILL)));
            }
            Fault::LoseCommit(one) => drop(links[one].arm(committed, Then::Cut, || {})),
            Fault::HangAtCommit(one) => drop(links[one].arm(committed, Then::Hang, || {})),
            Fault::Cut(one) => links[one].cut(),
            Fault::Hang(one, time) => {
                links[one].hang();
                sleep(time).await;
                links[one].cut();
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
            Fault::KillPostmaster => cluster.kill_postmaster(),
            Fault::EndSessions => {
                let end = "select pg_terminate_backend(pid) from pg_stat_activity
                            where datname = current_database() and pid <> pg_backend_pid()";
                self.run(end, Duration::ZERO).await;
            }
            Fault::LongTransaction(time) => {
                let write = "begin; create temporary table elsewhere (n int); insert into elsewhere values (1)";
                self.run(write, time).await;
            }
            Fault::LockTable(time) => {
                let lock = "begin; set local lock_timeout = '2s'; lock table events in share mode";
                self.run(lock, time).await;
            }
            Fault::Skew(one, by_s) => self.stage.skew(one, TimeDelta::seconds(by_s)),
            Fault::Pass(hours) => self.stage.pass(TimeDelta::hours(hours)),
            Fault::ApiDown(time) => self.weather(Weather::Down, time).await,
            Fault::ApiSlow(time) => self.weather(Weather::Slow, time).await,
            Fault::RotateSecrets => self.secret.store(1, Ordering::Relaxed),
            Fault::Rebuild => {
                // The database may go away under it: then it is done at the next start.
                for model in READ_MODELS {
                    let _ =
                        rebuild::rebuild(&self.stage.database, model.name, &mut |_, _| {}).await;
                }
            }
        }
    }

    /// In a session of its own, which stays so long. The database may be down.
    async fn run(&self, sql: &str, time: Duration) {
        let options = ConnectOptions::default();
        if let Ok(session) = self.stage.database.connect_as_login(&options).await {
            let _ = session.batch_execute(sql).await;
            sleep(time).await;
        }
    }

    async fn weather(&self, weather: Weather, time: Duration) {
        self.apis.set(weather);
        sleep(time).await;
        self.apis.set(Weather::Fine);
    }
}
