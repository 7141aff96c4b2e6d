//! The documents.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Pattern;
use crate::{CONFIG_TYPE, MtlsMode, Origin, Place, Position, Problem};

/// A config that is written for the mesh: the version that applies, and why a later one does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyConfig {
    /// Its name within the type.
    pub name: String,
    /// Id of its latest version.
    pub latest: String,
    /// What applies: the latest version that is right. `None` while there was no such version.
    pub applied: Option<AppliedConfig>,
    /// What is wrong in the latest version; empty when that one applies.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// A version of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedConfig {
    /// Its id.
    pub version: String,
    /// What it says.
    pub documents: Documents,
}

/// What a config says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documents {
    /// Which modes of mutual TLS apply where.
    #[serde(default)]
    pub modes: Vec<PeerAuthentication>,
    /// Who may connect where.
    #[serde(default)]
    pub authorizations: Vec<AuthorizationPolicy>,
}

/// A kind of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DocumentKind {
    /// Which modes of mutual TLS apply.
    PeerAuthentication,
    /// Who may connect.
    AuthorizationPolicy,
    /// Who may connect, by a BOSH link. It is written in no config.
    Link,
}

/// How a document is called in problems, decisions, and Envoy's statistics. A link is called in the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DocumentName {
    /// The config that contains it; of a link, the deployment that provides it.
    pub config: String,
    /// Where it begins. A link is written nowhere: its position is 0.
    pub position: Position,
    /// Its kind.
    pub kind: DocumentKind,
    /// `metadata.name`; of a link, `GROUP/JOB/LINK` of the provider.
    pub name: String,
}

/// To which services a document applies: those of which each given name is the one written.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// Deployment; `None` for all of them.
    pub deployment: Option<String>,
    /// Instance group.
    pub group: Option<String>,
    /// Job that exposes the port.
    pub job: Option<String>,
}

/// How narrow a scope is. The narrowest document with a mode decides about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Breadth {
    Mesh,
    Deployment,
    Selected,
}

/// Which mode of mutual TLS applies to the services of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAuthentication {
    /// Its name.
    pub name: DocumentName,
    /// The services.
    pub scope: Scope,
    /// The mode; `None` leaves it to a broader document.
    pub mode: Option<MtlsMode>,
    /// Modes of single ports by number, before that of the document.
    pub ports: BTreeMap<u16, PortMode>,
}

/// Mode of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMode {
    /// The mode; `None` is the same as leaving the port out.
    pub mode: Option<MtlsMode>,
    /// Where it is written.
    pub position: Position,
}

/// Who may connect to the services of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationPolicy {
    /// Its name.
    pub name: DocumentName,
    /// The services.
    pub scope: Scope,
    /// What becomes of connections that a rule matches.
    pub action: Action,
    /// Whether it only tells what it would do.
    pub dry_run: bool,
    /// The rules. Without any, no connection matches.
    pub rules: Vec<Rule>,
}

/// What becomes of connections that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// They are allowed, and those that no such policy matches are denied.
    Allow,
    /// They are denied, whatever else allows them.
    Deny,
}

/// Matches connections from one of the sources in one of the operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Where it is written.
    pub position: Position,
    /// Sources; none stands for any caller.
    pub from: Vec<Source>,
    /// Operations; none stands for any port.
    pub to: Vec<Operation>,
}

/// Matches callers: all of its fields that are not empty have to. Who connects in plaintext has neither an identity nor a
/// deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The caller's identity without `spiffe://` matches one.
    pub principals: Vec<Pattern>,
    /// The caller's identity matches none.
    pub not_principals: Vec<Pattern>,
    /// The caller's deployment matches one.
    pub namespaces: Vec<Pattern>,
    /// The caller's deployment matches none.
    pub not_namespaces: Vec<Pattern>,
    /// The caller's address is in one of these networks.
    #[serde(default)]
    pub ip_blocks: Vec<IpNet>,
    /// The caller's address is in none of these networks.
    #[serde(default)]
    pub not_ip_blocks: Vec<IpNet>,
}

/// Matches ports: both of its fields, unless they are empty, have to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The port is one of these.
    pub ports: BTreeSet<u16>,
    /// The port is none of these.
    pub not_ports: BTreeSet<u16>,
}

impl DocumentName {
    /// Its place in its config.
    pub fn place(&self) -> Place {
        let key = format!("{} {:?}", self.kind, self.name);
        match self.kind {
            DocumentKind::Link => Place::deployment(&self.config).key(key),
            _ => Place::config(CONFIG_TYPE, &self.config).key(key).at(self.position),
        }
    }
}

/// `AuthorizationPolicy "db" of config "shop", line 3`, or `link "db/mysql/db" of deployment "shop"`.
impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, position, kind, name } = self;
        match kind {
            DocumentKind::Link => write!(f, "{kind} {name:?} of deployment {config:?}"),
            _ => write!(f, "{kind} {name:?} of config {config:?}, line {}", position.line),
        }
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::Link => "link",
        })
    }
}

impl Scope {
    /// Whether a service is in the scope.
    pub fn covers(&self, origin: &Origin) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
        is(&self.deployment, &origin.deployment) && is(&self.group, &origin.group) && is(&self.job, &origin.job)
    }

    pub(super) fn breadth(&self) -> Breadth {
        match self {
            Self { deployment: None, group: None, job: None } => Breadth::Mesh,
            Self { group: None, job: None, .. } => Breadth::Deployment,
            _ => Breadth::Selected,
        }
    }
}

impl AuthorizationPolicy {
    /// Whether it names addresses of callers to a port, so that it can decide about who connects there in plaintext.
    pub(super) fn names_addresses(&self, port: u16) -> bool {
        self.rules.iter().filter(|rule| rule.is_about(port)).flat_map(|rule| &rule.from).any(Source::names_addresses)
    }
}

impl Rule {
    /// Whether it is about a port.
    pub(super) fn is_about(&self, port: u16) -> bool {
        self.to.is_empty() || self.to.iter().any(|operation| operation.matches(port))
    }
}

impl Source {
    /// Whether it names addresses.
    pub fn names_addresses(&self) -> bool {
        self.networks().next().is_some()
    }

    /// All networks that it names.
    pub fn networks(&self) -> impl Iterator<Item = &IpNet> {
        self.ip_blocks.iter().chain(&self.not_ip_blocks)
    }
}

impl Operation {
    /// Whether a port matches.
    pub fn matches(&self, port: u16) -> bool {
        (self.ports.is_empty() || self.ports.contains(&port)) && !self.not_ports.contains(&port)
    }
}
