//! Tests the exchange by its messages alone: no pilot, no Envoy, no disk.

use std::sync::Arc;

use boshy_mesh::{Hostname, NameTable};
use boshy_supervision::{ChildRef, Tree};
use boshy_xds::{
    Resource, ResourceType,
    agent::{ExchangeError, Kept},
    names::Name,
    session::client::{RequestToPilot, ResponseFromPilot},
};
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::held_identity::samples;

const DEADLINE: Duration = Duration::from_secs(20);
const HOST: &str = "a.b.c.boshy";
const VIP: Ipv4Addr = Ipv4Addr::new(169, 254, 255, 1);

/// An exchange in a tree, and its output.
struct Vm {
    exchange: ChildRef<PilotExchange>,
    outlets: Outlets,
    requests: mpsc::Receiver<RequestToPilot>,
}

impl Vm {
    /// Opens a stream to a pilot and receives its subscriptions.
    async fn new(exchange: ChildRef<PilotExchange>, outlets: Outlets) -> Self {
        let (upstream, requests) = mpsc::channel(1024);
        let mut vm = Self { exchange, outlets, requests };
        vm.hears(StreamEvent::Opening { upstream, digests: false }).await;
        for kind in ResourceType::OF_PILOTS {
            assert!(matches!(vm.says().await, RequestToPilot::Subscribe { kind: asked, .. } if asked == kind));
        }
        vm.hears(StreamEvent::Open { pilot: Uri::from_static("http://pilot"), told: None }).await;
        vm
    }

    async fn hears(&self, event: StreamEvent) {
        self.exchange.send(PilotHeard(event)).await.expect("the exchange lives");
    }

    async fn is_told_of_a_name(&self, nonce: &str) {
        let name = Name { host: Hostname::parse(HOST).expect("a name"), vip: VIP, needs: None };
        self.hears(StreamEvent::Received(Ok(ResponseFromPilot {
            kind: ResourceType::Names,
            nonce: nonce.to_owned(),
            version: "1".to_owned(),
            resources: vec![Resource::new(HOST, name.encode())],
            removed: Vec::new(),
            complete: true,
        })))
        .await;
    }

    async fn says(&mut self) -> RequestToPilot {
        timeout(DEADLINE, self.requests.recv()).await.expect("the deadline has passed").expect("the exchange lives")
    }

    fn answers(&self) -> NameTable {
        self.outlets.names.borrow().as_ref().clone()
    }

    /// The disk writes the current state.
    async fn keeps(&self) {
        let state = Arc::clone(&self.outlets.stored.borrow());
        self.outlets.kept.send_replace(Kept::State(state));
        self.exchange.send(StateKept).await.expect("the exchange lives");
    }
}

fn driven<F: Future<Output = ()> + 'static>(
    require_proxy: bool,
    test: impl FnOnce(ChildRef<PilotExchange>, Outlets) -> F + 'static,
) {
    identified(require_proxy, None, |exchange, outlets, identity| async move {
        test(exchange, outlets).await;
        drop(identity);
    });
}

/// An exchange of a VM without a certificate, whose test has the means to give it one.
fn identified<F: Future<Output = ()> + 'static>(
    require_proxy: bool,
    streams: Option<Streams>,
    test: impl FnOnce(ChildRef<PilotExchange>, Outlets, watch::Sender<Arc<Held>>) -> F,
) {
    let (outlets, ack_states) = (Outlets::default(), AckStates::default());
    outlets.kept.send_replace(Kept::State(outlets.stored.borrow().clone()));
    let relay = RelaySettings { require_proxy, ..RelaySettings::default() };
    let identity = watch::Sender::<Arc<Held>>::default();
    let held = identity.subscribe();
    let parts = PilotExchangeParts { streams, relay, ack_states, outlets: outlets.clone(), held };
    actix::System::new().block_on(async {
        let mut tree = Tree::new("test");
        let exchange = tree.child("pilot_exchange", move |link| PilotExchange::new(parts.clone(), link)).add();
        tree.run_until(test(exchange, outlets, identity)).await;
    });
}

#[test]
fn a_name_is_answered_and_its_response_acknowledged_once_they_are_on_disk() {
    driven(false, |exchange, outlets| async {
        let mut vm = Vm::new(exchange, outlets).await;
        vm.is_told_of_a_name("n1").await;
        // Messages are handled in order: an answer sent before the state was written would have arrived.
        vm.exchange.send(TimePassed).await.expect("the exchange lives");
        assert!(vm.requests.try_recv().is_err());
        assert_eq!(vm.answers(), NameTable::default());
        assert_eq!(vm.outlets.stored.borrow().answered().get(HOST), Some(VIP));
        assert_eq!(*vm.outlets.unanswered.borrow(), 1);
        vm.keeps().await;
        assert!(matches!(vm.says().await, RequestToPilot::Ack { nonce, .. } if nonce == "n1"));
        assert_eq!(vm.answers().get(HOST), Some(VIP));
        assert_eq!(*vm.outlets.unanswered.borrow(), 0);
    });
}

