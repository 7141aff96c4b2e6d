//! Plain HTTP requests.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;
use ureq::{Agent, Body, http};

/// A client of one address. Every request uses a new connection, so that none is answered by a server that has ended.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    agent: Agent,
}

/// An answer of any status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Body as text.
    pub body: String,
}

impl Http {
    /// A client of this address.
    pub fn new(address: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(10)))
            .max_idle_connections(0)
            .max_redirects(0)
            .build();
        Self { base: format!("http://{address}"), agent: config.into() }
    }

    /// `GET`.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Result<Reply, ureq::Error> {
        Reply::read(self.agent.get(format!("{}{path}", self.base)).call()?)
    }

    /// `GET` with an `Accept` header.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get_accepting(&self, path: &str, accept: &str) -> Result<Reply, ureq::Error> {
        Reply::read(self.agent.get(format!("{}{path}", self.base)).header("accept", accept).call()?)
    }

    /// `POST` without a body.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn post(&self, path: &str) -> Result<Reply, ureq::Error> {
        Reply::read(self.agent.post(format!("{}{path}", self.base)).send_empty()?)
    }
}

impl Reply {
    fn read(mut response: http::Response<Body>) -> Result<Self, ureq::Error> {
        Ok(Self { status: response.status().as_u16(), body: response.body_mut().read_to_string()? })
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}
