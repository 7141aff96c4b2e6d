//! Faults on request, for tests of the supervision. Mounted only where the settings ask for it: whoever reaches it can crash actors.

use std::sync::Arc;

use actix_web::{
    HttpResponse,
    web::{self, Data, Path, ServiceConfig},
};

use crate::{error::RequestError, operations::readable};

/// Makes the named actor panic; whether there is such an actor.
pub type Switch = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Mounts `POST /debug/panic/{actor}`: 200, or 404 for an actor that does not exist.
pub fn configure(config: &mut ServiceConfig, switch: &Switch) {
    config
        .app_data(Data::from(Arc::clone(switch)))
        .service(readable("/debug/panic/{actor}").route(web::post().to(panic_actor)));
}

async fn panic_actor(
    switch: Data<dyn Fn(&str) -> bool + Send + Sync>,
    actor: Path<String>,
) -> Result<HttpResponse, RequestError> {
    let name = actor.into_inner();
    if !switch(&name) {
        return Err(RequestError::UnknownActor { name });
    }
    Ok(HttpResponse::Ok().finish())
}