#[test]
fn a_disk_that_takes_nothing_holds_up_nobody() {
    driven(false, |exchange, outlets| async {
        let mut vm = Vm::new(exchange, outlets).await;
        vm.is_told_of_a_name("n1").await;
        vm.outlets.kept.send_replace(Kept::Broken);
        vm.exchange.send(StateKept).await.expect("the exchange lives");
        assert!(matches!(vm.says().await, RequestToPilot::Ack { .. }));
        assert_eq!(vm.answers().get(HOST), Some(VIP));
    });
}

#[test]
fn what_is_not_kept_yet_when_a_stream_ends_is_not_acknowledged_on_the_next() {
    driven(false, |exchange, outlets| async {
        let vm = Vm::new(exchange, outlets).await;
        vm.is_told_of_a_name("n1").await;
        let error = ExchangeError::Closed { pilot: Uri::from_static("http://pilot") };
        vm.hears(StreamEvent::Ended { lived: DEADLINE, error }).await;
        assert!(vm.outlets.status.borrow().last_error.is_some());
        let Vm { exchange, outlets, .. } = vm;
        let mut vm = Vm::new(exchange, outlets).await;
        vm.keeps().await;
        assert_eq!(vm.answers().get(HOST), Some(VIP));
        assert!(vm.requests.try_recv().is_err());
    });
}

#[test]
fn without_a_word_of_envoy_a_name_waits_and_the_pilot_does_not() {
    driven(true, |exchange, outlets| async {
        let mut vm = Vm::new(exchange, outlets).await;
        vm.is_told_of_a_name("n1").await;
        vm.keeps().await;
        assert!(matches!(vm.says().await, RequestToPilot::Ack { .. }));
        let rest = vm.exchange.send(AckStatesChanged).await.expect("the exchange lives");
        assert!(rest < DEADLINE);
        assert_eq!(vm.answers(), NameTable::default());
        assert_eq!(vm.outlets.status.borrow().names.waiting, 1);
    });
}

#[test]
fn secrets_are_served_when_they_come_and_by_the_next_life_from_its_beginning() {
    identified(false, None, |_, outlets, identity| async move {
        for _ in 0..2 {
            let held = samples::held(clock::now());
            let serial = held.issued().expect("a certificate").leaf.serial.clone();
            identity.send_replace(Arc::new(held));
            let mut served = outlets.served.subscribe();
            let before = served.borrow().of(ResourceType::Secret).version().clone();
            let others = served.wait_for(|set| *set.of(ResourceType::Secret).version() != before);
            let set = timeout(DEADLINE, others).await.expect("the deadline has passed").expect("the exchange lives");
            assert_eq!(set.of(ResourceType::Secret).len(), 2, "{serial}");
        }
    });
}

#[test]
fn the_first_certificate_makes_a_new_connection_and_the_next_one_does_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket");
    let pilot = format!("http://{}", listener.local_addr().expect("an address"));
    let address = watch::Sender::new(Some(VIP));
    let node = NodeSettings { ip: None, id: "x".to_owned(), domain: "x".to_owned(), records: "/none".into() };
    let streams = Streams {
        node,
        address: address.subscribe(),
        pilots: vec![pilot.parse().expect("an address")],
        settings: ExchangeSettings::default(),
        tls: None,
        connection: watch::Sender::default(),
    };
    identified(false, Some(streams), |_, _, identity| async move {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
        // A pilot that is silent keeps the stream for 15 s.
        let accept = async || timeout(DEADLINE, listener.accept()).await.expect("in time").expect("a connection").0;
        let (_first, since) = (accept().await, tokio::time::Instant::now());
        identity.send_replace(Arc::new(samples::held(clock::now())));
        let _second = accept().await;
        assert!(since.elapsed() < Duration::from_secs(10), "the stream was given up for another reason");
        identity.send_replace(Arc::new(samples::held(clock::now())));
        address.send_replace(Some(Ipv4Addr::new(169, 254, 255, 2)));
        let _third = accept().await;
        let more = futures::poll!(std::pin::pin!(listener.accept()));
        assert!(more.is_pending(), "a renewal connected anew, beside the new address");
    });
}
