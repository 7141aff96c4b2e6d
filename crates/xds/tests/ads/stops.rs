//! Agents that report that their VM is about to stop, to a pilot without TLS. Their VM is the one that has their address.

use std::{future::pending, net::IpAddr, sync::Arc};

use boshy_mesh::{AgentReport, MeshSnapshot, ServicePlan, Shared};
use boshy_xds::{
    AdsService, AgentReports, CAPTURE, MeshSource, Proxies,
    agent::{ExchangeError, ExchangeSettings, PilotConnection, send_report},
};
use tokio::{net::TcpListener, sync::watch};
use tonic::Code;

use crate::mesh::{endpoint, service, snapshot};

/// The instance at the address from which all tests report.
const HERE: &str = "127.0.0.1";

struct Pilot {
    connection: PilotConnection,
    reports: AgentReports,
    snapshots: watch::Sender<Arc<MeshSnapshot>>,
}

impl Pilot {
    /// Knows one service with these instances, whose ids are their addresses.
    async fn with(instances: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let (snapshots, receiver) = watch::channel(facts(instances));
        let reports = AgentReports::default();
        let hears = reports.clone();
        tokio::spawn(async move {
            let service = AdsService::new(MeshSource::new(receiver, CAPTURE), Proxies::default()).hearing(hears);
            service.serve_tcp(listener, pending()).await.unwrap();
        });
        let connection = PilotConnection::open(&uri, None, &ExchangeSettings::default()).await.unwrap();
        Self { connection, reports, snapshots }
    }

    async fn told(&self, instance: &str, stopping: bool) -> Result<bool, Code> {
        let report = AgentReport { stopping, able: true, ..AgentReport::default() };
        let reported = send_report(&self.connection, instance, &report).await;
        reported.map(|reported| reported.is_called).map_err(|error| match error {
            ExchangeError::Report { source, .. } => source.code(),
            other => panic!("{other}"),
        })
    }

    fn stopping(&self) -> Vec<String> {
        self.reports.stops().ids().into_iter().collect()
    }
}

fn facts(instances: &[&str]) -> Arc<MeshSnapshot> {
    let mut plan = ServicePlan::clone(&service("web", 1, &[]));
    plan.service.endpoints = instances.iter().map(|ip| endpoint(ip.parse::<IpAddr>().unwrap(), None)).collect();
    Arc::new(snapshot(1, &[Shared::new(plan)]))
}

#[tokio::test]
async fn an_agent_reports_the_stop_of_its_own_vm_and_takes_it_back_and_nothing_else_of_it_counts() {
    let pilot = Pilot::with(&[HERE, "10.0.0.2"]).await;
    let mut changes = pilot.reports.stop_changes();
    assert_eq!(pilot.told(HERE, true).await, Ok(true));
    assert_eq!(pilot.stopping(), [HERE]);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(pilot.told(HERE, true).await, Ok(true));
    assert!(!changes.has_changed().unwrap(), "a repetition is no news");
    assert_eq!(pilot.told(HERE, false).await, Ok(true));
    assert!(pilot.stopping().is_empty() && changes.has_changed().unwrap());
    assert_eq!(pilot.reports.table().iter().len(), 0, "that its Envoy accepts tunnels, its certificate would prove");
}

#[tokio::test]
async fn nobody_reports_the_stop_of_an_instance_that_has_another_address() {
    let pilot = Pilot::with(&[HERE, "10.0.0.2"]).await;
    // Who says so is at the address of another instance, or its agent reaches the pilot by way of that VM.
    for said in ["10.0.0.2", "unknown", ""] {
        assert_eq!(pilot.told(said, true).await, Err(Code::PermissionDenied), "{said}");
    }
    assert!(pilot.stopping().is_empty());
    // Nor does one take back what another has reported.
    pilot.reports.record_stop("10.0.0.2", true);
    assert_eq!(pilot.told("10.0.0.2", false).await, Err(Code::PermissionDenied));
    assert_eq!(pilot.stopping(), ["10.0.0.2"]);
}

#[tokio::test]
async fn an_address_that_no_instance_has_reports_nothing() {
    let pilot = Pilot::with(&["10.0.0.2"]).await;
    assert_eq!(pilot.told(HERE, true).await, Err(Code::PermissionDenied));
    pilot.snapshots.send_replace(facts(&[HERE]));
    assert_eq!(pilot.told(HERE, true).await, Ok(true));
    assert_eq!(pilot.stopping(), [HERE]);
}
