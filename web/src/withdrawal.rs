//! `POST /stopping`: the VM is about to stop, so its endpoints are withdrawn. `DELETE /stopping`: it does not after all.
//!
//! They are mounted at the agent's Unix socket alone, which root, the agent's own user and the parent of Envoy can open.
//! Every program of the VM reaches the port on loopback.

use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, Data, Query, ServiceConfig},
};
use serde::{Deserialize, Serialize};

use crate::{error::RequestError, operations::readable};

/// Longest time that a request may wait, in seconds.
const LONGEST: u64 = 600;

/// Withdraws the VM's endpoints, and takes them back.
#[derive(Clone)]
pub struct Withdraw {
    /// Tells the pilots, and waits for so long at most.
    pub withdraw: Arc<dyn Fn(Duration) -> Withdrawing + Send + Sync>,
    /// Takes it back. Returns whether there was something to take back.
    pub take_back: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The end of a withdrawal.
pub type Withdrawing = Pin<Box<dyn Future<Output = Withdrawn> + Send>>;

/// Who knows that the VM is about to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// Pilots that know.
    pub told: Vec<String>,
    /// Pilots that do not, and why.
    pub untold: BTreeMap<String, String>,
    /// Whether the VM is an endpoint of a service, so that there was something to withdraw.
    pub is_called: bool,
}

/// Parameters of the request.
#[derive(Deserialize)]
struct Within {
    /// Seconds to wait at most.
    within: u64,
}

/// The answer to a request to take it back.
#[derive(Serialize)]
struct TakenBack {
    /// Whether the VM was about to stop.
    was_stopping: bool,
}

/// Mounts what root on the VM may ask for.
pub fn configure(config: &mut ServiceConfig, withdraw: &Withdraw) {
    let service = readable("/stopping").route(web::post().to(begin)).route(web::delete().to(end));
    config.app_data(Data::new(withdraw.clone())).service(service);
}

async fn begin(withdraw: Data<Withdraw>, within: Query<Within>) -> Result<HttpResponse, RequestError> {
    let patience = Duration::from_secs(within.within.min(LONGEST));
    Ok(HttpResponse::Ok().json((withdraw.withdraw)(patience).await))
}

async fn end(withdraw: Data<Withdraw>) -> HttpResponse {
    HttpResponse::Ok().json(TakenBack { was_stopping: (withdraw.take_back)() })
}
