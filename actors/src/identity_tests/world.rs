//! A VM and its pilot with clocks, disks and a connection that tests control.

use std::{
    fs,
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use boshy_backoff::Backoff;
use boshy_config::IdentityFiles;
use boshy_identity::{KeyHash, TrustBundle};
use boshy_mesh::{
    MeshRules, MeshSnapshot, NetworkAddress, Shared, SnapshotContent, Timestamp, Tld, TrustDomain, VipRange, Workload,
};
use boshy_supervision::Heart;
use boshy_xds::{
    CertificateRequest, Certifier, Identity, MeshTold, Refusal, RefusalKind, WorkloadIdentity, agent::ExchangeStatus,
};
use futures::future::BoxFuture;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    certificate_authority::{self, CertificateAuthorityParts},
    held_identity::{
        Held, Issued,
        samples::{DAY, ID},
    },
    identity_desk::IdentityDesk,
    identity_keeper::{self, Authority, Failure, IdentityKeeperParts, Pace, Unanswered},
};

const DEADLINE: Duration = Duration::from_secs(10);
/// A moment at which everything is valid.
const NOW: u64 = 1_800_000_000;
/// Address of the VM.
const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

/// A CA certificate that is its own root.
pub(super) struct Ca(pub(super) CertifiedIssuer<'static, KeyPair>);

impl Ca {
    pub(super) fn new() -> Self {
        Self::until(4000, 1)
    }

    /// One that ends on this day of January.
    pub(super) fn until(year: i32, day: u8) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "mesh");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, day));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }
}

/// A running pilot, with its disk.
pub(super) struct Pilot {
    pub(super) desk: IdentityDesk,
    pub(super) bundle: TrustBundle,
    /// What it tells of its authority when a stream opens.
    authority: Option<String>,
    disk: TempDir,
    task: JoinHandle<()>,
}

impl Pilot {
    pub(super) fn start(ca: &Ca, clock: &Arc<AtomicU64>) -> Self {
        Self::trusting(ca, &[], clock)
    }

    /// It has more roots.
    pub(super) fn trusting(ca: &Ca, others: &[&Ca], clock: &Arc<AtomicU64>) -> Self {
        let disk = TempDir::new().unwrap();
        let write = |name: &str, text: String| {
            let path = disk.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let files = IdentityFiles {
            trust_domain: TrustDomain::default(),
            ca_certificate_file: write("ca", ca.0.pem()),
            ca_private_key_file: write("key", ca.0.key().serialize_pem()),
            roots_file: (!others.is_empty()).then(|| write("roots", others.iter().map(|ca| ca.0.pem()).collect())),
            previous: None,
            bosh_agent_ca_file: None,
            leaf_life: Duration::from_secs(DAY),
        };
        let settings = files.check(Path::new("settings")).unwrap();
        let (desk, requests) = IdentityDesk::new(&settings);
        let (bundle, clock) = (settings.bundle().unwrap(), Arc::clone(clock));
        let authority = settings.open(Timestamp(NOW)).ok().map(|authority| authority.fingerprint());
        let parts = CertificateAuthorityParts {
            settings,
            file: disk.path().join("state/identities"),
            snapshot: watch::Sender::new(mesh()).subscribe(),
            requests,
            desk: desk.clone(),
            standing: None,
            now: Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))),
        };
        let task = tokio::spawn(certificate_authority::serve(parts, Heart::unwatched()));
        Self { desk, bundle, authority, disk, task }
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A mesh whose only VM is at [`ADDRESS`].
fn mesh() -> Arc<MeshSnapshot> {
    let workload = Workload {
        id: ID.into(),
        deployment: "shop".into(),
        group: "api".into(),
        addresses: vec![NetworkAddress { address: ADDRESS.into(), network: None }],
        agent_id: Some("agent".into()),
        ..Workload::default()
    };
    let nothing = SnapshotContent::default();
    let content = SnapshotContent::join(Vec::new(), [Shared::new(workload)], &MeshRules::default(), &nothing);
    Arc::new(MeshSnapshot::default().next(content).unwrap())
}

