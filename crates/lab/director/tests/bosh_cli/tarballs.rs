//! Checks the tarball that the CLI builds from a release's folder.

use boshy_lab_director::release::{archive, job_from_folder};

use crate::bench::{Bench, read};

const SPEC: &str = "
name: app
description: all that a spec can say
templates: {b.erb: config/a, a.erb: bin/b}
packages: [tool]
properties:
  greeting: {description: text, default: hi}
  nested.list: {description: a list, default: [1, 2]}
  off: {description: a switch, default: false}
  none: {description: nothing}
provides: [{name: web, type: http, properties: [greeting]}]
consumes: [{name: db, type: sql, optional: true}]
";

#[test]
fn a_tarball_of_the_cli_is_the_release_in_the_folder() {
    let bench = Bench::new();
    for (path, text) in [
        ("config/final.yml", "name: sample\n"),
        ("config/blobs.yml", "--- {}\n"),
        ("jobs/app/spec", SPEC),
        ("jobs/app/monit", "check process app\n"),
        ("jobs/app/templates/a.erb", "<%= p('greeting') %>\n"),
        ("jobs/app/templates/b.erb", "<%= p('off') %>\n"),
        ("packages/tool/spec", "name: tool\ndependencies: [base]\nfiles: [x.txt]\n"),
        ("packages/tool/packaging", "true\n"),
        ("packages/base/spec", "name: base\nfiles: []\n"),
        ("packages/base/packaging", "true\n"),
        ("src/x.txt", "x"),
    ] {
        bench.write(&format!("release/{path}"), text);
    }
    let kept = tempfile::tempdir().unwrap();
    let tarball = read(&bench.tarball("release", "1.2.3"));
    let release = archive::unpack(&tarball, kept.path(), &archive::Limits::default()).unwrap();
    assert_eq!((release.name.as_str(), release.version.as_str()), ("sample", "1.2.3"));
    let job = job_from_folder(&bench.folder.path().join("release/jobs/app")).unwrap();
    assert_eq!(release.job("app"), Some(&job));
    let tool = release.packages.iter().find(|package| package.name == "tool").unwrap();
    assert_eq!(tool.dependencies, ["base"]);
    assert!(release.packages.iter().all(|package| package.archive.as_ref().is_some_and(|path| path.exists())));
}
