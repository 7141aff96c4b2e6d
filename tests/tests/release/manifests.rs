//! The manifests and ops files, interpolated by the real CLI, with the jobs that they deploy.

use std::{fs, process::Command, sync::LazyLock};

use boshy_config::{AgentSettings, PilotSettings};
use serde_json::{Value, json};

use crate::job::{Deployed, program, repository, yaml};

const DEPLOYMENT: &str = "bosh-istio-deployment.yml";
const RUNTIME_CONFIG: &str = "runtime-config.yml";
const SAMPLE: &str = "sample-bosh-manifest.yml";
/// The manifest of each ops file, and the variables that it needs.
const OPERATIONS: [(&str, &str, &[&str]); 17] = [
    ("director.yml", DEPLOYMENT, &["director_url=https://10.0.0.6:25555", "director_client=boshy"]),
    ("identities.yml", DEPLOYMENT, &[]),
    ("attestation-bosh-agent.yml", DEPLOYMENT, &["bosh_agent_ca=PEM"]),
    ("mtls-permissive.yml", DEPLOYMENT, &[]),
    ("mtls-strict.yml", DEPLOYMENT, &[]),
    ("tld.yml", DEPLOYMENT, &["tld=mesh"]),
    ("several-pilots.yml", DEPLOYMENT, &[]),
    ("vip-range.yml", DEPLOYMENT, &["vip_range=240.0.0.0/16"]),
    ("runtime-attestation-bosh-agent.yml", RUNTIME_CONFIG, &[]),
    ("runtime-original-src.yml", RUNTIME_CONFIG, &[]),
    ("runtime-pilot-link.yml", RUNTIME_CONFIG, &[]),
    ("runtime-stemcell.yml", RUNTIME_CONFIG, &["stemcell_os=ubuntu-of-tomorrow"]),
    ("runtime-tld.yml", RUNTIME_CONFIG, &["tld=mesh"]),
    ("runtime-vip-range.yml", RUNTIME_CONFIG, &["vip_range=240.0.0.0/16"]),
    ("runtime-without-bosh-dns.yml", RUNTIME_CONFIG, &[]),
    ("runtime-without-bpm.yml", RUNTIME_CONFIG, &[]),
    ("runtime-without-envoy.yml", RUNTIME_CONFIG, &[]),
];

/// The director's certificate, as a user of the CLI has it.
static DIRECTOR_CA: LazyLock<String> = LazyLock::new(|| crate::secrets::Authority::new().certificate());

/// Values that the director's config server would generate, by variable. The CLI can generate them as well, but takes
/// longer.
static STORE: LazyLock<Value> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store.yml");
    bosh(RUNTIME_CONFIG, &[], &["--var=release_version=0", "--vars-store", store.to_str().unwrap()]);
    bosh(DEPLOYMENT, &["identities.yml"], &["--vars-store", store.to_str().unwrap()]);
    yaml(&fs::read_to_string(store).unwrap())
});

/// `bosh interpolate` of the manifest with these ops files and arguments.
fn bosh(manifest: &str, operations: &[&str], arguments: &[&str]) -> Value {
    let manifests = repository().join("manifests");
    let files = operations.iter().flat_map(|name| ["--ops-file".into(), manifests.join("operations").join(name)]);
    let output = Command::new(program("BOSHY_BOSH"))
        .arg("interpolate")
        .arg(manifests.join(manifest))
        .args(files)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{manifest} {operations:?}: {}", String::from_utf8_lossy(&output.stderr));
    yaml(&String::from_utf8(output.stdout).unwrap())
}

