use std::{collections::BTreeSet, sync::Arc};

use boshy_mesh::{Claim, Claims, LeaseRules, Tld, VipRange, VipShare};
use proptest::prelude::*;

use super::*;

/// Written by a pilot that did not record owners: three names held, one in quarantine.
const WITHOUT_OWNERS: &[u8] = include_bytes!("../../tests/fixtures/state/leases-without-owners");
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: i64 = 60_000;

fn stamp(moment: i64, boot: &str, wall: u64) -> Stamp {
    Stamp { moment: Moment(moment), boot: Some(Arc::from(boot)), wall: Timestamp(wall) }
}

fn origin(deployment: &str, number: u8) -> Origin {
    Origin { deployment: deployment.into(), group: format!("g{number}"), job: "job".into() }
}

fn claims(origins: impl IntoIterator<Item = Origin>) -> Claims {
    let mut claims = Claims::new();
    for origin in origins {
        let host = Hostname::of_service(&origin.job, &origin.group, &origin.deployment, &Tld::default()).unwrap();
        claims.entry(host).or_default().push(Claim { owner: origin, formerly: Vec::new() });
    }
    claims
}

fn rules() -> LeaseRules {
    LeaseRules { range: VipRange::default(), quarantine: HOUR, share: VipShare::default() }
}

fn next(leases: &Leases, claims: &Claims, at: i64) -> Leases {
    leases.reconcile(claims, &rules(), Moment(at), &BTreeSet::new()).leases
}

/// A name held by a second owner, while the address of its first owner is in quarantine.
fn inherited(at: i64) -> Leases {
    let first = next(&Leases::default(), &claims([origin("d", 1), origin("d", 2)]), 0);
    next(&first, &claims([origin("D", 1)]), at)
}

fn released(leases: &Leases) -> Vec<Moment> {
    leases.resting().map(|(_, at)| at).collect()
}

#[test]
fn a_table_comes_back_as_it_was_with_owners_and_with_what_rests() {
    let table = inherited(MINUTE);
    let stamp = stamp(2 * MINUTE, "boot", 1000);
    assert_eq!(unseal(&seal(&table, &stamp), &stamp).unwrap(), table);
    assert_eq!((table.held(), released(&table).len()), (1, 2));
}

#[test]
fn any_changed_octet_is_noticed() {
    let stamp = stamp(2 * MINUTE, "boot", 1000);
    let good = seal(&inherited(MINUTE), &stamp);
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 1;
        assert!(unseal(&bad, &stamp).is_err(), "octet {index}");
    }
}

#[test]
fn a_rest_goes_on_over_a_restart_and_no_clock_that_is_set_shortens_it() {
    let table = inherited(10 * MINUTE);
    let written = seal(&table, &stamp(15 * MINUTE, "boot", 1_000_000));
    for wall in [0, 1_000_000, u64::MAX] {
        let read = unseal(&written, &stamp(20 * MINUTE, "boot", wall)).unwrap();
        assert_eq!(released(&read), released(&table), "in the same run of the machine: 10 minutes");
        let read = unseal(&written, &stamp(2 * MINUTE, "another", wall)).unwrap();
        assert_eq!(released(&read), [Moment(-3 * MINUTE); 2], "in another run: 5 minutes and what follows");
        let read = unseal(&written, &stamp(MINUTE, "boot", wall)).unwrap();
        assert_eq!(released(&read), [Moment(-4 * MINUTE); 2], "the clock went back, as none does: 5 minutes as well");
    }
}

