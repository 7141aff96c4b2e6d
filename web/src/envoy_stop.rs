//! `POST /envoy/stopping`: the parent of this VM's Envoy is about to end it.
//!
//! It is mounted where the withdrawal of the VM is ([`crate::withdrawal`]).

use std::{future::Future, pin::Pin, sync::Arc};

use actix_web::{
    HttpResponse,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;

use crate::operations::readable;

/// Takes notice of the stop of Envoy.
#[derive(Clone)]
pub struct TakeNotice(pub Arc<dyn Fn() -> TakingNotice + Send + Sync>);

/// The time until Envoy may close its listeners.
pub type TakingNotice = Pin<Box<dyn Future<Output = Noticed> + Send>>;

/// What the agent has done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Noticed {
    /// Number of captured ports that callers reach directly from now on.
    pub let_go: usize,
}

/// Mounts what the parent of Envoy may tell.
pub fn configure(config: &mut ServiceConfig, take_notice: &TakeNotice) {
    let service = readable("/envoy/stopping").route(web::post().to(stopping));
    config.app_data(Data::new(take_notice.clone())).service(service);
}

async fn stopping(take_notice: Data<TakeNotice>) -> HttpResponse {
    HttpResponse::Ok().json((take_notice.0)().await)
}