/// The manifest with these ops files, with no variable missing and none unused. Variables that it declares are
/// generated.
fn interpolated(manifest: &str, operations: &[&str]) -> Value {
    let raw = bosh(manifest, operations, &[]);
    let declared = raw["variables"].as_array().into_iter().flatten().map(|variable| variable["name"].as_str().unwrap());
    let made: serde_json::Map<_, _> = declared.map(|name| (name.to_owned(), STORE[name].clone())).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut arguments = vec!["--var-errs".to_owned(), "--var-errs-unused".to_owned()];
    if !made.is_empty() {
        arguments.push(format!("--vars-store={}", file("store.yml", &Value::Object(made).to_string())));
    }
    match manifest {
        DEPLOYMENT => arguments.extend([
            "--var=bosh_director_client_secret=s3cret".to_owned(),
            format!("--var-file=bosh_director_ca_cert={}", file("ca.pem", &DIRECTOR_CA)),
        ]),
        RUNTIME_CONFIG => arguments.push("--var=release_version=0.1.0".to_owned()),
        _ => {}
    }
    let asked =
        OPERATIONS.iter().filter(|(name, ..)| operations.contains(name)).flat_map(|(.., variables)| variables.iter());
    arguments.extend(asked.map(|variable| format!("--var={variable}")));
    bosh(manifest, operations, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Whether an addon applies to these jobs: conditions are ANDed, the values of one are ORed.
fn applies(addon: &Value, stemcell: &str, has: &dyn Fn(&str) -> bool) -> bool {
    let any = |list: &Value, holds: &dyn Fn(&Value) -> bool| list.as_array().is_none_or(|list| list.iter().any(holds));
    let fits = |rule: &Value| {
        any(&rule["stemcell"], &|entry| entry["os"] == stemcell)
            && any(&rule["jobs"], &|entry| has(entry["name"].as_str().unwrap()))
    };
    fits(&addon["include"]) && !(addon["exclude"].is_object() && fits(&addon["exclude"]))
}

/// The jobs that the addons add to a VM with this stemcell and these jobs, by the director's rules. It first lists the
/// releases of the applicable addons, and then applies one addon after the other, each seeing the jobs added by those
/// before.
fn addons<'a>(config: &'a Value, stemcell: &str, own: &[&str]) -> Vec<&'a Value> {
    let all = config["addons"].as_array().unwrap();
    let at_first = all.iter().filter(|addon| applies(addon, stemcell, &|name| own.contains(&name)));
    let releases: Vec<_> =
        at_first.flat_map(|addon| addon["jobs"].as_array().unwrap()).map(|job| &job["release"]).collect();
    let mut brought: Vec<&Value> = Vec::new();
    for addon in all {
        let has = |name: &str| own.contains(&name) || brought.iter().any(|job| job["name"] == name);
        if !applies(addon, stemcell, &has) {
            continue;
        }
        for job in addon["jobs"].as_array().unwrap() {
            assert!(!has(job["name"].as_str().unwrap()), "{stemcell}: {} twice, which fails a deploy", job["name"]);
            assert!(
                releases.contains(&&job["release"]),
                "{stemcell}: {} is not listed, which fails a deploy",
                job["release"]
            );
        }
        brought.extend(addon["jobs"].as_array().unwrap());
    }
    brought
}

