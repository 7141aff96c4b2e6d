//! A client for a director.
//!
//! ```text
//!   DirectorClient ── requests, redirects, one renewal of the login; `operator`: what only an operator's client asks
//!     ├─ Logins ───── /info once; Basic, or a UAA token while it is good
//!     └─ Exchange ─── one request: TLS, time-outs, size, retries with jitter
//! ```
//!
//! A read creates no task, and is repeated when there is no answer or the director fails. A write is sent once: without an
//! answer it is unknown whether it took effect. The only write of a pilot is a new version of a config. The others need the
//! feature `operator`, which the release's program does not have. Most of them create a task, which is read like anything
//! else.
//!
//! Its futures must run on a tokio runtime.

#[cfg(feature = "operator")]
mod action;
mod answer;
mod configs;
mod error;
mod exchange;
mod links;
mod login;
#[cfg(feature = "operator")]
mod operator;
mod settings;
#[cfg(feature = "operator")]
mod task;
#[cfg(feature = "operator")]
mod upload;

use http::{
    Method, StatusCode,
    header::{self, HeaderName},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use url::Url;

#[cfg(feature = "operator")]
pub use self::{
    action::{OperatorAction, TaskId},
    task::{StepState, TaskStatus, TaskStep, TaskSteps},
};
use self::{
    answer::{body_of, failed, is_redirect, joined, target},
    exchange::{Answer, Exchange, Head},
    login::Logins,
};
pub use self::{
    error::{Cause, ClientError, Operation, TransportError},
    settings::{ClientSettings, Credentials, SettingsError},
};
use crate::wire::{DeploymentRow, EndedTask, Event, InstanceRow, ManifestBody};

const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const MAX_REDIRECTS: u32 = 5;
/// Path of the list, which costs the director two queries.
const DEPLOYMENTS: &str =
    "/deployments?exclude_configs=true&exclude_releases=true&exclude_stemcells=true&exclude_lock=true";
/// 9999-12-31T23:59:59Z, in seconds since 1970.
const LAST_SECOND: i64 = 253_402_300_799;

/// A client for one director.
pub struct DirectorClient {
    director: Url,
    exchange: Exchange,
    logins: Logins,
}

impl DirectorClient {
    /// Creates a client; sends nothing yet.
    ///
    /// # Errors
    /// When the URL or the CA cannot be used.
    pub fn new(settings: &ClientSettings) -> Result<Self, SettingsError> {
        let director = settings::checked_url(&settings.url)?;
        let exchange = Exchange::new(settings, &director)?;
        Ok(Self { director, exchange, logins: Logins::new(settings.credentials.clone()) })
    }

    /// `GET /deployments`, names and teams only, which costs the director two queries.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn deployments(&self) -> Result<Vec<DeploymentRow>, ClientError> {
        self.get(Operation::Deployments, DEPLOYMENTS).await
    }

    /// The same list, for a client that may read every deployment. Any other client gets a part of the list, or
    /// nothing, also with status 200. So `GET /locks` is requested first, which is refused to such a client, both with
    /// the same login.
    ///
    /// # Errors
    /// When the request fails; [`ClientError::lacks_right`] when the client may read only a part.
    pub async fn every_deployment(&self) -> Result<Vec<DeploymentRow>, ClientError> {
        // Any other failure says nothing about permissions, only that the list could not be read.
        let may = |cause| match cause {
            Cause::Unauthorized(_) | Cause::Status { status: 403, .. } => {
                ClientError { operation: Operation::Rights, cause }
            }
            cause => ClientError { operation: Operation::Deployments, cause },
        };
        let list = |cause| ClientError { operation: Operation::Deployments, cause };
        // A login is renewed when it is old, and after a refusal. Two renewals within so few requests have another
        // cause than age.
        for _ in 0..2 {
            let (allowed, by) =
                self.with_known_login(async |login| self.follow("/locks", None, login).await).await.map_err(may)?;
            // A director without this route has not refused it.
            if !allowed.status.is_success() && allowed.status != StatusCode::NOT_FOUND {
                return Err(may(failed(&allowed)));
            }
            let (answer, also_by) =
                self.with_known_login(async |login| self.follow(DEPLOYMENTS, None, login).await).await.map_err(list)?;
            if by.expose_secret() == also_by.expose_secret() {
                return body_of(&answer).map_err(list);
            }
        }
        Err(list(Cause::OtherLogin))
    }

    /// `GET /deployments/:name`: the text of the last successful deploy; `None` before the first.
    ///
    /// # Errors
    /// When the request fails; [`ClientError::is_gone`] when the deployment does not exist.
    pub async fn manifest(&self, deployment: &str) -> Result<Option<String>, ClientError> {
        let path = format!("/deployments/{}", segment(deployment));
        let body: ManifestBody = self.get(Operation::Manifest(deployment.to_owned()), &path).await?;
        Ok(body.manifest)
    }

    /// `GET /deployments/:name/instances`, from the director's tables, without asking agents.
    ///
    /// # Errors
    /// When the request fails; [`ClientError::is_gone`] when the deployment does not exist.
    pub async fn instances(&self, deployment: &str) -> Result<Vec<InstanceRow>, ClientError> {
        let path = format!("/deployments/{}/instances", segment(deployment));
        self.get(Operation::Instances(deployment.to_owned()), &path).await
    }

    /// `GET /events`: the newest 200, newest first; with `after`, only those of a later second. With the time of the
    /// director's clock at the answer in seconds since 1970, if given.
    ///
    /// # Errors
    /// When the request fails, or the time of an event is not valid.
    pub async fn dated_events(&self, after: Option<i64>) -> Result<(Vec<Event>, Option<i64>), ClientError> {
        let path = after.map_or_else(|| "/events".to_owned(), |after| format!("/events?after_time={after}"));
        let read = async {
            let answer = self.asked(&path, None).await?;
            let events: Vec<Event> = body_of(&answer)?;
            events.iter().try_for_each(plausible)?;
            Ok((events, answer.date))
        };
        read.await.map_err(|cause| ClientError { operation: Operation::Events, cause })
    }

    /// `GET /tasks` of tasks that have ended in any way: the newest `limit`, the last to end first. Without
    /// `of_every_kind`, only work on deployments, releases, stemcells and disks, as ordered by people.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn ended_tasks(&self, limit: u32, of_every_kind: bool) -> Result<Vec<EndedTask>, ClientError> {
        let verbose = if of_every_kind { 2 } else { 1 };
        let path = format!("/tasks?state=done,error,cancelled,timeout&verbose={verbose}&limit={limit}");
        self.get(Operation::Tasks, &path).await
    }

    async fn get<T: DeserializeOwned>(&self, operation: Operation, path: &str) -> Result<T, ClientError> {
        let answer = self.asked(path, None).await;
        answer.and_then(|answer| body_of(&answer)).map_err(|cause| ClientError { operation, cause })
    }

    async fn asked(&self, path: &str, header: Option<(HeaderName, &str)>) -> Result<Answer, Cause> {
        self.with_login(async |login| self.follow(path, header.clone(), login).await).await
    }

    async fn with_login(&self, ask: impl AsyncFn(&SecretString) -> Result<Answer, Cause>) -> Result<Answer, Cause> {
        self.with_known_login(ask).await.map(|(answer, _)| answer)
    }

    /// Any answer except 401, and the login that it was given to. A login that may only be too old is renewed once: the
    /// director also answers 401 to a valid login with too few scopes, and would do so again.
    async fn with_known_login(
        &self,
        ask: impl AsyncFn(&SecretString) -> Result<Answer, Cause>,
    ) -> Result<(Answer, SecretString), Cause> {
        let mut renewed = false;
        loop {
            let login = self
                .logins
                .current(&self.exchange, &self.director)
                .await
                .map_err(|error| Cause::Login(Box::new(error)))?;
            let answer = ask(&login.header).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok((answer, login.header));
            }
            self.logins.refused(&login).await;
            if renewed || !login.renewable {
                return Err(failed(&answer));
            }
            renewed = true;
        }
    }

    /// Reads, and follows redirects by their path only: behind a proxy the director does not know its own address, and
    /// the login is meant for the configured host only.
    async fn follow(
        &self,
        path: &str,
        header: Option<(HeaderName, &str)>,
        login: &SecretString,
    ) -> Result<Answer, Cause> {
        let mut url = self.own_url(path)?;
        for _ in 0..=MAX_REDIRECTS {
            let head = Head { method: Method::GET, url: &url, authorization: Some(login), header: header.clone() };
            let answer = self.exchange.send(&head, b"").await?;
            if !is_redirect(&answer) {
                return Ok(answer);
            }
            let target = target(&url, &answer)?;
            url.set_path(target.path());
            url.set_query(target.query());
        }
        Err(Cause::Redirect("too often"))
    }

    async fn post(&self, path: &str, content_type: &str, body: &[u8], login: &SecretString) -> Result<Answer, Cause> {
        let url = self.own_url(path)?;
        let header = Some((header::CONTENT_TYPE, content_type));
        let head = Head { method: Method::POST, url: &url, authorization: Some(login), header };
        self.exchange.send_once(&head, body).await
    }

    fn own_url(&self, path: &str) -> Result<Url, Cause> {
        joined(&self.director, path)
    }
}

fn segment(name: &str) -> String {
    utf8_percent_encode(name, PATH_SEGMENT).to_string()
}

fn plausible(event: &Event) -> Result<(), Cause> {
    let Event { id, timestamp, .. } = event;
    if (0..=LAST_SECOND).contains(timestamp) {
        return Ok(());
    }
    Err(Cause::Odd(format!("event {id:?} has the time {timestamp}, which lies outside of the years 1970 to 9999")))
}
