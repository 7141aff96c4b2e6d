//! `GET /authz?from=CALLER&to=HOST:PORT`: what becomes of a connection, and by which document and line.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{self, Data, Query, ServiceConfig},
};
use boshy_mesh::{MeshSnapshot, TrustDomain, Verdict, caller};
use serde::Deserialize;
use tokio::sync::watch;

use crate::{error::RequestError, operations::readable};

/// What the endpoint reads.
pub(crate) struct Authz {
    /// The mesh.
    pub(crate) snapshot: watch::Receiver<Arc<MeshSnapshot>>,
    /// Trust domain of a caller that is written as `DEPLOYMENT/GROUP`.
    pub(crate) domain: TrustDomain,
}

/// The question.
#[derive(Deserialize)]
struct Question {
    from: String,
    to: String,
}

/// Mounts the endpoint.
pub(crate) fn configure(config: &mut ServiceConfig, authz: Authz) {
    config.app_data(Data::new(authz)).service(readable("/authz").route(web::get().to(authorized)));
}

async fn authorized(authz: Data<Authz>, question: Option<Query<Question>>) -> Result<HttpResponse, RequestError> {
    let Some(Query(Question { from, to })) = question else { return Err(RequestError::NoQuestion) };
    let snapshot = authz.snapshot.borrow().clone();
    if snapshot.generation == 0 {
        return Err(RequestError::NotReady { reason: "the director has not been read yet".to_owned() });
    }
    let refused = |reason| RequestError::Question { reason };
    let caller = caller(&from, &authz.domain, &snapshot.content).map_err(refused)?;
    let verdict = Verdict::of(&snapshot.content, &caller, &to).map_err(refused)?;
    let body = serde_json::to_vec_pretty(&verdict).expect("a verdict has string keys");
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body))
}