fn named<'a>(jobs: &'a [&'a Value], name: &str) -> &'a Value {
    jobs.iter().find(|job| job["name"] == name).unwrap_or_else(|| panic!("no {name}"))
}

fn deployed(job: &Value) -> Deployed {
    let mut deployed = Deployed::of(job["name"].as_str().unwrap());
    deployed.context.properties = job.get("properties").cloned().unwrap_or_else(|| json!({}));
    deployed
}

static SHIPPED: LazyLock<Vec<(String, Deployed)>> = LazyLock::new(|| {
    let (deployment, config, sample) =
        (interpolated(DEPLOYMENT, &[]), interpolated(RUNTIME_CONFIG, &[]), interpolated(SAMPLE, &[]));
    let groups = [&deployment, &sample].map(|manifest| manifest["instance_groups"][0]["jobs"].as_array().unwrap());
    let jobs = groups.into_iter().flatten().chain(addons(&config, "ubuntu-noble", &[]));
    let ours = jobs.filter(|job| job["release"] == "istio");
    ours.map(|job| (job["name"].as_str().unwrap().to_owned(), deployed(job))).collect()
});

/// A job with its properties in the manifests.
pub(crate) fn as_shipped(job: &str) -> Deployed {
    SHIPPED.iter().find(|(name, _)| name == job).unwrap_or_else(|| panic!("no manifest has {job}")).1.clone()
}

#[test]
fn every_manifest_takes_every_ops_file_without_a_variable_missing_or_in_vain() {
    for manifest in [DEPLOYMENT, RUNTIME_CONFIG, SAMPLE] {
        interpolated(manifest, &[]);
        let fitting: Vec<&str> =
            OPERATIONS.iter().filter(|(_, of, _)| *of == manifest).map(|(name, ..)| *name).collect();
        for operation in &fitting {
            interpolated(manifest, &[operation]);
        }
        interpolated(manifest, &fitting);
    }
}

#[test]
fn every_ops_file_is_tested() {
    let mut names: Vec<String> = fs::read_dir(repository().join("manifests/operations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut tested = OPERATIONS.map(|(name, ..)| name);
    tested.sort_unstable();
    assert_eq!(names, tested);
}

#[test]
fn the_shipped_pilot_and_agent_speak_tls_with_the_certificates_of_the_config_server() {
    let pilot = as_shipped("bosh-pilot").rendered();
    PilotSettings::load(&pilot.installed().path().join("config/pilot.yml")).unwrap();
    let written = pilot.json("config/pilot.yml");
    assert!(written["xds"]["tls"].is_object() && written["https"].is_object(), "{written}");
    let agent = as_shipped("virtual-ip-agent").rendered();
    AgentSettings::load(&agent.installed().path().join("config/agent.yml")).unwrap();
    assert!(agent.json("config/agent.yml")["pilot_tls"].is_object());
    assert_eq!(agent.json("config/agent.yml")["pilots"], json!(["https://pilot.boshy.internal:15010"]));
}

#[test]
fn envoy_gets_its_capability_and_the_agent_knows_of_it_by_one_ops_file() {
    for operations in [&[][..], &["runtime-original-src.yml"]] {
        let config = interpolated(RUNTIME_CONFIG, operations);
        let on = !operations.is_empty();
        for own in [&[][..], &["bpm"]] {
            let jobs = addons(&config, "ubuntu-noble", own);
            let envoy = deployed(named(&jobs, "bosh-envoy")).rendered().process();
            assert_eq!(envoy.get("capabilities"), on.then(|| json!(["NET_ADMIN"])).as_ref(), "{operations:?} {own:?}");
            let agent = deployed(named(&jobs, "virtual-ip-agent")).rendered();
            assert_eq!(agent.json("config/agent.yml")["netfilter"]["original_src"], on, "{operations:?} {own:?}");
        }
    }
}

/// The lines in bosh-deployment's `runtime-configs/dns.yml`, and one that does not exist yet.
const WITH_BOSH_DNS_AS_RESOLVER: [&str; 4] = ["ubuntu-trusty", "ubuntu-xenial", "ubuntu-bionic", "ubuntu-jammy"];
const WITH_SYSTEMD_RESOLVED: [&str; 3] = ["ubuntu-noble", "ubuntu-resolute", "ubuntu-of-tomorrow"];
const WINDOWS: [&str; 6] = ["windows2012R2", "windows2016", "windows1803", "windows2019", "windows2022", "windows2025"];

#[test]
fn every_line_of_stemcells_gets_the_mesh_and_the_bosh_dns_that_fits_and_windows_gets_nothing() {
    for operations in [&[][..], &["runtime-without-bosh-dns.yml"]] {
        let config = interpolated(RUNTIME_CONFIG, operations);
        for stemcell in WITH_BOSH_DNS_AS_RESOLVER.into_iter().chain(WITH_SYSTEMD_RESOLVED) {
            let known = stemcell != "ubuntu-of-tomorrow";
            let own: &[&str] = if known { &["example-httpbin"] } else { &["example-httpbin", "bpm"] };
            let jobs = addons(&config, stemcell, own);
            let names: Vec<&str> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
            let dns: &[&str] = if operations.is_empty() { &["bosh-dns"] } else { &[] };
            let bpm: &[&str] = if known { &["bpm"] } else { &[] };
            let expected = [dns, bpm, &["virtual-ip-agent", "bosh-envoy"]].concat();
            assert_eq!(names, expected, "{stemcell}");
            if operations.is_empty() {
                let systemd = WITH_SYSTEMD_RESOLVED.contains(&stemcell);
                let properties = &named(&jobs, "bosh-dns")["properties"];
                let (on, off) = if systemd { (json!(true), json!(false)) } else { (Value::Null, Value::Null) };
                assert_eq!(properties["configure_systemd_resolved"], on, "{stemcell}");
                assert_eq!(properties["disable_recursors"], on, "{stemcell}");
                assert_eq!(properties["override_nameserver"], off, "{stemcell}");
            }
            for name in ["virtual-ip-agent", "bosh-envoy"] {
                deployed(named(&jobs, name)).rendered();
            }
        }
        for stemcell in WINDOWS {
            assert!(addons(&config, stemcell, &[]).is_empty(), "{stemcell}");
        }
    }
}

#[test]
fn a_pilots_vm_gets_nothing_of_the_release_so_that_it_can_have_a_newer_one() {
    let config = interpolated(RUNTIME_CONFIG, &[]);
    for stemcell in WITH_BOSH_DNS_AS_RESOLVER.into_iter().chain(WITH_SYSTEMD_RESOLVED) {
        let jobs = addons(&config, stemcell, &["bpm", "bosh-pilot"]);
        let names: Vec<_> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["bosh-dns"], "{stemcell}");
    }
}

#[test]
fn a_line_that_is_not_known_and_brings_no_bpm_gets_no_mesh_and_no_deploy_of_it_fails() {
    let config = interpolated(RUNTIME_CONFIG, &[]);
    let jobs = addons(&config, "ubuntu-of-tomorrow", &["example-httpbin"]);
    let names: Vec<_> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bosh-dns"]);
}

#[test]
fn a_line_that_an_operator_names_gets_bpm_and_the_mesh() {
    let config = interpolated(RUNTIME_CONFIG, &["runtime-stemcell.yml"]);
    let jobs = addons(&config, "ubuntu-of-tomorrow", &["example-httpbin"]);
    let names: Vec<_> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["bosh-dns", "bpm", "virtual-ip-agent", "bosh-envoy"]);
}

#[test]
fn bpm_of_another_runtime_config_does_not_matter_in_either_order() {
    let bpm = json!({"addons": [{"name": "bpm", "jobs": [{"name": "bpm", "release": "bpm"}],
                                 "exclude": {"stemcell": WINDOWS.map(|os| json!({"os": os}))}}]});
    let ours = interpolated(RUNTIME_CONFIG, &["runtime-without-bpm.yml"]);
    assert!(!ours["releases"].as_array().unwrap().iter().any(|release| release["name"] == "bpm"));
    for order in [[&bpm, &ours], [&ours, &bpm]] {
        let merged = json!({"addons": order.map(|config| config["addons"].as_array().unwrap().clone()).concat()});
        let names = |stemcell: &str, own: &[&str]| {
            let mut names: Vec<_> =
                addons(&merged, stemcell, own).iter().map(|job| job["name"].as_str().unwrap().to_owned()).collect();
            names.sort();
            names
        };
        for stemcell in WITH_BOSH_DNS_AS_RESOLVER.into_iter().chain(WITH_SYSTEMD_RESOLVED) {
            let named = stemcell != "ubuntu-of-tomorrow";
            let mesh: &[&str] = if named { &["bosh-envoy", "bpm", "virtual-ip-agent"] } else { &["bpm"] };
            assert_eq!(names(stemcell, &["example-httpbin"]), [&["bosh-dns"], mesh].concat(), "{stemcell}");
            assert_eq!(names(stemcell, &["bosh-pilot"]), ["bosh-dns", "bpm"], "{stemcell}");
        }
        for stemcell in WINDOWS {
            assert!(names(stemcell, &[]).is_empty(), "{stemcell}");
        }
    }
}

#[test]
fn no_addon_consumes_a_link_unless_asked_to() {
    let consumes = |operations: &[&str], own: &[&str]| {
        let config = interpolated(RUNTIME_CONFIG, operations);
        named(&addons(&config, "ubuntu-noble", own), "virtual-ip-agent").get("consumes").cloned()
    };
    let link = json!({"pilot": {"from": "boshy-pilot", "deployment": "bosh-istio", "ip_addresses": true}});
    for own in [&[][..], &["bpm"]] {
        assert_eq!(consumes(&[], own), None);
        assert_eq!(consumes(&["runtime-pilot-link.yml"], own), Some(link.clone()));
    }
}

#[test]
fn both_declare_the_same_certificates_so_that_neither_waits_for_the_other() {
    let text = |name: &str| yaml(&fs::read_to_string(repository().join("manifests").join(name)).unwrap());
    let (deployment, config) = (text(DEPLOYMENT), text(RUNTIME_CONFIG));
    for variable in deployment["variables"].as_array().unwrap() {
        assert!(config["variables"].as_array().unwrap().contains(variable), "{variable}");
    }
}

#[test]
fn the_release_is_the_one_that_is_built() {
    let release = &interpolated(DEPLOYMENT, &[])["releases"][0];
    assert_eq!((&release["name"], &release["version"]), (&json!("istio"), &json!(env!("CARGO_PKG_VERSION"))));
    let settings = fs::read_to_string(repository().join("bosh-release/config/final.yml")).unwrap();
    assert_eq!(yaml(&settings)["final_name"], "istio");
}

#[test]
fn another_range_or_domain_reaches_both_sides() {
    let settings = |manifest: &str, operation: &str, job: &str, own: &[&str]| {
        let manifest = interpolated(manifest, &[operation]);
        let jobs = match manifest.get("addons") {
            Some(_) => addons(&manifest, "ubuntu-jammy", own),
            None => manifest["instance_groups"][0]["jobs"].as_array().unwrap().iter().collect(),
        };
        let file = if job == "bosh-pilot" { "config/pilot.yml" } else { "config/agent.yml" };
        deployed(named(&jobs, job)).rendered().json(file)
    };
    for (operation, key, value) in [("vip-range.yml", "vip_range", "240.0.0.0/16"), ("tld.yml", "tld", "mesh")] {
        assert_eq!(settings(DEPLOYMENT, operation, "bosh-pilot", &[])[key], value);
        for own in [&[][..], &["bpm"]] {
            let agent = settings(RUNTIME_CONFIG, &format!("runtime-{operation}"), "virtual-ip-agent", own);
            assert_eq!(agent[key], value);
        }
    }
    for own in [&[][..], &["bpm"]] {
        let agent = settings(RUNTIME_CONFIG, "runtime-without-envoy.yml", "virtual-ip-agent", own);
        assert_eq!(agent["envoy"]["mode"], "absent");
    }
}
