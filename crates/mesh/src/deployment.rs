//! Deployments: as written in the manifest, and, once checked, as facts.
//!
//! A manifest is checked as a whole. One wrong entry rejects the deployment's whole manifest, and its last good facts
//! stay in force: half of a manifest is a state that no operator asked for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    CloudNetwork, DeploymentLinks, Fallback, GroupNetwork, Ingress, Instance, InstanceGroup, Job, Lifecycle,
    NEVER_CAPTURED, Place, PolicyConfig, Port, PortName, Problem, Protocol,
};

/// A scalar as a manifest holds it, before its type is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Written {
    /// The key is missing or null.
    #[default]
    Absent,
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// Another kind of value, named by its YAML kind ("a list", "a map", "a float").
    Other(&'static str),
}

/// An entry under `expose_ports` that is a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenPort {
    /// `name`.
    pub name: Written,
    /// `number`.
    pub number: Written,
    /// `protocol`.
    pub protocol: Written,
    /// `ingress`.
    pub ingress: Written,
    /// `ingress_fallback`.
    pub ingress_fallback: Written,
    /// `original_src`.
    pub original_src: Written,
    /// Unknown keys.
    pub unknown: Vec<String>,
}

/// One entry under `expose_ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenPortEntry {
    /// A map.
    Port(WrittenPort),
    /// Any other value, by its YAML kind.
    Other(&'static str),
}

/// The value of `expose_ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WrittenPorts {
    /// The key is missing or null.
    #[default]
    Absent,
    /// A list.
    List(Vec<WrittenPortEntry>),
    /// Any other value, by its YAML kind.
    Other(&'static str),
}

/// A job of an instance group, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenJob {
    /// Job name.
    pub name: String,
    /// `expose_ports`.
    pub expose_ports: WrittenPorts,
    /// The addon that adds this job, when the group itself does not name the job.
    pub addon: Option<String>,
    /// The runtime config that contains the addon.
    pub runtime_config: Option<String>,
}

/// An instance group, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenGroup {
    /// Group name.
    pub name: String,
    /// `lifecycle: errand`.
    pub errand: bool,
    /// Its jobs, in order.
    pub jobs: Vec<WrittenJob>,
    /// Its networks, in order.
    pub networks: Vec<GroupNetwork>,
    /// `migrated_from`.
    pub migrated_from: Vec<String>,
}

/// The part of a manifest that the mesh reads, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenDeployment {
    /// Name under which the director lists the deployment.
    pub name: String,
    /// Its instance groups, in order.
    pub groups: Vec<WrittenGroup>,
    /// Entries that have no effect where they stand. The rest of the manifest is not affected.
    pub problems: Vec<Problem>,
}

/// A deployment after its check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Deployment {
    /// Name under which the director lists the deployment.
    pub name: String,
    /// Instance groups of the last good manifest.
    pub groups: Vec<InstanceGroup>,
    /// Instances of the last good read, sorted by group and index.
    pub instances: Vec<Instance>,
    /// Parts of the last good readings that cannot be used, each with its place.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// Its links of the last good read. `None` when they are not known, and while nothing follows from links.
    #[serde(default)]
    pub links: Option<DeploymentLinks>,
}

/// All that is known of a director, in the director's order (by name).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The deployments.
    pub deployments: Vec<Deployment>,
    /// Networks of the cloud configs; empty when unknown.
    #[serde(default)]
    pub networks: Vec<CloudNetwork>,
    /// The configs that are written for the mesh, in the director's order.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Parts of the configs that cannot be used, each with its place.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

