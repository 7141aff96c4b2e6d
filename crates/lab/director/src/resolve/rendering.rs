//! The context of each instance's templates, and their results.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{
    group::{Group, PlannedJob},
    job_errors::JobErrors,
    link::{Consumer, Provider, ProviderAt, Target},
    resolved::Resolved,
};
use crate::{
    ApplySpec, DirectorError, Instance, PackageRef, RenderedJob,
    release::{Context, DOMAIN, Link, LinkInstance, Release, Renderer, Rendering},
};

/// Numbers of availability zones in DNS names.
pub(crate) type AzIds = BTreeMap<String, u32>;

/// Another deployment, for links to it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) resolved: Arc<Resolved>,
    pub(crate) instances: Vec<Instance>,
}

/// The environment of the rendered instances.
pub(crate) struct Surroundings<'a> {
    /// All instances of the deployment in their intended state.
    pub(crate) instances: &'a [Instance],
    /// Other deployments by name.
    pub(crate) peers: &'a dyn Fn(&str) -> Option<Peer>,
    /// Numbers of availability zones in DNS names.
    pub(crate) az_ids: &'a AzIds,
}

/// Work for the renderer, independent of its source data.
pub(crate) struct Renderings {
    instances: Vec<InstanceRendering>,
}

struct InstanceRendering {
    id: String,
    group: String,
    jobs: Vec<JobRendering>,
    packages: Vec<PackageRef>,
}

struct JobRendering {
    name: String,
    source: Option<Arc<Release>>,
    context: Context,
}

impl Resolved {
    /// The renderings for some instances of the deployment.
    pub(crate) fn renderings(
        &self,
        instances: &[Instance],
        surroundings: &Surroundings<'_>,
    ) -> Result<Renderings, DirectorError> {
        renderings(self, instances, surroundings)
    }
}

fn renderings(
    resolved: &Resolved,
    instances: &[Instance],
    surroundings: &Surroundings<'_>,
) -> Result<Renderings, DirectorError> {
    let of = |instance: &Instance| {
        let group = resolved.group(&instance.group).ok_or_else(|| {
            DirectorError::new(500, 100, format!("Instance group '{}' is not in the manifest", instance.group))
        })?;
        let view = View { resolved, group, surroundings };
        let jobs = group.jobs.iter().map(|job| view.job(job, instance)).collect::<Result<_, _>>()?;
        Ok(InstanceRendering { id: instance.id.clone(), group: group.name.clone(), jobs, packages: packages(group)? })
    };
    Ok(Renderings { instances: instances.iter().map(of).collect::<Result<_, DirectorError>>()? })
}

fn packages(group: &Group) -> Result<Vec<PackageRef>, DirectorError> {
    let mut packages: Vec<PackageRef> = Vec::new();
    for (_, package) in group.packages()? {
        let Some(archive) =
            package.archive.clone().filter(|_| !packages.iter().any(|known| known.name == package.name))
        else {
            continue;
        };
        packages.push(PackageRef {
            name: package.name.clone(),
            fingerprint: package.fingerprint.clone(),
            archive,
            dependencies: package.dependencies.clone(),
        });
    }
    Ok(packages)
}

/// An instance group within its deployment.
struct View<'a> {
    resolved: &'a Resolved,
    group: &'a Group,
    surroundings: &'a Surroundings<'a>,
}

impl View<'_> {
    fn job(&self, job: &PlannedJob, instance: &Instance) -> Result<JobRendering, DirectorError> {
        let consumers = self.resolved.links.consumers.iter();
        let mine = consumers.filter(|consumer| consumer.group == self.group.name && consumer.job == job.name);
        let mut links = BTreeMap::new();
        for consumer in mine {
            if let Some(link) = self.link(consumer)? {
                links.insert(consumer.original.clone(), link);
            }
        }
        let context = Context {
            deployment: self.resolved.name.clone(),
            group: instance.group.clone(),
            index: instance.index,
            id: instance.id.clone(),
            az: instance.az.clone(),
            bootstrap: is_bootstrap(instance, self.surroundings.instances),
            address: address(instance, self.group, &self.resolved.name, None, self.resolved.use_dns_addresses)
                .unwrap_or_default(),
            networks: networks(instance, self.group),
            persistent_disk: self.group.persistent_disk,
            release: (job.release.name.clone(), job.release.version.clone()),
            properties: job.properties.clone(),
            links,
            ..Context::default()
        };
        Ok(JobRendering { name: job.name.clone(), source: job.source.clone(), context })
    }

    fn link(&self, consumer: &Consumer) -> Result<Option<Link>, DirectorError> {
        match &consumer.target {
            None => Ok(None),
            Some(Target::Manual(written)) => Ok(Some(manual(written, &self.resolved.name))),
            Some(Target::Provider { at, network, ip_addresses }) if at.deployment == self.resolved.name => self
                .provided(
                    consumer,
                    (self.resolved, self.surroundings.instances),
                    at,
                    network.as_deref(),
                    *ip_addresses,
                ),
            Some(Target::Provider { at, network, ip_addresses }) => {
                let peer = (self.surroundings.peers)(&at.deployment).ok_or_else(|| {
                    DirectorError::new(404, 70_000, format!("Can't find deployment '{}'", at.deployment))
                })?;
                let side = (peer.resolved.as_ref(), peer.instances.as_slice());
                self.provided(consumer, side, at, network.as_deref(), *ip_addresses)
            }
        }
    }

    fn provided(
        &self,
        consumer: &Consumer,
        (resolved, instances): (&Resolved, &[Instance]),
        at: &ProviderAt,
        network: Option<&str>,
        ip_addresses: Option<bool>,
    ) -> Result<Option<Link>, DirectorError> {
        let is_it = |provider: &&Provider| {
            provider.group == at.group && provider.job == at.job && provider.original == at.original
        };
        let found = resolved.links.providers.iter().find(is_it).zip(resolved.group(&at.group));
        let Some((provider, group)) = found else { return Ok(None) };
        if let Some(network) = network.filter(|network| !group.networks.iter().any(|own| own == network)) {
            let Consumer { name, job, group, .. } = consumer;
            let text = format!(
                "Consumer '{name}' from job '{job}' in instance group '{group}' in deployment '{}' does not belong to \
                 network '{network}'",
                self.resolved.name
            );
            return Err(DirectorError::new(400, 190_016, text));
        }
        let by_name = ip_addresses.map_or(resolved.use_dns_addresses, |ip_addresses| !ip_addresses);
        let members = instances.iter().filter(|instance| instance.group == at.group).map(|instance| LinkInstance {
            name: instance.group.clone(),
            id: instance.id.clone(),
            index: instance.index,
            bootstrap: is_bootstrap(instance, instances),
            az: instance.az.clone(),
            address: address(instance, group, &resolved.name, network, by_name).unwrap_or_default(),
        });
        Ok(Some(Link {
            deployment_name: resolved.name.clone(),
            domain: Some(DOMAIN.to_owned()),
            default_network: network.or(group.networks.first().map(String::as_str)).unwrap_or_default().to_owned(),
            instance_group: at.group.clone(),
            instances: Some(members.collect()),
            properties: provider.properties.clone(),
            address: None,
            az_ids: self.surroundings.az_ids.clone(),
        }))
    }
}

