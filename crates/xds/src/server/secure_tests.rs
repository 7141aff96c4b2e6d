//! Handshakes beside which the server is busy, with a client of blocking sockets in a thread of its own: while that runs,
//! the paused clock stands still but for what the test lets pass.

#![expect(clippy::disallowed_methods, reason = "a test fails by what it waits for")]

use std::{fs, future::pending, io::Write, net, pin::pin, sync::mpsc};

use boshy_admission::{Admission, Limits};
use boshy_tls::{ClientFiles, ClientTls, ServerFiles};
use futures::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::ClientConnection;
use rustls_pki_types::ServerName;
use tempfile::TempDir;
use tokio::{
    task::{JoinHandle, spawn_blocking, yield_now},
    time::advance,
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    ALPN,
    server::turns::{AT_ONCE, LENGTH},
};

/// Security of a server with a client that it trusts.
fn sides(disk: &TempDir) -> (Security, ClientTls) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let write = |name: &str, text: &str| {
        let path = disk.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let pair = |name: &str, usage: ExtendedKeyUsagePurpose| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![usage];
        let certificate = params.signed_by(&key, &ca).unwrap();
        (write(name, &certificate.pem()), write(&format!("{name}.key"), &key.serialize_pem()))
    };
    let authority = write("ca", &ca.pem());
    let (certificate, private_key) = pair("server", ExtendedKeyUsagePurpose::ServerAuth);
    let server = ServerFiles { certificate, private_key, client_ca: vec![authority.clone()] };
    let (certificate, private_key) = pair("client", ExtendedKeyUsagePurpose::ClientAuth);
    let client = ClientFiles { ca: authority, certificate, private_key };
    let security = Security::new(ServerTls::open(server, ALPN).unwrap(), None, HandshakeFailures::default());
    (security, ClientTls::open(client, ALPN).unwrap())
}

/// A client that goes on with each word of the test: connects, begins the handshake, ends it.
struct Client {
    go_on: mpsc::Sender<()>,
    did: mpsc::Receiver<()>,
    ends: JoinHandle<io::Result<()>>,
}

impl Client {
    fn of(tls: &ClientTls, address: SocketAddr) -> Self {
        let config = tls.of_files();
        let (go_on, word) = mpsc::channel();
        let (does, did) = mpsc::channel();
        let ends = spawn_blocking(move || {
            let next = || word.recv_timeout(Duration::from_secs(60)).map_err(io::Error::other);
            let mut socket = net::TcpStream::connect(address)?;
            let mut connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
            next()?;
            connection.write_tls(&mut socket)?;
            socket.flush()?;
            does.send(()).map_err(io::Error::other)?;
            next()?;
            while connection.is_handshaking() || connection.wants_write() {
                connection.complete_io(&mut socket)?;
            }
            // It stays until the test has seen what the server makes of it.
            next()
        });
        Self { go_on, did, ends }
    }

    /// Nothing else happens in this thread meanwhile.
    fn begins(&self) {
        self.go_on.send(()).unwrap();
        self.did.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

fn gate() -> Gate {
    let admission = Admission::new(Limits { of_one_address: 9, in_all: 9 });
    Gate { admission, unused: Duration::from_secs(60), cut: CancellationToken::new() }
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_server_does_something_else_is_not_the_clients() {
    let disk = TempDir::new().unwrap();
    let (security, tls) = sides(&disk);
    let (patience, failures) = (security.patience, security.failures.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::of(&tls, listener.local_addr().unwrap());
    let gate = gate();
    let mut accepted = pin!(super::tls(listener, security, gate.clone()));
    let waits = async {
        while gate.admission.count() == 0 {
            yield_now().await;
        }
        // It waits for the client, who has not said a word.
        for _ in 0..100 {
            yield_now().await;
        }
    };
    tokio::select! {
        _ = accepted.next() => panic!("nothing was said"),
        () = waits => {}
    }
    client.begins();
    advance(patience).await;
    client.go_on.send(()).unwrap();
    let secured = timeout(2 * patience, accepted.next()).await;
    assert!(secured.is_ok(), "{:?}", failures.counts());
    client.go_on.send(()).unwrap();
    client.ends.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_begin_and_one_that_does_not_go_on_are_cut() {
    let disk = TempDir::new().unwrap();
    let (security, tls) = sides(&disk);
    let (patience, failures) = (security.patience, security.failures.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let [silent, stalled] = [(); 2].map(|()| Client::of(&tls, address));
    let gate = gate();
    let mut accepted = pin!(super::tls(listener, security, gate.clone()));
    let seen = async {
        while gate.admission.count() < 2 {
            yield_now().await;
        }
        stalled.begins();
        for _ in 0..1_000 {
            yield_now().await;
        }
        advance(patience).await;
        while gate.admission.count() > 0 {
            yield_now().await;
        }
    };
    tokio::select! {
        _ = accepted.next() => panic!("no handshake was finished"),
        () = seen => {}
    }
    assert_eq!(failures.counts()["slow"], 2);
    drop((silent, stalled));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_waits_for_its_turn_and_not_for_those_that_do_not_end() {
    let disk = TempDir::new().unwrap();
    let (security, tls) = sides(&disk);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::of(&tls, listener.local_addr().unwrap());
    let turns = Turns::default();
    let mut never_end = JoinSet::new();
    for _ in 0..AT_ONCE {
        let turns = turns.clone();
        never_end.spawn(async move { turns.run(pending::<()>()).await });
    }
    let mut door = Door { listener, security, gate: gate(), turns, handshakes: JoinSet::new() };
    client.begins();
    client.go_on.send(()).unwrap();
    let waits = async {
        // Longer than a handshake takes.
        for _ in 0..20_000 {
            yield_now().await;
        }
    };
    tokio::select! {
        _ = door.next() => panic!("others have all turns"),
        () = waits => {}
    }
    advance(LENGTH).await;
    drop(door.next().await);
    assert_eq!(never_end.len(), AT_ONCE);
    client.go_on.send(()).unwrap();
    client.ends.await.unwrap().unwrap();
}
