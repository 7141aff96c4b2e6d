//! The networks of an instance group. They only help to distinguish addresses, so entries that cannot be parsed are
//! skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use boshy_mesh::GroupNetwork;
use ipnet::IpNet;

use super::shape::{list, map, named, texts};
use boshy_yaml::{Map, View};

pub(super) fn of_group(group: Map<'_>) -> Vec<GroupNetwork> {
    list(group, "networks").unwrap_or_default().into_iter().filter_map(network).collect()
}

fn network(view: View<'_>) -> Option<GroupNetwork> {
    let network = map(view).ok()?;
    let static_ips = match network.get("static_ips") {
        Some(pair) => pair.value.text().map_or_else(|| texts(network, "static_ips"), |text| vec![text]),
        None => Vec::new(),
    };
    Some(GroupNetwork {
        name: named(view, network).ok()?,
        default: texts(network, "default"),
        static_ips: static_ips.iter().filter_map(|text| range(text)).collect(),
    })
}

/// Parses `A`, `A-B` or `A/PREFIX` like a director.
pub(super) fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    if let Ok(block) = text.trim().parse::<IpNet>() {
        return Some((block.network(), last(block)));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<IpAddr>().ok()?, last.trim().parse::<IpAddr>().ok()?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last))
}

fn last(block: IpNet) -> IpAddr {
    match block {
        IpNet::V4(block) => Ipv4Addr::from(u32::from(block.network()) | u32::from(block.hostmask())).into(),
        IpNet::V6(block) => Ipv6Addr::from(u128::from(block.network()) | u128::from(block.hostmask())).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_addresses_are_one_a_range_or_a_block() {
        let shown = |text: &str| range(text).map(|(first, last)| format!("{first} {last}"));
        assert_eq!(shown("10.0.0.5").unwrap(), "10.0.0.5 10.0.0.5");
        assert_eq!(shown(" 10.0.0.5 - 10.0.0.9 ").unwrap(), "10.0.0.5 10.0.0.9");
        assert_eq!(shown("10.20.0.16/28").unwrap(), "10.20.0.16 10.20.0.31");
        assert_eq!(shown("fd00::/126").unwrap(), "fd00:: fd00::3");
        assert_eq!(shown("fd00::1-fd00::9").unwrap(), "fd00::1 fd00::9");
        for text in ["", "x", "10.0.0.9-10.0.0.5", "10.0.0.1-fd00::1", "((ip))"] {
            assert_eq!(shown(text), None, "{text}");
        }
    }
}
