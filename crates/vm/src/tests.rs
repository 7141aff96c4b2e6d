use std::fs;

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::*;

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn facts(given: &str, recorded: &[&str], on_interfaces: &[&str], outside: &str) -> Facts {
    Facts {
        given: given.parse().ok(),
        recorded: ips(recorded),
        on_interfaces: ips(on_interfaces),
        towards_outside: outside.parse().ok(),
    }
}

fn chosen(facts: &Facts) -> Result<String, NoAddress> {
    choose(facts, VipRange::default()).map(|ip| ip.to_string())
}

const LOCAL: [&str; 4] = ["127.0.0.1", "::1", "fe80::1", "169.254.0.2"];

fn with_local(more: &[&'static str]) -> Vec<&'static str> {
    [&LOCAL[..], more].concat()
}

#[test]
fn each_source_counts_in_its_order_and_only_what_an_interface_bears() {
    let on = with_local(&["172.17.0.1", "10.0.1.5", "10.9.0.5", "3.120.7.9"]);
    let cases = [
        // The director's address is right.
        ("10.0.1.5", &["10.9.0.5"][..], "172.17.0.1", "10.0.1.5"),
        // On a dynamic network the director knows no address, or that of an earlier VM, or the 127.0.0.1 of its
        // templates.
        ("", &["10.9.0.5"], "172.17.0.1", "10.9.0.5"),
        ("10.0.1.77", &["10.9.0.5"], "", "10.9.0.5"),
        ("127.0.0.1", &["10.9.0.5"], "", "10.9.0.5"),
        // Two networks: the one that leads outside wins.
        ("", &["10.9.0.5", "10.0.1.5"], "10.0.1.5", "10.0.1.5"),
        ("", &["10.9.0.5", "10.0.1.5"], "", "10.9.0.5"),
        // A vip network, whose address is on no interface, or an additional IPv6 address.
        ("", &["34.1.2.3", "10.0.1.5"], "", "10.0.1.5"),
        ("fd00::5", &["fd00::5", "10.0.1.5"], "", "10.0.1.5"),
        // Nothing published: the source address of the default route, then the first address.
        ("", &[], "10.0.1.5", "10.0.1.5"),
        ("", &["10.0.1.99"], "10.9.0.5", "10.9.0.5"),
        ("", &[], "", "172.17.0.1"),
    ];
    for (given, recorded, outside, wanted) in cases {
        let facts = facts(given, recorded, &on, outside);
        assert_eq!(chosen(&facts), Ok(wanted.to_owned()), "{facts:?}");
    }
}

#[test]
fn without_an_ipv4_address_the_reason_is_told() {
    let only_ipv6 = facts("fd00::5", &["fd00::5"], &with_local(&["fd00::5"]), "");
    assert_eq!(chosen(&only_ipv6), Err(NoAddress::OnlyIpv6("fd00::5".parse().unwrap())));
    for nothing in
        [facts("", &[], &LOCAL, ""), facts("", &[], &[], ""), facts("0.0.0.0", &["255.255.255.255"], &[], "")]
    {
        assert_eq!(chosen(&nothing), Err(NoAddress::NotYet), "{nothing:?}");
    }
}

#[test]
fn an_address_that_is_given_and_not_there_yet_is_waited_for_unless_the_director_has_published_another() {
    for on in [with_local(&[]), with_local(&["10.9.0.5"])] {
        assert_eq!(chosen(&facts("10.0.1.5", &[], &on, "10.9.0.5")), Ok("10.0.1.5".to_owned()));
    }
    assert_eq!(chosen(&facts("10.0.1.5", &["10.9.0.5"], &with_local(&["10.9.0.5"]), "")), Ok("10.9.0.5".to_owned()));
}

#[test]
fn an_address_in_the_range_of_virtual_ips_is_no_address() {
    let range: VipRange = VipRange::parse("10.0.1.0/24").unwrap();
    let facts = facts("10.0.1.5", &[], &with_local(&["10.0.1.5"]), "10.0.1.5");
    assert_eq!(choose(&facts, range), Err(NoAddress::InRange("10.0.1.5".parse().unwrap(), range)));
}

#[test]
fn records_are_read_when_the_file_changes_and_a_torn_one_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records.json");
    let mut sources = Sources::new(Wanted { given: None, id: "AB-1".to_owned(), records: records.clone() });
    assert_eq!(sources.facts().recorded, ips(&[]));
    let file = |rows: &str| format!(r#"{{"version":1,"record_keys":["id","ip"],"record_infos":[{rows}]}}"#);
    fs::write(&records, file(r#"["ab-1","10.0.1.5"],["other","10.0.1.6"],["ab-1","10.20.0.16/28"]"#)).unwrap();
    assert_eq!(sources.facts().recorded, ips(&["10.0.1.5"]));
    fs::write(&records, "{").unwrap();
    assert_eq!(sources.facts().recorded, ips(&["10.0.1.5"]));
    fs::remove_file(&records).unwrap();
    assert_eq!(sources.facts().recorded, ips(&["10.0.1.5"]));
    // Reading a FIFO would wait for a writer.
    mkfifo(&records, Mode::S_IRWXU).unwrap();
    assert_eq!(sources.facts().recorded, ips(&["10.0.1.5"]));
    fs::remove_file(&records).unwrap();
    fs::write(&records, file(r#"["ab-1","10.0.1.55"],["other","10.0.1.6"]"#)).unwrap();
    assert_eq!(sources.facts().recorded, ips(&["10.0.1.55"]));
}

#[test]
fn this_machine_can_be_asked() {
    let mut sources = Sources::new(Wanted { given: None, id: "x".to_owned(), records: "/nonexistent".into() });
    let facts = sources.facts();
    assert!(facts.on_interfaces.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{facts:?}");
}
