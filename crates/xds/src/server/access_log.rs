//! Envoy's access log service: what Envoy reports of tunnels that were not opened.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use envoy_types::pb::envoy::service::accesslog::v3::{
    StreamAccessLogsMessage, StreamAccessLogsResponse, access_log_service_server::AccessLogService,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::connection::Connection;
use crate::{Refusals, refused};

/// The service. Envoy opens one stream for each of its workers and logs.
pub(super) struct AccessLog {
    pub(super) refusals: Refusals,
    /// Ends all streams.
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl AccessLogService for AccessLog {
    async fn stream_access_logs(
        &self,
        request: Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let connection = request.extensions().get::<Connection>().cloned();
        // A worker's connection carries nothing else, and is as good as one that asks for resources.
        let _in_use = connection.as_ref().map(|connection| connection.place.busy());
        let mut messages = request.into_inner();
        loop {
            let message = tokio::select! {
                message = messages.message() => message?,
                () = self.stop.cancelled() => return Err(Status::unavailable("the server stops")),
            };
            let Some(message) = message else { return Ok(Response::new(StreamAccessLogsResponse {})) };
            for tunnel in refused::read(message) {
                self.refusals.take(tunnel, Instant::now(), now());
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "operators compare it with the time of day")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
