//! Names and addresses as the v1 API writes them.

use std::net::{IpAddr, SocketAddr};

use boshy_mesh::{InboundPort, MeshSnapshot, Port, ServiceKey, ServicePlan};
use sha1::{Digest, Sha1};

/// Longest cluster name that the v1 API emits. A longer one ends in the SHA-1 of the whole name.
const MAX_CLUSTER_NAME: usize = 189;
/// Length of a SHA-1 in hexadecimal digits.
const DIGEST_LENGTH: usize = 40;

pub(super) fn service_key(plan: &ServicePlan, port: &Port) -> ServiceKey {
    ServiceKey::new(plan.host(), &port.name)
}

/// Ports at which a sidecar reaches the workload beside it. This API knows an address, not a workload: a VM's other
/// addresses have none.
pub(super) fn inbound_ports(snapshot: &MeshSnapshot, ip: IpAddr) -> impl Iterator<Item = &InboundPort> {
    let inbound = snapshot.content.workloads.at(ip).into_iter().flat_map(|plan| &plan.inbound);
    inbound.filter(move |port| port.at.ip() == ip)
}

pub(super) fn inbound_cluster(port: u16) -> String {
    format!("in.{port}")
}

pub(super) fn outbound_cluster(key: &ServiceKey) -> String {
    let name = format!("out.{key}");
    // Keys are ASCII, so every octet is a character boundary.
    match name.get(..MAX_CLUSTER_NAME - DIGEST_LENGTH) {
        Some(kept) if name.len() > MAX_CLUSTER_NAME => {
            Sha1::digest(&name).iter().fold(kept.to_owned(), |shortened, octet| format!("{shortened}{octet:02x}"))
        }
        _ => name,
    }
}

/// `tcp://IP:PORT`, IPv6 in brackets.
pub(super) fn url(at: SocketAddr) -> String {
    format!("tcp://{at}")
}

pub(super) fn listener_name(protocol: &str, at: SocketAddr) -> String {
    format!("{protocol}_{}_{}", at.ip(), at.port())
}

/// A single address as a CIDR block.
pub(super) fn single(ip: IpAddr) -> String {
    format!("{ip}/{}", if ip.is_ipv4() { 32 } else { 128 })
}

#[cfg(test)]
mod tests {
    use boshy_mesh::{Hostname, PortName, Tld};

    use super::*;

    fn key_of_length(length: usize) -> ServiceKey {
        let port = PortName::new("p").unwrap();
        // The dots, the zone, `|` and the port name take the rest of the length.
        let letters = length - "..".len() - ".boshy|p".len();
        let job = "a".repeat(letters.min(63));
        let group = "b".repeat((letters - job.len()).min(63));
        let deployment = "c".repeat(letters - job.len() - group.len());
        ServiceKey::new(&Hostname::of_service(&job, &group, &deployment, &Tld::default()).unwrap(), &port)
    }

    #[test]
    fn a_cluster_name_of_189_octets_is_kept() {
        let key = key_of_length(185);
        assert_eq!(outbound_cluster(&key), format!("out.{key}"));
    }

    #[test]
    fn a_longer_one_is_149_octets_and_the_sha1_of_the_whole() {
        let key = key_of_length(186);
        let name = outbound_cluster(&key);
        assert_eq!(name.len(), 189);
        assert_eq!(name[..149], format!("out.{key}")[..149]);
        // Computed by: printf %s "out.$key" | sha1sum
        assert_eq!(&name[149..], "b9230b1f6e71ae7ba079c75a2eac219931ed7d89");
    }

    #[test]
    fn ipv6_has_brackets_in_urls_and_128_bits() {
        let ip: IpAddr = "fd00::1".parse().unwrap();
        assert_eq!((url((ip, 80).into()), single(ip)), ("tcp://[fd00::1]:80".into(), "fd00::1/128".into()));
    }
}
