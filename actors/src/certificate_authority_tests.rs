use std::{
    fs,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use boshy_config::{IdentityFiles, PreviousFiles};
use boshy_identity::{PrivateKey, csr_for};
use boshy_mesh::{
    AgentReport, AuthorityCertificate, HEARTBEAT, InstanceTrust, MeshAuthority, MeshRules, NetworkAddress, Shared,
    SnapshotContent, TrustDomain, TrustStanding, Workload,
};
use boshy_xds::{Certifier, Identity, WorkloadIdentity};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

use super::*;

const INSTANCE: &str = "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11";

/// An authority on a disk, and a mesh with one VM at 10.0.0.2.
struct Bench {
    _disk: TempDir,
    mesh: watch::Sender<Arc<MeshSnapshot>>,
    parts: CertificateAuthorityParts,
}

fn mesh(agent_id: &str) -> Arc<MeshSnapshot> {
    let workload = Workload {
        id: INSTANCE.into(),
        deployment: "shop".into(),
        group: "api".into(),
        addresses: vec![NetworkAddress { address: address(2).into(), network: None }],
        agent_id: Some(agent_id.into()),
        ..Workload::default()
    };
    let nothing = SnapshotContent::default();
    let content = SnapshotContent::join(Vec::new(), [Shared::new(workload)], &MeshRules::default(), &nothing);
    Arc::new(MeshSnapshot::default().next(content).unwrap())
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

impl Bench {
    fn new() -> Self {
        Self::ending_in(4000)
    }

    fn ending_in(year: i32) -> Self {
        Self::with(year, None)
    }

    /// An authority after another one, of which this year is the last.
    fn after_one_until(year: i32) -> Self {
        Self::with(4000, Some(year))
    }

    fn with(year: i32, before: Option<i32>) -> Self {
        let disk = TempDir::new().unwrap();
        let authority = |name: &str, year: i32| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
        };
        let (certificate, key) = authority("mesh", year);
        let before = before.map(|year| authority("before", year));
        let roots = before.as_ref().map(|(root, _)| format!("{certificate}{root}"));
        let path = |name: &str, text: String| {
            fs::write(disk.path().join(name), text).unwrap();
            disk.path().join(name)
        };
        let files = IdentityFiles {
            trust_domain: TrustDomain::default(),
            ca_certificate_file: path("ca", certificate),
            ca_private_key_file: path("key", key),
            roots_file: roots.map(|roots| path("roots", roots)),
            previous: before.map(|(certificate, key)| PreviousFiles {
                ca_certificate_file: path("ca before", certificate),
                ca_private_key_file: path("key before", key),
            }),
            bosh_agent_ca_file: None,
            leaf_life: Duration::from_secs(3600),
        };
        let settings = files.check(disk.path()).unwrap();
        let (desk, requests) = IdentityDesk::new(&settings);
        let mesh = watch::Sender::new(mesh("vm"));
        let file = disk.path().join("state/identities");
        let (snapshot, now) = (mesh.subscribe(), Arc::new(crate::clock::now));
        let parts = CertificateAuthorityParts { settings, file, snapshot, requests, desk, standing: None, now };
        Self { _disk: disk, mesh, parts }
    }

    /// Asks in one life of the task.
    async fn asks(&self, request: CertificateRequest) -> Result<Vec<String>, Refusal> {
        tokio::select! {
            () = serve(self.parts.clone(), Heart::unwatched()) => panic!("it serves as long as the desk lives"),
            answer = self.parts.desk.certify(request) => answer,
        }
    }

    async fn reason(&self, request: CertificateRequest) -> &'static str {
        self.asks(request).await.unwrap_err().reason
    }
}

