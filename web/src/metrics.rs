//! Metrics in the OpenMetrics text format. Every scrape renders a role's report anew.
//!
//! There is no second copy of the state to keep consistent: gauges are read from the report, and only a value that is
//! counted nowhere else is a counter here.

use std::fmt;

use boshy_supervision::{ChildState, TreeStatus};
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Metric, Registry},
};

/// Content type of the OpenMetrics format.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One scrape. Names are given without the prefix `boshy_` and, for counters, without the suffix `_total`.
pub struct Page(Registry);

/// One line: label values by label name, and the value.
pub(crate) type Row = (Vec<(&'static str, String)>, u64);

impl Page {
    pub(crate) fn new() -> Self {
        let mut page = Self(Registry::with_prefix("boshy"));
        let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
        page.gauges("build_info", "Always 1; the version is the label", [(version, 1)]);
        page
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    /// A gauge with one line for each combination of labels.
    pub fn gauges(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row>) {
        self.register(name, help, Rows { kind: MetricType::Gauge, rows: rows.into_iter().collect() });
    }

    /// A counter without labels, counted elsewhere.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(Vec::new(), value)]);
    }

    /// A counter with one line for each combination of labels, counted elsewhere.
    pub fn counters(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row>) {
        self.register(name, help, Rows { kind: MetricType::Counter, rows: rows.into_iter().collect() });
    }

    /// A metric that keeps its own value.
    pub fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.0.register(name, help, metric);
    }

    /// Metrics of the children of a supervision tree.
    pub(crate) fn tree(&mut self, tree: &TreeStatus) {
        let labels = |child: &str| vec![("tree", tree.name.clone()), ("child", child.to_owned())];
        let restarts = tree.children.iter().map(|child| (labels(&child.name), child.restarts));
        self.counters("actor_restarts", "Restarts of a supervised actor", restarts);
        let running =
            tree.children.iter().map(|child| (labels(&child.name), u64::from(child.state == ChildState::Running)));
        self.gauges("actor_running", "1 while the actor is alive", running);
        let stuck = tree.children.iter().map(|child| (labels(&child.name), u64::from(child.stuck.is_some())));
        self.gauges("actor_stuck", "1 while the actor shows no life", stuck);
    }

    /// Renders the page as text.
    pub(crate) fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0).expect("a string takes every write");
        page
    }
}

#[derive(Debug)]
struct Rows {
    kind: MetricType,
    rows: Vec<Row>,
}

impl Rows {
    fn value(&self, encoder: &mut MetricEncoder, value: u64) -> Result<(), fmt::Error> {
        match self.kind {
            MetricType::Counter => encoder.encode_counter::<NoLabelSet, u64, u64>(&value, None),
            _ => encoder.encode_gauge(&value),
        }
    }
}

impl EncodeMetric for Rows {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), fmt::Error> {
        for (labels, value) in &self.rows {
            if labels.is_empty() {
                self.value(&mut encoder, *value)?;
            } else {
                self.value(&mut encoder.encode_family(labels)?, *value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        self.kind
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}
