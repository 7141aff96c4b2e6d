//! The short form of needs: the ports of a name, from which the names of their listeners and clusters follow.

use std::net::Ipv4Addr;

use boshy_mesh::{Hostname, PortName, ServiceKey};

use super::{needs::Needs, wire::NeededPort};
use crate::envoy::{listener_name, outbound_name, tunnel_name};

/// The ports that need exactly this; `None` when something is not named after a port, or nothing is needed.
pub(super) fn all_of(host: &Hostname, vip: Ipv4Addr, needs: &Needs) -> Option<Vec<NeededPort>> {
    let Needs { listeners, clusters } = needs;
    if listeners.is_empty() || listeners.len() != clusters.len() {
        return None;
    }
    listeners.iter().zip(clusters).map(|(listener, cluster)| of(host, vip, listener, cluster)).collect()
}

fn of(host: &Hostname, vip: Ipv4Addr, listener: &str, cluster: &str) -> Option<NeededPort> {
    let number = listener.rsplit_once('_')?.1.parse().ok()?;
    let name = PortName::new(cluster.rsplit_once('|')?.1).ok()?;
    let key = ServiceKey::new(host, &name);
    let tunnelled = cluster == tunnel_name(&key);
    let is_named_so = listener == listener_name(vip.into(), number) && (tunnelled || cluster == outbound_name(&key));
    is_named_so.then(|| NeededPort { number: number.into(), name: name.as_str().to_owned(), tunnelled })
}

/// Adds what a port needs; `None` when its number or its name is that of no port.
pub(super) fn add(port: &NeededPort, host: &Hostname, vip: Ipv4Addr, needs: &mut Needs) -> Option<()> {
    let NeededPort { number, name, tunnelled } = port;
    let key = ServiceKey::new(host, &PortName::new(name).ok()?);
    let listener = listener_name(vip.into(), u16::try_from(*number).ok()?);
    needs.listeners.push(listener.into());
    needs.clusters.push(if *tunnelled { tunnel_name(&key) } else { outbound_name(&key) }.into());
    Some(())
}
