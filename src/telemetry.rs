//! What the service says of itself in numbers, for `GET /metrics`.
//!
//! The recorder belongs to one application, not to the process: several may live in one. Must never have a user, an
//! address, a path or a secret in a name or a label.

use metrics::{Counter, Gauge, describe_counter, describe_gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// The numbers of one application.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Default for Telemetry {
    fn default() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        Self { recorder, handle }
    }
}

impl Telemetry {
    /// A number that goes up and down.
    pub fn gauge(&self, name: &'static str, about: &'static str) -> Gauge {
        with_local_recorder(&self.recorder, || {
            describe_gauge!(name, about);
            metrics::gauge!(name)
        })
    }

    /// One of several of a name, told apart by a label.
    pub fn gauge_of(
        &self,
        name: &'static str,
        about: &'static str,
        label: (&'static str, &'static str),
    ) -> Gauge {
        with_local_recorder(&self.recorder, || {
            describe_gauge!(name, about);
            metrics::gauge!(name, &[label])
        })
    }

    /// A number that only goes up.
    pub fn counter(&self, name: &'static str, about: &'static str) -> Counter {
        with_local_recorder(&self.recorder, || {
            describe_counter!(name, about);
            metrics::counter!(name)
        })
    }

    /// All of them, in the text format of Prometheus.
    pub fn text(&self) -> String {
        self.handle.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_numbers() {
        let (one, other) = (Telemetry::default(), Telemetry::default());
        one.gauge("a", "About a").set(1.5);
        one.gauge_of("b", "About b", ("kind", "x")).set(2.0);
        one.counter("c_total", "About c").increment(3);
        let text = one.text();
        for line in [
            "# HELP a About a",
            "# TYPE a gauge",
            "a 1.5",
            "b{kind=\"x\"} 2",
            "# TYPE c_total counter",
            "c_total 3",
        ] {
            assert!(text.lines().any(|one| one == line), "{line} in {text}");
        }
        assert_eq!(other.text(), "");
    }
}
