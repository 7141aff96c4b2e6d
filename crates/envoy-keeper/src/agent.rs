//! The agent of this VM, as far as Envoy's parent tells it something.

use std::{path::Path, time::Duration};

use boshy_http_client::{send_to_socket, whole};
use err_report::Report;
use http::Request;
use tokio::time::timeout;
use tracing::warn;

/// Longest time that the agent may take. It waits for the kernel's rules, and for callers on their way.
const LONGEST: Duration = Duration::from_secs(2);
const LARGEST_ANSWER: usize = 64 << 10;

/// Tells the agent that Envoy is about to stop, and waits until it has led elsewhere whom it can. Without an agent there
/// is nobody to do so.
pub(crate) async fn hears_of_the_stop(socket: &Path) {
    let Ok(request) = Request::post("/envoy/stopping").body(whole("")) else { return };
    let socket_shown = socket.display();
    match timeout(LONGEST, send_to_socket(socket, request, LARGEST_ANSWER)).await {
        Ok(Ok(answer)) if answer.status().is_success() => {}
        Ok(Ok(answer)) => {
            warn!(socket = %socket_shown, status = %answer.status(), "the agent does not take the stop of Envoy");
        }
        Ok(Err(error)) => {
            warn!(socket = %socket_shown, error = Report::new(&error).to_string(), "the agent is not told that Envoy stops");
        }
        Err(_) => warn!(socket = %socket_shown, "the agent does not answer that Envoy stops"),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test awaits the task")]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    #[tokio::test]
    async fn the_agent_is_told_and_its_answer_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        hears_of_the_stop(&path).await;
        let agent = UnixListener::bind(&path).unwrap();
        let telling = tokio::spawn(async move { hears_of_the_stop(&path).await });
        let (mut stream, _) = agent.accept().await.unwrap();
        let mut request = [0; 31];
        stream.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"POST /envoy/stopping HTTP/1.1\r\n");
        assert!(!telling.is_finished());
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        telling.await.unwrap();
    }
}
