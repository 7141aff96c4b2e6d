//! `GET /identity/roots`: the roots of the mesh, and who trusts which.
//!
//! `POST /identity/allow/{instance}`: an operator lets the VM of an instance have a certificate for another key. It is
//! mounted at the pilot's Unix socket alone, which root and the pilot's own user can open. Over the network
//! whoever reaches the port could ask for it, and so prepare the theft of an identity.

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{
    HttpResponse,
    http::header::ContentType,
    web::{self, Data, Path, ServiceConfig},
};
use boshy_mesh::TrustStanding;
use serde::Serialize;

use crate::{error::RequestError, operations::readable};

/// The roots, and who trusts which; `None` without an authority.
pub type Roots = Arc<dyn Fn() -> Option<TrustStanding> + Send + Sync>;

/// Forgets the keys of an instance. Returns how many were known, or why that cannot be done now.
pub type Allow = Arc<dyn Fn(String) -> Forgetting + Send + Sync>;

/// The end of an [`Allow`].
pub type Forgetting = Pin<Box<dyn Future<Output = Result<usize, String>> + Send>>;

/// The answer.
#[derive(Serialize)]
struct Allowed {
    /// Number of keys that were known and are forgotten.
    known: usize,
}

/// Mounts what everybody may read.
pub(crate) fn configure_reading(config: &mut ServiceConfig, roots: &Roots) {
    let service = readable("/identity/roots").route(web::get().to(standing));
    config.app_data(Data::from(Arc::clone(roots))).service(service);
}

async fn standing(roots: Data<dyn Fn() -> Option<TrustStanding> + Send + Sync>) -> Result<HttpResponse, RequestError> {
    let no_authority =
        || RequestError::NotDone { reason: "the pilot has no certificate authority (`identity`)".to_owned() };
    let standing = roots().ok_or_else(no_authority)?;
    let body = serde_json::to_vec_pretty(&standing).expect("a standing has string keys");
    Ok(HttpResponse::Ok().content_type(ContentType::json()).body(body))
}

/// Mounts what an operator on the VM may change.
pub fn configure(config: &mut ServiceConfig, allow: &Allow) {
    let service = readable("/identity/allow/{instance}").route(web::post().to(allow_another_key));
    config.app_data(Data::from(Arc::clone(allow))).service(service);
}

type Allowing = Data<dyn Fn(String) -> Forgetting + Send + Sync>;

async fn allow_another_key(allow: Allowing, instance: Path<String>) -> Result<HttpResponse, RequestError> {
    let known = allow(instance.into_inner()).await.map_err(|reason| RequestError::NotDone { reason })?;
    Ok(HttpResponse::Ok().json(Allowed { known }))
}
