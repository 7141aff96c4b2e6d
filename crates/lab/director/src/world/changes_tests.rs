use boshy_mesh::Timestamp;

use super::{super::Vm, *};
use crate::RenderedJob;

fn instance(state: InstanceState, vm: Option<&str>) -> Instance {
    let vm = vm.map(|cid| Vm { cid: cid.to_owned(), agent_id: "agent".to_owned(), created_at: Timestamp(0) });
    Instance {
        group: "web".to_owned(),
        index: 0,
        id: "id".to_owned(),
        az: None,
        networks: vec![("default".to_owned(), "10.0.0.2".parse().unwrap())],
        state,
        errand: false,
        vm,
    }
}

fn spec(monit: &str) -> Arc<ApplySpec> {
    let (name, release) = ("httpbin".to_owned(), "sample".to_owned());
    let job = RenderedJob { name, release, files: Vec::new(), monit: monit.to_owned() };
    Arc::new(ApplySpec { jobs: vec![job], packages: Vec::new() })
}

fn shape(stemcell: &str) -> VmShape {
    VmShape {
        stemcell: stemcell.to_owned(),
        networks: instance(InstanceState::Started, None).networks,
        ..VmShape::default()
    }
}

struct Case {
    before: InstanceState,
    after: InstanceState,
    agent: Agent,
    asked: Asked,
    dirty: bool,
    wanted: (VmShape, Arc<ApplySpec>),
}

impl Default for Case {
    fn default() -> Self {
        Self {
            before: InstanceState::Started,
            after: InstanceState::Started,
            agent: Agent::Running,
            asked: Asked::default(),
            dirty: false,
            wanted: (shape("1"), spec("a")),
        }
    }
}

/// The reasons, whether another VM is needed, and whether anything is applied.
fn reasons(case: Case) -> (Vec<&'static str>, bool, bool) {
    let facts = VmFacts { shape: shape("1"), applied: Some(spec("a")), dirty: case.dirty, dns: 1 };
    let (before, after) = (instance(case.before, Some("vm-1")), instance(case.after, Some("vm-1")));
    let change = Change::new(Some(before), after, case.wanted, Some(&facts), case.agent, case.asked);
    (change.reasons.iter().copied().collect(), change.new_vm, change.apply)
}

#[test]
fn what_is_as_it_is_to_be_is_not_touched() {
    assert_eq!(reasons(Case::default()), (vec![], false, false));
}

#[test]
fn other_templates_are_applied_to_the_vm_there_is() {
    let wanted = (shape("1"), spec("b"));
    assert_eq!(reasons(Case { wanted, ..Case::default() }), (vec!["configuration"], false, true));
}

#[test]
fn another_stemcell_or_a_wish_or_a_silent_agent_needs_another_vm() {
    let wanted = (shape("2"), spec("a"));
    assert_eq!(reasons(Case { wanted, ..Case::default() }), (vec!["stemcell"], true, true));
    let asked = Asked { recreate: true, restart: false };
    assert_eq!(reasons(Case { asked, ..Case::default() }), (vec!["recreate"], true, true));
    assert_eq!(reasons(Case { agent: Agent::Silent, ..Case::default() }), (vec!["recreate"], true, true));
}

#[test]
fn what_does_not_run_or_was_left_halfway_is_updated_again() {
    assert_eq!(reasons(Case { agent: Agent::Idle, ..Case::default() }), (vec!["state"], false, false));
    assert_eq!(reasons(Case { dirty: true, ..Case::default() }), (vec!["state"], false, false));
}

#[test]
fn states_are_reached_and_then_left_alone() {
    let stopped = InstanceState::Stopped;
    assert_eq!(reasons(Case { after: stopped, ..Case::default() }).0, ["state"]);
    let resting = Case { before: stopped, after: stopped, agent: Agent::Idle, ..Case::default() };
    assert_eq!(reasons(resting).0, [""; 0]);
    assert_eq!(reasons(Case { after: InstanceState::Detached, ..Case::default() }), (vec!["state"], false, false));
    let asked = Asked { restart: true, recreate: false };
    assert_eq!(reasons(Case { asked, ..Case::default() }).0, ["restart"]);
}

#[test]
fn a_new_instance_lacks_a_vm_and_everything_on_it() {
    let after = instance(InstanceState::Started, Some("vm-1"));
    let change = Change::new(None, after, (shape("1"), spec("a")), None, Agent::None, Asked::default());
    assert!(change.lacks_vm() && change.apply && change.is_needed());
}

#[test]
fn a_detached_instance_without_a_vm_needs_nothing() {
    let detached = instance(InstanceState::Detached, None);
    let wanted = (shape("2"), spec("b"));
    let change = Change::new(Some(detached.clone()), detached, wanted, None, Agent::None, Asked::default());
    assert!(!change.is_needed());
}
