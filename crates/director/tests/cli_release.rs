//! Releases and templates against the real BOSH CLI: what it builds is read, and what its own ERB script makes of templates is what is
//! made of them here.
//!
//! Needs the CLI's program (`BOSHY_BOSH`) and Ruby.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a failed test, in its helpers as well")]

use std::{
    env, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use boshy_director::release::{Context, Job, Renderer, Rendering, archive, job_from_folder};
use serde_json::{Value, json};

const SPEC: &str = "
name: app
description: all that the CLI's script knows as well
templates: {a.erb: config/a, b.erb: bin/b}
packages: [tool]
properties:
  greeting: {description: text, default: hi}
  nested.list: {description: a list, default: [1, 2]}
  nested.map: {description: a map}
  off: {description: a switch, default: false}
  none: {description: nothing}
provides: [{name: web, type: http, properties: [greeting]}]
consumes: [{name: db, type: sql, optional: true}]
";

const TEMPLATES: [(&str, &str); 2] = [
    (
        "a.erb",
        "<%= p('greeting') %> <%= p(['none', 'nested.list']).inspect %> <%= p('none', 'x') %> <%= p('off') %>\n\
         <%- if_p('none') do |v| -%>\nno\n<%- end.else_if_p('nested.map.k') do |v| -%>\nmap <%= v %>\n<%- end.else do -%>\n\
         else\n<%- end -%>\n<%= JSON.pretty_generate(p('nested.map', {})) %>\n<%= YAML.dump(raw_properties) %>\n",
    ),
    (
        "b.erb",
        "<%% raw %>\n<%= spec.index %> <%= index %> <%= spec.deployment %> <%= spec.address %> <%= name %> \
         <%= spec.networks.default.ip %>\n<%= properties.nested.list.map { |n| n * 2 } %> <%= JSON.dump('t') %>\n",
    ),
];

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn release_folder(folder: &Path) {
    write(
        &folder.join("config/final.yml"),
        "name: sample\nblobstore: {provider: local, options: {blobstore_path: /tmp/none}}\n",
    );
    write(&folder.join("config/blobs.yml"), "--- {}\n");
    write(&folder.join("jobs/app/spec"), SPEC);
    write(&folder.join("jobs/app/monit"), "check process app\n");
    for (name, text) in TEMPLATES {
        write(&folder.join("jobs/app/templates").join(name), text);
    }
    write(&folder.join("packages/tool/spec"), "name: tool\ndependencies: [base]\nfiles: [x.txt]\n");
    write(&folder.join("packages/tool/packaging"), "true\n");
    write(&folder.join("packages/base/spec"), "name: base\nfiles: []\n");
    write(&folder.join("packages/base/packaging"), "true\n");
    write(&folder.join("src/x.txt"), "x");
}

fn wanted(variable: &str) -> PathBuf {
    PathBuf::from(env::var_os(variable).unwrap_or_else(|| panic!("{variable} has to be set")))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {said:?}");
}

#[test]
fn a_tarball_of_the_cli_is_the_release_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    release_folder(folder.path());
    let tarball = folder.path().join("out.tgz");
    let mut create = Command::new(wanted("BOSHY_BOSH"));
    create.args(["--non-interactive", "create-release", "--force", "--version", "1.2.3", "--tarball"]).arg(&tarball);
    run(create.arg("--dir").arg(folder.path()).env("HOME", folder.path()));
    let kept = tempfile::tempdir().unwrap();
    let release = archive::unpack(&fs::read(tarball).unwrap(), kept.path(), &archive::Limits::default()).unwrap();
    assert_eq!((release.name.as_str(), release.version.as_str()), ("sample", "1.2.3"));
    let mut job = job_from_folder(&folder.path().join("jobs/app")).unwrap();
    // The CLI sorts what it writes again.
    job.spec.templates.sort();
    assert_eq!(release.job("app"), Some(&job));
    let tool = release.packages.iter().find(|package| package.name == "tool").unwrap();
    assert_eq!(tool.dependencies, ["base"]);
    assert!(release.packages.iter().all(|package| package.archive.as_ref().is_some_and(|path| path.exists())));
}

/// The Ruby script that the CLI carries inside.
fn cli_script() -> String {
    let cli = fs::read(wanted("BOSHY_BOSH")).unwrap();
    let find = |text: &str| cli.windows(text.len()).position(|part| part == text.as_bytes());
    let begin = find("# Based on common/properties/template_evaluation_context.rb").expect("the CLI holds its script");
    let last = "renderer.render(src_path, dst_path)\nend\n";
    let end = find(last).expect("the CLI holds its script") + last.len();
    String::from_utf8(cli[begin..end].to_vec()).unwrap()
}

fn by_the_cli(job: &Job, properties: &Value) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("script.rb"), cli_script()).unwrap();
    let defaults = job.spec.properties.iter().map(|(name, property)| (name.clone(), property.default.clone()));
    let context = json!({
        "index": 3, "deployment": "shop", "address": "10.0.0.4", "job": {"name": "app"},
        "networks": {"default": {"ip": "10.0.0.4"}},
        "job_properties": properties, "default_properties": defaults.collect::<serde_json::Map<_, _>>(),
    });
    fs::write(at("context.json"), context.to_string()).unwrap();
    let render = |(source, _): &(String, String)| {
        fs::write(at("source"), &job.templates[source]).unwrap();
        run(Command::new("ruby").args(["-W0"]).args([at("script.rb"), at("context.json"), at("source"), at("result")]));
        fs::read_to_string(at("result")).unwrap()
    };
    job.spec.templates.iter().map(render).collect()
}

#[test]
fn templates_become_what_the_clis_own_script_makes_of_them() {
    let folder = tempfile::tempdir().unwrap();
    release_folder(folder.path());
    let job = job_from_folder(&folder.path().join("jobs/app")).unwrap();
    let variants = [
        json!({}),
        json!({"greeting": "hello", "nested": {"map": {"k": [1, "zwei", null]}}, "off": true}),
        json!({"none": 0, "unknown": 1, "nested": {"list": []}}),
    ];
    for properties in variants {
        let context = Context {
            deployment: "shop".to_owned(),
            group: "web".to_owned(),
            index: 3,
            address: "10.0.0.4".to_owned(),
            networks: vec![("default".to_owned(), Ipv4Addr::new(10, 0, 0, 4))],
            properties: properties.clone(),
            ..Context::default()
        };
        let outcome =
            Renderer::default().render(&[Rendering { job: &job, context: &context }]).unwrap().remove(0).unwrap();
        let ours: Vec<_> = outcome.files.into_iter().map(|file| file.content).collect();
        assert_eq!(ours, by_the_cli(&job, &properties), "{properties}");
    }
}
