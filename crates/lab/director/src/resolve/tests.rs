use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
};

use boshy_director::wire::NameVersion;
use boshy_mesh::Timestamp;
use serde_json::json;

use super::{link::Alias, rendering::AzIds, *};
use crate::{
    ApplySpec, Instance, InstanceState,
    release::{Renderer, testing::Draft},
    stores::{Stemcell, Stores, Upload, read_upload},
    world::LinkIds,
};

#[path = "shipped_tests.rs"]
mod shipped;

const MESH: &str = "
name: mesh
releases: [{name: istio, version: latest}]
stemcells: [{alias: default, os: ubuntu-jammy, version: latest}]
variables:
- {name: /boshy/ca, type: certificate, options: {is_ca: true, common_name: ca}}
instance_groups:
- name: control
  instances: 1
  azs: [z1]
  stemcell: default
  networks: [{name: default}]
  jobs:
  - name: pilot
    release: istio
    x-unknown: ((/boshy/none.x))-is-not-here
    provides: {pilot: {as: boshy-pilot, shared: true, aliases: [{domain: pilot.boshy.internal, health_filter: all}]}}
    properties: {port: 15010, tls: {ca: ((/boshy/ca.certificate))}}
";

const SHOP: &str = "
name: shop
releases: [{name: istio, version: 0.1.0}]
stemcells: [{alias: default, os: ubuntu-jammy, version: 1.0}]
instance_groups:
- name: web
  stemcell: default
  networks: [{name: private}, {name: default, default: [dns, gateway]}]
  jobs: [{name: app, release: istio, properties: {greeting: hi}}]
- name: smoke
  lifecycle: errand
  stemcell: default
  networks: [{name: default}]
";

const RUNTIME: &str = "
releases: [{name: mesh-addon, version: 0.2.0}, {name: bpm, version: 1.4.2}]
variables: [{name: /boshy/ca, type: certificate, options: {is_ca: true, common_name: ca}}]
addons:
- name: agent
  jobs:
  - {name: bpm, release: bpm}
  - name: agent
    release: mesh-addon
    consumes: {pilot: {from: boshy-pilot, deployment: mesh}}
    properties: {ca: ((/boshy/ca.certificate))}
  include: {lifecycle: service}
  exclude: {deployments: [mesh]}
";

struct Fixture {
    stores: Stores,
    others: BTreeMap<String, Arc<Resolved>>,
    runtime_configs: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::new(folder.path().to_owned(), "lab");
        let mut this = Self { stores, others: BTreeMap::new(), runtime_configs: Vec::new(), _folder: folder };
        let pilot = "packages: [boshy]\nprovides: [{name: pilot, type: pilot, properties: [port]}]\n\
                     properties: {port: {default: 1}, tls.ca: {}}\ntemplates: {c: config/c.yml}";
        let app = "properties: {greeting: {}, secret: {default: none}}\ntemplates: {c: c}";
        this.upload(
            &Draft::new("istio", "0.1.0")
                .job("pilot", pilot, &[("c", "<%= p('port') %> <%= p('tls.ca').lines.first %>")])
                .job("app", app, &[("c", "<%= p('greeting') %> <%= p('secret') %> <%= spec.address %> <%= spec.ip %>")])
                .package("boshy", "cp", &["base"])
                .package("base", "true", &[]),
        );
        let agent = "packages: [agent]\nconsumes: [{name: pilot, type: pilot, optional: true}]\nproperties: {ca: {}}\n\
                     templates: {a: a}";
        let template =
            "<% if_link('pilot') do |l| %><%= l.instances[0].address %>:<%= l.p('port') %> <%= l.address %><% end %>";
        this.upload(&Draft::new("mesh-addon", "0.2.0").job("agent", agent, &[("a", template)]).package(
            "agent",
            "",
            &[],
        ));
        let location = "https://x/bosh-warden-boshlite-ubuntu-jammy-go_agent?v=1.0";
        this.stores.stemcells.add(Stemcell::from_location(location).unwrap());
        this
    }

    fn upload(&mut self, draft: &Draft) {
        let incoming = self.stores.releases.incoming();
        let release = read_upload(&draft.tarball(), &incoming).unwrap();
        self.stores.releases.admit(release, Upload::default()).unwrap();
    }

    fn resolve(&mut self, manifest: &str) -> Result<Resolved, DirectorError> {
        let others = &self.others;
        resolve(Inputs {
            manifest,
            runtime_configs: &self.runtime_configs,
            teams: &[],
            releases: &self.stores.releases,
            stemcells: &self.stores.stemcells,
            variables: &mut self.stores.variables,
            others: &|name| others.get(name).cloned(),
        })
    }

    fn refused(&mut self, manifest: &str) -> (u32, String) {
        let error = self.resolve(manifest).unwrap_err();
        (error.code, error.description)
    }

    fn deployed(&mut self, manifest: &str) -> Arc<Resolved> {
        let resolved = Arc::new(self.resolve(manifest).unwrap());
        self.others.insert(resolved.name.clone(), Arc::clone(&resolved));
        resolved
    }

    fn render(
        &self,
        resolved: &Resolved,
        instances: &[Instance],
    ) -> Result<BTreeMap<String, ApplySpec>, DirectorError> {
        let peer = |name: &str| {
            let resolved = self.others.get(name).cloned()?;
            Some(Peer { resolved, instances: vec![instance("control", "pilot-id", 125)] })
        };
        let surroundings = Surroundings { instances, peers: &peer, az_ids: &AzIds::new() };
        resolved.renderings(instances, &surroundings)?.render(&Renderer::default())
    }
}

