//! Tests when links are requested.

use super::*;

fn at_once(_: &DirectorQuery) -> Duration {
    Duration::from_millis(50)
}

/// Three deployments, whose links are known.
fn settled() -> Sim {
    let mut sim = Sim::with(3, at_once);
    sim.observer = Observer::new(ObserverSettings { links: true, ..ObserverSettings::default() });
    sim.runs_until(seconds(600), |sim| sim.observer.known().complete).unwrap();
    assert_eq!((link(&mut sim, "d0000"), link(&mut sim, "d0002")), (Some("1".into()), Some("1".into())));
    let later = sim.now + seconds(120);
    sim.runs_until(later, |_| false);
    sim.asked.clear();
    sim
}

/// The provider of the only link that a deployment consumes.
fn link(sim: &mut Sim, name: &str) -> Option<String> {
    let inventory = sim.observer.known().inventory;
    let deployment = inventory.deployments.iter().find(|deployment| deployment.name == name)?;
    Some(deployment.links.as_ref()?.consumed.first()?.provider.clone())
}

#[test]
fn links_are_requested_of_a_deployment_that_has_changed_and_by_no_pass() {
    let mut sim = settled();
    let later = sim.now + seconds(1200);
    sim.runs_until(later, |_| false);
    assert!(sim.asked["reading"] >= 12, "the pass goes on: {:?}", sim.asked);
    assert_eq!(sim.asked.get("reading with links"), None);
    sim.director.deploy("d0001", 7, sim.now);
    let later = sim.now + seconds(10);
    let took = sim.runs_until(later, |sim| link(sim, "d0001") == Some("7".into())).expect("it is seen");
    assert!(took <= seconds(2), "{took:?}");
    assert!(sim.asked["reading with links"] <= 2, "{:?}", sim.asked);
}

#[test]
fn a_change_that_only_the_pass_finds_leads_to_a_request_for_links() {
    let mut sim = settled();
    sim.director.ports.insert("d0001".to_owned(), 7);
    let later = sim.now + seconds(700);
    sim.runs_until(later, |sim| link(sim, "d0001") == Some("7".into())).expect("the pass finds it");
}

#[test]
fn links_that_cannot_be_read_stay_as_they_were_and_are_requested_again() {
    let mut sim = settled();
    sim.director.tells_links = false;
    sim.director.deploy("d0001", 7, sim.now);
    let later = sim.now + seconds(20);
    sim.runs_until(later, |_| false);
    assert_eq!((sim.port("d0001"), link(&mut sim, "d0001")), (Some(7), Some("1".into())));
    let told = sim.observer.known().deployments[1].error.clone().unwrap();
    assert!(told.contains(r#"cannot read the links of deployment "d0001""#), "{told}");
    sim.director.tells_links = true;
    let later = sim.now + seconds(120);
    sim.runs_until(later, |sim| link(sim, "d0001") == Some("7".into())).expect("they are read in the end");
}

#[test]
fn without_the_setting_nobody_asks_for_links() {
    let mut sim = Sim::settled(2, at_once);
    sim.sees_a_deploy("d0001", 7).unwrap();
    assert_eq!(sim.asked.get("reading with links"), None);
    assert_eq!(link(&mut sim, "d0001"), None);
}
