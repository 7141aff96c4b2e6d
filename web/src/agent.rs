//! The agent's HTTP port for operators and monit. It listens on loopback only.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};

use crate::{
    error::RequestError,
    operations::{self, Health, Operations, Reporter},
    status::AgentStatus,
};

const INDEX: &str = "boshy agent

GET /healthz  no part of the process is stuck
GET /readyz   names answer and their traffic can flow
GET /status   what the agent knows, as JSON
GET /metrics  OpenMetrics
";

/// State that the agent's port reads.
#[derive(Clone)]
pub struct AgentView {
    /// Creates the report.
    pub status: Reporter<AgentStatus>,
    /// Checks whether the process is alive.
    pub health: Health,
}

/// Mounts all endpoints of the agent's port.
pub fn configure(config: &mut ServiceConfig, view: &AgentView) {
    let (report, health) = (Arc::clone(&view.status), Arc::clone(&view.health));
    operations::configure(config, Operations { health, report, counted: Arc::new(|_| ()), index: INDEX });
    config.default_service(web::to(async || Err::<HttpResponse, _>(RequestError::PageNotFound)));
}
