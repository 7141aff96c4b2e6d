use std::fs;

use serde_json::json;

use super::*;

fn refused(text: &str) -> (u32, String) {
    let error = JobSpec::parse("j", text).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn a_specification_is_read_whole() {
    let text = "
name: j
templates: {a.erb: config/a}
packages: [p]
properties:
  a.b: {description: d, default: 1}
  c: {type: password}
  d:
provides: [{name: x, type: t, properties: [a.b]}]
consumes: [{name: v, type: u, optional: true}, {name: z, type: u}]
";
    let spec = JobSpec::parse("j", text).unwrap();
    let names: Vec<_> =
        spec.properties.iter().map(|(name, property)| (name.as_str(), property.default.clone())).collect();
    assert_eq!(names, [("a.b", json!(1)), ("c", json!(null)), ("d", json!(null))]);
    assert_eq!(spec.properties[1].1.kind.as_deref(), Some("password"));
    assert_eq!(spec.provides, [Provided { name: "x".into(), kind: "t".into(), properties: vec!["a.b".into()] }]);
    assert_eq!(spec.consumes.iter().map(|link| link.optional).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn what_a_director_refuses_is_refused_in_its_words() {
    assert_eq!(refused("name: k").1, "Inconsistent name for job 'j'(exptected: 'j', got: 'k')");
    assert_eq!(refused("{name: j, properties: [a]}"), (80_008, "Job 'j' has invalid properties spec format".into()));
    let optional = "{name: j, provides: [{name: x, type: t, optional: true}]}";
    let text = "Link 'x' of type 't' is a provides link, not allowed to have 'optional' key";
    assert_eq!(refused(optional), (80_013, text.into()));
    let twice = "{name: j, consumes: [{name: x, type: t}, {name: x, type: u}]}";
    assert_eq!(refused(twice), (80_014, "Job 'j' specifies duplicate consumes link with name 'x'".into()));
    let no_type = "{name: j, consumes: [{name: x}]}";
    let text = "Each consumes item in the consumes section of the release spec must contain 'name' and 'type'";
    assert_eq!(refused(no_type), (80_013, text.into()));
    let text = "Job 'j' has invalid spec format: 'provides' must be an array of hashes with name and type";
    assert_eq!(refused("{name: j, provides: {x: y}}"), (80_013, text.into()));
    assert_eq!(refused("{name: j, provides: [x]}").1, "Provides section in the release spec must be a list of hashes");
}

#[test]
fn a_job_is_read_from_the_folder_of_a_release() {
    let folder = tempfile::tempdir().unwrap();
    let job = folder.path().join("j");
    fs::create_dir_all(job.join("templates/bin")).unwrap();
    fs::write(job.join("spec"), "{name: j, templates: {bin/run.erb: bin/run}}").unwrap();
    fs::write(job.join("monit"), "m").unwrap();
    assert_eq!(job_from_folder(&job).unwrap_err().to_string(), "Missing template file 'bin/run.erb' for job 'j'");
    fs::write(job.join("templates/bin/run.erb"), "t").unwrap();
    let read = job_from_folder(&job).unwrap();
    assert_eq!((read.monit.as_str(), read.templates["bin/run.erb"].as_str()), ("m", "t"));
}
