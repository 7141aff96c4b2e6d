//! The cloud config: availability zones and networks, and the addresses that a director may assign.

use std::{collections::BTreeSet, net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;
use serde::Deserialize;

use super::DirectorError;
use boshy_yaml::Limits;

/// Availability zones and networks for instances.
#[derive(Clone, Debug)]
pub(super) struct CloudConfig {
    pub(super) azs: BTreeSet<String>,
    networks: Vec<Network>,
}

/// A manual network.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) name: String,
    subnets: Vec<Subnet>,
}

#[derive(Clone, Debug)]
struct Subnet {
    range: Ipv4Net,
    azs: Vec<String>,
    not_given: Vec<RangeInclusive<Ipv4Addr>>,
    for_static: Vec<RangeInclusive<Ipv4Addr>>,
}

#[derive(Deserialize)]
struct RawCloud {
    #[serde(default)]
    azs: Vec<RawAz>,
    #[serde(default)]
    networks: Vec<RawNetwork>,
}

#[derive(Deserialize)]
struct RawAz {
    name: String,
}

#[derive(Deserialize)]
struct RawNetwork {
    name: String,
    #[serde(default)]
    subnets: Vec<RawSubnet>,
}

#[derive(Deserialize)]
struct RawSubnet {
    range: String,
    gateway: Option<String>,
    az: Option<String>,
    azs: Option<Vec<String>>,
    reserved: Option<Vec<String>>,
    #[serde(rename = "static")]
    for_static: Option<Vec<String>>,
}

impl CloudConfig {
    /// Parses the text of a cloud config.
    pub(super) fn parse(text: &str) -> Result<Self, DirectorError> {
        let raw: RawCloud = boshy_yaml::from_text(text, &Limits::default())
            .map_err(|error| DirectorError::new(400, 440_011, format!("Config must be valid YAML: {error}")))?;
        let networks = raw.networks.into_iter().map(Network::check).collect::<Result<_, _>>()?;
        Ok(Self { azs: raw.azs.into_iter().map(|az| az.name).collect(), networks })
    }

    pub(super) fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.name == name)
    }
}

impl Network {
    fn check(raw: RawNetwork) -> Result<Self, DirectorError> {
        let subnets =
            raw.subnets.into_iter().map(|subnet| Subnet::check(&raw.name, subnet)).collect::<Result<_, _>>()?;
        Ok(Self { name: raw.name, subnets })
    }

    /// The first free address for an instance in an availability zone.
    pub(super) fn free(&self, az: Option<&str>, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        self.subnets
            .iter()
            .filter(|subnet| subnet.serves(az))
            .flat_map(|subnet| subnet.range.hosts().filter(|ip| subnet.is_dynamic(*ip)))
            .find(|ip| !taken.contains(ip))
    }

    /// Whether an instance in an availability zone that did not request a certain address may keep this one.
    pub(super) fn is_dynamic(&self, ip: Ipv4Addr, az: Option<&str>) -> bool {
        self.subnets.iter().any(|subnet| subnet.serves(az) && subnet.range.contains(&ip) && subnet.is_dynamic(ip))
    }

    /// Whether an instance in an availability zone may request this address.
    pub(super) fn is_static(&self, ip: Ipv4Addr, az: Option<&str>) -> bool {
        self.subnets.iter().any(|subnet| subnet.serves(az) && subnet.is_static(ip))
    }

    /// Whether this address may be requested at all.
    pub(super) fn is_static_anywhere(&self, ip: Ipv4Addr) -> bool {
        self.subnets.iter().any(|subnet| subnet.is_static(ip))
    }
}

impl Subnet {
    fn check(network: &str, raw: RawSubnet) -> Result<Self, DirectorError> {
        let range: Ipv4Net = raw.range.parse().map_err(|_| {
            DirectorError::new(400, 160_002, format!("Network '{network}' has the invalid range '{}'", raw.range))
        })?;
        let mut not_given = ranges(network, &raw.reserved.unwrap_or_default())?;
        not_given.extend(ranges(network, raw.gateway.as_slice())?);
        let azs = raw.azs.unwrap_or_default().into_iter().chain(raw.az).collect();
        Ok(Self { range, azs, not_given, for_static: ranges(network, &raw.for_static.unwrap_or_default())? })
    }

    fn serves(&self, az: Option<&str>) -> bool {
        self.azs.is_empty() || az.is_some_and(|az| self.azs.iter().any(|own| own == az))
    }

    fn is_static(&self, ip: Ipv4Addr) -> bool {
        self.for_static.iter().any(|range| range.contains(&ip))
    }

    fn is_dynamic(&self, ip: Ipv4Addr) -> bool {
        !self.not_given.iter().chain(&self.for_static).any(|range| range.contains(&ip))
    }
}

fn ranges(network: &str, written: &[String]) -> Result<Vec<RangeInclusive<Ipv4Addr>>, DirectorError> {
    written.iter().map(|text| range(text).ok_or_else(|| bad_range(network, text))).collect()
}

/// `A` or `A-B`.
pub(super) fn range(text: &str) -> Option<RangeInclusive<Ipv4Addr>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

fn bad_range(network: &str, text: &str) -> DirectorError {
    DirectorError::new(400, 160_010, format!("Network '{network}' has the invalid IP range '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_SUBNETS: &str = "
azs: [{name: z1}, {name: z2}]
networks:
- name: default
  subnets:
  - {range: 10.0.1.0/29, gateway: 10.0.1.1, az: z1, reserved: [10.0.1.2], static: [10.0.1.5-10.0.1.6]}
  - {range: 10.0.2.0/30, gateway: 10.0.2.1, azs: [z2, z1]}
";

    #[test]
    fn the_first_free_address_of_a_zone_is_given_and_subnets_are_used_in_order() {
        let cloud = CloudConfig::parse(TWO_SUBNETS).unwrap();
        let network = cloud.network("default").unwrap();
        let mut taken = BTreeSet::new();
        let mut given = Vec::new();
        while let Some(ip) = network.free(Some("z1"), &taken) {
            given.push(ip.to_string());
            taken.insert(ip);
        }
        assert_eq!(given, ["10.0.1.3", "10.0.1.4", "10.0.2.2"]);
        assert_eq!(network.free(Some("z2"), &BTreeSet::new()).unwrap().to_string(), "10.0.2.2");
        assert_eq!(network.free(Some("z3"), &BTreeSet::new()), None);
    }

    #[test]
    fn static_addresses_are_those_set_apart() {
        let cloud = CloudConfig::parse(TWO_SUBNETS).unwrap();
        let network = cloud.network("default").unwrap();
        assert!(network.is_static("10.0.1.6".parse().unwrap(), Some("z1")));
        assert!(!network.is_static("10.0.1.6".parse().unwrap(), Some("z2")));
        assert!(!network.is_static("10.0.1.3".parse().unwrap(), Some("z1")));
    }

    #[test]
    fn a_wrong_range_is_named() {
        let error = CloudConfig::parse("networks: [{name: n, subnets: [{range: 10.0.0.0/33}]}]").unwrap_err();
        assert_eq!(
            (error.code, error.description.as_str()),
            (160_002, "Network 'n' has the invalid range '10.0.0.0/33'")
        );
        let text = "networks: [{name: n, subnets: [{range: 10.0.0.0/24, reserved: [10.0.0.9-10.0.0.1]}]}]";
        assert_eq!(CloudConfig::parse(text).unwrap_err().code, 160_010);
    }
}