/// The bootstrap instance is the one with the lowest index of its group.
fn is_bootstrap(instance: &Instance, all: &[Instance]) -> bool {
    let first = all.iter().filter(|other| other.group == instance.group).map(|other| other.index).min();
    first.is_none_or(|first| first == instance.index)
}

/// The default network first.
fn networks(instance: &Instance, group: &Group) -> Vec<(String, std::net::Ipv4Addr)> {
    let mut networks = instance.networks.clone();
    let place = |name: &str| group.networks.iter().position(|own| own == name);
    networks.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    networks
}

fn address(
    instance: &Instance,
    group: &Group,
    deployment: &str,
    network: Option<&str>,
    by_name: bool,
) -> Option<String> {
    let networks = networks(instance, group);
    let (name, ip) = networks.iter().find(|(name, _)| network.is_none_or(|network| name == network))?;
    if !by_name {
        return Some(ip.to_string());
    }
    let [group, network, deployment] = [&instance.group, name, deployment].map(canonical);
    Some(format!("{}.{group}.{network}.{deployment}.{DOMAIN}", instance.id))
}

/// A name in the form used in DNS names.
fn canonical(name: &str) -> String {
    let letter = |letter: char| match letter.to_ascii_lowercase() {
        '_' => Some('-'),
        letter if letter.is_ascii_alphanumeric() || letter == '-' => Some(letter),
        _ => None,
    };
    name.chars().filter_map(letter).collect()
}

fn manual(written: &Map<String, Value>, deployment: &str) -> Link {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let instance = |value: &Value| LinkInstance {
        name: text(value, "name").unwrap_or_default(),
        id: text(value, "id").unwrap_or_default(),
        index: value.get("index").and_then(Value::as_u64).and_then(|index| u32::try_from(index).ok()).unwrap_or(0),
        bootstrap: value.get("bootstrap").and_then(Value::as_bool).unwrap_or(false),
        az: text(value, "az"),
        address: text(value, "address").unwrap_or_default(),
    };
    let instances = written.get("instances").and_then(Value::as_array);
    Link {
        deployment_name: deployment.to_owned(),
        instances: instances.map(|list| list.iter().map(instance).collect()),
        properties: written.get("properties").cloned().unwrap_or_default(),
        address: written.get("address").and_then(Value::as_str).map(str::to_owned),
        ..Link::default()
    }
}

impl Renderings {
    /// Renders everything in one Ruby process: an [`ApplySpec`] for each instance id. Blocks.
    ///
    /// # Errors
    /// When a template cannot be rendered, or Ruby cannot be run.
    pub(crate) fn render(&self, renderer: &Renderer) -> Result<BTreeMap<String, ApplySpec>, DirectorError> {
        let mut asked = Vec::new();
        for job in self.instances.iter().flat_map(|instance| &instance.jobs) {
            if let Some(source) = job.source.as_ref().and_then(|release| release.job(&job.name)) {
                asked.push(Rendering { job: source, context: &job.context });
            }
        }
        let answers = renderer.render(&asked).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
            DirectorError::new(500, 100, format!("Unable to render templates: {error}{cause}"))
        })?;
        let mut answers = answers.into_iter();
        let mut errors = JobErrors::default();
        let mut specs = BTreeMap::new();
        for instance in &self.instances {
            let mut jobs = Vec::new();
            for job in &instance.jobs {
                match job.source.as_ref().and_then(|_| answers.next()) {
                    None => jobs.push(job.played()),
                    Some(Ok(rendered)) => jobs.push(rendered),
                    Some(Err(texts)) => errors.add(&instance.group, &job.name, texts),
                }
            }
            specs.insert(instance.id.clone(), ApplySpec { jobs, packages: instance.packages.clone() });
        }
        errors.into_result()?;
        Ok(specs)
    }
}

impl JobRendering {
    /// A job without files, because the infrastructure implements it itself.
    fn played(&self) -> RenderedJob {
        let release = self.context.release.0.clone();
        RenderedJob { name: self.name.clone(), release, files: Vec::new(), monit: String::new() }
    }
}
