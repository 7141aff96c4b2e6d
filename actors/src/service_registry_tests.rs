use std::{
    fs,
    net::IpAddr,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use actix_rt::System;
use boshy_mesh::{
    AgentReport, Deployment, FromLinks, Instance, InstanceGroup, Job, Moment, MtlsMode, Port, PortName, Protocol,
    Timestamp, TrustDomain, VipRange, VipShare,
};
use boshy_supervision::{ExitReason, Tree};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::{Clock, Stamp},
    kept_stages::KeptStages,
    modes::Progress,
    vip_pool::{self, VipPoolParts},
};

/// The outputs of a registry.
struct Published {
    snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    problems: Arc<ArcSwap<Vec<Problem>>>,
    /// Where agents report to this pilot.
    reports: AgentReports,
}

impl Published {
    fn services(&self) -> Vec<(String, String)> {
        let snapshot = self.snapshot.borrow();
        let services = snapshot.content.services.iter();
        services.map(|plan| (plan.host().to_string(), plan.service.origin.deployment.clone())).collect()
    }

    fn tunnelled(&self) -> Vec<String> {
        tunnelled(&self.snapshot.borrow())
    }

    /// Waits until these services are tunnelled.
    async fn becomes(&self, wanted: &[&str]) {
        let mut snapshot = self.snapshot.clone();
        let becomes = snapshot.wait_for(|snapshot| tunnelled(snapshot) == wanted);
        tokio::time::timeout(Duration::from_secs(20), becomes).await.unwrap().unwrap();
    }

    /// The instances that callers of the first service get.
    fn called(&self) -> Vec<String> {
        called(&self.snapshot.borrow())
    }

    /// Waits until callers of the first service get these instances.
    async fn calls(&self, wanted: &[&str]) {
        let mut snapshot = self.snapshot.clone();
        let becomes = snapshot.wait_for(|snapshot| called(snapshot) == wanted);
        tokio::time::timeout(Duration::from_secs(20), becomes).await.unwrap().unwrap();
    }

    fn told(&self) -> Vec<String> {
        self.problems.load().iter().map(|problem| problem.place.deployment.clone()).collect()
    }
}

fn called(snapshot: &MeshSnapshot) -> Vec<String> {
    let first = snapshot.content.services.first().into_iter();
    first.flat_map(|plan| plan.endpoints()).map(|endpoint| endpoint.workload.id.clone()).collect()
}

fn tunnelled(snapshot: &MeshSnapshot) -> Vec<String> {
    let tunnelled = snapshot.content.services.iter().filter(|plan| plan.tunnel.is_some());
    tunnelled.map(|plan| plan.host().to_string()).collect()
}

fn inventory<const N: usize>(deployments: [&str; N]) -> Arc<Inventory> {
    let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp, ingress: None };
    let deployment = |name: &str| {
        let job = Job { name: "app".into(), ports: vec![port.clone()], runtime_config: None };
        let group = InstanceGroup { name: "web".into(), jobs: vec![job], ..InstanceGroup::default() };
        Deployment { name: name.into(), groups: vec![group], ..Deployment::default() }
    };
    Arc::new(Inventory { deployments: deployments.map(deployment).into(), ..Inventory::default() })
}

/// Runs a registry and its pool, with the lease file at `file`, until the scenario has ended.
fn run<F: Future<Output = ()> + 'static>(
    file: &Path,
    scenario: impl FnOnce(ChildRef<ServiceRegistry>, Published) -> F,
) {
    run_with(file, None, scenario);
}

fn run_with<F: Future<Output = ()> + 'static>(
    file: &Path,
    mtls: Option<Modes>,
    scenario: impl FnOnce(ChildRef<ServiceRegistry>, Published) -> F,
) {
    System::new().block_on(async {
        let (tree, registry, published) = pilot(file, mtls);
        assert_eq!(tree.run_until(scenario(registry, published)).await, ExitReason::Normal);
    });
}

/// The part of a pilot that decides what is published.
fn pilot(file: &Path, mtls: Option<Modes>) -> (Tree, ChildRef<ServiceRegistry>, Published) {
    pilot_by(file, mtls, Clock::system())
}

