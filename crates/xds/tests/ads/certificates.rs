//! Istio's certificate service, reports of agents, and what the server makes of the certificates of its clients.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use boshy_identity::{
    AuthorityFiles, CertificateAuthority, Csr, Leaf, PrivateKey, TrustBundle, WorkloadNames, csr_for,
};
use boshy_mesh::{AgentReport, SpiffeId, Timestamp, TrustDomain};
use boshy_tls::{ClientFiles, ClientTls, ServerFiles, ServerTls};
use boshy_xds::{
    ALPN, AdsService, AgentReports, CAPTURE, CertificateRequest, Certifier, HandshakeFailures, Identity, MeshSource,
    Proxies, Refusal, RefusalKind, Security, WorkloadIdentity, WorkloadTrust,
    agent::{CertificateWish, ExchangeError, ExchangeSettings, PilotConnection, Uri, request_certificate, send_report},
};
use futures::future::BoxFuture;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tonic::{Code, Status};

use crate::mesh::snapshot;

const INSTANCE: &str = "6e0a1c9e-0a4b-4c60-8f39-2f4f7c9b7d11.boshy";
const GROUP: &str = "spiffe://boshy/ns/shop/sa/api";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A certificate of the deployment's CA: (certificate, key).
fn deployed(ca: &Ca, usage: ExtendedKeyUsagePurpose, names: Vec<SanType>) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "agent");
    params.extended_key_usages = vec![usage];
    params.subject_alt_names.extend(names);
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

/// A workload's certificate: (certificate, key).
fn leaf(ca: &Ca, spiffe_id: &str, dns_name: &str) -> (String, String) {
    let private_key = &ca.key().serialize_pem().into();
    let files = AuthorityFiles { certificate: &ca.pem(), private_key, roots: None };
    let authority = CertificateAuthority::open(files, now()).unwrap();
    let key = PrivateKey::generate().unwrap();
    let csr = Csr::from_pem(&csr_for(&key).unwrap()).unwrap();
    let spiffe_id: SpiffeId = spiffe_id.parse().unwrap();
    let names = WorkloadNames { spiffe_id, dns_name: dns_name.to_owned() };
    let chain = authority.issue(&csr, &names, Duration::from_secs(3600), now()).unwrap();
    (chain.certificates_pem(), key.to_pem().expose_secret().to_owned())
}

/// Records what it is asked, and answers what the test wants.
struct Recorder {
    answer: Result<Vec<String>, Refusal>,
    asked: Mutex<Vec<CertificateRequest>>,
    refused: Mutex<Vec<(IpAddr, &'static str)>>,
    shown: Mutex<Vec<(IpAddr, WorkloadIdentity)>>,
}

impl Certifier for Recorder {
    fn certify(&self, request: CertificateRequest) -> BoxFuture<'static, Result<Vec<String>, Refusal>> {
        self.asked.lock().unwrap().push(request);
        let answer = self.answer.clone();
        Box::pin(async { answer })
    }

    fn has_shown(&self, from: IpAddr, workload: &WorkloadIdentity, _issuer: Option<&str>) -> bool {
        self.shown.lock().unwrap().push((from, workload.clone()));
        true
    }

    fn refused(&self, from: IpAddr, refusal: &Refusal) {
        self.refused.lock().unwrap().push((from, refusal.reason));
    }
}

struct Pilot {
    files: TempDir,
    deployment: Ca,
    mesh: Ca,
    uri: Uri,
    recorder: Arc<Recorder>,
    reports: AgentReports,
    failures: HandshakeFailures,
}

