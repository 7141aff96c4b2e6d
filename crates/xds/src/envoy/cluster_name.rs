//! Names of clusters, which listeners and endpoints refer to.

use boshy_mesh::ServiceKey;

pub(super) fn outbound_name(key: &ServiceKey) -> String {
    format!("out.{key}")
}

/// Name of the cluster, and of its endpoints.
pub(super) fn tunnel_name(key: &ServiceKey) -> String {
    format!("mtls.{key}")
}

pub(super) fn inbound_name(port: u16) -> String {
    format!("in.{port}")
}
