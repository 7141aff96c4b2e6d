use std::sync::Arc;

use super::{
    super::{Surroundings, read_within},
    *,
};

const MANIFEST: &str = "
stemcells:
- {alias: jammy, os: ubuntu-jammy, version: '1'}
- {alias: noble, os: ubuntu-noble, version: '1'}
addons: [{name: own, jobs: [{name: sidecar, release: r}]}]
instance_groups:
- {name: web, azs: [z1], stemcell: jammy, networks: [{name: a}], jobs: [{name: app, release: r}]}
- {name: db, azs: [z2], stemcell: noble, networks: [{name: b}], jobs: [{name: sql, release: s}]}
- {name: tests, azs: [z2], lifecycle: errand, stemcell: noble, networks: [{name: b}], jobs: []}
";

const JOB: &str = "jobs: [{name: exporter, release: e, expose_ports: [{name: metrics, number: 9100}]}]";

fn config(name: &str, text: &str) -> Arc<RuntimeConfig> {
    Arc::new(RuntimeConfig::read(name, text, &Limits::default()))
}

/// The groups to which runtime configs add a job with ports.
fn groups_with_ports(teams: &[&str], configs: &[Arc<RuntimeConfig>]) -> Vec<String> {
    let teams: Vec<String> = teams.iter().map(|team| (*team).to_owned()).collect();
    let surroundings = Surroundings { teams: &teams, runtime_configs: configs, latest: &[] };
    let written = read_within("shop", MANIFEST, &Limits::default(), surroundings).unwrap();
    assert!(written.problems.is_empty(), "{:?}", written.problems);
    let groups = written.check().unwrap();
    let has = |group: &&boshy_mesh::InstanceGroup| {
        group.jobs.iter().any(|job| job.name == "exporter" && job.runtime_config.is_some() && !job.ports.is_empty())
    };
    groups.iter().filter(has).map(|group| group.name.clone()).collect()
}

#[test]
fn jobs_of_a_runtime_config_go_to_the_groups_that_a_director_gives_them_to() {
    for (filter, groups) in [
        ("", &["web", "db", "tests"][..]),
        ("include: {deployments: [shop]}", &["web", "db", "tests"]),
        ("include: {deployments: [other]}", &[]),
        ("exclude: {deployments: [shop]}", &[]),
        ("exclude: {deployments: [shop], azs: [z2]}", &["web"]),
        ("include: {jobs: [{name: app, release: r}]}", &["web"]),
        ("include: {jobs: [{name: sidecar, release: r}]}", &["web", "db", "tests"]),
        ("include: {stemcell: [{os: ubuntu-noble}], lifecycle: service}", &["db"]),
        ("include: {networks: [a]}", &["web"]),
        ("include: {teams: [blue]}", &["web", "db", "tests"]),
        ("include: {teams: [red]}", &[]),
        ("exclude: {teams: [blue], instance_groups: [web]}", &["db", "tests"]),
    ] {
        let text = format!("addons:\n- name: metrics\n  {filter}\n  {JOB}\n");
        assert_eq!(groups_with_ports(&["blue"], &[config("default", &text)]), groups, "{filter}");
    }
}

#[test]
fn addons_of_several_runtime_configs_see_the_jobs_of_those_before_them() {
    let first = config("default", "addons: [{name: one, include: {azs: [z1]}, jobs: [{name: bpm, release: bpm}]}]");
    let text = format!("addons:\n- name: two\n  include: {{jobs: [{{name: bpm, release: bpm}}]}}\n  {JOB}\n");
    let second = config("metrics", &text);
    assert_eq!(groups_with_ports(&[], &[Arc::clone(&first), Arc::clone(&second)]), ["web"]);
    assert_eq!(groups_with_ports(&[], &[second, first]), [""; 0]);
}

