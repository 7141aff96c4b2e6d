//! How commands ask a pilot over its HTTP API.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use boshy_http_client::{HttpClient, trusting, whole};
use http::Request;

/// How long a pilot may take to accept a connection, and how long to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Which pilot to ask.
#[derive(clap::Args)]
pub(crate) struct PilotArgs {
    /// The pilot to ask: http://HOST:8080, or https://HOST:8443 together with --pilot-ca
    #[arg(long = "pilot", value_name = "URL", env = "BOSHY_PILOT", default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Certificates that vouch for a pilot at an https URL, PEM; no others are trusted
    #[arg(long = "pilot-ca", value_name = "FILE", env = "BOSHY_PILOT_CA")]
    ca: Option<PathBuf>,
}

impl PilotArgs {
    /// The body of the answer to `GET PATH`.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let request = Request::get(&url).body(whole("")).with_context(|| format!("ask {url}"))?;
        let client = self.client()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("prepare to ask")?;
        let answer =
            runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, client.send(request, MAX_ANSWER)).await });
        let answer = answer.with_context(|| format!("the pilot {} does not answer", self.url))?;
        let answer = answer.with_context(|| format!("ask the pilot {}", self.url))?;
        if !answer.status().is_success() {
            bail!("the pilot {} answers {}: {}", self.url, answer.status(), String::from_utf8_lossy(answer.body()));
        }
        Ok(answer.into_body().to_vec())
    }

    fn client(&self) -> anyhow::Result<HttpClient> {
        let Some(file) = &self.ca else {
            if self.url.starts_with("https:") {
                bail!("give --pilot-ca, the certificates that vouch for the pilot {}", self.url);
            }
            return Ok(HttpClient::plain(PATIENCE));
        };
        let place = || format!("read {}", file.display());
        let ca = fs::read_to_string(file).with_context(place)?;
        Ok(HttpClient::new(trusting(Some(&ca)).with_context(place)?, PATIENCE))
    }
}