fn pilot_by(file: &Path, mtls: Option<Modes>, clock: Clock) -> (Tree, ChildRef<ServiceRegistry>, Published) {
    let rules =
        LeaseRules { range: VipRange::default(), quarantine: Duration::from_secs(3600), share: VipShare::default() };
    let report = Arc::new(ArcSwap::from_pointee(vip_pool::unused(&rules)));
    let parts = VipPoolParts { file: file.to_owned(), rules, shared: None, clock: clock.clone(), report };
    let snapshot: Arc<watch::Sender<Arc<MeshSnapshot>>> = Arc::new(watch::Sender::new(Arc::default()));
    let reports = AgentReports::default();
    let published = Published { snapshot: snapshot.subscribe(), problems: Arc::default(), reports: reports.clone() };
    let mut tree = Tree::new("test");
    let pool = tree.child("vip_pool", move |_| VipPool::new(parts.clone())).add();
    let parts = ServiceRegistryParts {
        tld: Tld::default(),
        rules,
        pool,
        records: RecordsFile::new("/nowhere/records.json".into()),
        proxies: Proxies::default(),
        reports,
        snapshot,
        problems: Arc::clone(&published.problems),
        mtls,
        agreed: None,
        clock,
        observed: Arc::default(),
    };
    let registry = tree.child("service_registry", move |_| ServiceRegistry::new(parts.clone())).add();
    (tree, registry, published)
}

async fn observes(registry: &ChildRef<ServiceRegistry>, inventory: Arc<Inventory>) -> Result<(), RegistryError> {
    registry.send(InventoryObserved(inventory, Readings::new())).await.unwrap()
}

fn service(host: &str, deployment: &str) -> (String, String) {
    (format!("app.web.{host}.boshy"), deployment.to_owned())
}

#[test]
fn of_two_with_one_name_the_one_that_has_it_is_published_and_the_other_told_in_this_life_and_the_next() {
    let disk = TempDir::new().unwrap();
    let file = disk.path().join("leases");
    run(&file, async |registry, published| {
        observes(&registry, inventory(["shop_a"])).await.unwrap();
        observes(&registry, inventory(["shop-a", "shop_a"])).await.unwrap();
        assert_eq!(
            (published.services(), published.told()),
            (vec![service("shop-a", "shop_a")], vec!["shop-a".into()])
        );
    });
    run(&file, async |registry, published| {
        observes(&registry, inventory(["shop-a", "shop_a"])).await.unwrap();
        assert_eq!(
            (published.services(), published.told()),
            (vec![service("shop-a", "shop_a")], vec!["shop-a".into()])
        );
        observes(&registry, inventory(["shop-a"])).await.unwrap();
        assert_eq!((published.services(), published.told()), (vec![service("shop-a", "shop-a")], vec![]));
    });
}

#[test]
fn equal_facts_publish_nothing_and_facts_without_leases_neither() {
    let disk = TempDir::new().unwrap();
    let file = disk.path().join("leases");
    fs::create_dir(&file).unwrap();
    run(&file.clone(), async move |registry, published| {
        let error = observes(&registry, inventory(["shop"])).await.unwrap_err();
        assert!(matches!(error, RegistryError::Leases(_)), "{error}");
        assert_eq!(published.snapshot.borrow().generation, 0);
        fs::remove_dir(file).unwrap();
        observes(&registry, inventory(["shop"])).await.unwrap();
        observes(&registry, inventory(["shop"])).await.unwrap();
        assert_eq!((published.snapshot.borrow().generation, published.services()), (1, vec![service("shop", "shop")]));
    });
}

/// Modes whose clock leaves out so much time whenever it is looked at that nobody is waited for.
fn modes(mode: MtlsMode, file: &Path) -> Option<Modes> {
    let looks = AtomicI64::new(0);
    let clock = Clock::of(move || Stamp {
        moment: Moment(looks.fetch_add(1, Ordering::Relaxed) * 100_000),
        boot: None,
        wall: Timestamp::default(),
    });
    let kept = Arc::new(KeptStages::new(file.to_owned()));
    let (domain, from_links) = (TrustDomain::default(), FromLinks::default());
    Some(Modes { domain, mode, from_links, kept, clock, progress: Progress::default() })
}

