//! Names of clusters and of listeners that are not bound, which other resources refer to.

use std::net::IpAddr;

use boshy_mesh::ServiceKey;

/// Name of the cluster of a service's port, and of its endpoints.
pub(crate) fn outbound_name(key: &ServiceKey) -> String {
    format!("out.{key}")
}

/// The same for the cluster that leads through tunnels.
pub(crate) fn tunnel_name(key: &ServiceKey) -> String {
    format!("mtls.{key}")
}

/// Host name of the service whose cluster, or whose endpoints, have this name: the reverse of [`outbound_name`] and
/// [`tunnel_name`]. `None` for any other name.
pub(crate) fn service_host(name: &str) -> Option<&str> {
    let key = name.strip_prefix("out.").or_else(|| name.strip_prefix("mtls."))?;
    Some(key.split_once('|')?.0)
}

/// Name of the cluster of a port of the program on the VM.
pub(super) fn inbound_name(port: u16) -> String {
    format!("in.{port}")
}

/// Name of the listener of an address.
pub(crate) fn listener_name(ip: IpAddr, port: u16) -> String {
    format!("tcp_{ip}_{port}")
}
