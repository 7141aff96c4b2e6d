//! Builds instance groups with their jobs from documents.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};

use super::{
    addons::{self, Candidate, Level},
    documents::{check_stemcell, documents},
    group::{Group, PlannedJob},
    inputs::Inputs,
    interpolate::{interpolate, sole_placeholder},
    job_errors::JobErrors,
    link::Links,
    links::At,
    resolved::Resolved,
    written::{Addon, Group as WrittenGroup, Job as WrittenJob, Manifest, Release as WrittenRelease, RuntimeConfig},
};
use crate::{
    DirectorError,
    release::{self, JobSpec, Package, Release},
    stores::Variables,
};
use boshy_director::wire::NameVersion;

/// A release of the deployment.
struct Listed {
    at: NameVersion,
    source: Option<Arc<Release>>,
}

/// A deploy under construction.
struct Plan<'a> {
    inputs: Inputs<'a>,
    name: String,
    releases: Vec<Listed>,
    groups: Vec<Group>,
}

pub(super) fn resolve(mut inputs: Inputs<'_>) -> Result<Resolved, DirectorError> {
    let (manifest, runtime) = documents(&mut inputs)?;
    let mut stemcells = Vec::new();
    for stemcell in &manifest.stemcells {
        stemcells.push((stemcell.alias.clone(), check_stemcell(stemcell, &inputs)?));
    }
    let mut plan = Plan { inputs, name: manifest.name.clone(), releases: Vec::new(), groups: Vec::new() };
    for release in &manifest.releases {
        plan.list(release)?;
    }
    for group in &manifest.instance_groups {
        let group = plan.group(group, &manifest, &stemcells)?;
        plan.groups.push(group);
    }
    let declared: Vec<_> = manifest.releases.iter().map(|release| release.name.clone()).collect();
    for addon in &manifest.addons {
        addons::check(addon, Level::Deployment, &declared)?;
        plan.add_addon(addon)?;
    }
    let applied = plan.add_runtime(&runtime)?;
    let variables = manifest.variables.iter().chain(runtime.variables.iter().filter(|_| applied));
    for variable in variables {
        plan.inputs.variables.generate(&plan.name, variable)?;
    }
    plan.finish(&manifest, stemcells.into_iter().map(|(_, (_, at))| at).collect())
}

type KnownStemcells = [(Option<String>, (String, NameVersion))];

