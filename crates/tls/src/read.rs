//! Reads files into configurations: rustls with ring, TLS 1.2 and 1.3.

use std::{
    path::{Path, PathBuf},
    slice,
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, ConfigSide, RootCertStore, ServerConfig, WantsVerifier,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

use crate::{ClientFiles, FileError, Reason, ServerFiles};

/// A larger file is not read. A bundle of all public certificate authorities takes a quarter of it.
const MAX_BYTES: u64 = 1 << 20;
const CERTIFICATE: &str = "certificate_file";
const CLIENT_CA: &str = "client_ca_file";
const PRIVATE_KEY: &str = "private_key_file";

impl ServerFiles {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check(&self) -> Result<(), FileError> {
        server(self, &[]).map(drop)
    }
}

impl ClientFiles {
    /// Checks that the files can be used.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn check(&self) -> Result<(), FileError> {
        client(self, &[]).map(drop)
    }
}

pub(crate) fn server(files: &ServerFiles, protocols: &[&[u8]]) -> Result<ServerConfig, FileError> {
    let chain = certificates(CERTIFICATE, &files.certificate)?;
    let key = private_key(&files.private_key)?;
    let builder = versions(ServerConfig::builder_with_provider(provider()));
    let builder = match &files.client_ca[..] {
        [] => builder.with_no_client_auth(),
        [first, ..] => {
            let roots = Arc::new(authorities(CLIENT_CA, &files.client_ca)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|error| unusable(CLIENT_CA, first, Reason::NoAuthority(error)))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_single_cert(chain, key).map_err(|error| pair(error, &files.certificate, &files.private_key))?;
    config.alpn_protocols = owned(protocols);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

pub(crate) fn client(files: &ClientFiles, protocols: &[&[u8]]) -> Result<ClientConfig, FileError> {
    let roots = authorities("ca_file", slice::from_ref(&files.ca))?;
    let chain = certificates(CERTIFICATE, &files.certificate)?;
    let key = private_key(&files.private_key)?;
    let mut config = versions(ClientConfig::builder_with_provider(provider()))
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(|error| pair(error, &files.certificate, &files.private_key))?;
    config.alpn_protocols = owned(protocols);
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The provider is named explicitly: rustls panics on its default choice once a second provider is linked.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn versions<S: ConfigSide>(builder: ConfigBuilder<S, rustls::WantsVersions>) -> ConfigBuilder<S, WantsVerifier> {
    builder.with_safe_default_protocol_versions().expect("ring has the cipher suites of both versions")
}

fn owned(protocols: &[&[u8]]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.to_vec()).collect()
}

fn authorities(key: &'static str, files: &[PathBuf]) -> Result<RootCertStore, FileError> {
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in certificates(key, file)? {
            roots.add(certificate).map_err(|error| unusable(key, file, Reason::Unusable(error)))?;
        }
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = content(key, file)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| unusable(key, file, Reason::Pem(error.into())))?;
    if certificates.is_empty() { Err(unusable(key, file, Reason::NoCertificate)) } else { Ok(certificates) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let text = content(PRIVATE_KEY, file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let reason = if matches!(error, pem::Error::NoItemsFound) { Reason::NoKey } else { Reason::Pem(error.into()) };
        unusable(PRIVATE_KEY, file, reason)
    })
}

fn content(key: &'static str, file: &Path) -> Result<Vec<u8>, FileError> {
    boshy_state::read_regular(file, MAX_BYTES).map_err(|error| unusable(key, file, Reason::Unreadable(error)))
}

/// Decides which of the two files is at fault when they do not form a pair.
fn pair(error: rustls::Error, certificate: &Path, key: &Path) -> FileError {
    match error {
        rustls::Error::InconsistentKeys(_) => unusable(PRIVATE_KEY, key, Reason::KeyOfAnother(certificate.to_owned())),
        rustls::Error::InvalidCertificate(_) => unusable(CERTIFICATE, certificate, Reason::Unusable(error)),
        _ => unusable(PRIVATE_KEY, key, Reason::Unusable(error)),
    }
}

fn unusable(key: &'static str, file: &Path, reason: Reason) -> FileError {
    FileError { key, file: file.to_owned(), reason }
}
