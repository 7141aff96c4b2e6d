//! Connects the same two programs directly, through a virtual IP, and through a virtual IP over mutual TLS, and compares
//! what both ends see.

use std::collections::BTreeSet;

use boshy_tests::peer::{End, Outcome};

use crate::{
    connections::{PEER_PORT, with_peer_port},
    driver::Lab,
    manifests::{BANANA, Service},
    mtls::{is_tunnelled, issue_identities, switch},
    peers::Peer,
};

/// The service whose port the server listens on.
const SERVICE: Service = Service { port: PEER_PORT, ..BANANA };
/// Number of runs of each row, so that effects that depend on timing show in one of them.
const TIMES: usize = 3;

/// The course of a connection, in steps of `boshy-test-peer`.
struct Row {
    name: &'static str,
    client: &'static str,
    server: &'static str,
    /// Differences through the mesh, in plaintext and over mutual TLS.
    but: But,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum But {
    Same,
    /// The client sees an orderly end where it directly sees a reset.
    ClientInOrder,
    /// The server does.
    ServerInOrder,
    /// The client may lose octets sent before the reset.
    ClientMayLose,
}

impl But {
    fn why(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::ClientInOrder | Self::ServerInOrder => {
                "a reset arrives as an end in order: Envoy would send it at once, and with it take back what it has not written yet"
            }
            Self::ClientMayLose => {
                "while the client sends without a pause, Envoy writes before it reads, fails at the reset, and reads no more"
            }
        }
    }
}

use But::{ClientInOrder, ClientMayLose, Same, ServerInOrder};

const fn row(name: &'static str, client: &'static str, server: &'static str, but: But) -> Row {
    Row { name, client, server, but }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    row("nothing is sent, the server closes", "drain", "close", Same),
    row("nothing is sent, the client closes", "close", "drain", Same),
    row("nothing is sent, both close for writing", "shut drain", "shut drain", Same),
    row("the server speaks first and closes", "drain", "send:300 close", Same),
    row("the server speaks first, the client closes", "recv:300 close", "send:300 drain", Same),
    row("question, answer, the server closes", "send:1000 drain", "recv:1000 send:2000 close", Same),
    row("question, answer, the client closes", "send:1000 recv:2000 close", "recv:1000 send:2000 drain", Same),
    row("question, half-close, answer", "send:1000 shut drain", "drain send:2000 close", Same),
    row("half-close without a question, answer", "shut drain", "drain send:2000 close", Same),
    row("the server closes for writing, the client goes on", "recv:100 drain send:500000 close", "send:100 shut drain", Same),
    row("both close for writing at once, after data", "send:700 shut drain", "send:900 shut drain", Same),
    row("half-close, silence, then a large answer", "send:10 shut quiet:200 drain", "drain rest:500 send:3000000 close", Same),
    row("silence, then data", "rest:500 send:10 drain", "quiet:200 recv:10 send:10 close", Same),
    row("large to the server", "send:5000000 shut drain", "drain send:1 close", Same),
    row("large to the server, and closed at once", "send:3000000 close", "drain", Same),
    row("large to the client, and closed at once", "drain", "send:5000000 close", Same),
    row("large both ways at once", "upload:3000000", "upload:3000000", Same),
    row("large to a client that reads slowly", "slowly", "send:3000000 close", Same),
    row("larger than all buffers to a client that reads late", "rest:300 drain", "send:30000000 close", Same),
    row("large to a server that reads slowly", "send:3000000 close", "slowly", Same),
    row("the client resets before it has sent anything", "recv:1 reset", "send:1 drain", ServerInOrder),
    row("the client resets after data", "send:1000 recv:1 reset", "arrived:1000 send:1 drain", ServerInOrder),
    row("the client sends and resets at once", "send:1000 reset", "drain", ServerInOrder),
    row("the client resets within an answer", "send:10 recv:1000 reset", "recv:10 send:1000 drain", ServerInOrder),
    row("the client resets after its half-close", "shut recv:5 reset", "drain send:5 rest:50", Same),
    row("the client closes with octets unread", "send:100 arrived:5000 close", "recv:100 send:5000 drain", ServerInOrder),
    row("the client sends, and closes with octets unread", "send:1000 arrived:5 close", "send:5 rest:50 drain", ServerInOrder),
    row("the client leaves in the middle of a download", "recv:100000 close", "upload:10000000", ServerInOrder),
    row("the client resets in the middle of a download", "recv:100000 reset", "upload:10000000", ServerInOrder),
    row("the server resets before it has sent anything", "send:1 drain", "recv:1 reset", ClientInOrder),
    row("the server resets after its answer was read", "send:100 recv:200 send:1 drain", "recv:100 send:200 recv:1 reset", ClientInOrder),
    row("the server resets while its answer is unread", "send:100 arrived:200 send:1 drain", "recv:100 send:200 recv:1 reset", ClientInOrder),
    row("the server answers and resets at once", "send:100 drain", "recv:100 send:200 reset", ClientInOrder),
    row("the server answers much and resets at once", "send:100 drain", "recv:100 send:60000 reset", ClientInOrder),
    row("the server resets after the client's half-close", "send:100 shut drain", "drain send:200 reset", ClientInOrder),
    row("the server answers and closes with octets unread", "send:5000 drain", "arrived:5000 send:200 close", ClientInOrder),
    row("the server answers much and closes with octets unread", "send:5000 drain", "arrived:5000 send:20000 close", ClientInOrder),
    row("both close with octets unread", "send:500 arrived:500 close", "send:500 arrived:500 close", Same),
    row("an early answer to an upload that waits for it", "send:30000 drain", "arrived:1000 send:200 close", ClientInOrder),
    row("an early answer to an upload, and a moment before the close", "upload:3000000", "arrived:100000 send:200 rest:50 close", ClientInOrder),
    row("an early answer to an upload that does not wait, and a close at once", "upload:3000000", "arrived:100000 send:200 close", ClientMayLose),
    row("an upload that is refused without an answer", "upload:3000000", "arrived:100000 close", ClientInOrder),
];

