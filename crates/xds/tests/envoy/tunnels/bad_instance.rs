//! One of two instances is bad. No connection fails, because a tunnel counts as made only once the instance has
//! answered that it is: another instance is tried, and the bad one is left out for a while.

use boshy_mesh::Action;

use super::{
    certificates::{Ca, Secrets},
    denied::policies,
    program::{Manner, Program, failures},
    site::{Role, Site, Vm},
};

const CONNECTIONS: usize = 5000;
const GOOD: u8 = 2;
const BAD: u8 = 3;

/// Makes the connections while the bad instance is there, whose program must not see one.
async fn none_fails(site: &Site, bad: Vm) {
    let right = Program::start(site.program(GOOD), Manner::Echoes).await;
    let wrong = Program::start(site.program(BAD), Manner::Echoes).await;
    let _vms = (site.instance(GOOD).await, bad, site.caller(&[GOOD, BAD]).await);
    assert_eq!(failures(site.service(), CONNECTIONS).await, 0);
    assert_eq!((right.accepted(), wrong.accepted()), (CONNECTIONS, 0));
}

async fn with(site: &Site, secrets: &Secrets) -> Vm {
    site.start(BAD, Role::Instance, &[BAD], secrets).await
}

#[tokio::test]
async fn with_the_program_of_one_of_two_instances_down_no_connection_fails() {
    let site = Site::new();
    let program = Program::start(site.program(GOOD), Manner::Echoes).await;
    let _vms = (site.instance(GOOD).await, site.instance(BAD).await, site.caller(&[GOOD, BAD]).await);
    assert_eq!(failures(site.service(), CONNECTIONS).await, 0);
    assert_eq!(program.accepted(), CONNECTIONS);
}

#[tokio::test]
async fn when_one_of_two_instances_denies_the_caller_no_connection_fails() {
    let site = Site::new();
    let denies = policies([(Action::Deny, "*/sa/g", false)]);
    none_fails(&site, site.instance_with(BAD, &denies).await).await;
}

#[tokio::test]
async fn when_one_of_two_instances_has_a_certificate_of_another_authority_no_connection_fails_or_reaches_it() {
    let site = Site::new();
    none_fails(&site, with(&site, &Ca::new("mesh").secrets(BAD)).await).await;
}

#[tokio::test]
async fn when_one_of_two_instances_has_a_certificate_that_has_expired_no_connection_fails_or_reaches_it() {
    let site = Site::new();
    let expired = Secrets { leaf: site.ca.leaf(BAD, false), roots: site.ca.root() };
    none_fails(&site, with(&site, &expired).await).await;
}

#[tokio::test]
async fn when_another_deployment_has_the_address_of_one_of_two_instances_no_connection_fails_or_reaches_it() {
    let site = Site::new();
    none_fails(&site, with(&site, &site.ca.secrets_of_another_deployment(4)).await).await;
}

#[tokio::test]
async fn when_another_instance_has_the_address_of_one_of_two_no_connection_fails_or_reaches_it() {
    let site = Site::new();
    none_fails(&site, with(&site, &site.ca.secrets(4)).await).await;
}
