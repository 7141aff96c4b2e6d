use super::*;

fn certificate(name: &str) -> AuthorityCertificate {
    AuthorityCertificate { fingerprint: name.to_owned(), subject: format!("CN={name}"), end: 1 }
}

fn report(roots: &[&str], issuer: &str) -> AgentReport {
    let roots = roots.iter().map(|root| (*root).to_owned()).collect();
    AgentReport { roots, issuer: Some(issuer.to_owned()), ..AgentReport::default() }
}

/// Standing of a mesh whose authority is its own root, with the instances `a`, `b` and so on. This pilot has issued all
/// certificates by `old`.
fn standing(issuer: &str, roots: &[&str], reports: &[Option<AgentReport>]) -> TrustStanding {
    let instance = |(title, report): (&&str, &'_ Option<AgentReport>)| (title.to_string(), report.clone());
    let reports: Vec<_> = ["a", "b", "c"].iter().zip(reports).map(instance).collect();
    let instances: Vec<_> = reports
        .iter()
        .map(|(title, report)| InstanceTrust { title: title.clone(), report: report.as_ref(), issued_by: Some("old") })
        .collect();
    let roots = roots.iter().map(|root| certificate(root)).collect();
    TrustStanding::count(&MeshAuthority { issuer: certificate(issuer), root: issuer.to_owned(), roots }, &instances)
}

fn missing(standing: &TrustStanding, step: RotationStep) -> Vec<String> {
    standing.check(step).unwrap_err()
}

#[test]
fn another_authority_signs_once_every_instance_trusts_both_roots() {
    let (old, both) = (report(&["old"], "old"), report(&["old", "new"], "old"));
    let one_root = standing("old", &["old"], &[Some(old.clone())]);
    assert!(missing(&one_root, RotationStep::Sign)[0].contains("one root, CN=old: deploy it with the next one"));
    let on_the_way = standing("old", &["old", "new"], &[Some(both.clone()), Some(old), None]);
    assert_eq!(missing(&on_the_way, RotationStep::Sign), ["b does not trust CN=new (new) yet", "c does not report"]);
    let done = standing("old", &["old", "new"], &[Some(both.clone()), Some(both)]);
    assert_eq!(done.check(RotationStep::Sign), Ok(()));
}

#[test]
fn the_old_root_goes_once_no_certificate_is_of_the_old_authority() {
    let (old, new) = (report(&["old", "new"], "old"), report(&["old", "new"], "new"));
    let on_the_way = standing("new", &["new", "old"], &[Some(new.clone()), Some(old), None]);
    let expected = ["b has no certificate of CN=new yet", "c does not report"];
    assert_eq!(missing(&on_the_way, RotationStep::Retire), expected);
    assert_eq!(standing("new", &["new", "old"], &[Some(new.clone()), Some(new)]).check(RotationStep::Retire), Ok(()));
}

#[test]
fn a_mesh_in_which_nobody_reports_is_ready_for_nothing() {
    let nobody = standing("old", &["old", "new"], &[]);
    for step in [RotationStep::Sign, RotationStep::Retire] {
        assert_eq!(missing(&nobody, step), ["no instance reports to this pilot"]);
    }
}

#[test]
fn an_authority_whose_root_some_do_not_trust_is_trouble_and_names_who() {
    let (old, both) = (report(&["old"], "old"), report(&["old", "new"], "old"));
    assert_eq!(standing("old", &["old"], &[Some(old.clone()), None]).trouble(), None);
    assert_eq!(standing("new", &["new", "old"], &[Some(both.clone())]).trouble(), None);
    let early = standing("new", &["new", "old"], &[Some(both), Some(old), None]);
    assert_eq!(early.distrustful, ["b", "c"]);
    assert_eq!(early.trouble().unwrap(), "b and 1 more of 3 instances may refuse certificates of CN=new");
}

#[test]
fn the_next_authority_waits_for_who_does_not_trust_it_also_for_a_vm_that_is_off_until_its_certificate_ends() {
    let (old, both) = (report(&["old"], "old"), report(&["old", "new"], "old"));
    let early = standing("new", &["new", "old"], &[Some(both.clone()), Some(old), None]);
    assert!(!early.is_trusted_by_all());
    let awaited = "CN=new issues no certificate until b and 1 more trust its root; those of the authority before are issued meanwhile";
    assert_eq!(early.awaited(), awaited);
    assert!(standing("new", &["new", "old"], &[Some(both)]).is_trusted_by_all());
    let nobody = standing("new", &["new", "old"], &[]);
    assert!(!nobody.is_trusted_by_all() && nobody.awaited().contains("until agents have had time to report"));
}

#[test]
fn people_see_each_root_with_who_does_not_trust_it() {
    let (old, both) = (report(&["old"], "old"), report(&["old", "new"], "new"));
    let shown = standing("new", &["new", "old"], &[Some(both), Some(old), None]).to_string();
    assert_eq!(
        shown,
        "authority new (CN=new): 1 of 3 instances have its certificate\n  not b\n  not c\n\
         root new (CN=new): 1 of 3 instances trust it\n  not b\n\
         root old (CN=old): 2 of 3 instances trust it\nc does not report"
    );
}
