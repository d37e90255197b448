//! Each fault alone, some in pairs, under load: the services recover by themselves within seconds, answer 503 meanwhile,
//! and nothing that was acknowledged is lost or there twice.

mod crowded;
mod database;
mod frozen;
mod house;
mod kills;
mod line;
mod making;
mod pairs;

use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::link::{Link, Point, Then, comes};
use super::load::{Load, Seen};
use super::stage::{Cluster, Setup, Stage};
use crate::support::random::seed;

/// One of the cases. The environment variable of this name repeats it.
fn any_of<S: Strategy>(seed_name: &str, cases: &S) -> S::Value {
    let config = Config {
        rng_seed: RngSeed::Fixed(seed(seed_name)),
        ..Config::default()
    };
    let tree = cases.new_tree(&mut TestRunner::new(config));
    tree.unwrap().current()
}

/// What a fault happens to: a cluster, two services on one database, and a load on both.
struct Scene {
    cluster: Cluster,
    stage: Arc<Stage>,
    load: Load,
}

impl Scene {
    async fn set(instances: usize) -> Self {
        let cluster = Cluster::start().await;
        let setup = Setup {
            instances,
            settings: vec![],
        };
        let stage = Stage::set(&cluster, cluster.database().await, &setup).await;
        stage.ready().await;
        let load = Load::start(&stage, 8);
        load.recovers().await;
        Self {
            cluster,
            stage,
            load,
        }
    }

    /// Waits until somebody came to a point of the line, and everybody is well again.
    async fn spring(
        &self,
        link: &Link,
        point: Point,
        then: Then,
        hook: impl FnOnce() + Send + 'static,
    ) {
        let text = format!("{point:?}");
        comes(link.arm(point, then, hook), &text).await;
        self.load.recovers().await;
    }

    /// The same, where nobody who answers was killed or frozen: then whoever waits is always told something.
    async fn end_answered(self) -> Seen {
        let seen = self.end().await;
        assert_eq!(seen.unanswered, 0, "requests left without an answer");
        seen
    }

    /// Lets everything come to its end and looks at what is there.
    async fn end(self) -> Seen {
        let seen = self.load.finish().await;
        making::assert_read_models_are_right(&self.stage.database).await;
        drop(self.stage);
        self.cluster.end().await;
        seen
    }
}
