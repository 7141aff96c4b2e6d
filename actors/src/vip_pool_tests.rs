use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::fd::AsRawFd,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use actix::Addr;
use actix_rt::System;
use boshy_mesh::{
    Claim, EARLIEST_REUSE, Hostname, Origin, Service, ServicePlan, Shared, SnapshotContent, Timestamp, Tld, VipRange,
    VipShare,
};
use tempfile::TempDir;

use super::*;

/// A pool on a disk, with a clock that the test controls.
struct Bench {
    disk: TempDir,
    now: Arc<AtomicI64>,
    parts: VipPoolParts,
}

fn origin(deployment: &str) -> Origin {
    Origin { deployment: deployment.into(), group: "web".into(), job: "app".into() }
}

fn host(deployment: &str) -> Hostname {
    Hostname::of_service("app", "web", deployment, &Tld::default()).unwrap()
}

fn claims<const N: usize>(deployments: [&str; N]) -> Claims {
    let claim = |deployment| Claim { owner: origin(deployment), formerly: Vec::new() };
    deployments.map(|deployment| (host(deployment), vec![claim(deployment)])).into()
}

impl Bench {
    /// A pool with two usable addresses.
    fn new() -> Self {
        let disk = TempDir::new().unwrap();
        let rules = LeaseRules {
            range: VipRange::parse("10.99.0.0/30").unwrap(),
            quarantine: Duration::from_secs(3600),
            share: VipShare::percent(100).unwrap(),
        };
        let now = Arc::new(AtomicI64::new(0));
        let seen = Arc::clone(&now);
        let clock = Clock::of(move || Stamp {
            moment: Moment(seen.load(Ordering::Relaxed)),
            boot: Some("boot".into()),
            wall: Timestamp(0),
        });
        let report = Arc::new(ArcSwap::from_pointee(unused(&rules)));
        let parts = VipPoolParts { file: disk.path().join("state/leases"), rules, shared: None, clock, report };
        Self { disk, now, parts }
    }