#[test]
fn what_both_ends_see_is_the_same_through_the_mesh_as_directly_and_over_mutual_tls() {
    let lab = Lab::with(&with_peer_port(1));
    let direct = lab.address("banana/0");
    let meshed = lab.vips()[BANANA.host].clone();
    let port = PEER_PORT.to_string();
    let mut client = Peer::start(&lab, "apricot/0", &["connect"]);

    // The port is exposed, but nothing listens on it yet. Envoy accepts before it connects.
    let refused = |client: &mut Peer, host: &str| told(client, &format!("{host}:{port} drain")).end;
    assert_eq!(refused(&mut client, &direct), End::Refused);
    assert_eq!(refused(&mut client, &meshed), End::Fin);

    let listens = || Peer::listening(&lab, "banana/0", &["serve", &port]);
    let mut server = listens();
    let pass = |client: &mut Peer, server: &mut Peer, host: &str| -> Vec<Seen> {
        ROWS.iter().map(|row| converse(client, server, host, row)).collect()
    };
    let (directly, plainly) = (pass(&mut client, &mut server, &direct), pass(&mut client, &mut server, &meshed));
    drop(server);

    issue_identities(&lab);
    switch(&lab, "strict");
    lab.eventually("the service is reached over mutual TLS", || is_tunnelled(&lab, SERVICE)).is_in_agreement();
    assert_eq!(refused(&mut client, &direct), End::Refused);
    assert_eq!(refused(&mut client, &meshed), End::Fin);
    let tunnelled = pass(&mut client, &mut listens(), &meshed);

    let mut wrong = Vec::new();
    for (((row, directly), plainly), tunnelled) in ROWS.iter().zip(&directly).zip(&plainly).zip(&tunnelled) {
        let alike = [plainly, tunnelled].iter().all(|through| is_alike(row.but, directly, through));
        let remark = if alike { row.but.why() } else { "NOT ALIKE" };
        let [directly, plainly, tunnelled] = [directly, plainly, tunnelled].map(shown);
        eprintln!("{:66} | {directly:50} | {plainly:50} | {tunnelled:50} | {remark}", row.name);
        if !alike {
            wrong.push(row.name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Results at the client and the server.
type Seen = BTreeSet<(Outcome, Outcome)>;

fn converse(client: &mut Peer, server: &mut Peer, host: &str, row: &Row) -> Seen {
    let mut seen = Seen::new();
    for _ in 0..TIMES {
        server.tell(row.server);
        let of_client = told(client, &format!("{host}:{PEER_PORT} {}", row.client));
        seen.insert((of_client, serde_json::from_str(&server.hears()).unwrap()));
    }
    seen
}

fn told(peer: &mut Peer, line: &str) -> Outcome {
    peer.tell(line);
    serde_json::from_str(&peer.hears()).unwrap()
}

/// Whether every result through the mesh is also possible directly, except for the differences of the row.
fn is_alike(but: But, directly: &Seen, through: &Seen) -> bool {
    let in_order = |seen: &Seen| -> Seen {
        let mut seen: Vec<_> = seen.iter().cloned().collect();
        for (client, server) in &mut seen {
            let ends = match but {
                Same => [None, None],
                ClientInOrder | ClientMayLose => [Some(client), None],
                ServerInOrder => [None, Some(server)],
            };
            for outcome in ends.into_iter().flatten() {
                if outcome.end == End::Reset {
                    outcome.end = End::Fin;
                }
                if but == ClientMayLose {
                    outcome.received = 0;
                }
            }
        }
        seen.into_iter().collect()
    };
    let untroubled =
        |seen: &Seen| seen.iter().all(|(client, server)| client.trouble.is_empty() && server.trouble.is_empty());
    untroubled(directly) && in_order(through).is_subset(&in_order(directly))
}

/// Each result as `CLIENT / SERVER`.
fn shown(seen: &Seen) -> String {
    let one = |outcome: &Outcome| {
        let Outcome { received, end, trouble } = outcome;
        format!("{received} {}{trouble}", format!("{end:?}").to_lowercase())
    };
    let both: Vec<String> = seen.iter().map(|(client, server)| format!("{} / {}", one(client), one(server))).collect();
    both.join(", ")
}
