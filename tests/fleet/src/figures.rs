//! What was measured, and how it is shown.

use std::time::Duration;

use serde_json::{Map, Value};
use tabled::{builder::Builder, settings::Style};

/// The figures of one work. A field that the work does not have is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) work: &'static str,
    values: [Option<f64>; COLUMNS.len()],
}

/// A column: its heading, its name in JSON, and the digits after the point.
const COLUMNS: [(&str, &str, usize); 11] = [
    ("CPU, ms", "cpu_ms", 1),
    ("first, ms", "first_ms", 0),
    ("last, ms", "last_ms", 0),
    ("down, B", "down", 0),
    ("up, B", "up", 0),
    ("told", "told", 1),
    ("again", "again", 0),
    ("RSS, MB", "rss_mb", 1),
    ("RSS per proxy, kB", "rss_per_proxy_kb", 1),
    ("fewest at a pilot", "fewest_at_a_pilot", 0),
    ("most at a pilot", "most_at_a_pilot", 0),
];

impl Figures {
    pub(crate) fn of(work: &'static str) -> Self {
        Self { work, ..Self::default() }
    }

    /// CPU time of the pilots' processes, or of the agent's.
    #[must_use]
    pub(crate) fn cpu(self, time: Duration) -> Self {
        self.with(0, milliseconds(time))
    }

    /// Time until the first agent was told something, and until the last one was told all.
    #[must_use]
    pub(crate) fn until(self, first: Duration, last: Duration) -> Self {
        self.with(1, milliseconds(first)).with(2, milliseconds(last))
    }

    /// Octets to an agent and from it, and resources told to it.
    #[must_use]
    pub(crate) fn traffic(self, down: f64, up: f64, told: f64) -> Self {
        self.with(3, down).with(4, up).with(5, told)
    }

    /// Connections that failed or ended, so that an agent connected again.
    #[must_use]
    pub(crate) fn again(self, count: u64) -> Self {
        self.with(6, count as f64)
    }

    /// Resident memory of the pilots' processes at the end, or of the agent's.
    #[must_use]
    pub(crate) fn memory(self, octets: u64) -> Self {
        self.with(7, octets as f64 / 1e6)
    }

    /// What of it an agent has added.
    #[must_use]
    pub(crate) fn memory_per_proxy(self, octets: f64) -> Self {
        self.with(8, octets / 1e3)
    }

    /// Agents of the pilot with the fewest, and of the one with the most, of those that run.
    #[must_use]
    pub(crate) fn spread(self, fewest: usize, most: usize) -> Self {
        self.with(9, fewest as f64).with(10, most as f64)
    }

    fn with(mut self, column: usize, value: f64) -> Self {
        self.values[column] = Some(value);
        self
    }

    /// The median of each figure of the same work.
    pub(crate) fn median(all: &[Self]) -> Self {
        let mut median = all.first().cloned().unwrap_or_default();
        for (column, value) in median.values.iter_mut().enumerate() {
            let mut values: Vec<f64> = all.iter().filter_map(|figures| figures.values[column]).collect();
            values.sort_by(f64::total_cmp);
            *value = values.get(values.len() / 2).copied();
        }
        median
    }

    fn ratio_to(&self, other: &Self) -> Vec<String> {
        let ratio = |(own, other): (&Option<f64>, &Option<f64>)| match (own, other) {
            (Some(own), Some(other)) if *other > 0.0 => format!("{:.3}", own / other),
            _ => String::new(),
        };
        self.values.iter().zip(&other.values).map(ratio).collect()
    }

    fn cells(&self) -> Vec<String> {
        let cell = |(value, (_, _, digits)): (&Option<f64>, &(_, _, usize))| {
            value.map_or_else(String::new, |value| format!("{value:.digits$}"))
        };
        self.values.iter().zip(&COLUMNS).map(cell).collect()
    }

    /// One line of JSON.
    pub(crate) fn json(&self, program: &str) -> String {
        let mut line = Map::new();
        line.insert("work".to_owned(), self.work.into());
        line.insert("program".to_owned(), program.into());
        let values = self.values.iter().zip(&COLUMNS);
        line.extend(values.filter_map(|(value, (_, name, _))| Some(((*name).to_owned(), rounded((*value)?)))));
        Value::Object(line).to_string()
    }
}

/// A table of the works, with those of another program and the ratios to them below each. It has the columns in which there
/// is something.
pub(crate) fn table(figures: &[Figures], against: Option<&[Figures]>) -> String {
    let mut table = Builder::default();
    let is_used = |column: usize| figures.iter().any(|figures| figures.values[column].is_some());
    let used = |cells: Vec<String>| cells.into_iter().enumerate().filter_map(|(at, cell)| is_used(at).then_some(cell));
    let headings = used(COLUMNS.iter().map(|(heading, _, _)| (*heading).to_owned()).collect());
    table.push_record(["work".to_owned(), "program".to_owned()].into_iter().chain(headings));
    for (number, figures) in figures.iter().enumerate() {
        let mut row = |what: &str, program: &str, cells: Vec<String>| {
            table.push_record([what.to_owned(), program.to_owned()].into_iter().chain(used(cells)));
        };
        row(figures.work, "boshy", figures.cells());
        if let Some(other) = against.and_then(|against| against.get(number)) {
            row("", "against", other.cells());
            row("", "ratio", figures.ratio_to(other));
        }
    }
    table.build().with(Style::markdown()).to_string()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn rounded(value: f64) -> Value {
    ((value * 10.0).round() / 10.0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cpu: u64) -> Figures {
        Figures::of("work").cpu(Duration::from_millis(cpu)).again(0)
    }

    #[test]
    fn the_median_is_of_each_figure_for_itself() {
        let all =
            [figures(9).traffic(1.0, 2.0, 3.0), figures(1).traffic(5.0, 0.0, 3.0), figures(5).traffic(3.0, 1.0, 3.0)];
        assert_eq!(Figures::median(&all), figures(5).traffic(3.0, 1.0, 3.0));
        assert_eq!(Figures::median(&[]), Figures::default());
    }

    #[test]
    fn a_table_has_both_programs_and_their_ratio() {
        let shown = table(&[figures(4)], Some(&[figures(16)]));
        let rows: Vec<Vec<&str>> = shown
            .lines()
            .map(|line| line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(rows[0][..3], ["work", "program", "CPU, ms"]);
        assert_eq!(
            rows[2..],
            [vec!["work", "boshy", "4.0", "0"], vec!["against", "16.0", "0"], vec!["ratio", "0.250"]]
        );
    }

    #[test]
    fn a_line_of_json_has_what_was_measured() {
        assert_eq!(figures(4).json("boshy"), r#"{"work":"work","program":"boshy","cpu_ms":4.0,"again":0.0}"#);
    }
}
