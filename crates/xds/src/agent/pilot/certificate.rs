//! Asks a pilot for a certificate.

use std::time::Duration;

use boshy_tls::ClientTls;
use tonic::{
    Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Uri},
};
use tonic_prost::ProstCodec;

use super::{ExchangeError, ExchangeSettings, PilotConnection};
use crate::istio::{CREATE, CreateRequest, CreateResponse};

/// Time for an answer. A pilot writes to its disk before it answers, and that may hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an agent asks for.
#[derive(Clone, Copy, Debug)]
pub struct CertificateWish<'a> {
    /// The request, PEM.
    pub csr: &'a str,
    /// Wanted life. `None` leaves it to the pilot.
    pub life: Option<Duration>,
    /// The agent's latest certificate, PEM, which may have expired. It lets a pilot that has not issued it see that the
    /// request's key belongs to the VM.
    pub latest: Option<&'a str>,
    /// The proof of the VM's BOSH agent for this request, PEM, where there is one.
    pub proof: Option<&'a str>,
}

/// Asks one pilot for a certificate over a connection of its own. Returns PEM texts: leaf, its issuers, roots.
///
/// # Errors
/// When the pilot cannot be reached, or refuses.
pub async fn request_certificate(
    pilot: &Uri,
    tls: &ClientTls,
    settings: &ExchangeSettings,
    wish: CertificateWish<'_>,
) -> Result<Vec<String>, ExchangeError> {
    let PilotConnection { channel, .. } = PilotConnection::open(pilot, Some(tls), settings).await?;
    let life = wish.life.map_or(0, |life| i64::try_from(life.as_secs()).unwrap_or(i64::MAX));
    let request = CreateRequest { csr: wish.csr.to_owned(), validity_duration: life, metadata: None };
    let answered = create(channel, request.with(wish.latest, wish.proof)).await;
    answered.map_err(|source| ExchangeError::Certificate { pilot: pilot.clone(), source: Box::new(source) })
}

async fn create(channel: Channel, request: CreateRequest) -> Result<Vec<String>, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(request);
    request.set_timeout(PATIENCE);
    let codec: ProstCodec<CreateRequest, CreateResponse> = ProstCodec::default();
    let answered = grpc.unary(request, PathAndQuery::from_static(CREATE), codec).await?;
    Ok(answered.into_inner().cert_chain)
}
