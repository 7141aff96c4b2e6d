//! Certificate authorities, and certificates of both sides on disk.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
};

use boshy_tls::{ClientFiles, ServerFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::ring};
use rustls_pki_types::ServerName;
use tempfile::TempDir;

/// A certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Files of one side: a certificate, its key, and the CA that it trusts. Clones share the files.
#[derive(Clone)]
pub struct Papers(Arc<TempDir>);

impl Authority {
    /// A new authority, which nothing trusts yet.
    ///
    /// # Panics
    /// When it cannot be created.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self::until(4000)
    }

    /// An authority that has expired.
    pub fn of_old() -> Self {
        Self::until(2001)
    }

    fn until(year: i32) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 1, 1));
        params.distinguished_name.push(DnType::CommonName, "boshy-mesh");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its private key, PEM.
    pub fn key_pem(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// Files of a pilot with this name.
    pub fn pilot(&self, name: &str) -> Papers {
        let papers = Papers::nowhere();
        self.renew_pilot(&papers, name);
        papers
    }

    /// Files of an agent.
    pub fn agent(&self) -> Papers {
        let papers = Papers::nowhere();
        self.issue(&papers, "agent", ExtendedKeyUsagePurpose::ClientAuth, 4000);
        papers
    }

    /// Files of an agent whose certificate has expired.
    pub fn agent_of_old(&self) -> Papers {
        let papers = Papers::nowhere();
        self.issue(&papers, "agent", ExtendedKeyUsagePurpose::ClientAuth, 2001);
        papers
    }

    /// Files of a pilot whose certificate has expired.
    pub fn pilot_of_old(&self, name: &str) -> Papers {
        let papers = Papers::nowhere();
        self.issue(&papers, name, ExtendedKeyUsagePurpose::ServerAuth, 2001);
        papers
    }

    /// Certificate and key of a VM's BOSH agent, PEM, as the director issues them.
    pub fn bosh_agent(&self, agent_id: &str) -> (String, String) {
        let papers = Papers::nowhere();
        self.issue(&papers, &format!("{agent_id}.agent.bosh-internal"), ExtendedKeyUsagePurpose::ClientAuth, 4000);
        (papers.read("certificate"), papers.read("key"))
    }

    /// Replaces the files of a pilot.
    pub fn renew_pilot(&self, papers: &Papers, name: &str) {
        self.issue(papers, name, ExtendedKeyUsagePurpose::ServerAuth, 4000);
    }

    /// Replaces the files of an agent.
    pub fn renew_agent(&self, papers: &Papers) {
        self.issue(papers, "agent", ExtendedKeyUsagePurpose::ClientAuth, 4000);
    }

    /// Connects as a client that trusts this authority and presents no certificate. A handshake that fails shows at the
    /// first use.
    ///
    /// # Panics
    /// When nothing listens.
    pub fn dial(
        &self,
        address: SocketAddr,
        name: &str,
        protocols: &[&[u8]],
    ) -> rustls::StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        rustls::StreamOwned::new(connection, TcpStream::connect(address).unwrap())
    }

    fn issue(&self, papers: &Papers, name: &str, usage: ExtendedKeyUsagePurpose, until: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(until, 1, 1));
        let certificate = params.signed_by(&key, &self.0).unwrap();
        papers.write("certificate", &certificate.pem());
        papers.write("key", &key.serialize_pem());
        papers.write("ca", &self.0.pem());
    }
}

impl Papers {
    fn nowhere() -> Self {
        Self(Arc::new(TempDir::new().unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// These files with the CA of `others`.
    ///
    /// # Panics
    /// When the files cannot be copied.
    #[must_use]
    pub fn trusting(self, others: &Self) -> Self {
        fs::copy(others.path("ca"), self.path("ca")).unwrap();
        self
    }

    /// New files with another certificate and its key, both PEM, and the same CA.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn showing(&self, certificate: &str, key: &str) -> Self {
        let papers = Self::nowhere();
        papers.write("certificate", certificate);
        papers.write("key", key);
        papers.trusting(self)
    }

    /// Replaces one file: `certificate`, `key` or `ca`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn server(&self) -> ServerFiles {
        let (certificate, private_key) = (self.path("certificate"), self.path("key"));
        ServerFiles { certificate, private_key, client_ca: vec![self.path("ca")] }
    }

    /// The content of one file: `certificate`, `key` or `ca`.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The files of a client.
    pub fn client(&self) -> ClientFiles {
        ClientFiles { ca: self.path("ca"), certificate: self.path("certificate"), private_key: self.path("key") }
    }
}
