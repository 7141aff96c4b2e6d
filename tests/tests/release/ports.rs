//! Compares the ports of boshy's jobs on a VM with those of other jobs listed in `docs/ports.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::job::{repository, yaml};

/// Ports that another job also uses by default. The page says what to do about each.
const SHARED: [(u64, &str); 1] = [(8001, "kong")];

/// The jobs that listen on each port, by the table of other jobs.
fn listed() -> BTreeMap<u64, BTreeSet<String>> {
    let page = fs::read_to_string(repository().join("docs/ports.md")).unwrap();
    let (_, table) = page.split_once("## Ports of other jobs").unwrap();
    let mut jobs: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| port ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [ports, job, source] = cells[..] else { panic!("three cells: {row}") };
        assert!(!source.is_empty(), "{row}");
        for port in ports.split(", ") {
            jobs.entry(port.parse().unwrap()).or_default().insert(job.to_owned());
        }
    }
    jobs
}

/// The default ports of a job, except for those that are off.
fn ports_of(job: &str) -> Vec<u64> {
    let spec = yaml(&fs::read_to_string(repository().join("bosh-release/jobs").join(job).join("spec")).unwrap());
    let properties = spec["properties"].as_object().unwrap();
    let is_port = |name: &str| name.ends_with("port");
    let defaults = properties.iter().filter(|(name, _)| is_port(name)).map(|(_, property)| &property["default"]);
    defaults.filter_map(serde_json::Value::as_u64).filter(|port| *port > 0).collect()
}

#[test]
fn no_default_port_of_the_addon_is_one_of_another_job_but_those_that_the_page_names() {
    let listed = listed();
    assert!(listed.len() > 40, "the table was read: {}", listed.len());
    let ours: BTreeSet<u64> = ["virtual-ip-agent", "bosh-envoy"].into_iter().flat_map(ports_of).collect();
    assert!(ours.is_superset(&BTreeSet::from([8001, 15001, 15020, 15053])), "{ours:?}");
    let shared = ours.iter().filter_map(|port| Some((*port, listed.get(port)?)));
    let shared: Vec<_> = shared.flat_map(|(port, jobs)| jobs.iter().map(move |job| (port, job.as_str()))).collect();
    assert_eq!(shared, SHARED);
}
