//! Handlers: which server answers for which domain.

use std::{fs, io, net::SocketAddr, path::Path};

use serde::Deserialize;

use super::http::Endpoint;
use crate::error::{DnsError, Doing};

/// An entry of a job's `dns/handlers.json`.
#[derive(Deserialize)]
struct Handler {
    domain: String,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    recursors: Vec<String>,
    #[serde(default)]
    url: String,
}

/// Source of a domain's answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// A DNS server.
    Dns(SocketAddr),
    /// An HTTP server that answers in JSON.
    Http(Endpoint),
}

/// Domains, each with its source.
#[derive(Debug, Default)]
pub(super) struct Handlers(Vec<(String, Upstream)>);

impl Handlers {
    /// Reads the handler files of all jobs.
    pub(super) fn load(jobs: &Path) -> Result<Self, DnsError> {
        let doing = || format!("reading {}", jobs.display());
        let mut handlers = Self::default();
        for job in fs::read_dir(jobs).doing(doing)? {
            let path = job.doing(doing)?.path().join("dns/handlers.json");
            if let Ok(text) = fs::read_to_string(&path) {
                handlers.add(&text).map_err(io::Error::other).doing(|| format!("reading {}", path.display()))?;
            }
        }
        Ok(handlers)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let written: Vec<Handler> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for Handler { domain, source } in written {
            let upstream = match source.kind.as_str() {
                "dns" => recursor(&source.recursors).map(Upstream::Dns),
                "http" => Endpoint::parse(&source.url).map(Upstream::Http),
                kind => Err(format!("has a source of type {kind}; here dns and http are known")),
            };
            let upstream = upstream.map_err(|reason| format!("{domain} {reason}"))?;
            self.0.push((format!("{}.", domain.trim_end_matches('.').to_ascii_lowercase()), upstream));
        }
        Ok(())
    }

    /// The source for a name (lower case, with a final dot): that of the longest domain that contains it.
    pub(super) fn find(&self, name: &str) -> Option<&Upstream> {
        let within = |domain: &str| {
            domain == "." || name.strip_suffix(domain).is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
        };
        let matching = self.0.iter().filter(|(domain, _)| within(domain));
        matching.max_by_key(|(domain, _)| domain.len()).map(|(_, upstream)| upstream)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Upstream)> {
        self.0.iter().map(|(domain, upstream)| (domain.as_str(), upstream))
    }

    #[cfg(test)]
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut handlers = Self::default();
        handlers.add(text)?;
        Ok(handlers)
    }
}

fn recursor(recursors: &[String]) -> Result<SocketAddr, String> {
    let recursor = recursors.first().ok_or("has no recursor")?;
    recursor
        .parse()
        .or_else(|_| format!("{recursor}:53").parse())
        .map_err(|_| format!("has the recursor {recursor:?}, which is no address"))
}

#[cfg(test)]
#[path = "handlers_tests.rs"]
mod tests;
