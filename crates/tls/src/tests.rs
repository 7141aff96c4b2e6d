//! Certificate files as an operator leaves them, or as they are half-way through a rotation.

use std::{error::Error, fs, path::PathBuf, sync::Arc};

use nix::{sys::stat::Mode, unistd::mkfifo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;

use crate::{BadPem, ClientFiles, ClientTls, FileError, Reason, ServerFiles, ServerTls, subject};

struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Writes a certificate with this name, issued by a new CA.
    fn issue(&self, name: &str) {
        let (ca, certificate, key) = issued(name);
        self.write("ca", &ca);
        self.write("certificate", &certificate);
        self.write("key", &key);
    }

    fn server(&self) -> ServerFiles {
        let (certificate, private_key) = (self.path("certificate"), self.path("key"));
        ServerFiles { certificate, private_key, client_ca: vec![self.path("ca")] }
    }

    fn client(&self) -> ClientFiles {
        ClientFiles { ca: self.path("ca"), certificate: self.path("certificate"), private_key: self.path("key") }
    }
}

fn issued(name: &str) -> (String, String, String) {
    let mut of_ca = CertificateParams::new(Vec::new()).unwrap();
    of_ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(of_ca, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, &ca).unwrap();
    (ca.pem(), certificate.pem(), key.serialize_pem())
}

/// Key of the setting, and the error's text.
fn told(error: &FileError) -> (&'static str, String) {
    (error.key, error.source().unwrap().to_string())
}

#[test]
fn good_files_are_accepted_by_both_sides() {
    let disk = Disk::new();
    disk.issue("pilot");
    disk.server().check().unwrap();
    disk.client().check().unwrap();
}

#[test]
fn each_file_that_cannot_be_used_is_named_with_its_setting_and_the_reason() {
    let disk = Disk::new();
    disk.issue("pilot");
    let (_, _, other) = issued("other");
    for (file, text, key, reason) in [
        ("certificate", "", "certificate_file", "holds no PEM certificate"),
        ("certificate", "-----BEGIN CERTIFICATE-----\nMIIB", "certificate_file", "is not valid PEM"),
        (
            "certificate",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "certificate_file",
            "cannot be used",
        ),
        ("key", "set-me", "private_key_file", "holds no PEM private key (PKCS#8, PKCS#1 or SEC1)"),
        (
            "key",
            &other,
            "private_key_file",
            &format!("does not belong to the certificate in {}", disk.path("certificate").display()),
        ),
        ("ca", "", "client_ca_file", "holds no PEM certificate"),
        ("ca", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "client_ca_file", "cannot be used"),
    ] {
        let good = fs::read_to_string(disk.path(file)).unwrap();
        let path = disk.write(file, text);
        let error = disk.server().check().unwrap_err();
        assert_eq!(told(&error), (key, reason.to_owned()));
        assert_eq!(error.to_string(), path.display().to_string());
        let of_client = if key == "client_ca_file" { "ca_file" } else { key };
        assert_eq!(told(&disk.client().check().unwrap_err()), (of_client, reason.to_owned()));
        disk.write(file, &good);
    }
    fs::remove_file(disk.path("key")).unwrap();
    assert!(matches!(disk.client().check().unwrap_err().reason, Reason::Unreadable(_)));
    // Reading a FIFO would wait for a writer.
    mkfifo(&disk.path("key"), Mode::S_IRWXU).unwrap();
    assert!(matches!(disk.client().check().unwrap_err().reason, Reason::Unreadable(_)));
}

#[test]
fn no_error_repeats_what_a_key_file_holds() {
    let disk = Disk::new();
    disk.issue("pilot");
    let secret = "hunter2";
    let numbers = format!("{:?}", secret.as_bytes());
    for (text, bad) in [
        (format!("-----BEGIN PRIVATE KEY-----{secret}"), BadPem::Begin),
        (format!("-----BEGIN PRIVATE KEY----- {secret} -----END PRIVATE KEY-----"), BadPem::End),
        (format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n-----END PRIVATE KEY-----"), BadPem::Base64),
    ] {
        disk.write("key", &text);
        let error = disk.client().check().unwrap_err();
        assert!(matches!(error.reason, Reason::Pem(reason) if reason == bad), "{error:?}");
        let told = format!("{error:?} {} {bad}", told(&error).1);
        assert!(!told.contains(secret) && !told.contains(numbers.trim_matches(['[', ']'])), "{told}");
    }
}

#[test]
fn a_rotated_pair_is_used_once_it_is_whole() {
    let disk = Disk::new();
    disk.issue("before");
    let tls = ClientTls::open(disk.client(), &[b"h2"]).unwrap();
    let first = tls.of_files();
    assert!(Arc::ptr_eq(&first, &tls.of_files()), "files that stay are read once");

    let (ca, certificate, key) = issued("after");
    disk.write("certificate", &certificate);
    assert!(Arc::ptr_eq(&first, &tls.of_files()), "half of a rotation is not used");
    disk.write("key", &key);
    disk.write("ca", &ca);
    let second = tls.of_files();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &tls.of_files()));
}

#[test]
fn files_that_vanish_or_break_leave_the_old_certificate_in_use_until_they_are_good_again() {
    let disk = Disk::new();
    disk.issue("pilot");
    let tls = ServerTls::open(disk.server(), &[b"h2"]).unwrap();
    let first = tls.current();
    fs::remove_file(disk.path("certificate")).unwrap();
    assert!(Arc::ptr_eq(&first, &tls.current()));
    disk.write("certificate", "broken");
    assert!(Arc::ptr_eq(&first, &tls.current()));
    disk.issue("pilot");
    assert!(!Arc::ptr_eq(&first, &tls.current()));
}

#[test]
fn a_subject_is_read_as_it_is_written() {
    let (_, certificate, _) = issued("agent");
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    assert_eq!(subject(&certificate), "CN=agent");
    assert_eq!(subject(&CertificateDer::from(vec![1, 2, 3])), "");
}

/// What a client presents to a server that asks for it.
fn presented(config: &rustls::ClientConfig) -> Option<String> {
    let pair = config.client_auth_cert_resolver.resolve(&[], &[rustls::SignatureScheme::ECDSA_NISTP256_SHA256])?;
    Some(subject(pair.cert.first()?))
}

#[test]
fn a_client_presents_another_certificate_while_that_is_valid() {
    let disk = Disk::new();
    disk.issue("of the deployment");
    let tls = ClientTls::open(disk.client(), &[b"h2"]).unwrap();
    assert!(tls.own().is_none());
    let (_, certificate, key) = issued("own");
    tls.present(&certificate, &key, 0..=u64::MAX).unwrap();
    let own = tls.own().unwrap();
    assert_eq!(presented(&own).as_deref(), Some("CN=own"));
    assert_eq!(own.alpn_protocols, [b"h2"]);
    assert_eq!(presented(&tls.of_files()).as_deref(), Some("CN=of the deployment"));
    disk.issue("renewed");
    assert_eq!(presented(&tls.of_files()).as_deref(), Some("CN=renewed"), "files are followed as before");

    let (_, _, other_key) = issued("other");
    let wrong = tls.present(&certificate, &other_key, 0..=u64::MAX).unwrap_err();
    assert_eq!(
        (wrong.to_string(), tls.present("", &key, 0..=1).is_err()),
        ("a certificate and a private key are no pair".to_owned(), true)
    );
    assert!(tls.own().is_some(), "what is no pair changes nothing");
    tls.present(&certificate, &key, 0..=1).unwrap();
    assert!(tls.own().is_none(), "it has expired");
    assert!(!format!("{tls:?}").contains(key.lines().nth(1).unwrap()));
}
