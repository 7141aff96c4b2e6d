use super::{
    super::{Decision, samples::origin},
    *,
};
use crate::{ConsumedLink, DeploymentLinks, InstanceGroup, Job, Port, PortName, Protocol};

/// Groups with a job of the same name each, which exposes port 3306.
fn deployment(name: &str, groups: &[&str], links: Option<DeploymentLinks>) -> Deployment {
    let port = Port { name: PortName::new("tcp").unwrap(), number: 3306, protocol: Protocol::Tcp, ingress: None };
    let job = |name: &str| Job { name: name.into(), ports: vec![port.clone()], runtime_config: None };
    let group = |name: &&str| InstanceGroup { name: (*name).into(), jobs: vec![job(name)], ..InstanceGroup::default() };
    Deployment { name: name.into(), groups: groups.iter().map(group).collect(), links, ..Deployment::default() }
}

/// Links of a deployment: `id group link` for each that it provides, `group id` for each that it consumes.
fn links(provided: &[(&str, &str, &str)], consumed: &[(&str, &str)]) -> Option<DeploymentLinks> {
    let provided = provided.iter().map(|(id, group, name)| ProvidedLink {
        id: (*id).into(),
        name: (*name).into(),
        group: (*group).into(),
        job: (*group).into(),
    });
    let consumed = consumed.iter().map(|(group, id)| ConsumedLink { group: (*group).into(), provider: (*id).into() });
    Some(DeploymentLinks { provided: provided.collect(), consumed: consumed.collect() })
}

fn decision(deployments: &[Deployment], caller: &str, target: &str, from: FromLinks) -> Decision {
    let policies = Policies::default().with_links(deployments, &TrustDomain::default(), from);
    let caller = SpiffeId::from_principal(&format!("boshy/ns/{caller}")).unwrap();
    let authorization = policies.authorization(&origin(target), 3306);
    authorization.map_or(Decision::Unrestricted, |all| all.enforced.decide(&caller.into()))
}

fn shop() -> Deployment {
    deployment("shop", &["db", "web"], links(&[("7", "db", "mysql")], &[("web", "7")]))
}

#[test]
fn who_consumes_a_link_may_call_its_provider_and_nobody_else_may() {
    let bank = deployment("bank", &["teller", "vault"], links(&[], &[("teller", "7")]));
    let deployments = [shop(), bank];
    let said = |caller: &str| decision(&deployments, caller, "shop/db/db", FromLinks::Enforce).to_string();
    let link = r#"link "db/db/mysql" of deployment "shop""#;
    assert_eq!(said("shop/sa/web"), format!("allowed by {link}"));
    assert_eq!(said("bank/sa/teller"), format!("allowed by {link}"));
    assert_eq!(said("bank/sa/vault"), format!("denied: no rule allows it of {link}"));
}

#[test]
fn a_job_without_a_link_is_called_by_everybody_and_a_link_that_nobody_consumes_by_nobody() {
    let lonely = deployment("lonely", &["db"], links(&[("8", "db", "mysql")], &[]));
    let deployments = [shop(), lonely];
    let may = |target: &str| decision(&deployments, "shop/sa/web", target, FromLinks::Enforce).is_allowed();
    assert!(may("shop/web/web"));
    assert!(!may("lonely/db/db"));
}

#[test]
fn what_is_not_known_yet_denies_nobody() {
    let (unread, provider) = (deployment("bank", &["teller"], None), shop());
    let may = |deployments: &[Deployment], target: &str| {
        decision(deployments, "bank/sa/teller", target, FromLinks::Enforce).is_allowed()
    };
    assert!(may(&[provider.clone(), unread.clone()], "shop/db/db"), "what it consumes is not known");
    assert!(may(&[provider, unread], "bank/teller/teller"), "what it provides is not known");
}

#[test]
fn links_are_on_trial_or_say_nothing_as_the_operator_wants() {
    let may = |from| decision(&[shop()], "bank/sa/teller", "shop/db/db", from).is_allowed();
    assert!(may(FromLinks::Disable) && may(FromLinks::DryRun) && !may(FromLinks::Enforce));
    let policies = Policies::default().with_links(&[shop()], &TrustDomain::default(), FromLinks::DryRun);
    let trial = policies.authorization(&origin("shop/db/db"), 3306).unwrap().trial.unwrap();
    let caller = SpiffeId::from_principal("boshy/ns/bank/sa/teller").unwrap();
    assert!(!trial.decide(&caller.into()).is_allowed());
}

#[test]
fn a_link_of_a_job_that_exposes_nothing_makes_no_policy_and_a_group_without_an_identity_cannot_call() {
    let provides = links(&[("7", "db", "mysql"), ("9", "none", "http")], &[("a b", "7")]);
    let found = policies(&[deployment("shop", &["db"], provides)], &TrustDomain::default(), false);
    let [policy] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((policy.name.name.as_str(), policy.rules.len()), ("db/db/mysql", 0));
}