/// The connection of the VM to its pilot, if there is one.
struct Wire {
    pilot: Arc<Mutex<Option<Pilot>>>,
    held: watch::Receiver<Arc<Held>>,
    clock: Arc<AtomicU64>,
}

impl Authority for Wire {
    fn certify(&self, csr: String, latest: Option<String>) -> BoxFuture<'_, Result<Vec<String>, Unanswered>> {
        let failure = |reason: &str| Failure { reason: reason.to_owned(), remedy: String::new() };
        let answer = self.pilot.lock().unwrap().as_ref().map(|pilot| {
            let identity = Identity { subject: "CN=agent".into(), workload: self.presented(&pilot.bundle) };
            pilot.desk.certify(CertificateRequest { from: ADDRESS, identity, csr, life: None, latest, proof: None })
        });
        Box::pin(async move {
            let answer = answer.ok_or_else(|| Unanswered::Away(failure("no pilot")))?;
            answer.await.map_err(|Refusal { kind, text, .. }| match kind {
                RefusalKind::Unavailable | RefusalKind::TooMany => Unanswered::Away(failure(&text)),
                _ => Unanswered::Refused(failure(&text)),
            })
        })
    }
}

impl Wire {
    /// The VM's own certificate while the pilot accepts it; otherwise that of the deployment.
    fn presented(&self, bundle: &TrustBundle) -> Option<WorkloadIdentity> {
        let (held, now) = (Arc::clone(&self.held.borrow()), Timestamp(self.clock.load(Ordering::Relaxed)));
        let issued = held.issued().filter(|issued| issued.leaf.is_valid_at(now))?;
        let leaf = bundle.leaf_of_any_time(issued.chain().leaf_pem()).ok()?;
        let valid = (leaf.not_before, leaf.not_after);
        Some(WorkloadIdentity { spiffe_id: leaf.spiffe_id, dns_name: leaf.dns_name?.into(), key: leaf.key, valid })
    }
}

/// A VM with its disk, and its pilot.
pub(super) struct Vm {
    pub(super) parts: IdentityKeeperParts,
    pub(super) pilot: Arc<Mutex<Option<Pilot>>>,
    /// The pilot's clock.
    pub(super) clock: Arc<AtomicU64>,
    /// How far the VM's clock is ahead, in seconds, modulo 2^64.
    pub(super) ahead: Arc<AtomicU64>,
    exchange: watch::Sender<ExchangeStatus>,
    keeper: JoinHandle<()>,
    _disk: TempDir,
}

impl Vm {
    pub(super) fn start(ca: &Ca) -> Self {
        Self::with_clock_ahead(ca, 0)
    }

    pub(super) fn with_clock_ahead(ca: &Ca, seconds: i64) -> Self {
        let clock = Arc::new(AtomicU64::new(NOW));
        let pilot = Arc::new(Mutex::new(Some(Pilot::start(ca, &clock))));
        let (disk, held) = (TempDir::new().unwrap(), watch::Sender::default());
        let wire = Wire { pilot: Arc::clone(&pilot), held: held.subscribe(), clock: Arc::clone(&clock) };
        let exchange = watch::Sender::default();
        let ahead = Arc::new(AtomicU64::new(seconds.cast_unsigned()));
        let (read, shift) = (Arc::clone(&clock), Arc::clone(&ahead));
        let soon = Duration::from_millis(2);
        let parts = IdentityKeeperParts {
            file: disk.path().join("identity"),
            id: ID.to_owned(),
            authority: Arc::new(wire),
            tls: None,
            now: Arc::new(move || Timestamp(read.load(Ordering::Relaxed).wrapping_add(shift.load(Ordering::Relaxed)))),
            pace: Pace {
                retry: Backoff { first: soon, longest: soon, jitter: 0.0 },
                look: soon,
                without_authority: DEADLINE * 10,
            },
            held,
            trouble: Arc::default(),
            exchange: exchange.subscribe(),
            renew: Arc::default(),
        };
        let keeper = tokio::spawn(identity_keeper::keep(parts.clone(), Heart::unwatched()));
        Self { parts, pilot, clock, ahead, exchange, keeper, _disk: disk }
    }