fn instance(group: &str, id: &str, host: u8) -> Instance {
    Instance {
        group: group.to_owned(),
        index: 0,
        id: id.to_owned(),
        az: Some("z1".to_owned()),
        networks: vec![("default".to_owned(), Ipv4Addr::new(10, 244, 0, host))],
        state: InstanceState::Started,
        errand: false,
        vm: None,
    }
}

fn jobs<'a>(resolved: &'a Resolved, group: &str) -> Vec<&'a str> {
    resolved.group(group).unwrap().jobs.iter().map(|job| job.name.as_str()).collect()
}

fn mesh_without_trap() -> String {
    MESH.lines().filter(|line| !line.contains("x-unknown")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_deployment_gets_its_jobs_files_and_packages_in_order() {
    let mut fixture = Fixture::new();
    let mesh = fixture.deployed(&mesh_without_trap());
    let row = |name: &str, version: &str| NameVersion { name: name.to_owned(), version: version.to_owned() };
    assert_eq!(mesh.releases(), [row("istio", "0.1.0")]);
    assert_eq!(mesh.stemcells(), [row("bosh-warden-boshlite-ubuntu-jammy-go_agent", "1.0")]);
    assert_eq!(mesh.stemcell_os("control"), Some("ubuntu-jammy"));
    let specs = fixture.render(&mesh, &[instance("control", "i", 125)]).unwrap();
    let spec = &specs["i"];
    assert_eq!(spec.jobs[0].files[0].path, "config/c.yml");
    assert_eq!(spec.jobs[0].files[0].content, "15010 -----BEGIN CERTIFICATE-----\n");
    assert_eq!(spec.jobs[0].monit, "check process pilot");
    let packages: Vec<_> = spec.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(packages, ["base", "boshy"]);
    assert!(spec.packages.iter().all(|package| package.archive.exists()));
    assert!(!format!("{mesh:?}").contains("BEGIN"));
}

#[test]
fn links_have_aliases_and_groups_for_dns() {
    let mut fixture = Fixture::new();
    let mesh = fixture.deployed(&mesh_without_trap());
    let alias = Alias {
        domain: "pilot.boshy.internal".to_owned(),
        group: "control".to_owned(),
        link_group: "boshy-pilot-pilot".to_owned(),
        health_filter: Some("all".to_owned()),
        initial_health_check: None,
        placeholder_type: None,
    };
    assert_eq!(mesh.aliases(), [alias]);
    assert_eq!(mesh.link_groups("control"), ["boshy-pilot-pilot"]);
    let row = json!({"id": "3", "name": "boshy-pilot", "shared": true, "deployment": "mesh",
                     "link_provider_definition": {"type": "pilot", "name": "pilot"},
                     "owner_object": {"type": "job", "name": "pilot", "info": {"instance_group": "control"}}});
    let rows = mesh.provider_rows(&mut |_, _| (3, Timestamp(0)));
    assert_eq!(serde_json::to_value(rows).unwrap(), json!([row]));
}

#[test]
fn an_addon_comes_with_its_release_its_variables_and_a_link_of_another_deployment() {
    let mut fixture = Fixture::new();
    fixture.runtime_configs = vec![RUNTIME.to_owned()];
    let mesh = fixture.deployed(&mesh_without_trap());
    assert_eq!((jobs(&mesh, "control"), mesh.releases().len()), (vec!["pilot"], 1));
    let shop = fixture.deployed(SHOP);
    assert_eq!((jobs(&shop, "web"), jobs(&shop, "smoke").len()), (vec!["app", "bpm", "agent"], 0));
    assert_eq!(
        shop.releases().iter().map(|release| release.name.as_str()).collect::<Vec<_>>(),
        ["istio", "mesh-addon", "bpm"]
    );
    let mut web = instance("web", "i", 7);
    web.networks.insert(0, ("private".to_owned(), Ipv4Addr::new(10, 9, 0, 7)));
    let specs = fixture.render(&shop, &[web]).unwrap();
    let [app, bpm, agent] = specs["i"].jobs.as_slice() else { panic!("three jobs") };
    assert_eq!(app.files[0].content, "hi none i.web.default.shop.bosh 10.244.0.7");
    assert_eq!((bpm.release.as_str(), bpm.files.len(), bpm.monit.as_str()), ("bpm", 0, ""));
    let wanted = "pilot-id.control.default.mesh.bosh:15010 q-s0.control.default.mesh.bosh";
    assert_eq!(agent.files[0].content, wanted);
    let mut known = LinkIds::default();
    let ids = &mut |table, key| known.of(table, key, Timestamp(7));
    let (consumers, links, providers) = (shop.consumer_rows(ids), shop.link_rows(ids), mesh.provider_rows(ids));
    assert_eq!((consumers[0].name.as_deref(), consumers[0].optional), (Some("boshy-pilot"), true));
    let consumed = (links[0].link_consumer_id.as_ref(), links[0].link_provider_id.as_ref());
    assert_eq!(consumed, (Some(&consumers[0].id), Some(&providers[0].id)), "the provider is of another deployment");
    assert_eq!((links.len(), links[0].created_at.as_str()), (1, "1970-01-01 00:00:07 UTC"));
}

/// A link to a deployment makes every consumer depend on it, optional or not.
#[test]
fn a_link_to_an_absent_deployment_fails_the_deploy() {
    let mut fixture = Fixture::new();
    fixture.runtime_configs = vec![RUNTIME.to_owned()];
    let text = "Link 'boshy-pilot' in job 'agent' from instance group 'web' consumes from deployment 'mesh', but the \
                deployment does not exist.";
    assert_eq!(fixture.refused(SHOP), (100, text.to_owned()));
    fixture.others.insert("mesh".to_owned(), Arc::new(Resolved::nothing("mesh")));
    let text = "Failed to resolve links from deployment 'shop'. See errors below:\n  - Failed to resolve link 'pilot' with \
                alias 'boshy-pilot' and type 'pilot' from job 'agent' in instance group 'web'. Details below:\n    - No link \
                providers found";
    assert_eq!(fixture.refused(SHOP), (100, text.to_owned()));
    fixture.runtime_configs =
        vec![RUNTIME.replace("consumes: {pilot: {from: boshy-pilot, deployment: mesh}}", "consumes: {}")];
    fixture.deployed(SHOP);
}

#[test]
fn links_within_a_deployment_are_found_by_type_and_refused_when_two_fit() {
    let mut fixture = Fixture::new();
    fixture.runtime_configs = Vec::new();
    let one = mesh_without_trap().replace("releases: [", "releases: [{name: mesh-addon, version: latest}, ");
    let agent = "  - {name: agent, release: mesh-addon, properties: {ca: x}}\n";
    let resolved = fixture.deployed(&format!("{one}\n{agent}"));
    let specs = fixture.render(&resolved, &[instance("control", "i", 9)]).unwrap();
    assert!(specs["i"].jobs[1].files[0].content.starts_with("i.control.default.mesh.bosh:15010"));
    let by_ip = format!("{one}\n{agent}features: {{use_dns_addresses: false}}\n");
    let resolved = fixture.deployed(&by_ip);
    let specs = fixture.render(&resolved, &[instance("control", "i", 9)]).unwrap();
    assert!(specs["i"].jobs[1].files[0].content.starts_with("10.244.0.9:15010 q-s0"));
    let second =
        "- {name: two, stemcell: default, networks: [{name: default}], jobs: [{name: pilot, release: istio}]}\n";
    let (code, text) = fixture.refused(&format!("{one}\n{agent}{second}"));
    assert_eq!(code, 100);
    let details = "from job 'agent' in instance group 'control'. Details below:\n    - Link provider 'pilot' with alias \
                   'boshy-pilot' from job 'pilot' in instance group 'control' in deployment 'mesh'\n    - Link provider 'pilot' \
                   from job 'pilot' in instance group 'two' in deployment 'mesh'";
    assert!(text.ends_with(details), "{text}");
}

#[test]
fn unknown_names_are_refused_with_the_directors_numbers() {
    let mut fixture = Fixture::new();
    let mut refused = |from: &str, to: &str| fixture.refused(&SHOP.replace(from, to));
    assert_eq!(refused("name: app", "name: nope"), (140_029, "Job 'nope' not found in release 'istio'".to_owned()));
    let text = "Job 'app' (instance group 'web') references an unknown release 'other'";
    assert_eq!(refused("release: istio,", "release: other,"), (140_002, text.to_owned()));
    assert_eq!(refused("name: istio, v", "name: gone, v"), (30_005, "Release 'gone' doesn't exist".to_owned()));
    assert_eq!(refused("version: 0.1.0", "version: 9"), (30_006, "Release version 'istio/9' doesn't exist".to_owned()));
    let text = "Instance group 'web' references an unknown stemcell 'other'";
    assert_eq!(
        refused("stemcell: default\n  networks: [{name: private", "stemcell: other\n  networks: [{name: private"),
        (140_005, text.to_owned())
    );
    let text = "Stemcell version '7' for OS 'ubuntu-jammy' doesn't exist";
    assert_eq!(refused("version: 1.0", "version: 7"), (50_003, text.to_owned()));
    assert_eq!(refused("lifecycle: errand", "lifecycle: x").0, 140_011);
    assert_eq!(refused("jobs: [{name: app", "jobs: [{name: app, release: istio}, {name: app").0, 140_010);
}

#[test]
fn a_runtime_config_that_does_not_fit_fails_the_deploy() {
    let mut fixture = Fixture::new();
    fixture.deployed(&mesh_without_trap());
    fixture.runtime_configs = vec![RUNTIME.replace("version: 0.2.0", "version: latest")];
    let text = "Runtime manifest contains the release 'mesh-addon' with version as 'latest'. Please specify the actual \
                version string.";
    assert_eq!(fixture.refused(SHOP), (530_001, text.to_owned()));
    fixture.runtime_configs = vec![
        RUNTIME
            .replace("mesh-addon, version: 0.2.0", "istio, version: 0.3.0")
            .replace("release: mesh-addon", "release: istio"),
    ];
    assert_eq!(fixture.refused(SHOP).0, 530_003);
    fixture.runtime_configs = vec![RUNTIME.to_owned(), RUNTIME.to_owned()];
    assert_eq!(fixture.refused(SHOP).0, 140_010);
}

#[test]
fn variables_without_a_value_fail_early_in_names_and_late_in_properties() {
    let mut fixture = Fixture::new();
    let (code, text) = fixture.refused(MESH);
    assert_eq!(code, 540_001);
    assert!(text.starts_with("- Failed to find variable '/boshy/none' from config server: HTTP Code '404'"), "{text}");
    let (code, text) = fixture.refused(&SHOP.replace("greeting: hi", "greeting: ((nope)), secret: ((nor))"));
    let wanted = "Unable to render instance groups for deployment. Errors are:\n  - Unable to render jobs for instance group \
                  'web'. Errors are:\n    - Unable to render templates for job 'app'. Errors are:\n      - Failed to find \
                  variable '/lab/shop/nope' from config server: HTTP Code '404'";
    assert!(code == 100 && text.starts_with(wanted) && !text.contains("nor"), "{text}");
}

#[test]
fn what_templates_lack_is_told_by_group_and_job_before_anything_is_changed() {
    let mut fixture = Fixture::new();
    let shop = fixture.deployed(&SHOP.replace("{greeting: hi}", "{}"));
    let mut second = instance("web", "j", 8);
    second.index = 1;
    let error = fixture.render(&shop, &[instance("web", "i", 7), second]).unwrap_err();
    let wanted = "Unable to render instance groups for deployment. Errors are:\n  - Unable to render jobs for instance group \
                  'web'. Errors are:\n    - Unable to render templates for job 'app'. Errors are:\n      - Error filling in \
                  template 'c' (line 1: Can't find property '[\"greeting\"]')";
    assert_eq!((error.code, error.description.as_str()), (100, wanted));
}
