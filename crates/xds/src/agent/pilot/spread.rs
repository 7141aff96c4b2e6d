//! Spreads the VMs over the pilots that one name stands for.

use std::net::SocketAddr;

use sha2::{Digest, Sha256};

/// The order in which a VM tries the addresses of a name: by the hash of the VM and the address (rendezvous hashing). So
/// the VMs spread evenly, each goes back to the same pilot after an outage, and when a pilot is away its VMs spread over
/// all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread(u64);

impl Spread {
    /// The order of the VM with this instance id.
    pub fn of(id: &str) -> Self {
        Self(hash(id.as_bytes()))
    }

    /// The addresses in this order, each once.
    pub fn ordered(self, addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = addresses.into_iter().collect();
        addresses.sort_by_cached_key(|address| (hash(format!("{:x} {address}", self.0).as_bytes()), *address));
        addresses.dedup();
        addresses
    }
}

fn hash(octets: &[u8]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(octets).into();
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn firsts(pilots: &[SocketAddr]) -> BTreeMap<SocketAddr, Vec<usize>> {
        let mut firsts = BTreeMap::<_, Vec<_>>::new();
        for vm in 0..300 {
            firsts.entry(Spread::of(&format!("vm-{vm}")).ordered(pilots.to_vec())[0]).or_default().push(vm);
        }
        firsts
    }

    #[test]
    fn vms_spread_evenly_and_only_those_of_a_lost_pilot_move() {
        let pilots = ["10.0.0.1:15010", "10.0.0.2:15010", "10.0.0.3:15010"].map(|address| address.parse().unwrap());
        let all = firsts(&pilots);
        assert!(all.len() == 3 && all.values().all(|vms| (70..=130).contains(&vms.len())), "{all:?}");
        let without = firsts(&pilots[1..]);
        for (pilot, vms) in all.iter().filter(|(pilot, _)| **pilot != pilots[0]) {
            assert!(vms.iter().all(|vm| without[pilot].contains(vm)), "a VM leaves {pilot} that is there");
            assert!(without[pilot].len() > vms.len() + 20, "those of the lost pilot spread over both");
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_resolver() {
        let (one, two): (SocketAddr, SocketAddr) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap());
        let spread = Spread::of("x");
        assert_eq!(spread.ordered([one, two, one]), spread.ordered([two, one]));
    }
}
