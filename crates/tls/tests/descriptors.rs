//! Certificate reads in a process that temporarily has no free descriptor. The test has its own program, because the
//! descriptor limit applies to a whole process.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{fs, fs::File, sync::Arc};

use boshy_tls::{ServerFiles, ServerTls};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rcgen::{CertificateParams, KeyPair};

fn issue(files: &ServerFiles) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["pilot".to_owned()]).unwrap().self_signed(&key).unwrap();
    fs::write(&files.certificate, certificate.pem()).unwrap();
    fs::write(&files.private_key, key.serialize_pem()).unwrap();
}

#[test]
fn a_rotation_during_a_want_of_descriptors_is_made_up_for_once_there_are_some() {
    let disk = tempfile::tempdir().unwrap();
    let files = ServerFiles {
        certificate: disk.path().join("certificate"),
        private_key: disk.path().join("key"),
        client_ca: Vec::new(),
    };
    issue(&files);
    let tls = ServerTls::open(files.clone(), &[b"h2"]).unwrap();
    let first = tls.current();
    issue(&files);

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let mut all = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        all.push(file);
    }
    assert!(Arc::ptr_eq(&first, &tls.current()), "what cannot be read leaves the old one in use");
    drop(all);

    let second = tls.current();
    assert!(!Arc::ptr_eq(&first, &second), "no file has changed since, and the new certificate is in use");
    assert!(Arc::ptr_eq(&second, &tls.current()), "files that stay are read once");
}