#[test]
fn what_has_no_effect_in_a_runtime_config_is_named_with_its_place() {
    for (what, text, problem) in [
        (
            "misspelt",
            "addons: [{name: a, jobs: [{name: j, expose_port: [{name: p, number: 1}]}]}]",
            r#"runtime config "c", addon "a", job "j", expose_port: is not known"#,
        ),
        (
            "properties",
            "addons: [{name: a, jobs: [{name: j, properties: {expose_ports: [{name: p, number: 1}]}}]}]",
            r#"runtime config "c", addon "a", job "j", properties.expose_ports: has no effect among properties"#,
        ),
        (
            "the addon",
            "addons: [{name: a, expose_ports: [{name: p, number: 1}], jobs: [{name: j}]}]",
            r#"runtime config "c", addon "a", expose_ports: has no effect here"#,
        ),
        (
            "a port",
            "addons: [{name: a, jobs: [{name: j, expose_ports: [{name: p, number: 70000}]}]}]",
            r#"runtime config "c", addon "a", job "j", expose_ports[0].number: must be between 1 and 65535"#,
        ),
        (
            "a variable",
            "addons: [{name: a, jobs: [{name: j, expose_ports: [{name: p, number: ((port))}]}]}]",
            r#"runtime config "c", addon "a", job "j", expose_ports[0].number: "#,
        ),
        (
            "a filter",
            "addons: [{name: a, include: {azs: 7}, jobs: [{name: j, expose_ports: [{name: p, number: 1}]}]}]",
            r#"runtime config "c", addon "a": is for groups that cannot be read"#,
        ),
        ("no YAML", "addons: [", r#"runtime config "c": YAML line"#),
    ] {
        let config = RuntimeConfig::read("c", text, &Limits::default());
        let problems: Vec<_> = config.problems().iter().map(ToString::to_string).collect();
        assert!(problems.len() == 1 && problems[0].starts_with(problem), "{what}: {problems:?}");
        let belongs = problems[0].contains("`addons[].jobs[].expose_ports`");
        assert_eq!(belongs, ["misspelt", "properties", "the addon"].contains(&what), "{what}: {problems:?}");
        assert!(!config.exposes(), "{what}");
    }
}

#[test]
fn the_networks_of_a_cloud_config_have_the_ranges_of_their_subnets() {
    let text = "
networks:
- {name: default, type: manual, subnets: [{range: 10.0.1.0/24, static: [10.0.1.190]}, {range: 'fd00::/64'}, {range: ((r))}]}
- {name: vip, type: vip, subnets: [{static: [3.120.7.9, 3.120.7.12 - 3.120.7.13]}]}
- {name: old-vip, type: vip}
- {name: dynamic, type: dynamic, subnets: [{az: z1}]}
- nonsense
";
    let shown: Vec<_> = cloud_networks(text, &Limits::default())
        .unwrap()
        .into_iter()
        .map(|network| {
            (network.name, network.is_vip, network.ranges.iter().map(ToString::to_string).collect::<Vec<_>>())
        })
        .collect();
    let expected = [
        ("default", false, &["10.0.1.0/24", "fd00::/64"][..]),
        ("vip", true, &["3.120.7.9/32", "3.120.7.12/31"]),
        ("old-vip", true, &[]),
        ("dynamic", false, &[]),
    ];
    let expected = expected.map(|(name, vip, ranges)| {
        (name.to_owned(), vip, ranges.iter().map(|range| (*range).to_owned()).collect::<Vec<_>>())
    });
    assert_eq!(shown, expected);
    assert!(cloud_networks("networks: [", &Limits::default()).is_err());
    assert!(cloud_networks("", &Limits::default()).unwrap().is_empty());
}

/// The problems of a group with this line of stemcells and these jobs, when this runtime config is the latest.
fn told(os: &str, jobs: &str, config: &str) -> Vec<String> {
    let text = format!(
        "
stemcells: [{{alias: s, os: {os}, version: '1'}}]
instance_groups: [{{name: web, stemcell: s, jobs: {jobs}}}]
"
    );
    let latest = [Arc::new(RuntimeConfig::read("default", config, &Limits::default()))];
    let surroundings = Surroundings { latest: &latest, ..Surroundings::default() };
    let written = read_within("shop", &text, &Limits::default(), surroundings).unwrap();
    assert_eq!(written.groups[0].jobs.len(), 1, "what is to come is not there yet");
    written.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_group_that_only_its_line_of_stemcells_leaves_out_of_the_mesh_is_named() {
    let shipped = include_str!("../../../../manifests/runtime-config.yml");
    let (bare, with_bpm) = ("[{name: app, release: r}]", "[{name: bpm, release: bpm}]");
    let problems = told("ubuntu-of-tomorrow", bare, shipped);
    assert!(problems.len() == 1 && problems[0].starts_with(r#"deployment "shop", instance group "web": gets no mesh"#));
    assert!(problems[0].contains(r#""ubuntu-of-tomorrow""#), "{problems:?}");
    for os in ["ubuntu-jammy", "ubuntu-noble", "windows2019", "windows-of-tomorrow"] {
        assert_eq!(told(os, bare, shipped), [""; 0], "{os}");
    }
    assert_eq!(told("ubuntu-of-tomorrow", with_bpm, shipped), [""; 0]);
    assert_eq!(told("ubuntu-of-tomorrow", "[{name: bosh-pilot, release: istio}]", "addons: []"), [""; 0]);
    // Excluded on purpose.
    let without = shipped.replace(
        "  exclude:\n    jobs:\n    - name: bpm",
        "  exclude:\n    instance_groups: [web]\n    x:\n    - name: bpm",
    );
    assert_ne!(without, shipped);
    assert_eq!(told("ubuntu-of-tomorrow", bare, &without), [""; 0]);
}
