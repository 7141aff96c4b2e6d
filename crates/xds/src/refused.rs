//! Tunnels that were not opened, as the Envoys at both ends report them, and captured connections that were denied.

use std::{fmt, net::IpAddr};

use envoy_types::pb::envoy::{
    config::core::v3::{Address, address, socket_address::PortSpecifier},
    data::accesslog::v3::{
        AccessLogCommon, HttpAccessLogEntry, TcpAccessLogEntry,
        tls_properties::certificate_properties::subject_alt_name::San,
    },
    service::accesslog::v3::{StreamAccessLogsMessage, stream_access_logs_message::LogEntries},
};
use prost::Message;
use serde::Serialize;

use crate::envoy::DENIED;

/// Name of a tunnel cluster without its service.
const OF_TUNNELS: &str = "mtls.";
/// What Envoy 1.40 says of the answer to a tunnel that was refused; before the status. Envoy 1.36 says nothing.
const ANSWER: &str = "tunnel_response:";

/// A tunnel that was not opened, or a captured connection that was denied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RefusedTunnel {
    /// Which end reports it.
    pub side: Side,
    /// Why, in a word.
    pub reason: RefusalReason,
    /// Identity of the caller, `spiffe://…`; without one, its address. `None` on the caller's side, where it is the VM's
    /// own.
    pub caller: Option<String>,
    /// What was called, `HOST:PORT`; of a captured connection, `IP:PORT`.
    pub target: String,
    /// Why, in Envoy's words. Of a refusal by a policy it names the rule.
    pub details: String,
}

/// An end of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A program on this VM has called, and no instance has opened a tunnel.
    Caller,
    /// Another VM has called an instance on this one. A caller tries several times.
    Instance,
    /// Somebody has called a captured port of this VM in plaintext.
    Captured,
}

/// Why a tunnel is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// A policy denies it.
    Denied,
    /// The instance exposes no such port, or has not heard of it yet.
    NotExposed,
    /// The program of the instance does not accept connections.
    ProgramDown,
    /// One end does not accept the certificate of the other.
    Certificate,
    /// There is no instance.
    NoInstance,
    /// The instance's Envoy cannot be connected to, or an Envoy that says no more.
    Unreachable,
}

impl Side {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Instance => "instance",
            Self::Captured => "captured",
        }
    }
}

impl RefusalReason {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotExposed => "not_exposed",
            Self::ProgramDown => "program_down",
            Self::Certificate => "certificate",
            Self::NoInstance => "no_instance",
            Self::Unreachable => "unreachable",
        }
    }

    fn of_status(status: u32) -> Self {
        match status {
            403 => Self::Denied,
            404 => Self::NotExposed,
            503 => Self::ProgramDown,
            _ => Self::Unreachable,
        }
    }

    /// By what Envoy says of the last attempt.
    fn of_attempt(no_instance: bool, details: &str) -> Self {
        match details.strip_prefix(ANSWER).map(str::parse) {
            Some(Ok(status)) => Self::of_status(status),
            _ if no_instance => Self::NoInstance,
            _ if details.contains("TLS_error") => Self::Certificate,
            _ => Self::Unreachable,
        }
    }
}

/// `caller spiffe://… of HOST:PORT`.
impl fmt::Display for RefusedTunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caller = self.caller.as_deref().unwrap_or("a program on this VM");
        write!(f, "{caller} -> {}: {}", self.target, self.reason.as_str())
    }
}

/// The tunnels that a message reports.
pub(crate) fn read(message: StreamAccessLogsMessage) -> Vec<RefusedTunnel> {
    match message.log_entries {
        Some(LogEntries::TcpLogs(logs)) => logs.log_entry.into_iter().filter_map(of_connection).collect(),
        Some(LogEntries::HttpLogs(logs)) => logs.log_entry.into_iter().filter_map(of_instance).collect(),
        None => Vec::new(),
    }
}

fn of_connection(entry: TcpAccessLogEntry) -> Option<RefusedTunnel> {
    let common = entry.common_properties?;
    match common.filter_state_objects.get(DENIED) {
        Some(details) => of_captured(&common, String::decode(&*details.value).ok()?),
        None => of_caller(common),
    }
}

fn of_captured(common: &AccessLogCommon, details: String) -> Option<RefusedTunnel> {
    let at = common.downstream_local_address.as_ref();
    let target = format!("{}:{}", ip(at)?, port(at)?);
    Some(RefusedTunnel { side: Side::Captured, reason: RefusalReason::Denied, caller: caller(common), target, details })
}

fn of_caller(common: AccessLogCommon) -> Option<RefusedTunnel> {
    let key = common.upstream_cluster.strip_prefix(OF_TUNNELS)?;
    let host = key.split_once('|').map_or(key, |(host, _)| host);
    let target = match port(common.downstream_local_address.as_ref()) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let details = common.upstream_transport_failure_reason;
    let no_instance = common.response_flags.is_some_and(|flags| flags.no_healthy_upstream);
    let reason = RefusalReason::of_attempt(no_instance, &details);
    Some(RefusedTunnel { side: Side::Caller, reason, caller: None, target, details })
}

fn of_instance(entry: HttpAccessLogEntry) -> Option<RefusedTunnel> {
    let (common, response) = (entry.common_properties.unwrap_or_default(), entry.response?);
    let reason = RefusalReason::of_status(response.response_code?.value);
    let target = entry.request?.authority;
    let details = response.response_code_details;
    Some(RefusedTunnel { side: Side::Instance, reason, caller: caller(&common), target, details })
}

/// The identity of the caller; without one, its address.
fn caller(common: &AccessLogCommon) -> Option<String> {
    let names = common.tls_properties.iter().filter_map(|tls| tls.peer_certificate_properties.as_ref());
    let mut names = names.flat_map(|peer| &peer.subject_alt_name).filter_map(|name| name.san.as_ref());
    let identity = names.find_map(|name| match name {
        San::Uri(identity) => Some(identity.clone()),
        San::Dns(_) => None,
    });
    identity.or_else(|| Some(ip(common.downstream_remote_address.as_ref())?.to_string()))
}

fn ip(address: Option<&Address>) -> Option<IpAddr> {
    match address?.address.as_ref()? {
        address::Address::SocketAddress(socket) => socket.address.parse().ok(),
        _ => None,
    }
}

fn port(address: Option<&Address>) -> Option<u32> {
    match address?.address.as_ref()? {
        address::Address::SocketAddress(socket) => match socket.port_specifier.as_ref()? {
            PortSpecifier::PortValue(port) => Some(*port),
            PortSpecifier::NamedPort(_) => None,
        },
        _ => None,
    }
}

#[cfg(test)]
#[path = "refused_tests.rs"]
mod tests;
