use super::*;
use crate::testing::{HTTPBIN, HTTPBIN_VIP, table, zone};

fn decide<'z>(zone: &'z Zone, name: &str, kind: u16) -> Verdict<'z> {
    zone.decide(&wire::lower_name(name).unwrap(), kind)
}

#[test]
fn a_known_name_has_its_address_for_a_and_no_data_for_other_types() {
    let zone = zone();
    let Verdict::Address(record) = decide(&zone, "httpbin.banana.sample.boshy", kind::A) else { panic!("no address") };
    assert_eq!(record.address(), HTTPBIN_VIP);
    assert_eq!(decide(&zone, "httpbin.banana.sample.boshy", 28), Verdict::NoData);
}

#[test]
fn rfc8482_4_1_any_is_answered_with_the_address() {
    assert!(matches!(decide(&zone(), "httpbin.banana.sample.boshy", kind::ANY), Verdict::Address(_)));
}

#[test]
fn rfc8020_2_the_ancestors_of_a_name_exist() {
    for inner in ["banana.sample.boshy", "sample.boshy"] {
        for kind in [kind::A, kind::ANY, 28] {
            assert_eq!(decide(&zone(), inner, kind), Verdict::NoData, "{inner} {kind}");
        }
    }
}

#[test]
fn rfc2308_2_1_an_unknown_name_in_the_zone_does_not_exist() {
    for unknown in ["nope.boshy", "apple.sample.boshy", "x.httpbin.banana.sample.boshy"] {
        assert_eq!(decide(&zone(), unknown, kind::A), Verdict::NoName, "{unknown}");
    }
}

#[test]
fn another_zone_is_none_of_ours_even_when_its_octets_end_alike() {
    let zone = zone();
    for outside in ["example.org", "notboshy", "boshy.org", "com"] {
        assert_eq!(decide(&zone, outside, kind::A), Verdict::Outside, "{outside}");
    }
    assert_eq!(zone.decide(b"\x08ab\x05boshy\0", kind::A), Verdict::Outside);
    assert_eq!(zone.decide(b"\0", kind::A), Verdict::Outside);
}

#[test]
fn the_zone_itself_has_soa_and_ns_and_nothing_else() {
    let zone = zone();
    assert_eq!(decide(&zone, "boshy", kind::SOA), Verdict::Soa);
    assert_eq!(decide(&zone, "boshy", kind::ANY), Verdict::Soa);
    assert_eq!(decide(&zone, "boshy", kind::NS), Verdict::Ns);
    assert_eq!(decide(&zone, "boshy", kind::A), Verdict::NoData);
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
        assert!(matches!(decide(&zone, name, kind::A), Verdict::Address(_)), "{name}");
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
    assert_eq!(decide(&zone, "boshy", kind::A), Verdict::NoData);
}

#[test]
fn nothing_known_yet_is_not_the_same_as_no_names() {
    let zone = Zone::not_known_yet(&Tld::default());
    assert_eq!(decide(&zone, "a.b.c.boshy", kind::A), Verdict::NotKnown);
    assert_eq!(decide(&zone, "boshy", kind::SOA), Verdict::NotKnown);
    assert_eq!(decide(&zone, "example.org", kind::A), Verdict::Outside);
    assert_eq!(
        decide(&Zone::build(&NameTable::default(), &Tld::default(), 1), "a.b.c.boshy", kind::A),
        Verdict::NoName
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
            assert_eq!(zone.decide(name, kind::A), Verdict::Outside);
        }
    }
}

#[test]
fn a_name_that_is_awaited_is_not_denied_and_takes_nothing_from_those_that_are_there() {
    let awaited =
        table(&[(HTTPBIN, HTTPBIN_VIP), ("late.banana.sample.boshy.", HTTPBIN_VIP), ("x.other.", HTTPBIN_VIP)]);
    let zone = zone().awaiting(&awaited);
    let decide = |name: &str, kind| zone.decide(&wire::lower_name(name).unwrap(), kind);
    for kind in [kind::A, 28] {
        assert_eq!(decide("late.banana.sample.boshy", kind), Verdict::NotKnown);
    }
    assert!(matches!(decide(HTTPBIN, kind::A), Verdict::Address(_)));
    assert_eq!(decide("later.banana.sample.boshy", kind::A), Verdict::NoName);
    assert_eq!(zone.len(), 1);
}