    pub(super) fn days_pass(&self, days: f64) {
        self.clock.fetch_add((days * DAY as f64) as u64, Ordering::Relaxed);
    }

    pub(super) async fn is_switched_off(&mut self) {
        self.keeper.abort();
        let _ = (&mut self.keeper).await;
    }

    /// It starts with what is on its disk.
    pub(super) fn is_switched_on(&mut self) {
        let held = fs::read(&self.parts.file).ok().map(|file| Held::unseal(&file).unwrap()).unwrap_or_default();
        self.parts.held.send_replace(Arc::new(held));
        self.parts.trouble.store(Arc::default());
        self.keeper = tokio::spawn(identity_keeper::keep(self.parts.clone(), Heart::unwatched()));
    }

    /// It has this pilot from now on.
    pub(super) fn has(&self, pilot: Option<Pilot>) {
        *self.pilot.lock().unwrap() = pilot;
    }

    /// It has a stream to this pilot from now on. The pilot has the disk of the one before.
    pub(super) fn follows(&self, pilot: Pilot) {
        let identities = |pilot: &Pilot| pilot.disk.path().join("state/identities");
        if let Some(kept) = self.pilot.lock().unwrap().as_ref().map(identities) {
            fs::create_dir_all(pilot.disk.path().join("state")).unwrap();
            fs::copy(kept, identities(&pilot)).unwrap();
        }
        let authority = pilot.authority.clone();
        self.has(Some(pilot));
        let told = MeshTold { tld: Tld::default(), vip_range: VipRange::default(), authority, table: None };
        self.exchange.send_modify(|status| status.told = Some(told));
    }

    /// Waits until a peer with these roots accepts its certificate, and it trusts this number of roots itself.
    pub(super) async fn is_vouched_for(&self, bundle: &TrustBundle, roots: usize) {
        self.until("it has a certificate of the authority", |vm| {
            let issued = vm.issued().unwrap();
            bundle.leaf_of_any_time(issued.chain().leaf_pem()).is_ok()
                && issued.status(Timestamp(NOW)).roots.len() == roots
        })
        .await;
        self.is_certified().await;
    }

    pub(super) fn issued(&self) -> Option<Arc<Issued>> {
        self.parts.held.borrow().issued().cloned()
    }

    pub(super) fn key(&self) -> Option<KeyHash> {
        Some(self.issued()?.leaf.key)
    }

    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < DEADLINE, "not in time: {what}: {:?}", self.parts.trouble);
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for a certificate that is not due for renewal, also on its disk.
    pub(super) async fn is_certified(&self) {
        let is_current = |vm: &Self, held: &Held| {
            held.issued()
                .is_some_and(|issued| issued.renew_at > (vm.parts.now)() && issued.leaf.is_valid_at((vm.parts.now)()))
        };
        self.until("it has a certificate", |vm| {
            let on_disk = fs::read(&vm.parts.file).ok().and_then(|file| Held::unseal(&file).ok());
            is_current(vm, &vm.parts.held.borrow()) && on_disk.is_some_and(|held| is_current(vm, &held))
        })
        .await;
        assert_eq!(self.lacks(), None);
    }

    pub(super) fn lacks(&self) -> Option<String> {
        let issued = self.issued();
        let want = self.parts.trouble.load().want(issued.as_ref().map(|issued| &issued.leaf), (self.parts.now)())?;
        Some(want.reason)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}
