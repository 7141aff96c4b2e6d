use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// `NAME`, `NAME:DEFAULT+DEFAULT` or `NAME=FIRST-LAST`.
fn network(written: &str) -> GroupNetwork {
    let (rest, range) = written.split_once('=').map_or((written, None), |(rest, range)| (rest, Some(range)));
    let (name, default) = rest.split_once(':').map_or((rest, None), |(name, default)| (name, Some(default)));
    GroupNetwork {
        name: name.into(),
        default: default.into_iter().flat_map(|all| all.split('+')).map(str::to_owned).collect(),
        static_ips: range
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (first.parse().unwrap(), last.parse().unwrap())
            })
            .into_iter()
            .collect(),
    }
}

/// The address of an instance with these `ips`, networks of its group, and networks known from `records.json`.
fn reached(ips: &[&str], networks: &[&str], recorded: &[(&str, &str)], cloud: &[CloudNetwork]) -> Option<String> {
    let instance = Instance {
        ips: ips.iter().map(|ip| address(ip)).collect(),
        recorded: recorded
            .iter()
            .map(|(network, ip)| Recorded { network: (*network).into(), address: address(ip) })
            .collect(),
        ..Instance::default()
    };
    let group = InstanceGroup {
        networks: networks.iter().map(|written| network(written)).collect(),
        ..InstanceGroup::default()
    };
    instance.address(&group, cloud).map(|ip| ip.to_string())
}

#[test]
fn the_address_of_every_shape_of_instance_without_records() {
    for (what, ips, networks, expected) in [
        ("one manual network", &["10.0.0.5"][..], &["default"][..], Some("10.0.0.5")),
        ("no VM", &[], &["default"], None),
        (
            "a vip beside a manual network",
            &["3.120.7.9", "10.0.1.5"],
            &["priv:dns+gateway", "vip=3.120.7.9"],
            Some("10.0.1.5"),
        ),
        (
            "a vip that the manifest does not name",
            &["3.120.7.9", "10.0.1.5"],
            &["priv:dns+gateway", "vip"],
            Some("10.0.1.5"),
        ),
        (
            "a vip in a range beside a public default",
            &["3.120.7.9", "34.0.0.7"],
            &["pub:gateway+dns", "vip=3.120.7.1-3.120.7.20"],
            Some("34.0.0.7"),
        ),
        (
            "two manual, the default has the static address",
            &["10.0.0.5", "10.1.0.5"],
            &["a", "b:dns+gateway=10.1.0.5"],
            Some("10.1.0.5"),
        ),
        (
            "two manual, the other has the static address",
            &["10.0.0.5", "10.1.0.5"],
            &["a=10.0.0.5", "b:dns+gateway"],
            Some("10.1.0.5"),
        ),
        (
            "gateway goes before dns",
            &["10.0.0.5", "10.1.0.5"],
            &["a:dns=10.0.0.5", "b:gateway=10.1.0.5"],
            Some("10.1.0.5"),
        ),
        (
            "addressable goes before gateway",
            &["10.0.0.5", "10.1.0.5"],
            &["a:dns+gateway=10.0.0.5", "b:addressable=10.1.0.5"],
            Some("10.1.0.5"),
        ),
        ("a prefix beside an address", &["10.20.0.16/28", "10.244.0.34"], &["a:dns+gateway", "p"], Some("10.244.0.34")),
        ("a prefix alone", &["10.20.0.16/28"], &["p"], Some("10.20.0.16")),
        ("an IPv6 prefix beside IPv4", &["10.244.0.34", "fd00:1::/80"], &["a:dns+gateway", "p"], Some("10.244.0.34")),
        ("an IPv6 prefix beside IPv6", &["fd00:1::/80", "fd00:2::5"], &["a:dns+gateway", "p"], Some("fd00:2::5")),
        ("both families", &["10.0.0.5", "fd00::5"], &["a:dns+gateway", "six"], Some("10.0.0.5")),
        ("both families in one network", &["fd00::5", "10.0.0.5"], &["a"], Some("10.0.0.5")),
        ("IPv6 alone", &["fd00::5"], &["a"], Some("fd00::5")),
        ("the default is IPv6", &["10.0.0.5", "fd00::5"], &["a", "six:dns+gateway=fd00::5"], Some("fd00::5")),
        ("impossible ones beside a good one", &["0.0.0.0", "127.0.0.1", "10.0.0.5"], &["a"], Some("10.0.0.5")),
        ("impossible ones alone", &["127.0.0.1", "169.254.0.2"], &["a"], None),
        ("no networks are known", &["10.0.0.5", "10.1.0.5"], &[], Some("10.0.0.5")),
    ] {
        assert_eq!(reached(ips, networks, &[], &[]).as_deref(), expected, "{what}");
    }
}

#[test]
fn records_tell_the_network_of_an_address() {
    let networks = ["a", "My_Net:dns+gateway"];
    let recorded = [("a", "10.0.0.5"), ("my-net", "10.1.0.5")];
    assert_eq!(reached(&["10.0.0.5", "10.1.0.5"], &networks, &recorded, &[]).unwrap(), "10.1.0.5");
    let public = [("a", "10.0.0.5"), ("my-net", "34.0.0.7")];
    assert_eq!(reached(&["10.0.0.5", "34.0.0.7"], &networks, &public, &[]).unwrap(), "34.0.0.7");
    let only_private = [("priv", "10.0.1.5")];
    let vip = ["priv:dns+gateway", "vip"];
    assert_eq!(reached(&["3.120.7.9", "10.0.1.5"], &vip, &only_private, &[]).unwrap(), "10.0.1.5");
}

#[test]
fn records_tell_an_address_that_the_director_does_not() {
    assert_eq!(reached(&[], &["dyn"], &[("dyn", "10.0.0.9")], &[]).unwrap(), "10.0.0.9");
}

#[test]
fn the_cloud_config_tells_the_network_of_an_address() {
    let cloud = |name: &str, is_vip, range: &str| CloudNetwork {
        name: name.into(),
        is_vip,
        ranges: vec![range.parse().unwrap()],
    };
    let manual = [cloud("a", false, "10.0.0.0/24"), cloud("b", false, "10.1.0.0/24")];
    assert_eq!(reached(&["10.0.0.5", "10.1.0.5"], &["a", "b:dns+gateway"], &[], &manual).unwrap(), "10.1.0.5");
    let vip = [cloud("priv", false, "34.0.0.0/24"), cloud("vip", true, "3.0.0.0/24")];
    assert_eq!(reached(&["3.0.0.9", "34.0.0.5"], &["priv:dns+gateway", "vip"], &[], &vip).unwrap(), "34.0.0.5");
}

#[test]
fn an_instance_without_an_index_is_called_by_its_id() {
    let instance = Instance { group: "web".into(), id: "673e".into(), ..Instance::default() };
    assert_eq!(instance.title(), "web/673e");
    assert_eq!(Instance { index: Some(2), ..instance }.title(), "web/2");
}

#[test]
fn facts_that_an_older_pilot_kept_are_read() {
    let kept = r#"{"group":"web","index":1,"id":"u","az":null,"ips":["10.0.0.1"],"expects_vm":true}"#;
    let instance: Instance = serde_json::from_str(kept).unwrap();
    assert_eq!((instance.index, &instance.ips[..]), (Some(1), &[address("10.0.0.1")][..]));
}
