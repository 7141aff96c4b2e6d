//! Ports that a job exposes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Hostname, Ingress};

/// Name of a port. It is a DNS label, so that it never contains `|`, `,` or `~`, the separators of service keys and
/// node ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortName(String);

impl PortName {
    /// Checks a name as written under `expose_ports`.
    ///
    /// # Errors
    /// The rule that the name breaks, as part of a sentence.
    pub fn new(written: &str) -> Result<Self, &'static str> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let edge = |c: char| c.is_ascii_alphanumeric();
        if written.is_empty() || written.len() > 63 {
            return Err("must have 1 to 63 characters");
        }
        if !written.chars().all(inner) || !written.starts_with(edge) || !written.ends_with(edge) {
            return Err("must consist of letters, digits and inner `-` or `_`");
        }
        Ok(Self(written.to_owned()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PortName {
    type Error = &'static str;
    fn try_from(written: String) -> Result<Self, &'static str> {
        Self::new(&written)
    }
}

impl From<PortName> for String {
    fn from(name: PortName) -> Self {
        name.0
    }
}

/// Protocol of a port. It decides how the proxy treats the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain TCP.
    #[default]
    Tcp,
}

impl Protocol {
    /// Parses a protocol as written.
    pub fn parse(written: &str) -> Option<Self> {
        (written == "tcp").then_some(Self::Tcp)
    }
}

/// One exposed port. The number applies to the service and to each of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Unique in the job.
    pub name: PortName,
    /// 1 to 65535, unique in the job.
    pub number: u16,
    /// Protocol spoken on the port.
    pub protocol: Protocol,
    /// How connections from outside of the mesh reach it; `None` for directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
}

/// `HOST|PORTNAME`: how discovery APIs name one port of one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey(String);

impl ServiceKey {
    /// The key of a port of a host.
    pub fn new(host: &Hostname, port: &PortName) -> Self {
        Self(format!("{host}|{port}"))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