impl WrittenDeployment {
    /// Checks the manifest. Returns what it exposes, or every problem in it.
    ///
    /// # Errors
    /// All problems, each with its place.
    pub fn check(&self) -> Result<Vec<InstanceGroup>, Vec<Problem>> {
        let mut problems = Vec::new();
        let groups = self
            .groups
            .iter()
            .map(|group| InstanceGroup {
                name: group.name.clone(),
                lifecycle: if group.errand { Lifecycle::Errand } else { Lifecycle::Service },
                jobs: group
                    .jobs
                    .iter()
                    .map(|job| {
                        let place = match &job.addon {
                            Some(addon) => Place::deployment(&self.name).addon(addon).job(&job.name),
                            None => Place::deployment(&self.name).group(&group.name).job(&job.name),
                        };
                        let ports = check_ports(&place, &job.expose_ports, &mut problems);
                        Job { name: job.name.clone(), ports, runtime_config: job.runtime_config.clone() }
                    })
                    .collect(),
                networks: group.networks.clone(),
                migrated_from: group.migrated_from.clone(),
            })
            .collect();
        // A job of an addon is written once and applied to many groups: report each of its problems once.
        let mut told = BTreeSet::new();
        problems.retain(|problem| told.insert(problem.clone()));
        if problems.is_empty() { Ok(groups) } else { Err(problems) }
    }
}

impl WrittenPorts {
    /// All problems in these ports. `job` is the place of the job that exposes them.
    pub fn problems(&self, job: &Place) -> Vec<Problem> {
        let mut problems = Vec::new();
        check_ports(job, self, &mut problems);
        problems
    }
}

fn check_ports(job: &Place, written: &WrittenPorts, problems: &mut Vec<Problem>) -> Vec<Port> {
    let entries = match written {
        WrittenPorts::Absent => return Vec::new(),
        WrittenPorts::List(entries) => entries,
        WrittenPorts::Other(kind) => {
            problems.push(Problem::new(job.clone().key("expose_ports"), format!("must be a list, is {kind}")));
            return Vec::new();
        }
    };
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut ports = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let mut entry_check = EntryCheck { job, index, problems };
        let Some(port) = entry_check.port(entry) else { continue };
        if !names.insert(port.name.clone()) {
            entry_check.refuse("name", format!("{:?} is already used in this job", port.name.as_str()));
        }
        if !numbers.insert(port.number) {
            entry_check.refuse("number", format!("{} is already used in this job", port.number));
        }
        ports.push(port);
    }
    ports
}

/// Checks one entry under `expose_ports`, and keeps the entry's place for the problems it reports.
struct EntryCheck<'a> {
    job: &'a Place,
    index: usize,
    problems: &'a mut Vec<Problem>,
}