impl Plan<'_> {
    fn list(&mut self, written: &WrittenRelease) -> Result<(), DirectorError> {
        if self.listed(&written.name).is_some() {
            return Err(DirectorError::new(400, 190_002, format!("Duplicate release name '{}'", written.name)));
        }
        let stored = self.inputs.releases.find(&written.name, &written.version)?;
        let at = NameVersion { name: written.name.clone(), version: stored.version };
        self.releases.push(Listed { at, source: stored.release });
        Ok(())
    }

    fn listed(&self, name: &str) -> Option<&Listed> {
        self.releases.iter().find(|listed| listed.at.name == name)
    }

    fn group(
        &self,
        written: &WrittenGroup,
        manifest: &Manifest,
        stemcells: &KnownStemcells,
    ) -> Result<Group, DirectorError> {
        let name = &written.name;
        let lifecycle = written.lifecycle.clone().unwrap_or_else(|| "service".to_owned());
        if !["service", "errand"].contains(&lifecycle.as_str()) {
            let text =
                format!("Invalid lifecycle '{lifecycle}' for '{name}', valid lifecycle profiles are: service, errand");
            return Err(DirectorError::new(400, 140_011, text));
        }
        let alias = written.stemcell.as_deref().ok_or_else(|| {
            let text = format!("Required property 'stemcell' was not specified in object (instance group '{name}')");
            DirectorError::new(400, 40_001, text)
        })?;
        let (_, (os, stemcell)) =
            stemcells.iter().find(|(known, _)| known.as_deref() == Some(alias)).ok_or_else(|| {
                let text = format!("Instance group '{name}' references an unknown stemcell '{alias}'");
                DirectorError::new(400, 140_005, text)
            })?;
        let mut networks: Vec<_> = written.networks.iter().collect();
        networks.sort_by_key(|network| !network.default.iter().any(|default| default == "dns" || default == "gateway"));
        let mut group = Group {
            name: name.clone(),
            os: os.clone(),
            stemcell: stemcell.clone(),
            persistent_disk: written.persistent_disk.unwrap_or(0),
            networks: networks.into_iter().map(|network| network.name.clone()).collect(),
            jobs: Vec::new(),
            azs: written.azs.clone(),
            lifecycle,
        };
        let inherited = merged(&manifest.properties, &written.properties);
        for job in &written.jobs {
            let release = self.release_of(job, name)?;
            let properties = job.properties.as_ref().unwrap_or(&inherited);
            group.add(self.job(job, &release, properties)?)?;
        }
        Ok(group)
    }

    fn release_of(&self, job: &WrittenJob, group: &str) -> Result<String, DirectorError> {
        match (&job.release, self.releases.as_slice()) {
            (Some(release), _) if self.listed(release).is_some() => Ok(release.clone()),
            (Some(release), _) => {
                let text =
                    format!("Job '{}' (instance group '{group}') references an unknown release '{release}'", job.name);
                Err(DirectorError::new(400, 140_002, text))
            }
            (None, [only]) => Ok(only.at.name.clone()),
            (None, _) => {
                let text = format!(
                    "Cannot tell what release template '{}' (instance group '{group}') is supposed to use, please explicitly \
                     specify one",
                    job.name
                );
                Err(DirectorError::new(400, 140_001, text))
            }
        }
    }

    fn job(
        &self,
        written: &WrittenJob,
        release: &str,
        properties: &Map<String, Value>,
    ) -> Result<PlannedJob, DirectorError> {
        let missing = || {
            let text = format!("Job '{}' not found in release '{release}'", written.name);
            DirectorError::new(400, 140_029, text)
        };
        let listed = self.listed(release).ok_or_else(missing)?;
        if listed.source.as_ref().is_some_and(|source| source.job(&written.name).is_none()) {
            return Err(missing());
        }
        Ok(PlannedJob {
            name: written.name.clone(),
            release: listed.at.clone(),
            source: listed.source.clone(),
            properties: Value::Object(properties.clone()),
            written: written.clone(),
        })
    }

    /// Adds the addons of the runtime configs with the releases that they need. Returns whether any applies.
    fn add_runtime(&mut self, runtime: &RuntimeConfig) -> Result<bool, DirectorError> {
        let declared: Vec<_> = runtime.releases.iter().map(|release| release.name.clone()).collect();
        for WrittenRelease { name, version } in &runtime.releases {
            if version == "latest" || version.ends_with(".latest") || version.ends_with("_latest") {
                let text = format!(
                    "Runtime manifest contains the release '{name}' with version as '{version}'. Please specify the actual \
                     version string."
                );
                return Err(DirectorError::new(400, 530_001, text));
            }
        }
        for addon in &runtime.addons {
            addons::check(addon, Level::Runtime, &declared)?;
        }
        let fits = |plan: &Self, addon: &Addon| plan.groups.iter().any(|group| plan.applies(addon, group));
        // The applicable addons, and so the releases, are determined before any addon adds its jobs. After that, each
        // addon sees the jobs of those before it.
        let applicable: Vec<&Addon> = runtime.addons.iter().filter(|addon| fits(self, addon)).collect();
        for addon in &applicable {
            self.list_for(addon, &runtime.releases)?;
        }
        let applies = !applicable.is_empty();
        for addon in &runtime.addons {
            self.add_addon(addon)?;
        }
        Ok(applies)
    }

    fn list_for(&mut self, addon: &Addon, releases: &[WrittenRelease]) -> Result<(), DirectorError> {
        let needed: BTreeSet<&str> = addon.jobs.iter().filter_map(|job| job.release.as_deref()).collect();
        for release in releases.iter().filter(|release| needed.contains(release.name.as_str())) {
            self.list_beside(release)?;
        }
        Ok(())
    }

    /// Adds an addon to the groups to which it applies.
    fn add_addon(&mut self, addon: &Addon) -> Result<(), DirectorError> {
        let fits: Vec<bool> = self.groups.iter().map(|group| self.applies(addon, group)).collect();
        if !fits.contains(&true) {
            return Ok(());
        }
        let nothing = Map::new();
        for job in &addon.jobs {
            let release = job.release.as_deref().unwrap_or_default();
            let properties = job.properties.as_ref().or(addon.properties.as_ref()).unwrap_or(&nothing);
            // A director ignores the other keys of an addon's job.
            let written = WrittenJob { custom_provider_definitions: Vec::new(), ..job.clone() };
            for position in (0..self.groups.len()).filter(|position| fits.get(*position) == Some(&true)) {
                let planned = self.job(&written, release, properties)?;
                if let Some(group) = self.groups.get_mut(position) {
                    group.add(planned)?;
                }
            }
        }
        Ok(())
    }

    /// Lists a release of a runtime config, which may be listed already.
    fn list_beside(&mut self, release: &WrittenRelease) -> Result<(), DirectorError> {
        match self.listed(&release.name) {
            None => self.list(release),
            Some(listed) if listed.at.version == release.version => Ok(()),
            Some(listed) => {
                let text = format!(
                    "Runtime manifest specifies release '{}' with version as '{}'. This conflicts with version '{}' \
                     specified in the deployment manifest.",
                    release.name, release.version, listed.at.version
                );
                Err(DirectorError::new(400, 530_003, text))
            }
        }
    }

    fn applies(&self, addon: &Addon, group: &Group) -> bool {
        let jobs: Vec<_> = group.jobs.iter().map(|job| (job.name.clone(), job.release.name.clone())).collect();
        let candidate = Candidate {
            deployment: &self.name,
            teams: self.inputs.teams,
            group: &group.name,
            lifecycle: &group.lifecycle,
            os: &group.os,
            networks: &group.networks,
            azs: &group.azs,
            jobs: &jobs,
        };
        addons::applies(addon, candidate)
    }

    fn finish(mut self, manifest: &Manifest, stemcells: Vec<NameVersion>) -> Result<Resolved, DirectorError> {
        self.groups.iter().try_for_each(Group::check_packages)?;
        let mut errors = JobErrors::default();
        let mut links = Links::default();
        let others = self.inputs.others;
        for group in &mut self.groups {
            for job in &mut group.jobs {
                let Some(spec) = job.source.as_ref().and_then(|release| release.job(&job.name)).map(|job| &job.spec)
                else {
                    continue;
                };
                match bind(spec, &job.properties, self.inputs.variables, &self.name) {
                    Ok(properties) => job.properties = properties,
                    Err(texts) => errors.add(&group.name, &job.name, texts),
                }
                let at = At { deployment: &self.name, group: &group.name, release: &job.release.name };
                links.add(at, spec, &job.written, &job.properties, &|name| others(name).is_some())?;
            }
        }
        links.connect(&self.name, others)?;
        errors.into_result()?;
        Ok(Resolved {
            releases: self.releases.into_iter().map(|listed| listed.at).collect(),
            stemcells,
            use_dns_addresses: manifest.features.use_dns_addresses.unwrap_or(true),
            groups: self.groups,
            links,
            name: self.name,
        })
    }
}

