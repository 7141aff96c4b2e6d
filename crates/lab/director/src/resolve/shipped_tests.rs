//! Tests the shipped runtime config like a director would apply it, with the lines of stemcells of bosh-deployment and
//! a future one.

use serde_json::Value;

use super::*;

const RUNTIME_CONFIG: &str = include_str!("../../../../../manifests/runtime-config.yml");
const NAMED: [&str; 6] =
    ["ubuntu-trusty", "ubuntu-xenial", "ubuntu-bionic", "ubuntu-jammy", "ubuntu-noble", "ubuntu-resolute"];
const TO_COME: &str = "ubuntu-of-tomorrow";
const WINDOWS: [&str; 6] = ["windows2012R2", "windows2016", "windows1803", "windows2019", "windows2022", "windows2025"];
const MESH: [&str; 2] = ["virtual-ip-agent", "bosh-envoy"];

/// A director with the release of the mesh and every line of stemcells.
fn director(runtime_configs: Vec<String>) -> Fixture {
    let mut fixture = Fixture::new();
    let mut istio = Draft::new("istio", "9.0.0");
    for job in ["app", "bosh-pilot", "virtual-ip-agent", "bosh-envoy"] {
        istio = istio.job(job, "packages: []", &[]);
    }
    fixture.upload(&istio);
    for os in NAMED.into_iter().chain(WINDOWS).chain([TO_COME]) {
        let stemcell = Stemcell { name: format!("bosh-{os}-go_agent"), os: os.to_owned(), version: "1".to_owned() };
        fixture.stores.stemcells.add(stemcell);
    }
    fixture.runtime_configs = runtime_configs;
    fixture
}

/// The shipped config without properties and variables, which do not matter here; `keep` selects its addons.
fn shipped(keep: impl Fn(&str) -> bool) -> String {
    let text = RUNTIME_CONFIG.replace("((release_version))", "9.0.0");
    let mut config: Value = boshy_yaml::from_text(&text, &boshy_yaml::Limits::default()).unwrap();
    config.as_object_mut().unwrap().remove("variables");
    let addons = config["addons"].as_array_mut().unwrap();
    addons.retain(|addon| keep(addon["name"].as_str().unwrap()));
    for job in addons.iter_mut().flat_map(|addon| addon["jobs"].as_array_mut().unwrap()) {
        job.as_object_mut().unwrap().remove("properties");
    }
    config.to_string()
}

/// A deployment of one group with jobs of these releases.
fn manifest(os: &str, lifecycle: &str, own: &[(&str, &str)]) -> String {
    let version = |release: &str| match release {
        "bpm" => "1.4.23",
        "bosh-dns" => "1.38.0",
        _ => "9.0.0",
    };
    let releases: BTreeSet<&str> = own.iter().map(|(_, release)| *release).collect();
    let releases: Vec<_> = releases.into_iter().map(|name| json!({"name": name, "version": version(name)})).collect();
    let jobs: Vec<_> = own.iter().map(|(name, release)| json!({"name": name, "release": release})).collect();
    let group = json!({"name": "web", "lifecycle": lifecycle, "stemcell": "s", "networks": [{"name": "default"}],
                       "jobs": jobs});
    let stemcells = json!([{"alias": "s", "os": os, "version": "1"}]);
    json!({"name": "shop", "releases": releases, "stemcells": stemcells, "instance_groups": [group]}).to_string()
}

/// The jobs that addons add to a deployment of one group.
fn brought(fixture: &mut Fixture, os: &str, lifecycle: &str, own: &[(&str, &str)]) -> Vec<String> {
    let resolved =
        fixture.resolve(&manifest(os, lifecycle, own)).unwrap_or_else(|error| panic!("{os} {own:?}: {error}"));
    jobs(&resolved, "web").into_iter().skip(own.len()).map(str::to_owned).collect()
}

const APP: (&str, &str) = ("app", "istio");
const BPM: (&str, &str) = ("bpm", "bpm");
const DNS: (&str, &str) = ("bosh-dns", "bosh-dns");