/// A request with the deployment's certificate from the VM's address.
fn request(key: &PrivateKey) -> CertificateRequest {
    CertificateRequest {
        from: address(2),
        identity: Identity { subject: "CN=agent".into(), workload: None },
        csr: csr_for(key).unwrap(),
        life: None,
        latest: None,
        proof: None,
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
}

/// The VM's certificate for a key, issued some seconds from now.
fn shown(key: &PrivateKey, seconds: u64) -> WorkloadIdentity {
    let from = crate::clock::now().0 + seconds - BACK_DATED.as_secs();
    WorkloadIdentity {
        spiffe_id: "spiffe://boshy/ns/shop/sa/api".parse().unwrap(),
        dns_name: format!("{INSTANCE}.boshy").into(),
        key: key.hash(),
        valid: (Timestamp(from), Timestamp(from + 3600)),
    }
}

#[tokio::test]
async fn a_vm_gets_the_names_that_the_director_gives_it() {
    let (bench, key) = (Bench::new(), key());
    let chain = bench.asks(request(&key)).await.unwrap();
    assert_eq!(chain.len(), 2);
    let leaf = Leaf::from_pem(&chain[0]).unwrap();
    assert_eq!(leaf.spiffe_id.to_string(), "spiffe://boshy/ns/shop/sa/api");
    assert_eq!((leaf.dns_name, leaf.key), (Some(format!("{INSTANCE}.boshy")), key.hash()));
    assert_eq!(leaf.not_after.0 - leaf.not_before.0, 3600 + 600);
    let status = bench.parts.desk.status();
    assert_eq!((status.issued, status.known, bench.parts.desk.lack()), (1, 1, None));

    let brief = CertificateRequest { life: Some(Duration::from_secs(60)), ..request(&key) };
    let leaf = Leaf::from_pem(&bench.asks(brief).await.unwrap()[0]).unwrap();
    assert_eq!(leaf.not_after.0 - leaf.not_before.0, 60 + 600);
}

#[tokio::test]
async fn a_key_is_remembered_by_the_next_process_until_the_vm_is_another() {
    let (bench, first) = (Bench::new(), key());
    bench.asks(request(&first)).await.unwrap();
    // Each request is a life of its own, which reads the file.
    bench.asks(request(&first)).await.unwrap();
    assert_eq!(bench.reason(request(&key())).await, "another_key");
    bench.mesh.send_replace(mesh("vm-made-anew"));
    bench.asks(request(&key())).await.unwrap();
}

#[tokio::test]
async fn a_certificate_of_the_instance_renews_with_a_new_key_which_is_then_the_known_one() {
    let (bench, first, second) = (Bench::new(), key(), key());
    bench.asks(request(&first)).await.unwrap();
    let workload = |dns_name: &str| {
        let workload = Some(WorkloadIdentity { dns_name: dns_name.into(), ..shown(&first, 0) });
        Identity { subject: "".into(), workload }
    };
    let own = CertificateRequest { identity: workload(&format!("{INSTANCE}.boshy")), ..request(&second) };
    bench.asks(own).await.unwrap();
    assert_eq!(bench.reason(request(&first)).await, "another_key");
    bench.asks(request(&second)).await.unwrap();

    let anothers = CertificateRequest { identity: workload("another.boshy"), ..request(&second) };
    assert_eq!(bench.reason(anothers).await, "another_instance");
}

#[tokio::test]
async fn a_key_that_another_pilot_has_certified_is_remembered_when_its_vm_shows_it_at_its_own_address() {
    let (bench, first, second) = (Bench::new(), key(), key());
    let shows = |from, key, seconds| bench.parts.desk.has_shown(address(from), &shown(key, seconds), None);
    shows(9, &second, 0);
    let anothers = WorkloadIdentity { dns_name: "another.boshy".into(), ..shown(&second, 0) };
    bench.parts.desk.has_shown(address(2), &anothers, None);
    // Neither is the VM's, so its first key is the one that it shows now.
    shows(2, &first, 0);
    assert_eq!(bench.reason(request(&second)).await, "another_key");
    bench.asks(request(&first)).await.unwrap();

    // It was renewed elsewhere. A connection that is older tells of the key before.
    shows(2, &second, 60);
    shows(2, &first, 0);
    assert_eq!(bench.reason(request(&first)).await, "another_key");
    bench.asks(request(&second)).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_counted_and_shown_with_address_and_reason() {
    let bench = Bench::new();
    let stranger = CertificateRequest { from: address(9), ..request(&key()) };
    assert_eq!(bench.reason(stranger).await, "unknown_address");
    let nonsense = CertificateRequest { csr: "nonsense".into(), ..request(&key()) };
    assert_eq!(bench.reason(nonsense).await, "bad_request");
    bench.mesh.send_replace(Arc::default());
    assert_eq!(bench.reason(request(&key())).await, "not_ready");

    let status = bench.parts.desk.status();
    assert_eq!(status.refused, [("bad_request", 1), ("not_ready", 1), ("unknown_address", 1)].into());
    let shown = &status.latest_refusals[0];
    assert_eq!(shown.address, address(9));
    assert_eq!(shown.reason, "the director lists no instance with the address 10.0.0.9");
}

#[tokio::test]
async fn requests_that_come_together_are_decided_one_after_the_other() {
    let (bench, keys) = (Bench::new(), [key(), key(), key()]);
    let asked = futures::future::join_all(keys.iter().map(|key| bench.parts.desk.certify(request(key))));
    let answers = tokio::select! {
        () = serve(bench.parts.clone(), Heart::unwatched()) => panic!("it serves as long as the desk lives"),
        answers = asked => answers,
    };
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(bench.parts.desk.status().refused, [("another_key", 2)].into());
}

#[tokio::test]
async fn a_damaged_file_of_keys_is_not_replaced_and_no_key_is_accepted() {
    let bench = Bench::new();
    fs::create_dir_all(bench.parts.file.parent().unwrap()).unwrap();
    fs::write(&bench.parts.file, "damaged").unwrap();
    assert_eq!(bench.reason(request(&key())).await, "disk");
    let lack = bench.parts.desk.lack().unwrap();
    assert!(lack.remedy.contains("move it away"), "{lack:?}");
    assert_eq!(fs::read(&bench.parts.file).unwrap(), b"damaged");

    fs::remove_file(&bench.parts.file).unwrap();
    bench.asks(request(&key())).await.unwrap();
    assert_eq!(bench.parts.desk.lack(), None);
}

#[tokio::test]
async fn on_a_disk_that_refuses_only_a_known_key_gets_a_certificate() {
    let (bench, known) = (Bench::new(), key());
    let scenario = async {
        bench.parts.desk.certify(request(&known)).await.unwrap();
        // Where a file is, no directory can be.
        let state = bench.parts.file.parent().unwrap();
        fs::remove_dir_all(state).unwrap();
        fs::write(state, "no directory").unwrap();
        bench.parts.desk.certify(request(&known)).await.unwrap();

        bench.mesh.send_replace(mesh("vm-made-anew"));
        assert_eq!(bench.parts.desk.certify(request(&key())).await.unwrap_err().reason, "disk");
        assert_eq!(bench.parts.desk.lack().unwrap().what, "identities");
        fs::remove_file(state).unwrap();
        bench.parts.desk.certify(request(&key())).await.unwrap();
        assert_eq!(bench.parts.desk.lack(), None);
    };
    tokio::select! {
        () = serve(bench.parts.clone(), Heart::unwatched()) => panic!("it serves as long as the desk lives"),
        () = scenario => {}
    }
}

#[tokio::test]
async fn an_authority_that_has_expired_refuses_and_says_what_to_do() {
    let bench = Bench::ending_in(2001);
    assert_eq!(bench.reason(request(&key())).await, "authority_expired");
    let lack = bench.parts.desk.lack().unwrap();
    assert!(lack.reason.contains("has expired") && lack.remedy.starts_with("Renew the CA"), "{lack:?}");
    assert_eq!(bench.parts.desk.status().authority_end, None);
}

#[tokio::test]
async fn an_operator_lets_the_vm_of_one_instance_have_another_key_once() {
    let (bench, lost) = (Bench::new(), key());
    bench.asks(request(&lost)).await.unwrap();
    let refused = bench.asks(request(&key())).await.unwrap_err();
    assert!(refused.text.contains(&format!("`boshy identity allow {INSTANCE}`")), "{refused}");

    let allows = async |instance: &str| {
        tokio::select! {
            () = serve(bench.parts.clone(), Heart::unwatched()) => panic!("it serves as long as the desk lives"),
            known = bench.parts.desk.allow(instance.to_owned()) => known,
        }
    };
    assert_eq!(allows("another").await, Ok(0));
    assert_eq!(bench.reason(request(&key())).await, "another_key");
    assert_eq!(allows(INSTANCE).await, Ok(1));
    let next = key();
    bench.asks(request(&next)).await.unwrap();
    assert_eq!(bench.reason(request(&key())).await, "another_key");
    assert_eq!(bench.reason(request(&lost)).await, "another_key");

    for file in [bench.parts.file.clone(), bench.parts.file.with_extension("copy")] {
        fs::write(file, "damaged").unwrap();
    }
    assert_eq!(allows(INSTANCE).await.unwrap_err().reason, "disk");
}

/// What a test says of a mesh: whether its one instance, if there is one, trusts the root above the authority.
fn standing(trusts: Option<bool>) -> TrustStanding {
    let issuer = AuthorityCertificate { fingerprint: "mesh".into(), subject: "CN=mesh".into(), end: 1 };
    let authority = MeshAuthority { issuer, root: "mesh".into(), roots: Vec::new() };
    let report = |trusts: bool| AgentReport {
        roots: trusts.then(|| "mesh".to_owned()).into_iter().collect(),
        ..AgentReport::default()
    };
    let report = trusts.map(report);
    let instance = InstanceTrust { title: "shop/api/one".into(), report: report.as_ref(), issued_by: None };
    TrustStanding::count(&authority, &report.is_some().then_some(instance).into_iter().collect::<Vec<_>>())
}

#[tokio::test]
async fn the_authority_before_issues_until_every_agent_had_time_to_report_and_trusts_the_next_one() {
    let mut bench = Bench::after_one_until(4000);
    let (key, trusts, clock) = (key(), Arc::new(Mutex::new(Some(true))), Arc::new(AtomicU64::new(1_800_000_000)));
    let (says, now) = (Arc::clone(&trusts), Arc::clone(&clock));
    bench.parts.standing = Some(Arc::new(move || standing(*says.lock().unwrap())));
    bench.parts.now = Arc::new(move || Timestamp(now.load(Ordering::Relaxed)));
    let next = Some(bench.parts.settings.open((bench.parts.now)()).unwrap().described().issuer.fingerprint.clone());
    let desk = &bench.parts.desk;
    let is_of_next = || async {
        desk.certify(request(&key)).await.unwrap();
        desk.register().get("vm").unwrap().issuer == next
    };
    let is_to_renew = |issuer: Option<&str>| desk.has_shown(address(2), &shown(&key, 0), issuer);
    let scenario = async {
        assert!(!is_of_next().await, "the pilot has just begun, and agents that have not reported may not trust it");
        clock.fetch_add(2 * HEARTBEAT.as_secs(), Ordering::Relaxed);
        for unready in [Some(false), None] {
            *trusts.lock().unwrap() = unready;
            assert!(!is_of_next().await, "{unready:?}");
            assert!(desk.is_awaited() && !is_to_renew(Some("before")));
        }
        *trusts.lock().unwrap() = Some(true);
        assert!(is_of_next().await && !desk.is_awaited());
        assert!(is_to_renew(Some("before")) && !is_to_renew(next.as_deref()));
        // A VM that has just been made trusts nothing yet.
        *trusts.lock().unwrap() = Some(false);
        assert!(is_of_next().await, "it goes back");
    };
    tokio::select! {
        () = serve(bench.parts.clone(), Heart::unwatched()) => panic!("it serves as long as the desk lives"),
        () = scenario => {}
    }
}

#[tokio::test]
async fn without_an_authority_before_that_can_issue_the_next_one_issues_whoever_trusts_it() {
    // One was taken out of the settings, the other has expired.
    for mut bench in [Bench::new(), Bench::after_one_until(2001)] {
        bench.parts.standing = Some(Arc::new(|| standing(Some(false))));
        bench.asks(request(&key())).await.unwrap();
        let next = bench.parts.settings.open(crate::clock::now()).unwrap().described().issuer.fingerprint.clone();
        assert_eq!(bench.parts.desk.register().get("vm").unwrap().issuer, Some(next));
        assert!(!bench.parts.desk.is_awaited());
    }
}