/// The properties visible to a job, with variables replaced. A variable without a value is not an error where the
/// property has a default.
fn bind(spec: &JobSpec, given: &Value, variables: &mut Variables, deployment: &str) -> Result<Value, Vec<String>> {
    let mut given = given.clone();
    for (name, property) in &spec.properties {
        let value = release::lookup(&given, name).map_err(|text| vec![text])?;
        let placeholder = value.and_then(sole_placeholder);
        if placeholder.is_some_and(|placeholder| !variables.has(deployment, placeholder)) && !property.default.is_null()
        {
            release::set(&mut given, name, property.default.clone());
        }
    }
    let mut bound = release::bind(spec, &given).map_err(|text| vec![text])?;
    let mut errors = Vec::new();
    interpolate(&mut bound, &[], &mut |placeholder| variables.value(deployment, placeholder), &mut errors);
    if errors.is_empty() { Ok(bound) } else { Err(errors) }
}

impl Group {
    fn add(&mut self, job: PlannedJob) -> Result<(), DirectorError> {
        if self.jobs.iter().any(|other| other.name == job.name) {
            let text = format!("Colocated job '{}' is already added to the instance group '{}'", job.name, self.name);
            return Err(DirectorError::new(400, 140_010, text));
        }
        self.jobs.push(job);
        Ok(())
    }

    /// Every package that the group's jobs need, each after its dependencies.
    pub(super) fn packages(&self) -> Result<Vec<(&PlannedJob, &Package)>, DirectorError> {
        let mut packages = Vec::new();
        for job in &self.jobs {
            let Some(release) = job.source.as_deref() else { continue };
            let wanted = release.job(&job.name).map(|job| job.spec.packages.as_slice()).unwrap_or_default();
            packages.extend(release::closure(&release.packages, wanted)?.into_iter().map(|package| (job, package)));
        }
        Ok(packages)
    }

    /// Checks that packages with the same name do not conflict, because they have the same path on a VM.
    fn check_packages(&self) -> Result<(), DirectorError> {
        let packages = self.packages()?;
        for (position, (job, package)) in packages.iter().enumerate() {
            let other = packages
                .iter()
                .take(position)
                .find(|(_, other)| other.name == package.name && other.fingerprint != package.fingerprint);
            if let Some((other, _)) = other {
                let (first, second, name) = (&other.release.name, &job.release.name, &package.name);
                let text = format!(
                    "Package name collision detected in instance group '{}': job '{first}/{}' depends on package \
                     '{first}/{name}', job '{second}/{}' depends on '{second}/{name}'. BOSH cannot currently collocate two \
                     packages with identical names from separate releases.",
                    self.name, other.name, job.name
                );
                return Err(DirectorError::new(400, 80_011, text));
            }
        }
        Ok(())
    }
}

fn merged(outer: &Map<String, Value>, inner: &Map<String, Value>) -> Map<String, Value> {
    let mut all = outer.clone();
    for (key, value) in inner {
        let value = match (all.get(key), value) {
            (Some(Value::Object(outer)), Value::Object(inner)) => Value::Object(merged(outer, inner)),
            _ => value.clone(),
        };
        all.insert(key.clone(), value);
    }
    all
}
