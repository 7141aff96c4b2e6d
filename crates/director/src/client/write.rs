//! Requests that change something. Each is sent once, or once more when the login had expired, because the first one
//! then changed nothing.

use secrecy::SecretString;
use std::{io, path::Path};

use awc::http::{Method, header};
use serde_json::json;
use tokio::{fs::File, io::AsyncReadExt};

use super::{
    Cause, ClientError, DirectorClient, Operation, TaskId,
    exchange::{Answer, Head, Pieces},
    failed, is_redirect, segment, target,
};

/// Number of bytes read from a file at a time and sent within one time-out.
const PIECE: u64 = 64 << 10;

impl DirectorClient {
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
        self.begin(Operation::UploadRelease(file.to_owned()), send).await
    }

    /// `POST /deployments`, like `bosh deploy`, with the text of a manifest.
    ///
    /// # Errors
    /// When the director does not begin; later errors are reported by the task.
    pub async fn deploy(&self, manifest: &str) -> Result<TaskId, ClientError> {
        let body = manifest.as_bytes();
        let send = async |login: &SecretString| self.post("/deployments", "text/yaml", body, login).await;
        self.begin(Operation::Deploy, send).await
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
        self.begin(Operation::DeleteDeployment(name.to_owned()), send).await
    }

    /// `POST /configs`, like `bosh update-config`: a new latest version, whatever the latest was. Creates no task.
    ///
    /// # Errors
    /// When the director does not accept it.
    pub async fn update_config(&self, kind: &str, name: &str, content: &str) -> Result<(), ClientError> {
        let body = json!({"type": kind, "name": name, "content": content}).to_string();
        let post = async |login: &SecretString| self.post("/configs", "application/json", body.as_bytes(), login).await;
        let answer = self.with_login(post).await;
        let taken = answer.and_then(|answer| if answer.status.is_success() { Ok(()) } else { Err(failed(&answer)) });
        taken.map_err(|cause| {
            let operation = Operation::UpdateConfig { kind: kind.to_owned(), name: name.to_owned() };
            ClientError { operation, cause }
        })
    }

    async fn post(&self, path: &str, content_type: &str, body: &[u8], login: &SecretString) -> Result<Answer, Cause> {
        let url = self.own_url(path)?;
        let header = Some((header::CONTENT_TYPE, content_type));
        let head = Head { method: Method::POST, url: &url, authorization: Some(login), header };
        self.exchange.send_once(&head, body).await
    }

    /// Sends a request that is answered with a redirect to its task. The redirect is the answer and is not followed.
    async fn begin(
        &self,
        operation: Operation,
        send: impl AsyncFn(&SecretString) -> Result<Answer, Cause>,
    ) -> Result<TaskId, ClientError> {
        let answer = self.with_login(send).await;
        answer.and_then(|answer| self.task_of(&answer)).map_err(|cause| ClientError { operation, cause })
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

/// A file as a body that is read while it is sent. If the file shrinks in the meantime, that is an error; if it grows,
/// the additional bytes are not sent.
async fn pieces(file: &Path) -> io::Result<Pieces> {
    let file = File::open(file).await?;
    let length = file.metadata().await?.len();
    let pieces = futures::stream::try_unfold((file, length), async |(mut file, left)| {
        let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or_default()];
        file.read_exact(&mut piece).await?;
        let left = left - piece.len() as u64;
        Ok((!piece.is_empty()).then_some((piece, (file, left))))
    });
    Ok(Pieces { length, pieces: Box::pin(pieces) })
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    /// Number of bytes sent of a file that changes its size in the meantime.
    async fn sent(announced: u64, by_then: u64) -> io::Result<usize> {
        let file = tempfile::NamedTempFile::new()?;
        file.as_file().set_len(announced)?;
        let body = pieces(file.path()).await?;
        assert_eq!(body.length, announced);
        file.as_file().set_len(by_then)?;
        let pieces: Vec<Vec<u8>> = body.pieces.try_collect().await?;
        assert!(pieces.iter().all(|piece| (1..=PIECE).contains(&(piece.len() as u64))));
        Ok(pieces.iter().map(Vec::len).sum())
    }

    #[tokio::test]
    async fn as_much_is_sent_as_was_announced_or_nothing_is_said_to_be_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            assert_eq!(sent(length, length).await.unwrap() as u64, length);
            assert_eq!(sent(length, length + 7).await.unwrap() as u64, length);
        }
        assert_eq!(sent(3 * PIECE, PIECE).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
