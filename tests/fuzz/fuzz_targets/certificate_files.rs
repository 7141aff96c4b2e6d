//! Each certificate file in turn with arbitrary content, the others valid. An error names the setting and never repeats
//! the content of a file, because it may be a key.
#![no_main]

use std::{error::Error, fs, path::PathBuf, sync::LazyLock};

use boshy_tls::{ClientFiles, FileError, ServerFiles, subject};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use tempfile::TempDir;

/// Text that no error may repeat, as text or as numbers. The corpus contains it in many places.
const SECRET: &str = "hunter2";
const GOOD: [(&str, &str); 3] = [
    ("ca", include_str!("../corpus/certificate_files/ca")),
    ("certificate", include_str!("../corpus/certificate_files/certificate")),
    ("key", include_str!("../corpus/certificate_files/key")),
];

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in GOOD {
        fs::write(folder.path().join(name), text).expect("a file");
    }
    let (server, client) = files(&folder);
    server.check().expect("good files");
    client.check().expect("good files");
    folder
});

fuzz_target!(|octets: &[u8]| {
    for (name, good) in GOOD {
        let path = FOLDER.path().join(name);
        fs::write(&path, octets).expect("a file");
        let (server, client) = files(&FOLDER);
        for error in [server.check().err(), client.check().err()].into_iter().flatten() {
            told(&error, name);
        }
        fs::write(&path, good).expect("a file");
    }
    subject(&CertificateDer::from(octets));
    for certificate in CertificateDer::pem_slice_iter(octets).flatten() {
        subject(&certificate);
    }
});

fn files(folder: &TempDir) -> (ServerFiles, ClientFiles) {
    let [ca, certificate, private_key]: [PathBuf; 3] = GOOD.map(|(name, _)| folder.path().join(name));
    let server =
        ServerFiles { certificate: certificate.clone(), private_key: private_key.clone(), client_ca: vec![ca.clone()] };
    (server, ClientFiles { ca, certificate, private_key })
}

fn told(error: &FileError, changed: &str) {
    // A certificate that belongs to another key is detected at the key.
    let at_fault = [changed, if changed == "certificate" { "key" } else { changed }];
    assert!(at_fault.iter().any(|name| error.file.ends_with(name)), "{error:?}");
    let numbers = format!("{:?}", SECRET.as_bytes());
    let causes = std::iter::successors(Some(error as &dyn Error), |&error| error.source());
    for text in causes.map(ToString::to_string).chain([format!("{error:?}")]) {
        assert!(!text.contains(SECRET) && !text.contains(numbers.trim_matches(['[', ']'])), "{text}");
    }
}