#[test]
fn every_named_line_gets_what_its_deployment_does_not_bring_and_no_deploy_fails() {
    let mut fixture = director(vec![shipped(|_| true)]);
    for (os, lifecycle) in NAMED.into_iter().flat_map(|os| [(os, "service"), (os, "errand")]) {
        let mut brings = |own: &[(&str, &str)]| brought(&mut fixture, os, lifecycle, own);
        assert_eq!(brings(&[APP]), [&["bosh-dns", "bpm"], &MESH[..]].concat(), "{os}");
        assert_eq!(brings(&[APP, BPM]), [&["bosh-dns"], &MESH[..]].concat(), "{os}");
        assert_eq!(brings(&[APP, DNS]), [&["bpm"], &MESH[..]].concat(), "{os}");
        assert_eq!(brings(&[APP, DNS, BPM]), MESH, "{os}");
    }
}

#[test]
fn a_line_to_come_gets_the_mesh_with_bpm_of_its_deployment_and_fails_no_deploy_without() {
    let mut fixture = director(vec![shipped(|_| true)]);
    assert_eq!(brought(&mut fixture, TO_COME, "service", &[APP]), ["bosh-dns"]);
    assert_eq!(brought(&mut fixture, TO_COME, "service", &[APP, BPM]), [&["bosh-dns"], &MESH[..]].concat());
}

#[test]
fn windows_gets_nothing() {
    let mut fixture = director(vec![shipped(|_| true)]);
    for os in WINDOWS {
        assert!(brought(&mut fixture, os, "service", &[APP]).is_empty(), "{os}");
    }
}

#[test]
fn a_pilots_vm_gets_nothing_of_the_release_and_may_have_a_newer_one() {
    let mut fixture = director(vec![shipped(|_| true)]);
    fixture.upload(&Draft::new("istio", "9.1.0").job("bosh-pilot", "packages: []", &[]));
    for os in NAMED.into_iter().chain([TO_COME]) {
        let newer = manifest(os, "service", &[("bosh-pilot", "istio"), BPM]).replace("9.0.0", "9.1.0");
        let resolved = fixture.resolve(&newer).unwrap();
        assert_eq!(jobs(&resolved, "web"), ["bosh-pilot", "bpm", "bosh-dns"], "{os}");
    }
}

#[test]
fn bosh_dns_of_another_runtime_config_does_not_matter_in_either_order() {
    let (dns, mesh) = (shipped(|name| name.starts_with("bosh-dns")), shipped(|name| !name.starts_with("bosh-dns")));
    for order in [vec![dns.clone(), mesh.clone()], vec![mesh, dns]] {
        let mut fixture = director(order.iter().map(|text| without_releases_twice(text, &order)).collect());
        for os in NAMED {
            let mut all = brought(&mut fixture, os, "service", &[APP]);
            all.sort();
            assert_eq!(all, ["bosh-dns", "bosh-envoy", "bpm", "virtual-ip-agent"], "{os}");
            let mut all = brought(&mut fixture, os, "service", &[APP, DNS, BPM]);
            all.sort();
            assert_eq!(all, ["bosh-envoy", "virtual-ip-agent"], "{os}");
        }
        for os in WINDOWS {
            assert!(brought(&mut fixture, os, "service", &[APP]).is_empty(), "{os}");
        }
    }
}

/// Only the first of several configs declares the releases.
fn without_releases_twice(text: &str, order: &[String]) -> String {
    let mut config: Value = serde_json::from_str(text).unwrap();
    if text != order[0] {
        config.as_object_mut().unwrap().remove("releases");
    }
    config.to_string()
}

/// A limitation documented in the runtime config.
#[test]
fn another_version_of_bpm_beside_a_group_without_it_is_refused() {
    let mut fixture = director(vec![shipped(|_| true)]);
    let with = manifest("ubuntu-noble", "service", &[APP, BPM]).replace("1.4.23", "1.4.0");
    fixture.resolve(&with).unwrap();
    let mut beside: Value = serde_json::from_str(&with).unwrap();
    let mut second = beside["instance_groups"][0].clone();
    (second["name"], second["jobs"]) = (json!("other"), json!([{"name": "app", "release": "istio"}]));
    beside["instance_groups"].as_array_mut().unwrap().push(second);
    assert_eq!(fixture.refused(&beside.to_string()).0, 530_003);
}
