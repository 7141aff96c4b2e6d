//! What agents report to this pilot, beside ADS. Whose report it is, the connection's certificate says. Without a
//! workload's certificate, its source address says whose stop is reported, and nothing else of the report counts.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use boshy_mesh::{AgentReport, Moment, ReportTable, Stops};
use tokio::sync::watch;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{NamedService, UnaryService},
};

use super::{
    certificates::Certifier,
    connection::Connection,
    source::{Resident, Source},
    unary::{self, Answered},
};
use crate::report::{REPORT, ReportRequest, ReportResponse, SERVICE};

/// Largest request: as many roots as a report may name take 4 KiB.
const MAX_REQUEST: usize = 16 << 10;

/// The latest reports of all agents. Clones share them. The server is the only writer.
#[derive(Clone, Debug)]
pub struct AgentReports {
    table: Arc<watch::Sender<ReportTable>>,
    stops: Arc<watch::Sender<Stops>>,
    /// Moments are counted from here.
    beginning: Instant,
}

impl Default for AgentReports {
    fn default() -> Self {
        Self { table: Arc::default(), stops: Arc::default(), beginning: Instant::now() }
    }
}

impl AgentReports {
    /// The reports that count now.
    pub fn table(&self) -> ReportTable {
        let mut table = self.table.borrow().clone();
        table.sweep(self.now());
        table
    }

    /// Changes whenever a report says something else than the one before, and when [`sweep`](Self::sweep) drops one.
    pub fn changes(&self) -> watch::Receiver<ReportTable> {
        self.table.subscribe()
    }

    /// The instances that are about to stop now.
    pub fn stops(&self) -> Stops {
        let mut stops = self.stops.borrow().clone();
        stops.sweep(self.now());
        stops
    }

    /// Changes whenever an instance is about to stop or no longer is.
    pub fn stop_changes(&self) -> watch::Receiver<Stops> {
        self.stops.subscribe()
    }

    /// Drops reports that no longer count.
    pub fn sweep(&self) {
        self.table.send_if_modified(|table| table.sweep(self.now()));
        self.stops.send_if_modified(|stops| stops.sweep(self.now()));
    }

    /// Records the report of an instance's agent.
    pub fn record(&self, instance: &str, report: AgentReport) {
        self.record_stop(instance, report.stopping);
        self.table.send_if_modified(|table| table.record(instance, report, self.now()));
    }

    /// Records whether an instance is about to stop.
    pub fn record_stop(&self, instance: &str, stopping: bool) {
        let changed = self.stops.send_if_modified(|stops| stops.record(instance, stopping, self.now()));
        if changed {
            tracing::info!(instance, stopping, "an instance says whether it is about to stop");
        }
    }

    /// The moment now, by the clock of [`table`](Self::table).
    pub fn now(&self) -> Moment {
        Moment(i64::try_from(self.beginning.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// Why a report is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NotItsReport {
    /// The address cannot be that of a VM.
    #[error("the client's certificate names no workload, and no instance has its address, by the director's facts")]
    Unknown,
    /// The report comes by way of another VM, or from a VM that the director no longer has.
    #[error("the client's certificate names no workload, and its address belongs to instance {resident}, not {said}")]
    Another { resident: String, said: String },
}

/// The service. Clones share all state.
#[derive(Clone)]
pub(super) struct ReportService {
    reports: AgentReports,
    source: Arc<dyn Source>,
    /// Hears of the certificates that are shown.
    certifier: Option<Arc<dyn Certifier>>,
}

impl ReportService {
    pub(super) fn new(reports: AgentReports, source: Arc<dyn Source>, certifier: Option<Arc<dyn Certifier>>) -> Self {
        Self { reports, source, certifier }
    }

    fn record(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        let connection = request.extensions().get::<Connection>().cloned();
        let from = connection.as_ref().and_then(|connection| connection.client);
        let workload = connection.and_then(|connection| connection.identity?.workload);
        let resident = from.and_then(|from| self.source.resident(from));
        let is_called = resident.as_ref().is_some_and(|resident| resident.is_called);
        let request = request.into_inner();
        let said = request.instance().to_owned();
        let report = AgentReport::try_from(request);
        let report = report.map_err(|error| Status::invalid_argument(format!("bad report: {error}")))?;
        let Some(workload) = workload else {
            let instance = by_address(resident, said);
            let instance = instance.map_err(|error| Status::permission_denied(error.to_string()))?;
            self.reports.record_stop(&instance, report.stopping);
            return Ok(Response::new(ReportResponse { renew: false, is_called }));
        };
        let certifier = self.certifier.as_ref().zip(from);
        let renew =
            certifier.is_some_and(|(certifier, from)| certifier.has_shown(from, &workload, report.issuer.as_deref()));
        self.reports.record(workload.instance(), report);
        Ok(Response::new(ReportResponse { renew, is_called }))
    }
}

/// The instance whose stop a client may report that shows no workload's certificate: the one that has its address, if the
/// client says the same. A client behind another VM's address would otherwise report the stop of that VM.
fn by_address(resident: Option<Resident>, said: String) -> Result<String, NotItsReport> {
    let resident = resident.ok_or(NotItsReport::Unknown)?.instance;
    if resident == said { Ok(resident) } else { Err(NotItsReport::Another { resident, said }) }
}

/// The only method.
struct Report(ReportService);

impl UnaryService<ReportRequest> for Report {
    type Response = ReportResponse;
    type Future = std::future::Ready<Result<Response<ReportResponse>, Status>>;

    fn call(&mut self, request: Request<ReportRequest>) -> Self::Future {
        std::future::ready(self.0.record(request))
    }
}

impl NamedService for ReportService {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for ReportService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answered;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        unary::answer(Report(self.clone()), REPORT, MAX_REQUEST, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_without_a_certificate_reports_the_stop_of_the_instance_at_its_address_alone() {
        let resident = |id: &str| Some(Resident { instance: id.to_owned(), is_called: true });
        assert_eq!(by_address(resident("one"), "one".to_owned()), Ok("one".to_owned()));
        assert_eq!(by_address(None, "one".to_owned()), Err(NotItsReport::Unknown));
        for said in ["two", ""] {
            let error = by_address(resident("one"), said.to_owned()).unwrap_err();
            assert_eq!(error, NotItsReport::Another { resident: "one".into(), said: said.into() });
        }
    }
}
