//! Several pilots agree on leases in the configs of a director that serializes nobody, as the real one.

#![allow(clippy::unwrap_used, reason = "a helper of tests fails the test")]

mod common;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use boshy_agreement::{Decided, Ledger, News, Phase, Proposal};
use boshy_director::lease_log::{LEASE_CONFIG_TYPE, LeaseLog};
use boshy_lab_director::{Fault, Handle};
use boshy_mesh::{AgreedLease, Hostname, LeaseTable};
use common::{client, director, on_actix};
use futures::future::join_all;

const POST: &str = "POST /configs";
const READ: &str = "GET /configs";

/// A pilot that wants an address for each of its services.
struct Pilot {
    name: String,
    log: LeaseLog,
    ledger: Ledger<LeaseTable>,
    /// Every table that it has used.
    used: Vec<LeaseTable>,
}

impl Pilot {
    fn new(director: &Handle, name: &str) -> Self {
        let log = LeaseLog::new(Arc::new(client(director)), "mesh");
        Self { name: name.to_owned(), log, ledger: Ledger::new(None), used: Vec::new() }
    }

    fn latest(&self) -> LeaseTable {
        self.ledger.latest().map(|latest| latest.value.clone()).unwrap_or_default()
    }

    fn record(&mut self, decided: Decided<LeaseTable>) {
        self.used.push(decided.value.clone());
        self.ledger.record(decided);
    }

    /// Gets the first free address for a service. All pilots choose the same one.
    async fn lease(&mut self, service: &str) {
        let host = Hostname::parse(&format!("{service}.{}.shop.boshy", self.name)).unwrap();
        while !self.latest().iter().any(|(_, lease)| lease.host == host) {
            let known = self.latest();
            let free = (1..)
                .map(|last| Ipv4Addr::new(10, 0, 0, last))
                .find(|vip| known.iter().all(|(known, _)| known != *vip));
            let lease = (free.unwrap(), AgreedLease { host: host.clone(), owner: None, released: false });
            let table = LeaseTable::new(known.iter().map(|(vip, lease)| (vip, lease.clone())).chain([lease]));
            let proposal = Proposal::new(self.ledger.next_slot(), self.name.clone(), table);
            // A request without an answer is repeated: it may have taken effect or not.
            if let Ok(Some(decided)) = self.log.agree(proposal).await {
                self.record(decided);
            }
        }
    }

    async fn lease_all(&mut self) {
        for service in ["a", "b", "c", "d"] {
            self.lease(service).await;
        }
    }

    /// Reads the log, and puts back what it has lost.
    async fn look(&mut self) {
        match self.ledger.compare(&self.log.read().await.unwrap().rows, &self.name) {
            News::Same => {}
            News::Later(decided) => self.record(decided),
            News::Lost(row) => self.log.append(&row).await.unwrap(),
            News::Forked(other) => panic!("{other:?}"),
        }
    }
}

async fn compete(director: &Handle) -> Vec<Pilot> {
    let mut pilots: Vec<_> = ["x", "y", "z"].map(|name| Pilot::new(director, name)).into();
    join_all(pilots.iter_mut().map(Pilot::lease_all)).await;
    join_all(pilots.iter_mut().map(Pilot::look)).await;
    pilots
}

/// Fails when two tables that any pilot has used at any time give an address to two names, or a name two addresses.
fn assert_that_no_address_moved(pilots: &[Pilot]) {
    let used = || pilots.iter().flat_map(|pilot| &pilot.used);
    let last = used().max_by_key(|table| table.iter().len()).unwrap();
    for table in used() {
        assert!(table.iter().all(|lease| last.iter().any(|other| other == lease)), "{table:?} {last:?}");
    }
    let mut hosts: Vec<_> = last.iter().map(|(_, lease)| &lease.host).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(hosts.len(), last.iter().len());
}

fn late() -> Fault {
    Fault::LateConfig(Duration::from_millis(4))
}

#[test]
fn three_pilots_agree_although_the_director_tells_several_that_they_were_first() {
    on_actix(async {
        let director = director();
        director.inject_on(POST, late(), None);
        let pilots = compete(&director).await;
        assert_that_no_address_moved(&pilots);
        assert!(pilots.iter().all(|pilot| pilot.latest().iter().len() == 12));
        let versions = client(&director).config_versions(LEASE_CONFIG_TYPE, "mesh", 10_000).await.unwrap();
        let competed = versions.iter().filter(|version| version.content.contains("\"adopt\"")).count();
        println!("{} rows for 12 leases, {competed} of them because proposals differed", versions.len());
        assert!(competed > 0, "the pilots did not compete");
    });
}

#[test]
fn answers_that_are_lost_change_nothing() {
    on_actix(async {
        let director = director();
        director.inject_on(POST, late(), None);
        for _ in 0..20 {
            director.inject_on(POST, Fault::TruncatedBody, Some(1));
            director.inject_on(READ, Fault::TruncatedBody, Some(1));
        }
        let pilots = compete(&director).await;
        assert_that_no_address_moved(&pilots);
        assert!(pilots.iter().all(|pilot| pilot.latest().iter().len() == 12));
    });
}

#[test]
fn a_table_that_an_operator_deletes_comes_back() {
    on_actix(async {
        let director = director();
        let mut pilots = compete(&director).await;
        let before = pilots[0].latest();
        let rows = pilots[0].log.read().await.unwrap().rows;
        let decided = rows.iter().filter(|row| row.phase == Phase::Decide).max_by_key(|row| row.slot).unwrap();
        assert_eq!(decided.value, before);
        director.delete_config(LEASE_CONFIG_TYPE, "mesh");
        assert!(pilots[0].log.read().await.unwrap().rows.is_empty());
        pilots[1].look().await;
        let mut newcomer = Pilot::new(&director, "w");
        newcomer.look().await;
        assert_eq!(newcomer.latest(), before);
        newcomer.lease("e").await;
        join_all(pilots.iter_mut().map(Pilot::look)).await;
        pilots.push(newcomer);
        assert_that_no_address_moved(&pilots);
        assert!(pilots.iter().all(|pilot| pilot.latest().iter().len() == 13));
    });
}

#[test]
fn a_version_that_is_no_row_is_named_and_nothing_is_decided() {
    on_actix(async {
        let director = director();
        director.configure(LEASE_CONFIG_TYPE, "mesh", "leases: []").unwrap();
        let log = LeaseLog::new(Arc::new(client(&director)), "mesh");
        let refused = log.read().await.unwrap_err().to_string();
        assert!(refused.contains("`bosh delete-config"), "{refused}");
    });
}