impl Pilot {
    async fn answering(answer: Result<Vec<String>, Refusal>) -> Self {
        let (files, deployment, mesh) = (TempDir::new().unwrap(), ca("deployment"), ca("mesh"));
        let write = |name: &str, text: &str| -> PathBuf {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (certificate, key) = deployed(&deployment, ExtendedKeyUsagePurpose::ServerAuth, Vec::new());
        let server = ServerFiles {
            certificate: write("certificate", &certificate),
            private_key: write("key", &key),
            client_ca: vec![write("ca", &deployment.pem()), write("roots", &mesh.pem())],
        };
        let trust =
            WorkloadTrust { domain: TrustDomain::default(), roots: TrustBundle::from_pem(&mesh.pem()).unwrap() };
        let failures = HandshakeFailures::default();
        let security = Security::new(ServerTls::open(server, ALPN).unwrap(), Some(trust), failures.clone());
        let recorder =
            Arc::new(Recorder { answer, asked: Mutex::default(), refused: Mutex::default(), shown: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("https://localhost:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let certifier: Arc<dyn Certifier> = recorder.clone();
        let reports = AgentReports::default();
        let hears = reports.clone();
        tokio::spawn(async move {
            let (_snapshots, receiver) = watch::channel(Arc::new(snapshot(1, &[])));
            let service = AdsService::new(MeshSource::new(receiver, CAPTURE), Proxies::default()).hearing(hears);
            Box::pin(service.serve_tls(listener, security, Some(certifier), std::future::pending())).await.unwrap();
        });
        Self { files, deployment, mesh, uri, recorder, reports, failures }
    }

    async fn asked_by(&self, client: (String, String), csr: &str) -> Result<Vec<String>, ExchangeError> {
        self.asked_over(&self.tls(client), csr).await
    }

    /// A client with this certificate in its files.
    fn tls(&self, (certificate, key): (String, String)) -> ClientTls {
        let path = |name: &str| self.files.path().join(name);
        fs::write(path("own"), certificate).unwrap();
        fs::write(path("own-key"), key).unwrap();
        let files = ClientFiles { ca: path("ca"), certificate: path("own"), private_key: path("own-key") };
        ClientTls::open(files, ALPN).unwrap()
    }

    async fn asked_over(&self, tls: &ClientTls, csr: &str) -> Result<Vec<String>, ExchangeError> {
        let wish =
            CertificateWish { csr, life: Some(Duration::from_secs(60)), latest: Some("latest"), proof: Some("proof") };
        request_certificate(&self.uri, tls, &ExchangeSettings::default(), wish).await
    }

    async fn told_by(&self, client: (String, String), report: &AgentReport) -> Result<bool, Status> {
        let tls = self.tls(client);
        let connection = PilotConnection::open(&self.uri, Some(&tls), &ExchangeSettings::default()).await.unwrap();
        send_report(&connection, "one", report).await.map(|reported| reported.renew).map_err(status)
    }

    async fn identity_of(&self, client: (String, String)) -> Identity {
        self.asked_by(client, "csr").await.unwrap();
        self.recorder.asked.lock().unwrap().pop().unwrap().identity
    }

    fn agent(&self) -> (String, String) {
        deployed(&self.deployment, ExtendedKeyUsagePurpose::ClientAuth, Vec::new())
    }
}

fn status(error: ExchangeError) -> Status {
    match error {
        ExchangeError::Certificate { source, .. } | ExchangeError::Report { source, .. } => *source,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_request_is_handed_on_with_what_the_connection_proves() {
    let chain = vec!["leaf".to_owned(), "root".to_owned()];
    let pilot = Pilot::answering(Ok(chain.clone())).await;
    assert_eq!(pilot.asked_by(pilot.agent(), "csr").await.unwrap(), chain);
    let expected = CertificateRequest {
        from: LOCALHOST,
        identity: Identity { subject: "CN=agent".into(), workload: None },
        csr: "csr".to_owned(),
        life: Some(Duration::from_secs(60)),
        latest: Some("latest".to_owned()),
        proof: Some("proof".to_owned()),
    };
    assert_eq!(*pilot.recorder.asked.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn the_issuer_of_a_certificate_decides_whether_it_names_a_workload() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let workload = pilot.identity_of(leaf(&pilot.mesh, GROUP, INSTANCE)).await.workload.unwrap();
    assert_eq!((workload.spiffe_id.to_string().as_str(), &*workload.dns_name), (GROUP, INSTANCE));

    let names = vec![SanType::URI(GROUP.try_into().unwrap()), SanType::DnsName(INSTANCE.try_into().unwrap())];
    let pretender = deployed(&pilot.deployment, ExtendedKeyUsagePurpose::ClientAuth, names);
    assert_eq!(pilot.identity_of(pretender).await.workload, None);
}

#[tokio::test]
async fn a_certificate_of_the_workloads_root_that_is_no_workloads_is_refused() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let other_mesh = leaf(&pilot.mesh, "spiffe://cluster.local/ns/shop/sa/api", INSTANCE);
    let nobody = deployed(&pilot.mesh, ExtendedKeyUsagePurpose::ClientAuth, Vec::new());
    for (client, count) in [(other_mesh, 1), (nobody, 2)] {
        assert!(pilot.asked_by(client, "csr").await.is_err());
        assert_eq!(pilot.failures.counts()["untrusted"], count);
    }
    assert!(pilot.recorder.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_agent_whose_own_certificate_a_pilot_refuses_shows_that_of_its_deployment() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let other_domain = "spiffe://cluster.local/ns/shop/sa/api";
    for (issuer, spiffe_id, refused, is_workload) in [
        (&pilot.mesh, GROUP, 0, true),
        // The pilots' authority was replaced, and then their trust domain.
        (&ca("the mesh of yesterday"), GROUP, 1, false),
        (&pilot.mesh, other_domain, 2, false),
    ] {
        let tls = pilot.tls(pilot.agent());
        let (certificate, key) = leaf(issuer, spiffe_id, INSTANCE);
        tls.present(&certificate, &key, 0..=u64::MAX).unwrap();
        pilot.asked_over(&tls, "csr").await.unwrap();
        let identity = pilot.recorder.asked.lock().unwrap().pop().unwrap().identity;
        assert_eq!((identity.workload.is_some(), pilot.failures.counts()["untrusted"]), (is_workload, refused));
    }
}

#[tokio::test]
async fn an_agent_that_does_not_trust_a_pilot_shows_it_no_second_certificate() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let tls = pilot.tls(pilot.agent());
    let (certificate, key) = leaf(&pilot.mesh, GROUP, INSTANCE);
    tls.present(&certificate, &key, 0..=u64::MAX).unwrap();
    fs::write(pilot.files.path().join("ca"), ca("of another deployment").pem()).unwrap();
    assert!(matches!(pilot.asked_over(&tls, "csr").await, Err(ExchangeError::Connect { .. })));
    let told = async {
        while pilot.failures.counts()["distrustful"] == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), told).await.expect("the pilot counts it");
    assert_eq!(pilot.failures.counts().values().sum::<u64>(), 1);
}

#[tokio::test]
async fn a_refusal_reaches_the_sender_with_its_code_and_reason() {
    for (kind, code) in [
        (RefusalKind::Unauthenticated, Code::Unauthenticated),
        (RefusalKind::Denied, Code::PermissionDenied),
        (RefusalKind::Invalid, Code::InvalidArgument),
        (RefusalKind::Unavailable, Code::Unavailable),
        (RefusalKind::TooMany, Code::ResourceExhausted),
    ] {
        let pilot = Pilot::answering(Err(Refusal { kind, reason: "why", text: "in words".to_owned() })).await;
        let status = status(pilot.asked_by(pilot.agent(), "csr").await.unwrap_err());
        assert_eq!((status.code(), status.message()), (code, "in words"));
    }
}

#[tokio::test]
async fn an_address_that_asks_all_the_time_and_a_request_that_is_too_large_are_refused() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let large = "x".repeat(64 << 10);
    let refused = status(pilot.asked_by(pilot.agent(), &large).await.unwrap_err());
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");

    let mut last = Ok(Vec::new());
    while last.is_ok() {
        last = pilot.asked_by(pilot.agent(), "csr").await;
    }
    assert_eq!(status(last.unwrap_err()).code(), Code::ResourceExhausted);
    assert_eq!(*pilot.recorder.refused.lock().unwrap(), [(LOCALHOST, "rate")]);
}

#[tokio::test]
async fn a_report_counts_for_the_instance_that_the_certificate_names() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let report = AgentReport { able: true, roots: ["a".repeat(64)].into(), stopping: true, ..AgentReport::default() };
    let refused = pilot.told_by(pilot.agent(), &report).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    assert_eq!((pilot.reports.table().iter().len(), pilot.reports.stops().iter().len()), (0, 0));

    let (certificate, key) = leaf(&pilot.mesh, GROUP, INSTANCE);
    let shown = Leaf::from_pem(&certificate).unwrap();
    assert!(pilot.told_by((certificate, key), &report).await.unwrap(), "it is not told to ask for another certificate");
    let table = pilot.reports.table();
    let heard: Vec<_> = table.iter().map(|(id, heard)| (&**id, &*heard.report)).collect();
    let instance = INSTANCE.trim_end_matches(".boshy");
    assert_eq!(heard, [(instance, &report)]);
    assert_eq!(pilot.reports.stops().ids(), [instance.to_owned()].into());
    let proven =
        pilot.recorder.shown.lock().unwrap().pop().map(|(from, workload)| (from, workload.key, workload.valid));
    assert_eq!(proven, Some((LOCALHOST, shown.key, (shown.not_before, shown.not_after))));
}

#[tokio::test]
async fn a_report_with_what_is_no_fingerprint_is_refused_and_the_last_one_stays() {
    let pilot = Pilot::answering(Ok(Vec::new())).await;
    let client = leaf(&pilot.mesh, GROUP, INSTANCE);
    pilot.told_by(client.clone(), &AgentReport::default()).await.unwrap();
    let bad = AgentReport { issuer: Some("my root".to_owned()), ..AgentReport::default() };
    let refused = pilot.told_by(client, &bad).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert_eq!(pilot.reports.table().iter().next().map(|(_, heard)| (*heard.report).clone()), Some(Default::default()));
}
