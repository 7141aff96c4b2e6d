use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1000;

fn able(able: bool) -> AgentReport {
    AgentReport { able, ..AgentReport::default() }
}

#[test]
fn the_latest_report_counts_and_a_heartbeat_is_no_news() {
    let mut table = ReportTable::default();
    assert!(table.record("a", able(true), Moment(0)));
    assert!(!table.record("a", able(true), Moment(30 * SECOND)));
    assert_eq!(table.able(), ["a".to_owned()].into());
    assert!(table.record("a", able(false), Moment(31 * SECOND)));
    assert!(table.able().is_empty());
}

#[test]
fn a_report_that_is_not_repeated_is_dropped() {
    let mut table = ReportTable::default();
    table.record("gone", able(true), Moment(0));
    table.record("there", able(true), Moment(0));
    let life = REPORT_LIFE.as_millis() as i64;
    table.record("there", able(true), Moment(life));
    assert!(!table.sweep(Moment(life)));
    assert!(table.has("gone") && table.able().contains("gone"));
    assert!(table.sweep(Moment(life + 1)));
    assert_eq!(table.able(), ["there".to_owned()].into());
}

proptest! {
    /// The table against a list of all reports.
    #[test]
    fn an_instance_counts_by_its_latest_report_while_that_is_young(
        reports in prop::collection::vec((0..4_u8, any::<bool>(), any::<bool>(), 0..40_i64), 0..60),
    ) {
        let (mut table, mut all, mut now) = (ReportTable::default(), Vec::new(), Moment(0));
        for (instance, able, stopping, pause) in reports {
            now = Moment(now.0 + pause * SECOND);
            table.sweep(now);
            let id = instance.to_string();
            let report = AgentReport { able, stopping, ..AgentReport::default() };
            table.record(&id, report.clone(), now);
            all.push((id, report, now));
            let latest = |id: &str| {
                let (_, report, at) = all.iter().rev().find(|(of, _, _)| of == id)?;
                (now.since(*at) <= REPORT_LIFE).then(|| report.clone())
            };
            for id in (0..4).map(|id: u8| id.to_string()) {
                let known = table.iter().find(|(of, _)| ***of == id).map(|(_, heard)| (*heard.report).clone());
                prop_assert_eq!(known, latest(&id));
                prop_assert_eq!(table.able().contains(&id), latest(&id).is_some_and(|report| report.able));
            }
        }
    }
}
