//! Reports to a pilot what it should know of this VM.

use std::time::Duration;

use boshy_mesh::AgentReport;
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use super::{ExchangeError, PilotConnection};
use crate::report::{REPORT, ReportRequest, ReportResponse};

/// Time for an answer. A pilot needs no disk for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a pilot answers to a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Whether the VM should ask for another certificate now.
    pub renew: bool,
    /// Whether the pilot knows the VM as an endpoint of a service.
    pub is_called: bool,
}

/// Reports of an instance to one pilot.
///
/// # Errors
/// When the pilot does not answer, or refuses the report.
pub async fn send_report(
    connection: &PilotConnection,
    instance: &str,
    report: &AgentReport,
) -> Result<Reported, ExchangeError> {
    let sent = send(connection, ReportRequest::of(instance, report)).await;
    sent.map_err(|source| ExchangeError::Report { pilot: connection.pilot.clone(), source: Box::new(source) })
}

async fn send(connection: &PilotConnection, report: ReportRequest) -> Result<Reported, Status> {
    let mut grpc = Grpc::new(connection.channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(report);
    request.set_timeout(PATIENCE);
    let codec: ProstCodec<ReportRequest, ReportResponse> = ProstCodec::default();
    let ReportResponse { renew, is_called } =
        grpc.unary(request, PathAndQuery::from_static(REPORT), codec).await?.into_inner();
    Ok(Reported { renew, is_called })
}