    fn passes(&self, time: Duration) {
        self.now.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    fn pool(&self) -> Addr<VipPool> {
        VipPool::new(self.parts.clone()).start()
    }

    fn lack(&self) -> Option<String> {
        self.parts.report.load().lack.as_ref().map(|lack| lack.reason.clone())
    }

    fn status(&self) -> PoolStatus {
        self.parts.report.load().status.clone()
    }
}

/// A snapshot that serves the published leases.
fn publishing(generation: u64, told: &Reconciled) -> Arc<MeshSnapshot> {
    let held = told.leases.iter().filter(|(_, lease)| lease.state == LeaseState::Held);
    let service = |(vip, lease): (_, &boshy_mesh::Lease)| {
        let origin = lease.owner.clone().unwrap();
        let service = Service { host: lease.host.clone(), origin, ports: Vec::new(), endpoints: Vec::new() };
        Shared::new(ServicePlan { service, vip, tunnel: None, withdrawn: Default::default() })
    };
    let content = SnapshotContent { services: held.map(service).collect(), ..SnapshotContent::default() };
    Arc::new(MeshSnapshot { generation, content, ..MeshSnapshot::default() })
}

async fn asks(
    pool: &Addr<VipPool>,
    claims: Claims,
    published: &Arc<MeshSnapshot>,
    accepted: Option<u64>,
) -> Result<Reconciled, LeaseError> {
    leased(pool, claims, published, accepted).await.map(|leased| leased.reconciled)
}

async fn leased(
    pool: &Addr<VipPool>,
    claims: Claims,
    published: &Arc<MeshSnapshot>,
    accepted: Option<u64>,
) -> Result<Leased, LeaseError> {
    pool.send(ReconcileLeases { claims, published: Arc::clone(published), accepted }).await.unwrap()
}

fn run(scenario: impl Future<Output = ()>) {
    System::new().block_on(scenario);
}

#[test]
fn an_address_is_given_early_once_ten_ttls_have_passed_and_the_last_proxy_has_let_go_of_it() {
    run(async {
        let bench = Bench::new();
        let pool = bench.pool();
        let unpublished = Arc::default();
        let both = asks(&pool, claims(["blog", "shop"]), &unpublished, None).await.unwrap();
        let freed = both.leases.vip(&host("blog")).unwrap();
        let first = publishing(1, &both);
        let wanted = || claims(["shop", "atlas"]);
        let told = asks(&pool, wanted(), &first, Some(1)).await.unwrap();
        assert_eq!(told.refused[&host("atlas")].shortage, Shortage::Exhausted);
        let second = publishing(2, &told);
        asks(&pool, wanted(), &second, Some(1)).await.unwrap();
        bench.passes(EARLIEST_REUSE * 2);
        let told = asks(&pool, wanted(), &second, Some(1)).await.unwrap();
        assert!(told.refused.contains_key(&host("atlas")), "a proxy has not accepted that it is gone");
        let told = asks(&pool, wanted(), &second, Some(2)).await.unwrap();
        assert_eq!(told.leases.vip(&host("atlas")), Some(freed));
        assert_eq!(told.leases.vip(&host("shop")), both.leases.vip(&host("shop")));
    });
}

#[test]
fn no_address_is_given_early_before_ten_ttls_have_passed_nor_right_after_a_restart() {
    run(async {
        let bench = Bench::new();
        let pool = bench.pool();
        let both = asks(&pool, claims(["blog", "shop"]), &Arc::default(), None).await.unwrap();
        let wanted = || claims(["shop", "atlas"]);
        let told = asks(&pool, wanted(), &publishing(1, &both), None).await.unwrap();
        let second = publishing(2, &told);
        let is_given = async |pool: &Addr<VipPool>| {
            asks(pool, wanted(), &second, None).await.unwrap().leases.vip(&host("atlas")).is_some()
        };
        assert!(!is_given(&pool).await);
        bench.passes(EARLIEST_REUSE - Duration::from_secs(1));
        assert!(!is_given(&pool).await);
        let restarted = bench.pool();
        bench.passes(Duration::from_secs(2));
        assert!(!is_given(&restarted).await, "who has lost the pilot may come back");
        bench.passes(EARLIEST_REUSE);
        assert!(is_given(&restarted).await);
    });
}

#[test]
fn a_rest_outlives_restarts_of_the_pool() {
    run(async {
        let bench = Bench::new();
        asks(&bench.pool(), claims(["blog", "shop"]), &Arc::default(), None).await.unwrap();
        asks(&bench.pool(), claims(["shop"]), &Arc::default(), None).await.unwrap();
        let is_given = async || {
            let told = asks(&bench.pool(), claims(["shop", "atlas"]), &Arc::default(), Some(0)).await.unwrap();
            told.leases.vip(&host("atlas")).is_some()
        };
        bench.passes(Duration::from_secs(3599));
        assert!(!is_given().await);
        bench.passes(Duration::from_secs(1));
        assert!(is_given().await);
    });
}

#[test]
fn a_disk_that_takes_nothing_costs_the_newcomer_its_address_and_nobody_else_anything() {
    run(async {
        let bench = Bench::new();
        let pool = bench.pool();
        let first = asks(&pool, claims(["shop"]), &Arc::default(), None).await.unwrap();
        let state = bench.disk.path().join("state");
        fs::rename(&state, bench.disk.path().join("elsewhere")).unwrap();
        fs::write(&state, "").unwrap();
        let told = asks(&pool, claims(["shop", "blog"]), &Arc::default(), None).await.unwrap();
        assert_eq!(told.leases.vip(&host("shop")), first.leases.vip(&host("shop")));
        assert_eq!((told.leases.vip(&host("blog")), bench.status().unwritten), (None, vec![host("blog")]));
        assert!(bench.lack().unwrap().contains("create"), "{:?}", bench.lack());
        fs::remove_file(&state).unwrap();
        let told = asks(&pool, claims(["shop", "blog"]), &Arc::default(), None).await.unwrap();
        assert!(told.leases.vip(&host("blog")).is_some() && told.refused.is_empty());
        assert_eq!((bench.lack(), bench.status().unwritten), (None, vec![]));
    });
}

#[test]
fn a_pool_that_starts_on_a_disk_that_takes_nothing_tells_what_stands_in_its_table() {
    run(async {
        let mut bench = Bench::new();
        let first = asks(&bench.pool(), claims(["shop"]), &Arc::default(), None).await.unwrap();
        // The file can be read by this name, but no other file can be created beside it.
        let open = File::open(&bench.parts.file).unwrap();
        bench.parts.file = format!("/proc/self/fd/{}", open.as_raw_fd()).into();
        let told = asks(&bench.pool(), claims(["shop", "blog"]), &Arc::default(), None).await.unwrap();
        assert_eq!(told.leases.vip(&host("shop")), first.leases.vip(&host("shop")));
        assert_eq!(told.refused.keys().collect::<Vec<_>>(), [&host("blog")]);
        assert!(bench.lack().is_some());
    });
}

#[test]
fn a_pool_without_a_table_and_without_a_disk_tells_nothing() {
    run(async {
        let mut bench = Bench::new();
        bench.parts.file = "/proc/self/fd/leases".into();
        assert!(asks(&bench.pool(), claims(["shop"]), &Arc::default(), None).await.is_err());
        assert!(bench.lack().is_some());
    });
}

#[test]
fn a_fifo_in_place_of_the_table_is_refused_at_once_and_left_as_it_is() {
    run(async {
        let bench = Bench::new();
        fs::create_dir(bench.disk.path().join("state")).unwrap();
        nix::unistd::mkfifo(&bench.parts.file, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let pool = bench.pool();
        assert!(asks(&pool, claims(["shop"]), &Arc::default(), None).await.is_err());
        assert!(bench.lack().unwrap().contains("is a FIFO where a regular file should be"), "{:?}", bench.lack());
        fs::remove_file(&bench.parts.file).unwrap();
        assert!(asks(&pool, claims(["shop"]), &Arc::default(), None).await.is_ok());
        assert_eq!(bench.lack(), None);
    });
}

#[test]
fn five_thousand_leases_are_compared_in_passing() {
    run(async {
        let mut bench = Bench::new();
        bench.parts.rules.range = VipRange::parse("10.0.0.0/16").unwrap();
        let host = |number: u32| Hostname::of_service("app", &format!("g{number}"), "big", &Tld::default()).unwrap();
        let owner = |number: u32| Origin { group: format!("g{number}"), ..origin("big") };
        let claim = |number| vec![Claim { owner: owner(number), formerly: Vec::new() }];
        let many: Claims = (0..5000).map(|number| (host(number), claim(number))).collect();
        let pool = bench.pool();
        let told = asks(&pool, many.clone(), &Arc::default(), None).await.unwrap();
        let vips: BTreeSet<_> = told.leases.iter().map(|(vip, _)| vip).collect();
        assert_eq!(vips.len(), 5000);
        // Comparing each entry with a whole table would take seconds.
        let before = Leases::default();
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            log_changes(&before, &told.leases);
            log_changes(&told.leases, &told.leases);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
}

#[test]
fn an_answer_stays_until_a_quarantine_moves_on_and_not_at_all_while_a_name_has_no_address() {
    run(async {
        let bench = Bench::new();
        let pool = bench.pool();
        let until = async |names: Claims| leased(&pool, names, &Arc::default(), None).await.unwrap().until;
        assert_eq!(until(claims(["blog", "shop"])).await, Some(Moment(i64::MAX)));
        assert_eq!(until(claims(["blog", "shop", "wiki"])).await, None);
        let (quarantine, step) = (bench.parts.rules.quarantine, bench.parts.rules.quarantine / PROGRESS);
        assert_eq!(until(claims(["shop"])).await, Some(Moment(0).after(step)));
        bench.passes(quarantine - step / 2);
        assert_eq!(until(claims(["shop"])).await, Some(Moment(0).after(quarantine)));
        bench.passes(step / 2);
        assert_eq!(until(claims(["shop"])).await, Some(Moment(i64::MAX)), "the address is free");
    });
}

/// A pool that shares its table. What it wants is agreed to by the test.
fn sharing(bench: &mut Bench) -> (Addr<VipPool>, SharedLeases) {
    let shared = SharedLeases::new();
    bench.parts.shared = Some(shared.clone());
    (bench.pool(), shared)
}

/// The other pilots agree to what this one wants.
fn agree(shared: &SharedLeases) {
    let wanted = shared.wanted.borrow().clone();
    assert!(wanted.is_some(), "something is wanted");
    shared.agreed.send_replace(wanted);
}

#[test]
fn a_pool_that_shares_its_table_tells_an_address_once_it_is_agreed() {
    run(async {
        let (pool, shared) = sharing(&mut Bench::new());
        let asked = async |names: Claims| asks(&pool, names, &Arc::default(), None).await;
        assert!(matches!(asked(claims(["shop"])).await, Err(LeaseError::NotAgreed)));
        agree(&shared);
        let shop = asked(claims(["shop"])).await.unwrap().leases.vip(&host("shop")).unwrap();
        let told = asked(claims(["blog", "shop"])).await.unwrap();
        assert_eq!(told.leases.vip(&host("shop")), Some(shop));
        assert_eq!(told.refused[&host("blog")].shortage, Shortage::Unwritten);
        assert_eq!(leased(&pool, claims(["shop"]), &Arc::default(), None).await.unwrap().until, Some(Moment(i64::MAX)));
        let answer = leased(&pool, claims(["blog", "shop"]), &Arc::default(), None).await.unwrap();
        assert_eq!(answer.until, None, "the others may agree at any time");
        agree(&shared);
        let told = asked(claims(["blog", "shop"])).await.unwrap();
        assert!(told.leases.vip(&host("blog")).is_some());
        assert_eq!(told.leases.vip(&host("shop")), Some(shop));
        assert_eq!(*shared.wanted.borrow(), None, "nothing has to change");
    });
}

#[test]
fn a_pool_that_shares_its_table_keeps_an_address_that_another_pilot_has_leased_to_a_service_not_seen_here() {
    run(async {
        let mut bench = Bench::new();
        let (pool, shared) = sharing(&mut bench);
        let asked = async |names: Claims| asks(&pool, names, &Arc::default(), None).await;
        assert!(asked(claims(["blog", "shop"])).await.is_err());
        agree(&shared);
        let both = asked(claims(["blog", "shop"])).await.unwrap();
        for _ in 0..2 {
            let told = asked(claims(["shop"])).await.unwrap();
            assert_eq!(told.leases, both.leases);
            assert_eq!(*shared.wanted.borrow(), None);
            bench.passes(Unclaimed::PATIENCE - Duration::from_secs(1));
        }
        bench.passes(Duration::from_secs(2));
        let told = asked(claims(["shop"])).await.unwrap();
        assert_eq!(told.leases.vip(&host("blog")), None, "its name is withdrawn before its address rests");
        agree(&shared);
        asked(claims(["shop"])).await.unwrap();
        assert_eq!(bench.status().resting, 1);
    });
}
