//! With a real file, and channels in place of relay and Envoy.

use std::{
    fs,
    future::Future,
    net::Ipv4Addr,
    path::PathBuf,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use boshy_mesh::{
    Endpoint, Hostname, MeshSnapshot, NodeId, Origin, Port, PortName, Protocol, Service, ServicePlan, Shared,
    SnapshotContent, Timestamp, Workload,
};
use boshy_supervision::{ExitReason, Tree};
use boshy_xds::{CAPTURE, Scope, SharedResources};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::{clock::Stamp, records_source::PERIOD};

/// `ID DEPLOYMENT GROUP IP`.
type Line = [&'static str; 4];

const WEB: Line = ["w0", "shop", "web", "10.0.0.1"];
const DB: Line = ["d0", "shop", "db", "10.0.0.2"];
const SWAPPED: [Line; 2] = [["w0", "shop", "web", "10.0.0.2"], ["d0", "shop", "db", "10.0.0.1"]];

/// A follower, and what is around it on a VM.
struct Vm {
    /// Seconds by its clock.
    now: Arc<AtomicI64>,
    folder: TempDir,
    served: watch::Sender<Arc<ResourceSet>>,
    exchange: watch::Sender<ExchangeStatus>,
    followed: watch::Sender<Arc<ResourceSet>>,
}

impl Vm {
    fn file(&self) -> PathBuf {
        self.folder.path().join("records.json")
    }

    fn gets(&self, version: u64, lines: &[Line]) {
        let row = |[id, deployment, group, ip]: &Line| format!(r#"["{id}","{deployment}","{group}","a","{ip}"]"#);
        let rows: Vec<_> = lines.iter().map(row).collect();
        let keys = r#"["id","deployment","instance_group","network","ip"]"#;
        let text = format!(r#"{{"version":{version},"record_keys":{keys},"record_infos":[{}]}}"#, rows.join(","));
        let next = self.folder.path().join("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, self.file()).unwrap();
    }

    /// Both services have these endpoints, by the pilot's word.
    fn is_told(&self, web: &str, db: &str) {
        let services = [plan("app.db.shop.boshy", db), plan("app.web.shop.boshy", web)].into();
        let content = SnapshotContent { services, ..SnapshotContent::default() };
        let snapshot = MeshSnapshot { generation: 1, hash: String::new(), content };
        let node = NodeId::sidecar([10, 0, 0, 9].into(), "id", "boshy");
        let set = SharedResources::build(&snapshot, None, CAPTURE).for_node(&node, Scope::Plain);
        self.served.send_replace(Arc::new(set));
    }

    fn passes(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn hears(&self, pilot: bool) {
        self.exchange.send_modify(|status| status.pilot = pilot.then(|| "pilot".to_owned()));
    }

    /// Waits until Envoy gets these endpoints.
    async fn serves(&self, web: &str, db: &str) {
        let mut followed = self.followed.subscribe();
        let serves = |set: &Arc<ResourceSet>| shown(set) == listed(web, db);
        let served = timeout(Duration::from_secs(60), followed.wait_for(serves)).await;
        assert!(served.is_ok(), "{:?}", shown(&self.followed.borrow()));
    }

    /// Waits until it has looked at the file again, and says what Envoy gets then.
    async fn still_serves(&self, web: &str, db: &str) {
        tokio::time::sleep(PERIOD * 3).await;
        assert_eq!(shown(&self.followed.borrow()), listed(web, db));
    }
}

fn plan(host: &str, ip: &str) -> Shared<ServicePlan> {
    let host = Hostname::parse(host).unwrap();
    let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp, ingress: None };
    let endpoint = Endpoint { ip: ip.parse().unwrap(), workload: Shared::new(Workload::default()) };
    let origin = Origin { deployment: "shop".into(), group: "any".into(), job: "app".into() };
    let service = Service { host, origin, ports: vec![port], endpoints: vec![endpoint] };
    Shared::new(ServicePlan { service, vip: Ipv4Addr::new(169, 254, 255, 2), tunnel: None, withdrawn: BTreeSet::new() })
}

/// `db IPS web IPS`, without a service that has none.
fn listed(web: &str, db: &str) -> String {
    let services = [("db", db), ("web", web)].into_iter().filter(|(_, ip)| !ip.is_empty());
    services.map(|(group, ip)| format!("{group} {ip}")).collect::<Vec<_>>().join(" ")
}

/// The same of a set.
fn shown(set: &Arc<ResourceSet>) -> String {
    let mut shown = Vec::new();
    let _ = with_edited_endpoints(
        set,
        |_| true,
        |host, ips| {
            let ips: Vec<_> = ips.iter().map(ToString::to_string).collect();
            shown.push(format!("{} {}", host.split('.').nth(1).unwrap_or_default(), ips.join(",")));
            None
        },
    );
    shown.sort();
    shown.join(" ")
}

fn with_follower<F: Future<Output = ()>>(test: impl FnOnce(Vm) -> F) {
    let folder = tempfile::tempdir().unwrap();
    actix_rt::System::new().block_on(async {
        let now = Arc::new(AtomicI64::new(1000));
        let vm = Vm {
            now: Arc::clone(&now),
            folder,
            served: watch::Sender::default(),
            exchange: watch::Sender::default(),
            followed: watch::Sender::default(),
        };
        let parts = EndpointFollowerParts {
            served: vm.served.subscribe(),
            exchange: vm.exchange.subscribe(),
            records: RecordsSource::new(vm.file(), View::read),
            clock: Clock::of(move || {
                let moment = Moment(now.load(Ordering::SeqCst) * 1000);
                Stamp { moment, boot: None, wall: Timestamp(0) }
            }),
            followed: vm.followed.clone(),
        };
        let mut tree = Tree::new("test");
        tree.task("endpoint_follower", move |heart| follow(parts.clone(), heart)).add();
        assert_eq!(tree.run_until(test(vm)).await, ExitReason::Normal);
    });
}

#[test]
fn two_vms_that_swap_addresses_while_the_pilot_is_away_are_followed() {
    with_follower(async |vm| {
        vm.gets(1, &[WEB, DB]);
        vm.hears(true);
        vm.is_told("10.0.0.1", "10.0.0.2");
        vm.serves("10.0.0.1", "10.0.0.2").await;
        vm.passes(20);
        vm.still_serves("10.0.0.1", "10.0.0.2").await;
        vm.hears(false);
        vm.still_serves("10.0.0.1", "10.0.0.2").await;
        vm.passes(20);
        vm.gets(2, &SWAPPED);
        vm.serves("10.0.0.2", "10.0.0.1").await;
        // None of these is newer.
        fs::write(vm.file(), "{").unwrap();
        vm.still_serves("10.0.0.2", "10.0.0.1").await;
        vm.gets(1, &[WEB, DB]);
        vm.still_serves("10.0.0.2", "10.0.0.1").await;
        fs::remove_file(vm.file()).unwrap();
        vm.still_serves("10.0.0.2", "10.0.0.1").await;
        // The pilot comes back, and knows more.
        vm.hears(true);
        vm.is_told("10.0.0.5", "10.0.0.1");
        vm.serves("10.0.0.5", "10.0.0.1").await;
    });
}

#[test]
fn after_a_start_without_a_pilot_an_address_that_is_anothers_by_now_leads_nowhere() {
    with_follower(async |vm| {
        vm.gets(7, &[["d0", "shop", "db", "10.0.0.1"]]);
        vm.is_told("10.0.0.1", "10.0.0.2");
        vm.serves("", "10.0.0.2").await;
    });
}

#[test]
fn without_a_file_the_pilots_word_is_passed_on_as_it_is() {
    with_follower(async |vm| {
        vm.is_told("10.0.0.1", "10.0.0.2");
        vm.serves("10.0.0.1", "10.0.0.2").await;
        assert!(Arc::ptr_eq(&vm.followed.borrow(), &vm.served.borrow()));
        vm.is_told("10.0.0.3", "10.0.0.2");
        vm.serves("10.0.0.3", "10.0.0.2").await;
    });
}
