//! Tests the pilot's server by its messages alone; an agent's stream checks what is served.

use std::{cell::RefCell, time::Duration};

use boshy_mesh::{Hostname, Origin, Service, ServicePlan, Shared, SnapshotContent, Tld, VipRange};
use boshy_supervision::{ExitReason, Tree};
use boshy_xds::{
    ResourceType,
    agent::{ExchangeSettings, PilotStream, StreamEvent, StreamListener},
    session::client::{RequestToPilot, ResponseFromPilot},
};
use tokio::{sync::mpsc, time::timeout};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

/// A mesh of one service.
fn mesh(generation: u64, host: &str) -> Arc<MeshSnapshot> {
    let origin = Origin { deployment: "c".into(), group: "b".into(), job: "a".into() };
    let service = Service { host: Hostname::parse(host).unwrap(), origin, ports: Vec::new(), endpoints: Vec::new() };
    let services = vec![Shared::new(ServicePlan {
        service,
        vip: [169, 254, 255, 1].into(),
        tunnel: None,
        withdrawn: Default::default(),
    })];
    let content = SnapshotContent { services, ..SnapshotContent::default() };
    Arc::new(MeshSnapshot { generation, content, ..MeshSnapshot::default() })
}

/// Asks for names, accepts all, and reports what it was sent.
struct Ear {
    upstream: RefCell<Option<mpsc::Sender<RequestToPilot>>>,
    heard: mpsc::UnboundedSender<ResponseFromPilot>,
}

impl StreamListener for Ear {
    async fn hear(&self, event: StreamEvent) -> bool {
        match event {
            StreamEvent::Opening { upstream, .. } => {
                let asked = RequestToPilot::Subscribe { kind: ResourceType::Names, held: Vec::new(), mark: false };
                upstream.send(asked).await.unwrap();
                *self.upstream.borrow_mut() = Some(upstream);
            }
            StreamEvent::Received(response) => {
                let response = response.unwrap();
                let accepted =
                    RequestToPilot::Ack { type_url: response.kind.url().to_owned(), nonce: response.nonce.clone() };
                let upstream = self.upstream.borrow().clone();
                // The stream may have ended in the meantime.
                let _ = upstream.unwrap().send(accepted).await;
                self.heard.send(response).unwrap();
            }
            _ => {}
        }
        true
    }
}

/// Names that were sent, and names that were removed.
async fn names(heard: &mut mpsc::UnboundedReceiver<ResponseFromPilot>) -> (Vec<String>, Vec<String>) {
    let response = timeout(DEADLINE, heard.recv()).await.expect("the deadline has passed").unwrap();
    let sent = response.resources.iter().map(|resource| resource.name.to_string()).collect();
    (sent, response.removed.iter().map(ToString::to_string).collect())
}

fn one(name: &str) -> Vec<String> {
    vec![name.to_owned()]
}

#[test]
fn it_is_driven_by_messages_alone_and_a_fresh_life_begins_with_what_is_published() {
    let listener = Arc::new(net::TcpListener::bind("127.0.0.1:0").unwrap());
    let pilot = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = MeshServerParts {
        listener,
        security: None,
        certifier: None,
        told: MeshTold { tld: Tld::default(), vip_range: VipRange::default(), authority: None, table: None },
        proxies: Proxies::default(),
        reports: AgentReports::default(),
    };
    let published = watch::Sender::new(mesh(1, "a.b.kept.boshy"));
    let parts = XdsServerParts::mesh(server, published.subscribe());
    actix::System::new().block_on(async {
        let mut tree = Tree::new("test");
        let server = tree.child("xds_server", move |link| XdsServer::new(parts.clone(), link)).add();
        let (saboteur, status) = (tree.saboteur(), tree.status());
        let scenario = async move {
            let (told, mut heard) = mpsc::unbounded_channel();
            let ear = Ear { upstream: RefCell::default(), heard: told };
            let stream = PilotStream {
                node: "sidecar~10.0.0.2~x~x".parse().unwrap(),
                settings: ExchangeSettings::default(),
                tls: None,
                unanswered: watch::channel(0).1,
                stored: watch::channel(Default::default()).1,
                avoided: Default::default(),
                connection: watch::Sender::default(),
            };
            let converses = async {
                loop {
                    stream.run(&pilot, &ear).await;
                }
            };
            let drives = async {
                assert_eq!(names(&mut heard).await, (one("a.b.kept.boshy"), vec![]));
                server.send(Published(mesh(2, "a.b.c.boshy"))).await.unwrap();
                assert_eq!(names(&mut heard).await, (one("a.b.c.boshy"), one("a.b.kept.boshy")));
                assert!(saboteur.panic_child("xds_server"));
                assert_eq!(names(&mut heard).await.0, one("a.b.kept.boshy"));
                assert_eq!(status.borrow().children[0].restarts, 1);
            };
            tokio::select! {
                () = converses => {}
                () = drives => {}
            }
        };
        assert_eq!(tree.run_until(Box::pin(scenario)).await, ExitReason::Normal);
    });
}
