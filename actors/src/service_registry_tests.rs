use std::{fs, path::Path, time::Duration};

use actix_rt::System;
use boshy_mesh::{Deployment, InstanceGroup, Job, Port, PortName, Protocol, VipRange, VipShare};
use boshy_supervision::{ExitReason, Tree};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::Clock,
    vip_pool::{self, VipPoolParts},
};

/// The outputs of a registry.
struct Published {
    snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    problems: Arc<ArcSwap<Vec<Problem>>>,
}

impl Published {
    fn services(&self) -> Vec<(String, String)> {
        let snapshot = self.snapshot.borrow();
        let services = snapshot.content.services.iter();
        services.map(|plan| (plan.host().to_string(), plan.service.origin.deployment.clone())).collect()
    }

    fn tunnelled(&self) -> Vec<String> {
        let snapshot = self.snapshot.borrow();
        let tunnelled = snapshot.content.services.iter().filter(|plan| plan.tunnel.is_some());
        tunnelled.map(|plan| plan.host().to_string()).collect()
    }

    fn told(&self) -> Vec<String> {
        self.problems.load().iter().map(|problem| problem.place.deployment.clone()).collect()
    }
}

fn inventory<const N: usize>(deployments: [&str; N]) -> Arc<Inventory> {
    let port = Port { name: PortName::new("http").unwrap(), number: 80, protocol: Protocol::Tcp };
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
    mtls: Option<Mtls>,
    scenario: impl FnOnce(ChildRef<ServiceRegistry>, Published) -> F,
) {
    let rules =
        LeaseRules { range: VipRange::default(), quarantine: Duration::from_secs(3600), share: VipShare::default() };
    let report = Arc::new(ArcSwap::from_pointee(vip_pool::unused(&rules)));
    let parts = VipPoolParts { file: file.to_owned(), rules, clock: Clock::system(), report };
    let snapshot: Arc<watch::Sender<Arc<MeshSnapshot>>> = Arc::new(watch::Sender::new(Arc::default()));
    let published = Published { snapshot: snapshot.subscribe(), problems: Arc::default() };
    System::new().block_on(async {
        let mut tree = Tree::new("test");
        let pool = tree.child("vip_pool", move |_| VipPool::new(parts.clone())).add();
        let parts = ServiceRegistryParts {
            tld: Tld::default(),
            rules,
            pool,
            records: RecordsFile::new("/nowhere/records.json".into()),
            proxies: Proxies::default(),
            snapshot,
            problems: Arc::clone(&published.problems),
            mtls,
            observed: Arc::default(),
        };
        let registry = tree.child("service_registry", move |_| ServiceRegistry::new(parts.clone())).add();
        assert_eq!(tree.run_until(scenario(registry, published)).await, ExitReason::Normal);
    });
}

async fn observes(registry: &ChildRef<ServiceRegistry>, inventory: Arc<Inventory>) -> Result<(), RegistryError> {
    registry.send(InventoryObserved(inventory)).await.unwrap()
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

fn mtls(mode: MtlsMode, file: &Path) -> Option<Mtls> {
    let tunnelled = Arc::new(TunnelledServices::new(file.to_owned()));
    Some(Mtls { domain: TrustDomain::default(), mode, tunnelled })
}

#[test]
fn a_service_that_was_tunnelled_stays_so_in_the_next_life_until_it_may_not_be() {
    let disk = TempDir::new().unwrap();
    let (leases, tunnels) = (disk.path().join("leases"), disk.path().join("tunnels"));
    let life = |mode, inventory: Arc<Inventory>| {
        let tunnelled = Arc::new(std::sync::Mutex::new(Vec::new()));
        let result = Arc::clone(&tunnelled);
        run_with(&leases, mtls(mode, &tunnels), async move |registry, published| {
            observes(&registry, inventory).await.unwrap();
            *result.lock().unwrap() = published.tunnelled();
        });
        Arc::try_unwrap(tunnelled).unwrap().into_inner().unwrap()
    };
    assert_eq!(life(MtlsMode::Permissive, inventory(["shop"])), [""; 0], "nobody has shown to be able");
    assert_eq!(life(MtlsMode::Strict, inventory(["shop"])), ["app.web.shop.boshy"]);
    assert_eq!(life(MtlsMode::Permissive, inventory(["shop"])), ["app.web.shop.boshy"], "it was before");
    assert_eq!(life(MtlsMode::Permissive, inventory([])), [""; 0], "it is away");
    assert_eq!(life(MtlsMode::Permissive, inventory(["shop"])), ["app.web.shop.boshy"], "it is back");
    assert_eq!(life(MtlsMode::Disable, inventory(["shop"])), [""; 0]);
    assert_eq!(life(MtlsMode::Permissive, inventory(["shop"])), [""; 0], "an operator has taken it back");
}

#[test]
fn what_cannot_be_kept_is_not_tunnelled_but_where_nothing_else_is_accepted() {
    let disk = TempDir::new().unwrap();
    let (leases, tunnels) = (disk.path().join("leases"), disk.path().join("tunnels"));
    fs::create_dir(&tunnels).unwrap();
    run_with(&leases, mtls(MtlsMode::Strict, &tunnels), async |registry, published| {
        observes(&registry, inventory(["shop"])).await.unwrap();
        assert_eq!(published.tunnelled(), ["app.web.shop.boshy"]);
    });
    run_with(&leases, mtls(MtlsMode::Permissive, &tunnels), async |registry, published| {
        observes(&registry, inventory(["shop"])).await.unwrap();
        assert_eq!(published.tunnelled(), [""; 0]);
    });
}