#[test]
fn a_table_from_before_owners_keeps_every_address_and_each_name_gets_the_owner_that_has_it_now() {
    let now = stamp(MINUTE, "boot", 1_795_000_601);
    let old = unseal(WITHOUT_OWNERS, &now).unwrap();
    let vips = |leases: &Leases| leases.iter().map(|(vip, lease)| (vip, lease.host.clone())).collect::<Vec<_>>();
    assert_eq!((old.held(), old.iter().len()), (3, 4));
    assert!(old.iter().all(|(_, lease)| lease.owner.is_none()));
    let of = |deployment: &str, group: &str, job: &str| Origin {
        deployment: deployment.into(),
        group: group.into(),
        job: job.into(),
    };
    let known = [of("shop_a", "web", "app"), of("blog", "web", "app"), of("shop_a", "web_1", "api")];
    let adopted = next(&old, &claims(known.clone()), MINUTE);
    assert_eq!(vips(&adopted), vips(&old));
    assert_eq!(adopted.held(), 3);
    let again = unseal(&seal(&adopted, &now), &now).unwrap();
    let newcomer = of("shop-a", "web", "app");
    let both = next(&again, &claims([vec![newcomer], known.to_vec()].concat()), 2 * MINUTE);
    assert_eq!(both, again, "who has it keeps it");
    let host = Hostname::parse("app.web.shop-a.boshy").unwrap();
    assert_eq!(both.holder(&host).unwrap().owner, Some(of("shop_a", "web", "app")));
}

#[test]
fn what_rests_in_a_table_from_before_begins_its_rest_anew() {
    let old = unseal(WITHOUT_OWNERS, &stamp(MINUTE, "boot", u64::MAX)).unwrap();
    assert_eq!(released(&old), [Moment(MINUTE)]);
}

/// An entry as a pilot of the first release parses it.
#[derive(Deserialize)]
struct FirstEntry {
    host: String,
    vip: Ipv4Addr,
    state: State,
}

#[test]
fn a_pilot_of_the_first_release_finds_every_held_address_in_a_table_of_today() {
    let table = inherited(10 * MINUTE);
    let written = seal(&table, &stamp(15 * MINUTE, "boot", 1_000_000));
    let entries: Vec<FirstEntry> = FORMAT.unseal_json(&written).unwrap();
    assert!(entries.iter().any(|entry| entry.state == State::Released(Timestamp(1_000_000 - 300))));
    // It uses the last entry of a name.
    let last: std::collections::BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.host.clone(), entry)).collect();
    let held = last.values().filter(|entry| entry.state == State::Held).map(|entry| (entry.host.clone(), entry.vip));
    let wanted = table.iter().filter(|(_, lease)| lease.state == LeaseState::Held);
    assert!(held.eq(wanted.map(|(vip, lease)| (lease.host.to_string(), vip))));
}

#[test]
fn a_table_that_contradicts_itself_is_refused() {
    let stamp = stamp(0, "boot", 0);
    let entry = |host: &str, vip: u8| Entry {
        host: host.into(),
        vip: Ipv4Addr::new(169, 254, 255, vip),
        state: State::Held,
        owner: None,
        rest: None,
    };
    let shared = FORMAT.seal_json(&[entry("a.b.c.boshy", 1), entry("d.e.f.boshy", 1)]);
    assert_eq!(
        unseal(&shared, &stamp).unwrap_err().to_string(),
        "gives one address to both a.b.c.boshy and d.e.f.boshy"
    );
    let twice = FORMAT.seal_json(&[entry("a.b.c.boshy", 1), entry("a.b.c.boshy", 2)]);
    assert_eq!(
        unseal(&twice, &stamp).unwrap_err().to_string(),
        "gives a.b.c.boshy both 169.254.255.1 and 169.254.255.2"
    );
}

proptest! {
    /// A pilot that restarts after every change decides like one that never restarts.
    #[test]
    fn a_restart_changes_nothing(
        steps in prop::collection::vec(
            (prop::collection::btree_set((any::<bool>(), 0u8..20), 0..16), 0i64..90 * MINUTE, 0u64..3_000_000_000), 1..20,
        ),
    ) {
        let (mut steady, mut restarted, mut now) = (Leases::default(), Leases::default(), 0);
        for (by, pause, wall) in steps {
            now += pause;
            let claims = claims(by.iter().map(|(upper, number)| origin(if *upper { "D" } else { "d" }, *number)));
            steady = next(&steady, &claims, now);
            restarted = next(&restarted, &claims, now);
            prop_assert_eq!(&steady, &restarted);
            let stamp = stamp(now, "boot", wall);
            restarted = unseal(&seal(&restarted, &stamp), &stamp).unwrap();
        }
    }
}
