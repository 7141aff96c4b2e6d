use proptest::prelude::*;
use serde_json::json;

use super::{super::written::shaped, *};

struct Place {
    deployment: String,
    teams: Vec<String>,
    group: String,
    lifecycle: String,
    os: String,
    networks: Vec<String>,
    azs: Vec<String>,
    jobs: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        let text = str::to_owned;
        Self {
            deployment: text("shop"),
            teams: vec![text("t")],
            group: text("web"),
            lifecycle: text("service"),
            os: text("ubuntu-jammy"),
            networks: vec![text("default")],
            azs: vec![text("z1")],
            jobs: vec![(text("httpbin"), text("istio"))],
        }
    }

    fn gets(&self, addon: serde_json::Value) -> bool {
        let addon: Addon = shaped("addon", addon).unwrap();
        let candidate = Candidate {
            deployment: &self.deployment,
            teams: &self.teams,
            group: &self.group,
            lifecycle: &self.lifecycle,
            os: &self.os,
            networks: &self.networks,
            azs: &self.azs,
            jobs: &self.jobs,
        };
        applies(&addon, candidate)
    }
}

#[test]
fn every_condition_is_about_its_own_fact() {
    let place = Place::new();
    let facts = [
        ("deployments", json!(["shop"]), json!(["mesh"])),
        ("jobs", json!([{"name": "httpbin", "release": "istio"}]), json!([{"name": "httpbin", "release": "other"}])),
        ("instance_groups", json!(["web"]), json!(["db"])),
        ("stemcell", json!([{"os": "ubuntu-jammy"}]), json!([{"os": "ubuntu-noble"}])),
        ("networks", json!(["default"]), json!(["private"])),
        ("teams", json!(["t"]), json!(["u"])),
        ("azs", json!(["z1"]), json!(["z2"])),
        ("lifecycle", json!("service"), json!("errand")),
    ];
    for (key, holds, fails) in facts {
        assert!(place.gets(json!({"name": "a", "include": {key: holds}})), "{key}");
        assert!(!place.gets(json!({"name": "a", "include": {key: fails}})), "{key}");
        assert!(!place.gets(json!({"name": "a", "exclude": {key: holds}})), "{key}");
        assert!(place.gets(json!({"name": "a", "exclude": {key: fails}})), "{key}");
    }
    assert!(place.gets(json!({"name": "a"})));
    assert!(place.gets(json!({"name": "a", "include": null, "exclude": {}})));
}

proptest! {
    /// Each section is a list of conditions that hold or do not hold.
    #[test]
    fn conditions_are_anded_and_what_is_excluded_is_not_included(
        include in prop::collection::btree_map(0_usize..3, any::<bool>(), 0..4),
        exclude in prop::collection::btree_map(0_usize..3, any::<bool>(), 0..4),
    ) {
        let keys = [("deployments", "shop"), ("networks", "default"), ("azs", "z1")];
        let section = |conditions: &std::collections::BTreeMap<usize, bool>| {
            let entries = conditions.iter().map(|(key, holds)| {
                let (key, value) = keys[*key];
                // Further values are ORed and change nothing.
                (key.to_owned(), json!(["other", if *holds { value } else { "another" }]))
            });
            serde_json::Value::Object(entries.collect())
        };
        let addon = json!({"name": "a", "include": section(&include), "exclude": section(&exclude)});
        let included = include.values().all(|holds| *holds);
        let excluded = !exclude.is_empty() && exclude.values().all(|holds| *holds);
        prop_assert_eq!(Place::new().gets(addon), included && !excluded);
    }
}

#[test]
fn addons_that_a_director_refuses_are_refused_in_its_words() {
    let refused = |addon, level| {
        let addon = shaped("addon", addon).unwrap();
        let error = check(&addon, level, &["istio".to_owned()]).unwrap_err();
        (error.code, error.description)
    };
    let job = json!({"name": "a", "jobs": [{"name": "j", "release": "other"}]});
    let text = "Manifest specifies job 'j' which is defined in 'other', but 'other' is not listed in the runtime releases section.";
    assert_eq!(refused(job, Level::Runtime), (530_002, text.to_owned()));
    let filter = json!({"name": "a", "include": {"jobs": [{"name": "j"}]}});
    assert_eq!(refused(filter, Level::Runtime).0, 530_004);
    let filter = json!({"name": "a", "exclude": {"stemcell": [{}]}});
    assert_eq!(refused(filter, Level::Runtime).0, 530_005);
    let filter = json!({"name": "a", "include": {"deployments": ["x"]}});
    assert_eq!(refused(filter, Level::Deployment).0, 530_006);
}
