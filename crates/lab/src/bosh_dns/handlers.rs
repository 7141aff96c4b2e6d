//! Who answers for which domain.

use std::{fs, net::SocketAddr, path::Path};

use serde::Deserialize;

use crate::error::{Doing, LabError};

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
}

/// Domains, each with its server.
#[derive(Debug, Default)]
pub(super) struct Handlers(Vec<(String, SocketAddr)>);

impl Handlers {
    /// Reads the files of all jobs.
    pub(super) fn load(jobs: &Path) -> Result<Self, LabError> {
        let doing = || format!("reading {}", jobs.display());
        let mut handlers = Self::default();
        for job in fs::read_dir(jobs).doing(doing)? {
            let path = job.doing(doing)?.path().join("dns/handlers.json");
            if let Ok(text) = fs::read_to_string(&path) {
                handlers.add(&text).map_err(|reason| LabError::Refused(format!("{}: {reason}", path.display())))?;
            }
        }
        Ok(handlers)
    }

    fn add(&mut self, text: &str) -> Result<(), String> {
        let written: Vec<Handler> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for Handler { domain, source } in written {
            if source.kind != "dns" {
                return Err(format!("{domain} has a source of type {}; here only dns is known", source.kind));
            }
            let recursor = source.recursors.first().ok_or_else(|| format!("{domain} has no recursor"))?;
            let server = recursor
                .parse()
                .or_else(|_| format!("{recursor}:53").parse())
                .map_err(|_| format!("{domain} has the recursor {recursor:?}, which is no address"))?;
            let domain = format!("{}.", domain.trim_end_matches('.').to_ascii_lowercase());
            self.0.push((domain, server));
        }
        Ok(())
    }

    /// The server for a name (lower case, with a dot at the end): that of the longest domain it is in.
    pub(super) fn find(&self, name: &str) -> Option<SocketAddr> {
        let within = |domain: &str| {
            domain == "." || name.strip_suffix(domain).is_some_and(|labels| labels.is_empty() || labels.ends_with('.'))
        };
        let matching = self.0.iter().filter(|(domain, _)| within(domain));
        matching.max_by_key(|(domain, _)| domain.len()).map(|(_, server)| *server)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.0.iter().map(|(domain, server)| (domain.as_str(), *server))
    }

    #[cfg(test)]
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut handlers = Self::default();
        handlers.add(text)?;
        Ok(handlers)
    }
}
