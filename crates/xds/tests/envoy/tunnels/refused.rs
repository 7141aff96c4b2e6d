//! Who gets no tunnel.

use std::{io, sync::Arc, time::Duration};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    certificates::{Ca, Leaf, id},
    program::{Manner, Program},
    site::Site,
};
use crate::driver::DEADLINE;

/// The preface of HTTP/2 and empty settings (RFC 9113 sections 3.4 and 6.5).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a client with this certificate is answered over HTTP/2.
async fn answer(site: &Site, vm: u8, leaf: Option<&Leaf>) -> io::Result<Vec<u8>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.ca.root().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    let mut config = match leaf {
        None => config.with_no_client_auth(),
        Some(leaf) => {
            let chain = vec![CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap()).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from(format!("{}.boshy", id(vm))).unwrap();
    let stream = TcpStream::connect(site.tunnels(vm)).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(PREFACE).await?;
    let mut answer = vec![0; 9];
    timeout(DEADLINE, stream.read_exact(&mut answer)).await.unwrap()?;
    Ok(answer)
}

#[tokio::test]
async fn a_caller_without_a_certificate_of_the_mesh_that_holds_is_refused() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Greets).await;
    let _vm = site.instance(2).await;
    let good = site.ca.leaf(1, true);
    assert_eq!(answer(&site, 2, Some(&good)).await.unwrap()[3], 4, "settings");
    let (expired, foreign) = (site.ca.leaf(1, false), Ca::new("mesh").leaf(1, true));
    for (who, leaf) in [("nobody", None), ("expired", Some(&expired)), ("foreign", Some(&foreign))] {
        assert!(answer(&site, 2, leaf).await.is_err(), "{who}");
    }
    assert_eq!(program.accepted(), 0);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_before_the_program_sees_it() {
    let site = Site::new();
    let program = Program::start(site.program(2), Manner::Greets).await;
    let _vm = site.instance(2).await;
    let mut silent = TcpStream::connect(site.tunnels(2)).await.unwrap();
    let (since, mut received) = (Instant::now(), Vec::new());
    let end = timeout(DEADLINE, silent.read_to_end(&mut received)).await.expect("it is closed");
    assert!(end.is_err() || received.is_empty(), "{received:?}");
    let after = since.elapsed();
    assert!(after > Duration::from_secs(4) && after < Duration::from_secs(8), "{after:?}");
    assert_eq!(program.accepted(), 0);
}
