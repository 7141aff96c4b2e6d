//! Requests of an operator: uploads, deploys, deletions. Each is sent once, or once more when the login had expired,
//! because the first one then changed nothing.

use std::path::Path;

use http::{Method, header};
use secrecy::SecretString;

use super::{
    Cause, ClientError, DirectorClient, Operation,
    action::{OperatorAction, TaskId},
    answer::{failed, is_redirect, target},
    exchange::{Answer, Head},
    login, segment,
    upload::pieces,
};
use crate::wire::{Event, Info, ReleaseRow};

impl From<OperatorAction> for Operation {
    fn from(action: OperatorAction) -> Self {
        Self::Operator(action)
    }
}

impl DirectorClient {
    /// `GET /info`, without login.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn info(&self) -> Result<Info, ClientError> {
        login::info(&self.exchange, &self.director).await
    }

    /// `GET /events` as in [`DirectorClient::dated_events`], without the time.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn events(&self, after: Option<i64>) -> Result<Vec<Event>, ClientError> {
        self.dated_events(after).await.map(|(events, _)| events)
    }

    /// `GET /releases`: every version of each, the oldest first.
    ///
    /// # Errors
    /// When the request fails.
    pub async fn releases(&self) -> Result<Vec<ReleaseRow>, ClientError> {
        self.get(OperatorAction::Releases.into(), "/releases").await
    }

    /// `POST /releases`, like `bosh upload-release FILE`. [`ClientSettings::timeout`](super::ClientSettings::timeout)
    /// applies to each piece of the file and to the answer, not to the whole upload.
    ///
    /// # Errors
    /// When the file cannot be read or the director does not accept it.
    pub async fn upload_release(&self, file: &Path) -> Result<TaskId, ClientError> {
        let send = async |login: &SecretString| {
            let url = self.own_url("/releases")?;
            let header = Some((header::CONTENT_TYPE, "application/x-compressed"));
            let head = Head { method: Method::POST, url: &url, authorization: Some(login), header };
            self.exchange.send_pieces(&head, pieces(file).await.map_err(Cause::Unreadable)?).await
        };
        self.begin(OperatorAction::UploadRelease(file.to_owned()), send).await
    }

    /// `POST /deployments`, like `bosh deploy`, with the text of a manifest.
    ///
    /// # Errors
    /// When the director does not begin; later errors are reported by the task.
    pub async fn deploy(&self, manifest: &str) -> Result<TaskId, ClientError> {
        let body = manifest.as_bytes();
        let send = async |login: &SecretString| self.post("/deployments", "text/yaml", body, login).await;
        self.begin(OperatorAction::Deploy, send).await
    }

    /// `DELETE /deployments/:name`, like `bosh delete-deployment`.
    ///
    /// # Errors
    /// When the director does not begin; [`ClientError::is_gone`] when the deployment does not exist.
    pub async fn delete_deployment(&self, name: &str) -> Result<TaskId, ClientError> {
        let send = async |login: &SecretString| {
            let url = self.own_url(&format!("/deployments/{}", segment(name)))?;
            let head = Head { method: Method::DELETE, url: &url, authorization: Some(login), header: None };
            self.exchange.send_once(&head, b"").await
        };
        self.begin(OperatorAction::DeleteDeployment(name.to_owned()), send).await
    }

    /// Sends a request that is answered with a redirect to its task. The redirect is the answer and is not followed.
    async fn begin(
        &self,
        action: OperatorAction,
        send: impl AsyncFn(&SecretString) -> Result<Answer, Cause>,
    ) -> Result<TaskId, ClientError> {
        let answer = self.with_login(send).await;
        answer.and_then(|answer| self.task_of(&answer)).map_err(|cause| ClientError { operation: action.into(), cause })
    }

    fn task_of(&self, answer: &Answer) -> Result<TaskId, Cause> {
        let no_task = || Cause::NoTask(answer.status.as_u16());
        if is_redirect(answer) {
            TaskId::from_path(target(&self.director, answer)?.path()).ok_or_else(no_task)
        } else if answer.status.is_success() {
            Err(no_task())
        } else {
            Err(failed(answer))
        }
    }
}
