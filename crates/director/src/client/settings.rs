//! Settings of the client: the director's address, its CA, and time-outs.

use secrecy::SecretString;
use std::{net::IpAddr, sync::Arc, time::Duration};

use boshy_http_client::{BadCa, trusting};
use rustls::ClientConfig;
use url::{Host, Url};

/// A user of the director, or a client of its UAA: the director says which of the two it expects.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User or client.
    pub name: String,
    /// Password or client secret.
    pub secret: SecretString,
}

/// How to reach a director.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// `https://HOST:25555`. Plain `http` is accepted only for a loopback address.
    pub url: String,
    /// Trusted CA certificates, as PEM text. No others are trusted, because directors have a CA of their own.
    pub ca_pem: Option<String>,
    /// The account.
    pub credentials: Credentials,
    /// Time-out of one request with its answer. While a file is uploaded, it applies to each piece of the file and then
    /// to the answer.
    pub timeout: Duration,
    /// Largest answer in bytes.
    pub max_body: usize,
    /// Maximum number of attempts of a read, when there is no answer or the status is 5xx. A write is sent once.
    pub attempts: u32,
    /// Pause before the second attempt. It doubles from there, and each pause is randomly shortened to between half and
    /// all of it.
    pub backoff: Duration,
}

impl ClientSettings {
    /// The default limits: 30 s, 32 MiB, three attempts.
    pub fn new(url: impl Into<String>, ca_pem: Option<String>, credentials: Credentials) -> Self {
        Self {
            url: url.into(),
            ca_pem,
            credentials,
            timeout: Duration::from_secs(30),
            max_body: 32 << 20,
            attempts: 3,
            backoff: Duration::from_millis(250),
        }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The URL is not valid.
    #[error("the director's URL {url:?} cannot be read")]
    Url {
        /// The URL as written.
        url: String,
        /// Cause.
        #[source]
        source: url::ParseError,
    },
    /// The URL is neither https nor loopback.
    #[error(
        "{0:?} must be an https URL; plain http would show the credentials and is taken only for loopback addresses"
    )]
    Insecure(String),
    /// No CA certificate is given.
    #[error("no CA certificate for {0:?}; directors have a CA of their own, and no other is trusted")]
    NoCa(String),
    /// The text of the CA contains no certificate that can be trusted.
    #[error("the CA certificate of the director cannot be used: {0}")]
    BadCa(BadCa),
}

/// Parses a URL, and rejects one that would send credentials over the network in plain text.
pub(super) fn checked_url(text: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(text).map_err(|source| SettingsError::Url { url: text.to_owned(), source })?;
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        _ => Err(SettingsError::Insecure(text.to_owned())),
    }
}

/// A TLS configuration that trusts only the given certificates and uses HTTP/1.1.
pub(super) fn tls(settings: &ClientSettings, url: &Url) -> Result<Arc<ClientConfig>, SettingsError> {
    if settings.ca_pem.is_none() && url.scheme() == "https" {
        return Err(SettingsError::NoCa(settings.url.clone()));
    }
    trusting(settings.ca_pem.as_deref()).map_err(SettingsError::BadCa)
}
