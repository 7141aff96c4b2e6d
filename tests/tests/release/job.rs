//! A job of the release, rendered for an instance.

use std::{
    env, fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use boshy_lab_director::release::{Context, Job, Link, LinkInstance, Renderer, Rendering, job_from_folder};
use boshy_yaml::{Limits, from_text};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The jobs of the release.
pub(crate) const JOBS: [&str; 4] = ["bosh-envoy", "bosh-pilot", "example-httpbin", "virtual-ip-agent"];
/// Address of the instance.
pub(crate) const IP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 130);
/// Its uuid.
pub(crate) const ID: &str = "673e2c1f-4d2e-4a6c-9a55-31b7c9ab1b29";

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The program that an environment variable names.
pub(crate) fn program(variable: &str) -> PathBuf {
    PathBuf::from(env::var_os(variable).unwrap_or_else(|| panic!("{variable} names no program")))
}

/// A YAML document.
pub(crate) fn yaml(text: &str) -> Value {
    from_text(text, &Limits::default()).unwrap()
}

/// A job with properties.
#[derive(Clone)]
pub(crate) struct Deployed {
    pub(crate) job: Job,
    pub(crate) context: Context,
}

impl Deployed {
    /// The job without any properties, on the second instance of `banana`.
    pub(crate) fn of(name: &str) -> Self {
        Self::in_folder(&repository().join("bosh-release/jobs").join(name))
    }

    /// The same, with the job in this folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        let context = Context {
            deployment: "sample-deployment".to_owned(),
            group: "banana".to_owned(),
            index: 1,
            id: ID.to_owned(),
            az: Some("z1".to_owned()),
            bootstrap: false,
            address: IP.to_string(),
            networks: vec![("default".to_owned(), IP)],
            persistent_disk: 0,
            release: ("istio".to_owned(), "0.1.0".to_owned()),
            properties: json!({}),
            ..Context::default()
        };
        Self { job: job_from_folder(folder).unwrap(), context }
    }

    /// Adds a property, named by its dotted path.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let mut node = &mut self.context.properties;
        for key in name.split('.') {
            if !node.is_object() {
                *node = json!({});
            }
            node = node.as_object_mut().unwrap().entry(key).or_insert(Value::Null);
        }
        *node = value.into();
        self
    }

    /// Adds a link to instances at these addresses.
    pub(crate) fn with_link(mut self, name: &str, addresses: &[&str], properties: Value) -> Self {
        let instances =
            addresses.iter().map(|&address| LinkInstance { address: address.to_owned(), ..LinkInstance::default() });
        let link = Link { instances: Some(instances.collect()), properties, ..Link::default() };
        self.context.links.insert(name.to_owned(), link);
        self
    }

    /// Adds a persistent disk.
    pub(crate) fn with_disk(mut self) -> Self {
        self.context.persistent_disk = 1024;
        self
    }

    /// Renders every template.
    pub(crate) fn render(&self) -> Result<Rendered, String> {
        let answers = Renderer::default().render(&[Rendering { job: &self.job, context: &self.context }]).unwrap();
        let [Ok(job)] = &answers[..] else {
            return Err(answers.into_iter().next().unwrap().unwrap_err().join("\n"));
        };
        let mut files: Vec<(String, String)> =
            job.files.iter().map(|file| (file.path.clone(), file.content.clone())).collect();
        files.push(("monit".to_owned(), job.monit.clone()));
        Ok(Rendered { name: job.name.clone(), files })
    }

    /// Renders every template; this must succeed.
    pub(crate) fn rendered(&self) -> Rendered {
        self.render().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Checks that the templates fail with a sentence that names the property and does not show its value.
    #[track_caller]
    pub(crate) fn is_refused(&self, property: &str, reason: &str) {
        let error = self.render().err().unwrap_or_else(|| panic!("{property} is not refused"));
        let sentence = format!("Property '{property}' {reason}");
        assert!(error.contains(&sentence), "{error:?} does not say {sentence:?}");
    }
}

/// A rendered job.
pub(crate) struct Rendered {
    name: String,
    files: Vec<(String, String)>,
}

impl Rendered {
    /// Every file, and `monit`.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, content)| (path.as_str(), content.as_str()))
    }

    /// A file.
    #[track_caller]
    pub(crate) fn file(&self, path: &str) -> &str {
        self.files().find(|(at, _)| *at == path).unwrap_or_else(|| panic!("no {path}")).1
    }

    /// A file that contains JSON, which is also YAML.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_str(self.file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The only process of `config/bpm.yml`.
    #[track_caller]
    pub(crate) fn process(&self) -> Value {
        self.json("config/bpm.yml")["processes"][0].clone()
    }

    /// The files in a folder that replaces the VM's; their paths refer to it.
    pub(crate) fn installed(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap();
        for (path, content) in self.files() {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content.replace(&format!("/var/vcap/jobs/{}", self.name), place)).unwrap();
            let mode = if path.starts_with("bin/") { 0o750 } else { 0o640 };
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        folder
    }
}