impl EntryCheck<'_> {
    fn refuse(&mut self, key: &str, reason: impl Into<String>) {
        let dot = if key.is_empty() { "" } else { "." };
        let place = self.job.clone().key(format!("expose_ports[{}]{dot}{key}", self.index));
        self.problems.push(Problem::new(place, reason));
    }

    fn port(&mut self, entry: &WrittenPortEntry) -> Option<Port> {
        let written = match entry {
            WrittenPortEntry::Port(port) => port,
            WrittenPortEntry::Other(kind) => {
                self.refuse("", format!("must be a map with `name` and `number`, is {kind}"));
                return None;
            }
        };
        for key in &written.unknown {
            self.refuse(key, UNKNOWN);
        }
        let name = self.name(&written.name);
        let number = self.number(&written.number);
        let protocol = self.protocol(&written.protocol);
        let ingress = self.ingress(written, number);
        Some(Port { name: name?, number: number?, protocol: protocol?, ingress: ingress? })
    }

    /// `Some(None)` is a port that is reached directly.
    fn ingress(&mut self, written: &WrittenPort, number: Option<u16>) -> Option<Option<Ingress>> {
        let captured = match self.choice("ingress", &written.ingress, &["direct", "capture"]) {
            Ok(chosen) => chosen.as_deref() == Some("capture"),
            Err(()) => return None,
        };
        let fallback = self.choice("ingress_fallback", &written.ingress_fallback, &["open", "closed"]).ok()?;
        let original_src = self.boolean("original_src", &written.original_src).ok()?;
        let options = [("ingress_fallback", fallback.is_some()), ("original_src", original_src.is_some())];
        if !captured {
            let given: Vec<_> = options.into_iter().filter(|(_, given)| *given).collect();
            given.iter().for_each(|(key, _)| self.refuse(key, "is only for a port with `ingress: capture`"));
            return given.is_empty().then_some(None);
        }
        if let Some(number) = number.filter(|number| NEVER_CAPTURED.contains(number)) {
            self.refuse("ingress", format!("must not be `capture` for port {number}, which is the platform's"));
            return None;
        }
        let fallback = fallback.as_deref().and_then(Fallback::parse).unwrap_or_default();
        Some(Some(Ingress { fallback, original_src: original_src.unwrap_or_default() }))
    }

    /// A text that is one of a few, or is missing.
    fn choice(&mut self, key: &str, written: &Written, known: &[&str]) -> Result<Option<String>, ()> {
        if *written == Written::Absent {
            return Ok(None);
        }
        let text = self.text(key, written).ok_or(())?;
        if known.contains(&text.as_str()) {
            return Ok(Some(text));
        }
        self.refuse(key, format!("must be `{}`, is {text:?}", known.join("` or `")));
        Err(())
    }

    fn boolean(&mut self, key: &str, written: &Written) -> Result<Option<bool>, ()> {
        let found = match written {
            Written::Absent => return Ok(None),
            Written::Boolean(value) => return Ok(Some(*value)),
            Written::Text(text) if is_variable(text) => {
                self.refuse(key, VARIABLE);
                return Err(());
            }
            Written::Text(text) => format!("the text {text:?}"),
            Written::Integer(number) => format!("the number {number}"),
            Written::Other(kind) => (*kind).to_owned(),
        };
        self.refuse(key, format!("must be true or false, is {found}"));
        Err(())
    }

    fn name(&mut self, written: &Written) -> Option<PortName> {
        let text = self.text("name", written)?;
        PortName::new(&text).map_err(|rule| self.refuse("name", format!("{rule}, is {text:?}"))).ok()
    }

    fn number(&mut self, written: &Written) -> Option<u16> {
        let reason = match written {
            Written::Integer(number) => match u16::try_from(*number) {
                Ok(number) if number > 0 => return Some(number),
                _ => format!("must be between 1 and 65535, is {number}"),
            },
            Written::Text(text) if is_variable(text) => VARIABLE.to_owned(),
            Written::Text(text) => format!("must be a number, is the text {text:?}"),
            Written::Absent => "is missing".to_owned(),
            Written::Boolean(_) => "must be a number, is a boolean".to_owned(),
            Written::Other(kind) => format!("must be a number, is {kind}"),
        };
        self.refuse("number", reason);
        None
    }

    fn protocol(&mut self, written: &Written) -> Option<Protocol> {
        if *written == Written::Absent {
            return Some(Protocol::default());
        }
        let text = self.text("protocol", written)?;
        let protocol = Protocol::parse(&text);
        if protocol.is_none() {
            self.refuse("protocol", format!("must be `tcp`, is {text:?}"));
        }
        protocol
    }

    fn text(&mut self, key: &str, written: &Written) -> Option<String> {
        let reason = match written {
            Written::Text(text) if is_variable(text) => VARIABLE.to_owned(),
            Written::Text(text) => return Some(text.clone()),
            Written::Absent => "is missing".to_owned(),
            Written::Integer(number) => format!("must be text, is the number {number}"),
            Written::Boolean(_) => "must be text, is a boolean".to_owned(),
            Written::Other(kind) => format!("must be text, is {kind}"),
        };
        self.refuse(key, reason);
        None
    }
}

const UNKNOWN: &str =
    "is not known here; known are `name`, `number`, `protocol`, `ingress`, `ingress_fallback` and `original_src`";

const VARIABLE: &str =
    "must not hold a ((variable)): the director resolves it for itself alone, and shows the mesh the raw text";

fn is_variable(text: &str) -> bool {
    text.contains("((")
}

#[cfg(test)]
#[path = "deployment_tests.rs"]
mod tests;
