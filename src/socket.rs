//! How commands ask the pilot or the agent of their own VM, over a socket that only root and the job's user can open.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use boshy_http_client::{send_to_socket, whole};
use http::Request;

/// Largest answer in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// The body of a successful answer. `who` is asked, for errors.
pub(crate) fn ask(
    socket: &Path,
    who: &str,
    request: http::request::Builder,
    patience: Duration,
) -> anyhow::Result<Vec<u8>> {
    let at = || format!("ask the {who} at {}", socket.display());
    let request: Request<_> = request.body(whole("")).with_context(at)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("prepare to ask")?;
    let answer =
        runtime.block_on(async { tokio::time::timeout(patience, send_to_socket(socket, request, MAX_ANSWER)).await });
    let answer = answer.with_context(|| format!("the {who} does not answer")).with_context(at)?.with_context(at)?;
    if !answer.status().is_success() {
        bail!("the {who} answers {}: {}", answer.status(), String::from_utf8_lossy(answer.body()).trim());
    }
    Ok(answer.into_body().to_vec())
}
