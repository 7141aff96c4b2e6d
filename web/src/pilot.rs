//! The pilot's HTTP port: v1 discovery and the endpoints for operators.

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    web::{self, Data, ServiceConfig},
};
use boshy_mesh::{MeshSnapshot, TrustDomain};
use tokio::sync::watch;

use crate::{
    Page,
    authz::{self, Authz},
    identity::{self, Roots},
    operations::{self, Health, Operations, Reporter},
    status::PilotStatus,
    v1::Discovery,
};

const INDEX: &str = "boshy pilot

GET /healthz                                        no part of the process is stuck
GET /readyz                                         the mesh is known
GET /status                                         what the pilot knows, as JSON
GET /metrics                                        OpenMetrics
GET /authz?from={caller}&to={host}:{port}           what becomes of a connection
GET /identity/roots                                 the roots of the mesh, and who trusts which
GET /v1/registration                                endpoints of all services
GET /v1/registration/{service-key}                  endpoints of one port of one service
GET /v1/listeners/{service-cluster}/{service-node}  listeners of a proxy
GET /v1/clusters/{service-cluster}/{service-node}   clusters of a proxy
GET /v1/routes/{name}/{service-cluster}/{service-node}
GET /v1/az/{service-cluster}/{service-node}         zone of a proxy
GET /cache_stats                                    use of the v1 response cache
POST /cache_stats_delete                            zero these counts
";

/// State that the pilot's port reads. Clones share the cache and the counters, so that all workers use the same ones.
#[derive(Clone)]
pub struct PilotView {
    discovery: Arc<Discovery>,
    status: Reporter<PilotStatus>,
    health: Health,
    snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    domain: TrustDomain,
    roots: Roots,
}

impl PilotView {
    /// A view of the mesh and of the pilot itself. The snapshot's generation is 0 until the director has been read.
    pub fn new(snapshot: watch::Receiver<Arc<MeshSnapshot>>, status: Reporter<PilotStatus>, health: Health) -> Self {
        let discovery = Arc::new(Discovery::new(snapshot.clone()));
        Self { discovery, status, health, snapshot, domain: TrustDomain::default(), roots: Arc::new(|| None) }
    }

    /// The same view of a mesh with another trust domain.
    #[must_use]
    pub fn of_domain(self, domain: TrustDomain) -> Self {
        Self { domain, ..self }
    }

    /// The same view with an authority.
    #[must_use]
    pub fn with_roots(self, roots: Roots) -> Self {
        Self { roots, ..self }
    }
}

/// Mounts all endpoints of the pilot's port.
pub fn configure(config: &mut ServiceConfig, view: &PilotView) {
    let discovery = Arc::clone(&view.discovery);
    let counted = Arc::new(move |page: &mut Page| discovery.measure(page));
    let (report, health) = (Arc::clone(&view.status), Arc::clone(&view.health));
    operations::configure(config, Operations { health, report, counted, index: INDEX });
    identity::configure_reading(config, &view.roots);
    authz::configure(config, Authz { snapshot: view.snapshot.clone(), domain: view.domain.clone() });
    config
        .app_data(Data::from(Arc::clone(&view.discovery)))
        .default_service(web::to(async |discovery: Data<Discovery>, request: HttpRequest| discovery.answer(&request)));
}
