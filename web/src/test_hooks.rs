//! Injects faults on request, for tests of the supervision. Mounted only when the settings ask for it: any client that
//! reaches it can crash actors.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, Data, Path, Query, ServiceConfig},
};
use serde::Deserialize;

use crate::{error::RequestError, operations::readable};

/// A fault to inject into an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The handler panics.
    Panic,
    /// Blocks its thread for this time.
    Stick(Duration),
}

/// Injects the fault into the named actor. Returns whether there is such an actor.
pub type Switch = Arc<dyn Fn(&str, Fault) -> bool + Send + Sync>;

#[derive(Deserialize)]
struct Stick {
    seconds: f64,
}

/// Mounts `POST /debug/panic/{actor}` and `POST /debug/stick/{actor}?seconds=N`. The answer is 200, or 404 for an actor
/// that does not exist.
pub fn configure(config: &mut ServiceConfig, switch: &Switch) {
    config
        .app_data(Data::from(Arc::clone(switch)))
        .service(readable("/debug/panic/{actor}").route(web::post().to(panic_actor)))
        .service(readable("/debug/stick/{actor}").route(web::post().to(stick_actor)));
}

type Switched = Data<dyn Fn(&str, Fault) -> bool + Send + Sync>;

async fn panic_actor(switch: Switched, actor: Path<String>) -> Result<HttpResponse, RequestError> {
    act(&switch, actor, Fault::Panic)
}

async fn stick_actor(
    switch: Switched,
    actor: Path<String>,
    Query(Stick { seconds }): Query<Stick>,
) -> Result<HttpResponse, RequestError> {
    act(&switch, actor, Fault::Stick(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

fn act(switch: &Switched, actor: Path<String>, fault: Fault) -> Result<HttpResponse, RequestError> {
    let name = actor.into_inner();
    if !switch(&name, fault) {
        return Err(RequestError::UnknownActor { name });
    }
    Ok(HttpResponse::Ok().finish())
}
