//! Requests to the director: its TLS, its login, its redirects to tasks.

use std::{io, path::Path, sync::Arc, time::Duration};

use awc::{
    ClientRequest, ClientResponse,
    http::{Method, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::{
    access::Access,
    error::{Doing, LabError},
};

/// For one answer; work that takes longer is a task.
const PATIENCE: Duration = Duration::from_secs(60);
/// Read of one answer.
const LARGEST_ANSWER: usize = 64 << 20;
/// Sent at a time.
const CHUNK: usize = 1 << 20;

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    /// Path of the task, when there is one.
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Client {
    access: Access,
    http: awc::Client,
}

/// The director's words for a refusal.
#[derive(Deserialize)]
struct Refusal {
    code: u32,
    description: String,
}

impl Client {
    pub(super) fn new(access: Access) -> Result<Self, LabError> {
        let connector = awc::Connector::new().timeout(PATIENCE).rustls_0_23(Arc::new(tls(&access.ca_pem)?));
        let http = awc::Client::builder().connector(connector).disable_redirects().timeout(PATIENCE).finish();
        Ok(Self { access, http })
    }

    pub(super) async fn get(&self, path: &str, from: Option<usize>) -> Result<Answer, LabError> {
        let mut request = self.request(Method::GET, path).await?;
        if let Some(from) = from {
            request = request.insert_header((header::RANGE, format!("bytes={from}-")));
        }
        finish(path, request.send().await).await
    }

    /// Gives the path of the task that was begun.
    pub(super) async fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> Result<Option<String>, LabError> {
        let request = self.request(Method::POST, path).await?.insert_header((header::CONTENT_TYPE, kind));
        accepted(path, finish(path, request.send_body(body).await).await?)
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Option<String>, LabError> {
        let request = self.request(Method::DELETE, path).await?;
        accepted(path, finish(path, request.send().await).await?)
    }

    pub(super) async fn upload(&self, path: &str, file: &Path) -> Result<Option<String>, LabError> {
        let doing = || format!("opening {}", file.display());
        let content = tokio::fs::File::open(file).await.doing(doing)?;
        let length = content.metadata().await.doing(doing)?.len();
        let chunks = futures::stream::try_unfold(content, async |mut content| {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = (&mut content).take(CHUNK as u64).read_to_end(&mut chunk).await?;
            Ok::<_, io::Error>((read > 0).then_some((actix_web::web::Bytes::from(chunk), content)))
        });
        let body = actix_web::body::SizedStream::new(length, Box::pin(chunks.into_stream()));
        let request = self.request(Method::POST, path).await?;
        let request = request.insert_header((header::CONTENT_TYPE, "application/x-compressed"));
        accepted(path, finish(path, request.send_body(body).await).await?)
    }

    async fn request(&self, method: Method, path: &str) -> Result<ClientRequest, LabError> {
        let authorization = self.authorization().await?;
        let url = format!("{}{path}", self.access.url);
        Ok(self.http.request(method, url).insert_header((header::AUTHORIZATION, authorization)))
    }

    /// What the director wants it says in `/info`. A token lives for a few requests at most, so each request takes its own.
    async fn authorization(&self) -> Result<String, LabError> {
        let pair = format!("{}:{}", self.access.client, self.access.secret.expose_secret());
        let basic = format!("Basic {}", STANDARD.encode(pair));
        let info =
            json("/info", finish("/info", self.http.get(format!("{}/info", self.access.url)).send().await).await?)?;
        let Some(uaa) = info["user_authentication"]["options"]["url"].as_str() else { return Ok(basic) };
        let token = self.http.post(format!("{uaa}/oauth/token")).insert_header((header::AUTHORIZATION, basic));
        let answer = finish("/oauth/token", token.send_form(&[("grant_type", "client_credentials")]).await).await?;
        let token = json("/oauth/token", answer)?;
        Ok(format!("bearer {}", token["access_token"].as_str().unwrap_or_default()))
    }
}

/// A name as one segment of a path.
pub(super) fn segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The body of a good answer.
pub(super) fn json(path: &str, answer: Answer) -> Result<Value, LabError> {
    let answer = good(path, answer)?;
    serde_json::from_slice(&answer.body).doing(|| format!("reading the director's answer to {path}"))
}

fn accepted(path: &str, answer: Answer) -> Result<Option<String>, LabError> {
    good(path, answer).map(|answer| answer.location)
}

fn good(path: &str, answer: Answer) -> Result<Answer, LabError> {
    match answer.status {
        200..=399 => Ok(answer),
        status => {
            let said = match serde_json::from_slice::<Refusal>(&answer.body) {
                Ok(Refusal { code, description }) => format!("{description} (code {code})"),
                Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
            };
            Err(LabError::Refused(format!("the director answered {path} with {status}: {said}")))
        }
    }
}

async fn finish<S>(
    path: &str,
    answer: Result<ClientResponse<S>, awc::error::SendRequestError>,
) -> Result<Answer, LabError>
where
    S: futures::Stream<Item = Result<actix_web::web::Bytes, awc::error::PayloadError>> + Unpin,
{
    let failed = |error: String| LabError::Refused(format!("the director does not answer {path}: {error}"));
    let mut answer = answer.map_err(|error| failed(error.to_string()))?;
    let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    // By its path alone: the director may know itself under another address.
    let location = location.and_then(|text| url::Url::parse(text).ok()).map(|url| url.path().to_owned());
    let body = answer.body().limit(LARGEST_ANSWER).await.map_err(|error| failed(error.to_string()))?;
    Ok(Answer { status: answer.status().as_u16(), location, body: body.to_vec() })
}

fn tls(ca_pem: &str) -> Result<ClientConfig, LabError> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| LabError::Director {
        operation: "setting up TLS for the director".to_owned(),
        source: error,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        roots.add(certificate.map_err(|error| failed(error.into()))?).map_err(|error| failed(error.into()))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| failed(error.into()))?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
