//! Does what an operator does with the BOSH CLI after `boshy lab up --empty`: it sends the same requests to the same
//! director, without the CLI.

use std::{
    env,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    lab::{read, running},
    show,
};
use crate::{
    LabSettings,
    access::Access,
    cli::{ReleaseArgs, Up},
    error::{Doing, LabError},
    operator::{self, Filled, Operator, with_properties},
    release::{self, Programs},
    settings::{MESH_MANIFEST, RUNTIME_CONFIG, SAMPLE_MANIFEST},
    state_dir::StateDir,
};

/// What to bring up.
pub(super) struct Wanted {
    release: Release,
    manifests: Vec<String>,
    test_hooks: bool,
}

enum Release {
    /// A release made by the BOSH CLI.
    Made(PathBuf),
    /// A development release, to be made here.
    Development(Programs),
}

impl Wanted {
    /// Checks all inputs before anything is done.
    pub(super) fn new(arguments: &Up, lab: &LabSettings) -> Result<Self, LabError> {
        let mut manifests = arguments.manifests.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?;
        if manifests.is_empty() {
            manifests.push(SAMPLE_MANIFEST.to_owned());
        }
        let release = match &arguments.release {
            Some(file) => Release::Made(file.canonicalize().doing(|| format!("finding {}", file.display()))?),
            None => {
                let envoy = envoy(arguments.envoy.as_deref())?;
                Release::Development(Programs { boshy: lab.boshy.clone(), envoy: Some(envoy) })
            }
        };
        Ok(Self { release, manifests, test_hooks: arguments.test_hooks })
    }

    /// Uploads the release, then deploys the mesh and the manifests.
    pub(super) fn bring_up(&self, state: &StateDir) -> Result<(), LabError> {
        let access = Access::read(state)?;
        let release = match &self.release {
            Release::Made(file) => file.clone(),
            Release::Development(programs) => {
                show::note("making a development release of this program");
                let file = state.path().join("development-release.tgz");
                release::write(&file, release::VERSION, &release::Source::inside(), programs)?;
                file
            }
        };
        on_director(&access, async |director| {
            let mut say = |text: &str| show::note(text);
            director.upload_release(&release, &mut say).await?;
            let version = director.newest(release::NAME).await?;
            director.deploy(&self.mesh(&access, &version)?, &mut say).await?;
            director.update_runtime_config(&self.runtime_config(&version)?).await?;
            for manifest in &self.manifests {
                director.deploy(manifest, &mut say).await?;
            }
            Ok(())
        })
    }

    /// `bosh deploy -v bosh_director_client_secret=... --var-file bosh_director_ca_cert=... bosh-istio-deployment.yml`,
    /// with a pilot that polls the director every second.
    fn mesh(&self, access: &Access, version: &str) -> Result<String, LabError> {
        let variables = [
            ("bosh_director_client_secret", access.secret.expose_secret().to_owned()),
            ("bosh_director_ca_cert", access.ca_pem.clone()),
        ];
        let mut manifest = Filled(&variables).fill(operator::read(MESH_MANIFEST, "bosh-istio-deployment.yml")?);
        for release in manifest["releases"].as_array_mut().into_iter().flatten() {
            if release["name"] == release::NAME {
                release["version"] = json!(version);
            }
        }
        Ok(self.hooked(manifest, "bosh-pilot"))
    }

    /// `bosh update-runtime-config -v release_version=VERSION runtime-config.yml`.
    fn runtime_config(&self, version: &str) -> Result<String, LabError> {
        let variables = [("release_version", version.to_owned())];
        let config = Filled(&variables).fill(operator::read(RUNTIME_CONFIG, "runtime-config.yml")?);
        // With the default of two threads, the Envoys on one machine would have too many.
        let config = with_properties(config, "bosh-envoy", &[("concurrency", json!(1))]);
        Ok(self.hooked(config, "virtual-ip-agent"))
    }

    /// The manifest with test hooks, as JSON, which is also YAML.
    fn hooked(&self, manifest: Value, job: &str) -> String {
        let properties: &[_] = if self.test_hooks { &[("test_hooks", json!(true))] } else { &[] };
        format!("{:#}\n", with_properties(manifest, job, properties))
    }
}

/// `bosh upload-release`.
pub(super) fn upload_release(state: &StateDir, file: &Path) -> Result<(), LabError> {
    running(state)?;
    let access = Access::read(state)?;
    on_director(&access, async |director| director.upload_release(file, &mut |text| show::note(text)).await)
}

/// `bosh deploy`.
pub(super) fn deploy(state: &StateDir, manifest: &str) -> Result<(), LabError> {
    running(state)?;
    on_director(&Access::read(state)?, async |director| director.deploy(manifest, &mut |text| show::note(text)).await)
}

/// `bosh delete-deployment`.
pub(super) fn delete(state: &StateDir, deployment: &str) -> Result<(), LabError> {
    running(state)?;
    on_director(&Access::read(state)?, async |director| director.delete(deployment, &mut |text| show::note(text)).await)
}

/// `boshy lab release`.
pub(super) fn release(arguments: &ReleaseArgs, lab: &LabSettings) -> Result<(), LabError> {
    let ReleaseArgs { from, version, boshy, envoy: asked, file } = arguments;
    let boshy = boshy.clone().unwrap_or_else(|| lab.boshy.clone());
    let source = match from {
        Some(folder) => release::Source::folder(folder)?,
        None => release::Source::inside(),
    };
    // A release from a folder without Envoy needs no Envoy.
    let envoy = if from.is_some() && asked.is_none() { None } else { Some(envoy(asked.as_deref())?) };
    release::write(file, version, &source, &Programs { boshy, envoy })
}

fn on_director(access: &Access, work: impl AsyncFnOnce(Operator) -> Result<(), LabError>) -> Result<(), LabError> {
    let access = access.clone();
    actix_rt::System::new().block_on(async move { work(Operator::new(access)?).await })
}

fn envoy(asked: Option<&Path>) -> Result<PathBuf, LabError> {
    let found = match asked {
        Some(path) => Some(path.to_path_buf()),
        None => env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .map(|directory| directory.join("envoy"))
            .find(|path| path.is_file()),
    };
    let path = found.ok_or_else(|| {
        LabError::Refused("there is no envoy in PATH; give Envoy's program with --envoy or BOSHY_LAB_ENVOY".to_owned())
    })?;
    path.canonicalize().doing(|| format!("finding Envoy at {}", path.display()))
}
