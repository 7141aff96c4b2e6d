//! The agent's port for operators and monit, on loopback only.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};

use crate::{
    error::RequestError,
    operations::{self, Operations, Reporter},
    status::AgentStatus,
};

const INDEX: &str = "boshy agent

GET /healthz  the process serves
GET /readyz   names answer and their traffic can flow
GET /status   what the agent knows, as JSON
GET /metrics  OpenMetrics
";

/// What the agent's port reads.
#[derive(Clone)]
pub struct AgentView {
    /// Makes a report.
    pub status: Reporter<AgentStatus>,
}

/// Mounts everything that the agent's port serves.
pub fn configure(config: &mut ServiceConfig, view: &AgentView) {
    operations::configure(
        config,
        Operations { report: Arc::clone(&view.status), counted: Arc::new(|_| ()), index: INDEX },
    );
    config.default_service(web::to(async || Err::<HttpResponse, _>(RequestError::PageNotFound)));
}
