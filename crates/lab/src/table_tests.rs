use std::net::Ipv4Addr;

use super::*;
use crate::{
    InstanceName,
    vm::protocol::{JobState, JobStatus},
};

fn vm(deployment: &str, group: &str, jobs: &[(&str, JobState, u64)]) -> VmStatus {
    VmStatus {
        alive: true,
        cid: "i-1".to_owned(),
        name: InstanceName { deployment: deployment.to_owned(), group: group.to_owned(), index: 0 },
        id: "673e".to_owned(),
        az: "z1".to_owned(),
        ip: Ipv4Addr::new(10, 244, 0, 126),
        jobs: jobs
            .iter()
            .map(|(name, state, restarts)| JobStatus {
                job: (*name).to_owned(),
                name: (*name).to_owned(),
                state: *state,
                restarts: *restarts,
                last_exit: None,
            })
            .collect(),
    }
}

fn lines(status: &LabStatus) -> Vec<String> {
    render(status).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn vms_services_and_problems_stand_below_each_other() {
    let status = LabStatus {
        notes: Vec::new(),
        vms: vec![vm("d", "web", &[("bosh-dns", JobState::Running, 0), ("httpbin", JobState::Stopped, 2)])],
        services: vec![ServiceStatus {
            hostname: "httpbin.web.d.boshy".to_owned(),
            vip: Ipv4Addr::new(169, 254, 255, 1).into(),
            ports: vec![9001, 9002],
            instances: 1,
        }],
        problems: vec!["web/1 could not be made".to_owned()],
    };
    assert_eq!(
        lines(&status),
        [
            "INSTANCE | ADDRESS      | ZONE | JOBS",
            "----------+--------------+------+-------------------------------",
            "web/0    | 10.244.0.126 | z1   | bosh-dns running",
            "|              |      | httpbin stopped (restarts: 2)",
            "",
            "SERVICE             | VIRTUAL IP    | PORTS      | INSTANCES",
            "---------------------+---------------+------------+-----------",
            "httpbin.web.d.boshy | 169.254.255.1 | 9001, 9002 | 1",
            "",
            "problem: web/1 could not be made",
        ]
    );
}

#[test]
fn vms_that_share_a_short_name_are_shown_in_full() {
    let status = LabStatus {
        vms: vec![vm("one", "web", &[]), vm("two", "web", &[]), vm("two", "db", &[])],
        ..LabStatus::default()
    };
    let shown = render(&status);
    assert!(shown.contains("one/web/0") && shown.contains("two/web/0") && shown.contains(" db/0 "), "{shown}");
}

#[test]
fn an_empty_lab_says_so() {
    assert_eq!(render(&LabStatus::default()), "no VMs");
}
