use boshy_lab_director::{LAB_CLOUD_CONFIG, World};
use boshy_mesh::Timestamp;
use serde_json::json;

use super::*;
use crate::settings::SAMPLE_MANIFEST;

const APRICOT: &str = "example-httpbin.apricot.sample-deployment.boshy";
const BANANA: &str = "example-httpbin.banana.sample-deployment.boshy";

fn sample(manifest: &str) -> Vec<Service> {
    let mut world = World::new(LAB_CLOUD_CONFIG, true, 1).unwrap();
    world.deploy(manifest, "admin", Timestamp(1)).unwrap();
    expected(&world.view())
}

fn pilot(known: &[(&str, usize)]) -> String {
    let services: Vec<_> = known
        .iter()
        .map(|(host, endpoints)| {
            json!({
                "host": host,
                "vip": "169.254.255.1",
                "ports": [{"name": "http", "number": 9001, "protocol": "tcp"}],
                "endpoints": vec![json!({"ip": "10.244.0.126", "az": "z1"}); *endpoints],
            })
        })
        .collect();
    json!({ "ready": true, "services": services }).to_string()
}

fn agent(answered: &[&str]) -> String {
    let answered: BTreeMap<_, _> = answered.iter().map(|host| (*host, "169.254.255.1")).collect();
    json!({ "ready": true, "names": { "answered": answered, "pending": [] } }).to_string()
}

#[test]
fn a_pilot_lacks_nothing_when_it_has_every_instance_of_every_service() {
    let expected = sample(SAMPLE_MANIFEST);
    let lacks = |known: &[(&str, usize)]| pilot_lacks(&pilot(known), &expected);
    assert_eq!(lacks(&[(APRICOT, 5), (BANANA, 3)]), None);
    assert_eq!(lacks(&[(APRICOT, 5)]), Some(format!("the pilot does not know {BANANA} yet")));
    assert_eq!(lacks(&[(APRICOT, 4), (BANANA, 3)]), Some(format!("the pilot knows 4 of 5 instances of {APRICOT}")));
    assert!(pilot_lacks("<html>", &expected).unwrap().starts_with("its /status cannot be read"));
}

#[test]
fn an_agent_lacks_nothing_when_it_answers_every_name() {
    let expected = sample(SAMPLE_MANIFEST);
    assert_eq!(agent_lacks(&agent(&[APRICOT, BANANA]), &expected), None);
    assert_eq!(agent_lacks(&agent(&[BANANA]), &expected), Some(format!("{APRICOT} is not answered yet")));
    assert!(agent_lacks("{}", &expected).unwrap().starts_with("its /status cannot be read"));
}

#[test]
fn what_the_mesh_refuses_is_not_waited_for() {
    assert_eq!(sample(&SAMPLE_MANIFEST.replace("number: 9002", "number: 70000")), []);
}

#[test]
fn the_pilots_report_becomes_the_table() {
    let report: PilotReport = serde_json::from_str(&pilot(&[(BANANA, 3)])).unwrap();
    let shown: Vec<_> = report.services.into_iter().map(service).collect();
    let vip = "169.254.255.1".parse().unwrap();
    assert_eq!(shown, [ServiceStatus { hostname: BANANA.to_owned(), vip, ports: vec![9001], instances: 3 }]);
}
