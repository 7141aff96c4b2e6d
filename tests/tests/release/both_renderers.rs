//! Templates give the same result in the CLI's context for `bosh create-env`, whose script is extracted from the CLI's
//! program.

use std::{collections::BTreeMap, fs, process::Command, sync::LazyLock};

use serde_json::{Map, json};

use crate::{
    job::{Deployed, JOBS, program},
    manifests::as_shipped,
};

/// The script that the CLI passes to Ruby.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let cli = fs::read(program("BOSHY_BOSH")).unwrap();
    let find = |text: &str| {
        cli.windows(text.len()).position(|part| part == text.as_bytes()).expect("the CLI holds its script")
    };
    let last = "renderer.render(src_path, dst_path)\nend\n";
    let script = find("# Based on common/properties/template_evaluation_context.rb")..find(last) + last.len();
    String::from_utf8(cli[script].to_vec()).unwrap()
});

/// Checks that both renderers give the same result for every template.
fn both_agree(deployed: &Deployed) {
    let rendered = deployed.rendered();
    for (path, content) in by_the_cli(deployed) {
        assert_eq!(rendered.file(&path), content, "{path} with {}", deployed.context.properties);
    }
}

/// The CLI's result for a job's templates, by path.
fn by_the_cli(deployed: &Deployed) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (spec, context) = (&deployed.job.spec, &deployed.context);
    let defaults = spec.properties.iter().map(|(name, property)| (name.clone(), property.default.clone()));
    let networks: BTreeMap<_, _> = context.networks.iter().map(|(name, ip)| (name, json!({"ip": ip}))).collect();
    let context = json!({
        "job": {"name": spec.name}, "name": context.group, "index": context.index, "id": context.id,
        "deployment": context.deployment, "address": context.address, "ip": context.address, "networks": networks,
        "persistent_disk": context.persistent_disk,
        "job_properties": context.properties, "default_properties": defaults.collect::<Map<_, _>>(),
    });
    fs::write(path("script.rb"), &*SCRIPT).unwrap();
    fs::write(path("context.json"), context.to_string()).unwrap();
    let render = |(source, destination): &(String, String)| {
        fs::write(path("template"), &deployed.job.templates[source]).unwrap();
        let arguments = ["script.rb", "context.json", "template", "out"].map(path);
        let output = Command::new("ruby").arg("-W0").args(arguments).output().unwrap();
        assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
        (destination.clone(), fs::read_to_string(path("out")).unwrap())
    };
    spec.templates.iter().map(render).collect()
}

#[test]
fn the_cli_fills_in_every_template_as_the_director_does() {
    for job in JOBS {
        both_agree(&as_shipped(job));
    }
}

/// Features of a renderer that the release's jobs do not use.
#[test]
fn all_that_the_clis_script_knows_comes_out_the_same() {
    let spec = "
name: app
templates: {a.erb: config/a, b.erb: bin/b}
properties:
  greeting: {description: text, default: hi}
  nested.list: {description: a list, default: [1, 2]}
  nested.map: {description: a map}
  'off': {description: a switch, default: false}
  none: {description: nothing}
";
    let a = "<%= p('greeting') %> <%= p(['none', 'nested.list']).inspect %> <%= p('none', 'x') %> <%= p('off') %>
<%- if_p('none') do |v| -%>
no
<%- end.else_if_p('nested.map.k') do |v| -%>
map <%= v %>
<%- end.else do -%>
else
<%- end -%>
<%= JSON.pretty_generate(p('nested.map', {})) %>
<%= YAML.dump(raw_properties) %>
";
    let b = "<%% raw %>
<%= spec.index %> <%= index %> <%= spec.deployment %> <%= spec.address %> <%= name %> <%= spec.networks.default.ip %>
<%= properties.nested.list.map { |n| n * 2 } %> <%= JSON.dump('t') %>
";
    let kept = tempfile::tempdir().unwrap();
    let folder = kept.path().join("app");
    fs::create_dir_all(folder.join("templates")).unwrap();
    for (path, text) in [("spec", spec), ("monit", ""), ("templates/a.erb", a), ("templates/b.erb", b)] {
        fs::write(folder.join(path), text).unwrap();
    }
    for properties in [
        json!({}),
        json!({"greeting": "hello", "nested": {"map": {"k": [1, "zwei", null]}}, "off": true}),
        json!({"none": 0, "unknown": 1, "nested": {"list": []}}),
    ] {
        let mut deployed = Deployed::in_folder(&folder);
        deployed.context.properties = properties;
        both_agree(&deployed);
    }
}
