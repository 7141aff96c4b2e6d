use std::{fs, net::IpAddr, time::Duration};

use boshy_config::IdentityFiles;
use boshy_identity::{PrivateKey, csr_for};
use boshy_mesh::{MeshRules, NetworkAddress, Shared, SnapshotContent, TrustDomain, Workload};
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
        let disk = TempDir::new().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "mesh");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        let key = KeyPair::generate().unwrap();
        let path = |name: &str, text: String| {
            fs::write(disk.path().join(name), text).unwrap();
            disk.path().join(name)
        };
        let files = IdentityFiles {
            trust_domain: TrustDomain::default(),
            ca_certificate_file: path("ca", params.self_signed(&key).unwrap().pem()),
            ca_private_key_file: path("key", key.serialize_pem()),
            roots_file: None,
            leaf_life: Duration::from_secs(3600),
        };
        let settings = files.check(disk.path()).unwrap();
        let (desk, requests) = IdentityDesk::new(TrustDomain::default());
        let mesh = watch::Sender::new(mesh("vm"));
        let file = disk.path().join("state/identities");
        let parts = CertificateAuthorityParts { settings, file, snapshot: mesh.subscribe(), requests, desk };
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
    }
}

fn key() -> PrivateKey {
    PrivateKey::generate().unwrap()
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
        let spiffe_id = "spiffe://boshy/ns/shop/sa/api".parse().unwrap();
        Identity { subject: "".into(), workload: Some(WorkloadIdentity { spiffe_id, dns_name: dns_name.into() }) }
    };
    let own = CertificateRequest { identity: workload(&format!("{INSTANCE}.boshy")), ..request(&second) };
    bench.asks(own).await.unwrap();
    assert_eq!(bench.reason(request(&first)).await, "another_key");
    bench.asks(request(&second)).await.unwrap();

    let anothers = CertificateRequest { identity: workload("another.boshy"), ..request(&second) };
    assert_eq!(bench.reason(anothers).await, "another_instance");
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