#[test]
fn a_port_goes_on_from_where_it_was_in_the_life_before() {
    let disk = TempDir::new().unwrap();
    let (leases, tunnels) = (disk.path().join("leases"), disk.path().join("tunnels"));
    // What is published first in a life, and in the end.
    let life = |mode, inventory: Arc<Inventory>, last: &'static [&'static str]| {
        let first = Arc::new(std::sync::Mutex::new(Vec::new()));
        let result = Arc::clone(&first);
        run_with(&leases, modes(mode, &tunnels), async move |registry, published| {
            observes(&registry, inventory).await.unwrap();
            *result.lock().unwrap() = published.tunnelled();
            published.becomes(last).await;
        });
        Arc::try_unwrap(first).unwrap().into_inner().unwrap()
    };
    const SERVICE: &[&str] = &["app.web.shop.boshy"];
    let shop = || inventory(["shop"]);
    assert_eq!(life(MtlsMode::Permissive, shop(), &[]), [""; 0], "nobody has shown to be able");
    assert_eq!(life(MtlsMode::Strict, shop(), SERVICE), [""; 0], "callers use plaintext until they have heard");
    assert_eq!(life(MtlsMode::Permissive, shop(), SERVICE), SERVICE, "it was before");
    assert_eq!(life(MtlsMode::Permissive, inventory([]), &[]), [""; 0], "it is away");
    assert_eq!(life(MtlsMode::Permissive, shop(), SERVICE), SERVICE, "it is back");
    assert_eq!(life(MtlsMode::Disable, shop(), &[]), SERVICE, "callers use tunnels until they have heard");
    assert_eq!(life(MtlsMode::Permissive, shop(), &[]), [""; 0], "an operator has taken it back");
}

#[test]
fn what_cannot_be_kept_is_not_tunnelled_but_where_nothing_else_is_accepted() {
    let disk = TempDir::new().unwrap();
    let (leases, tunnels) = (disk.path().join("leases"), disk.path().join("tunnels"));
    fs::create_dir(&tunnels).unwrap();
    let strict = modes(MtlsMode::Strict, &tunnels);
    let progress = strict.as_ref().unwrap().progress.clone();
    run_with(&leases, strict, async |registry, published| {
        observes(&registry, inventory(["shop"])).await.unwrap();
        assert_eq!(published.tunnelled(), ["app.web.shop.boshy"]);
        observes(&registry, inventory(["shop", "blog"])).await.unwrap();
        assert_eq!(published.services().len(), 2, "what is no change of a mode does not wait");
    });
    let lack = progress.lack().unwrap();
    assert!(lack.what == "modes" && lack.reason.contains("Is a directory"), "{lack:?}");
    run_with(&leases, modes(MtlsMode::Permissive, &tunnels), async |registry, published| {
        observes(&registry, inventory(["shop"])).await.unwrap();
        assert_eq!(published.tunnelled(), [""; 0]);
    });
}

#[test]
fn a_permissive_service_is_tunnelled_at_each_of_two_pilots_once_all_its_agents_report_to_both_to_be_able() {
    let disk = TempDir::new().unwrap();
    let file = |name: &str| disk.path().join(name);
    System::new().block_on(async {
        let pilots = ["one", "other"]
            .map(|name| pilot(&file(name), modes(MtlsMode::Permissive, &file(&format!("{name}-tunnels")))));
        let reports = pilots.each_ref().map(|(_, _, published)| published.reports.clone());
        let told = |instance: &str, able| {
            reports.iter().for_each(|at| at.record(instance, AgentReport { able, ..AgentReport::default() }));
        };
        let snapshots = pilots.each_ref().map(|(_, _, published)| published.snapshot.clone());
        let [one, other] = pilots.map(|(tree, registry, published)| async move {
            let scenario = async {
                observes(&registry, with_instances(2)).await.unwrap();
                published.becomes(&["app.web.shop.boshy"]).await;
            };
            assert_eq!(tree.run_until(scenario).await, ExitReason::Normal);
        });
        let agents = async {
            told("0", true);
            told("1", false);
            for mut snapshot in snapshots {
                let first = snapshot.wait_for(|snapshot| snapshot.generation > 0).await.unwrap().clone();
                assert_eq!(tunnelled(&first), [""; 0], "one instance has no Envoy");
            }
            told("1", true);
        };
        futures::join!(one, other, agents);
    });
}

