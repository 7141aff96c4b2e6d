use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::{Endpoint, Hostname, Origin, Shared, Tld, Workload};

const SECOND: i64 = 1000;
const LIFE: i64 = REPORT_LIFE.as_millis() as i64;

fn ids<'a>(ids: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

fn service(instances: impl IntoIterator<Item = &'static str>) -> Service {
    let endpoint = |id: &str| {
        let workload = Workload { id: id.into(), ..Workload::default() };
        Endpoint { ip: Ipv4Addr::LOCALHOST.into(), workload: Shared::new(workload) }
    };
    Service {
        host: Hostname::of_service("httpbin", "banana", "d", &Tld::default()).unwrap(),
        origin: Origin { deployment: "d".into(), group: "banana".into(), job: "httpbin".into() },
        ports: Vec::new(),
        endpoints: instances.into_iter().map(endpoint).collect(),
    }
}

fn withdrawn<'a>(stopping: impl IntoIterator<Item = &'a str>, service: &Service) -> BTreeSet<String> {
    MeshRules { stopping: ids(stopping), ..MeshRules::default() }.withdrawn(service)
}

#[test]
fn an_instance_stops_until_it_says_otherwise_and_saying_the_same_is_no_news() {
    let mut stops = Stops::default();
    assert!(!stops.record("a", false, Moment(0)));
    assert!(stops.record("a", true, Moment(0)) && !stops.record("a", true, Moment(30 * SECOND)));
    assert_eq!(stops.ids(), ids(["a"]));
    assert!(stops.record("a", false, Moment(31 * SECOND)) && !stops.record("a", false, Moment(32 * SECOND)));
    assert_eq!(stops.ids(), ids([]));
}

#[test]
fn an_instance_that_says_nothing_more_is_taken_back_in_time() {
    let mut stops = Stops::default();
    stops.record("silent", true, Moment(0));
    stops.record("drains", true, Moment(0));
    stops.record("drains", true, Moment(LIFE));
    assert!(!stops.sweep(Moment(LIFE)));
    assert!(stops.sweep(Moment(LIFE + 1)));
    assert_eq!(stops.ids(), ids(["drains"]));
}

#[test]
fn callers_get_the_instances_that_stay_and_all_when_none_does() {
    let three = service(["a", "b", "c"]);
    assert_eq!(withdrawn([], &three), ids([]));
    assert_eq!(withdrawn(["b", "of another service"], &three), ids(["b"]));
    assert_eq!(withdrawn(["a", "b"], &three), ids(["a", "b"]));
    assert_eq!(withdrawn(["a", "b", "c"], &three), ids([]));
    assert_eq!(withdrawn(["a"], &service(["a"])), ids([]));
    assert_eq!(withdrawn(["a"], &service([])), ids([]));
}

proptest! {
    /// Whatever instances say and when, a service that has instances has some that callers get, and only those are left
    /// out whose latest word is that they stop and is young.
    #[test]
    fn a_service_never_loses_its_last_instance_nor_one_that_does_not_stop(
        said in prop::collection::vec((0..4_usize, any::<bool>(), 0..60_i64), 0..60),
    ) {
        const ALL: [&str; 4] = ["a", "b", "c", "d"];
        let (mut stops, mut now, mut latest) = (Stops::default(), Moment(0), [None; 4]);
        for (instance, stopping, pause) in said {
            now = Moment(now.0 + pause * SECOND);
            stops.sweep(now);
            stops.record(ALL[instance], stopping, now);
            latest[instance] = Some((stopping, now));
            let stops_now = |index: usize| {
                latest[index].is_some_and(|(stopping, at)| stopping && now.since(at) <= REPORT_LIFE)
            };
            let expected = ids((0..4).filter(|index| stops_now(*index)).map(|index| ALL[index]));
            prop_assert_eq!(stops.ids(), expected.clone());
            let rules = MeshRules { stopping: stops.ids(), ..MeshRules::default() };
            let withdrawn = rules.withdrawn(&service(ALL));
            prop_assert!(withdrawn.len() < ALL.len());
            prop_assert_eq!(withdrawn, if expected.len() < ALL.len() { expected } else { ids([]) });
        }
    }
}
