//! Templates come out the same in the context that the CLI has for `bosh create-env`, whose text is taken from the CLI's own program.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::json;

use crate::{
    job::{Deployed, ID, IP, JOBS, program},
    manifests::as_shipped,
};

const BEGIN: &str = "# Based on common/properties/template_evaluation_context.rb";
const END: &str = "renderer.render(src_path, dst_path)\nend\n";

/// The script that the CLI hands to Ruby.
fn script() -> String {
    let cli = fs::read(program("BOSHY_BOSH")).unwrap();
    let find = |text: &str| cli.windows(text.len()).position(|part| part == text.as_bytes());
    let (begin, end) = (find(BEGIN).expect("the CLI holds its script"), find(END).expect("the CLI holds its script"));
    String::from_utf8(cli[begin..end + END.len()].to_vec()).unwrap()
}

/// What the CLI's script makes of a job's templates, by path.
fn by_the_cli(deployed: &Deployed, script: &str) -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let spec = &deployed.job.spec;
    let defaults: BTreeMap<_, _> = spec.properties.iter().map(|(name, property)| (name, &property.default)).collect();
    let context = json!({
        "job": {"name": spec.name}, "name": "banana", "index": 1, "id": ID, "ip": IP, "persistent_disk": 0,
        "job_properties": deployed.context.properties, "default_properties": defaults,
    });
    fs::write(path("script.rb"), script).unwrap();
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
    let script = script();
    for job in JOBS {
        let deployed = as_shipped(job);
        let rendered = deployed.rendered();
        for (path, content) in by_the_cli(&deployed, &script) {
            assert_eq!(rendered.file(&path), content, "{job}: {path}");
        }
    }
}
