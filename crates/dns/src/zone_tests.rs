use super::*;
use crate::testing::{HTTPBIN, HTTPBIN_VIP, table, zone};

fn lookup<'z>(zone: &'z Zone, name: &str, qtype: u16) -> Lookup<'z> {
    zone.lookup(&wire::lower_name(name).unwrap(), qtype)
}

#[test]
fn a_known_name_has_its_address_for_a_and_no_data_for_other_types() {
    let zone = zone();
    let Lookup::Address(record) = lookup(&zone, "httpbin.banana.sample.boshy", rtype::A) else { panic!("no address") };
    assert_eq!(record.address(), HTTPBIN_VIP);
    assert_eq!(lookup(&zone, "httpbin.banana.sample.boshy", 28), Lookup::NoData);
}

#[test]
fn rfc8482_4_1_any_is_answered_with_the_address() {
    assert!(matches!(lookup(&zone(), "httpbin.banana.sample.boshy", rtype::ANY), Lookup::Address(_)));
}

#[test]
fn rfc8020_2_the_ancestors_of_a_name_exist() {
    for inner in ["banana.sample.boshy", "sample.boshy"] {
        for qtype in [rtype::A, rtype::ANY, 28] {
            assert_eq!(lookup(&zone(), inner, qtype), Lookup::NoData, "{inner} {qtype}");
        }
    }
}

#[test]
fn rfc2308_2_1_an_unknown_name_in_the_zone_does_not_exist() {
    for unknown in ["nope.boshy", "apple.sample.boshy", "x.httpbin.banana.sample.boshy"] {
        assert_eq!(lookup(&zone(), unknown, rtype::A), Lookup::NxDomain, "{unknown}");
    }
}

#[test]
fn another_zone_is_none_of_ours_even_when_its_octets_end_alike() {
    let zone = zone();
    for outside in ["example.org", "notboshy", "boshy.org", "com"] {
        assert_eq!(lookup(&zone, outside, rtype::A), Lookup::OutOfZone, "{outside}");
    }
    assert_eq!(zone.lookup(b"\x08ab\x05boshy\0", rtype::A), Lookup::OutOfZone);
    assert_eq!(zone.lookup(b"\0", rtype::A), Lookup::OutOfZone);
}

#[test]
fn the_zone_itself_has_soa_and_ns_and_nothing_else() {
    let zone = zone();
    assert_eq!(lookup(&zone, "boshy", rtype::SOA), Lookup::Soa);
    assert_eq!(lookup(&zone, "boshy", rtype::ANY), Lookup::Soa);
    assert_eq!(lookup(&zone, "boshy", rtype::NS), Lookup::Ns);
    assert_eq!(lookup(&zone, "boshy", rtype::A), Lookup::NoData);
}

#[test]
fn a_name_that_is_also_an_ancestor_keeps_its_address_whichever_comes_first() {
    let names = table(&[
        ("b.boshy", Ipv4Addr::new(10, 0, 0, 1)),
        ("a.b.boshy", Ipv4Addr::new(10, 0, 0, 2)),
        ("z.a.b.boshy", Ipv4Addr::new(10, 0, 0, 3)),
    ]);
    let zone = Zone::build(&names, &Tld::default(), 1);
    for name in ["b.boshy", "a.b.boshy", "z.a.b.boshy"] {
        assert!(matches!(lookup(&zone, name, rtype::A), Lookup::Address(_)), "{name}");
    }
    assert_eq!(zone.len(), 3);
}

#[test]
fn names_outside_the_zone_are_left_out() {
    let names = table(&[
        ("a.b.c.boshy", Ipv4Addr::new(10, 0, 0, 1)),
        ("a.b.c.example", Ipv4Addr::new(10, 0, 0, 2)),
        ("boshy", Ipv4Addr::new(10, 0, 0, 3)),
    ]);
    let zone = Zone::build(&names, &Tld::default(), 1);
    assert_eq!(zone.len(), 1);
    assert_eq!(lookup(&zone, "boshy", rtype::A), Lookup::NoData);
}

#[test]
fn nothing_known_yet_is_not_the_same_as_no_names() {
    let zone = Zone::not_known_yet(&Tld::default());
    assert_eq!(lookup(&zone, "a.b.c.boshy", rtype::A), Lookup::NotKnownYet);
    assert_eq!(lookup(&zone, "boshy", rtype::SOA), Lookup::NotKnownYet);
    assert_eq!(lookup(&zone, "example.org", rtype::A), Lookup::OutOfZone);
    assert_eq!(
        lookup(&Zone::build(&NameTable::default(), &Tld::default(), 1), "a.b.c.boshy", rtype::A),
        Lookup::NxDomain
    );
}

#[test]
fn the_mailbox_is_the_same_in_both_forms() {
    assert_eq!(wire::lower_name(SOA_MAILBOX).unwrap(), MAILBOX);
}

#[test]
fn rfc1035_2_3_4_a_zone_name_that_dns_cannot_carry_holds_nothing() {
    let tld = Tld::new(&["z".repeat(63), "y".repeat(63), "x".repeat(63), "w".repeat(63)].join(".")).unwrap();
    for zone in [Zone::build(&table(&[("a.b.c.boshy", HTTPBIN_VIP)]), &tld, 1), Zone::not_known_yet(&tld)] {
        for name in [&b"\0"[..], b"\x05boshy\0", b"\x01a\x01b\x01c\x05boshy\0"] {
            assert_eq!(zone.lookup(name, rtype::A), Lookup::OutOfZone);
        }
    }
}

#[test]
fn a_name_that_is_awaited_is_not_denied_and_takes_nothing_from_those_that_are_there() {
    let awaited =
        table(&[(HTTPBIN, HTTPBIN_VIP), ("late.banana.sample.boshy.", HTTPBIN_VIP), ("x.other.", HTTPBIN_VIP)]);
    let zone = zone().awaiting(&awaited);
    let lookup = |name: &str, qtype| zone.lookup(&wire::lower_name(name).unwrap(), qtype);
    for qtype in [rtype::A, 28] {
        assert_eq!(lookup("late.banana.sample.boshy", qtype), Lookup::NotKnownYet);
    }
    assert!(matches!(lookup(HTTPBIN, rtype::A), Lookup::Address(_)));
    assert_eq!(lookup("later.banana.sample.boshy", rtype::A), Lookup::NxDomain);
    assert_eq!(zone.len(), 1);
}