/// A deployment whose service has this number of instances.
fn with_instances(number: u8) -> Arc<Inventory> {
    let mut inventory = Arc::unwrap_or_clone(inventory(["shop"]));
    let instance = |index: u8| Instance {
        group: "web".into(),
        index: Some(index.into()),
        id: index.to_string(),
        ips: vec![IpAddr::from([10, 0, 0, index]).into()],
        expects_vm: true,
        ..Instance::default()
    };
    inventory.deployments[0].instances = (0..number).map(instance).collect();
    Arc::new(inventory)
}

#[test]
fn an_instance_that_is_about_to_stop_leaves_at_once_stays_away_over_reads_and_comes_back() {
    let disk = TempDir::new().unwrap();
    run(&disk.path().join("leases"), async |registry, published| {
        observes(&registry, with_instances(3)).await.unwrap();
        assert_eq!(published.called(), ["0", "1", "2"]);
        let asked = Instant::now();
        published.reports.record_stop("1", true);
        published.calls(&["0", "2"]).await;
        assert!(asked.elapsed() < LOOK, "after {:?}", asked.elapsed());

        // It does not flap: neither with a read of the director nor with a repetition.
        let generation = published.snapshot.borrow().generation;
        published.reports.record_stop("1", true);
        observes(&registry, with_instances(3)).await.unwrap();
        assert_eq!(
            (published.called(), published.snapshot.borrow().generation),
            (vec!["0".to_owned(), "2".to_owned()], generation)
        );
        observes(&registry, with_instances(4)).await.unwrap();
        assert_eq!(published.called(), ["0", "2", "3"]);
        // The director has it no longer, and has it again.
        observes(&registry, with_instances(1)).await.unwrap();
        assert_eq!(published.called(), ["0"]);
        observes(&registry, with_instances(2)).await.unwrap();
        assert_eq!(published.called(), ["0"]);

        published.reports.record_stop("1", false);
        published.calls(&["0", "1"]).await;
        // The last one stays, and so do all when all stop.
        for instance in ["0", "1"] {
            published.reports.record_stop(instance, true);
        }
        published.reports.record_stop("1", false);
        published.calls(&["1"]).await;
        published.reports.record_stop("1", true);
        published.calls(&["0", "1"]).await;
    });
}

#[test]
fn facts_are_not_gone_through_again_until_they_or_others_say_something_else_or_a_quarantine_moves_on() {
    let disk = TempDir::new().unwrap();
    let now = Arc::new(AtomicI64::new(0));
    let seen = Arc::clone(&now);
    let clock = Clock::of(move || Stamp {
        moment: Moment(seen.load(Ordering::Relaxed)),
        boot: Some("boot".into()),
        wall: Timestamp(0),
    });
    System::new().block_on(async {
        let (tree, registry, published) = pilot_by(&disk.path().join("leases"), None, clock);
        // Each round publishes its problems, though they be the same.
        let is_gone_through = async |facts: &Arc<Inventory>| {
            let before = published.problems.load_full();
            observes(&registry, Arc::clone(facts)).await.unwrap();
            !Arc::ptr_eq(&before, &published.problems.load_full())
        };
        let scenario = async {
            let (both, one) = (inventory(["blog", "shop"]), inventory(["shop"]));
            assert!(is_gone_through(&both).await, "it is new");
            assert!(is_gone_through(&both).await, "another snapshot was published");
            assert!(!is_gone_through(&both).await);
            registry.send(OthersChanged).await.unwrap();
            assert!(!is_gone_through(&both).await, "nothing has come of what others say");
            let before = published.problems.load_full();
            registry.send(OthersChanged).await.unwrap();
            assert!(!Arc::ptr_eq(&before, &published.problems.load_full()), "what others say is not in the facts");
            assert!(is_gone_through(&one).await, "a service is gone");
            assert!(is_gone_through(&one).await, "its address rests");
            assert!(!is_gone_through(&one).await);
            now.store(3_600_000 / 10, Ordering::Relaxed);
            assert!(is_gone_through(&one).await, "the progress of its quarantine is to be written");
            assert!(!is_gone_through(&one).await);
            assert!(is_gone_through(&both).await, "it is back");
        };
        assert_eq!(tree.run_until(scenario).await, ExitReason::Normal);
    });
}
