//! Configs of any type, in versions that are never overwritten.

use boshy_mesh::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::super::{DirectorError, clock, diff};
use boshy_director::wire::{Config, ConfigConflict, ConfigDiff, ConfigId, ConfigPost, DiffLine};
use boshy_yaml::{Limits, YamlError};

/// All versions of all configs.
#[derive(Debug, Default)]
pub(in super::super) struct Configs {
    versions: Vec<Version>,
    last_id: u64,
}

#[derive(Debug)]
struct Version {
    config: Config,
    deleted: bool,
    /// Stored by a transaction that has not been committed.
    hidden: bool,
}

/// Which configs to list.
#[derive(Debug, Default)]
pub(in super::super) struct ConfigFilter {
    pub(in super::super) kind: Option<String>,
    pub(in super::super) name: Option<String>,
    /// Number of newest versions per type and name.
    pub(in super::super) limit: Option<usize>,
}

/// A config to compare: a stored one or a text.
#[derive(Debug, Deserialize)]
pub(in super::super) struct ConfigRef {
    id: Option<Value>,
    content: Option<String>,
}

/// Why a config was not stored.
#[derive(Debug)]
pub(in super::super) enum PostRefused {
    Bad(DirectorError),
    Conflict(ConfigConflict),
}

impl Configs {
    /// Stores a version. When its content equals the latest, nothing is stored.
    pub(in super::super) fn post(&mut self, post: &ConfigPost, now: Timestamp) -> Result<Config, PostRefused> {
        let (kind, name, content) = checked(post).map_err(PostRefused::Bad)?;
        let latest = self.latest(kind, name);
        let latest_id = latest.map_or_else(|| "0".to_owned(), |config| config.id.clone());
        if let Some(expected) = &post.expected_latest_id {
            let expected_latest_id = expected.as_str().map_or_else(|| expected.to_string(), str::to_owned);
            if expected_latest_id != latest_id {
                let description = format!("Latest Id: '{latest_id}' does not match expected latest id");
                return Err(PostRefused::Conflict(ConfigConflict { latest_id, expected_latest_id, description }));
            }
        }
        if let Some(same) = latest.filter(|latest| latest.content == content) {
            return Ok(same.clone());
        }
        self.last_id += 1;
        let config = Config {
            content: content.to_owned(),
            id: self.last_id.to_string(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            team: None,
            created_at: clock::utc(now),
            current: true,
        };
        self.versions.push(Version { config: config.clone(), deleted: false, hidden: false });
        Ok(config)
    }

    /// The latest version of a config.
    pub(in super::super) fn latest(&self, kind: &str, name: &str) -> Option<&Config> {
        self.alive().rfind(|config| config.kind == kind && config.name == name)
    }

    /// The latest version of each name of a type.
    pub(in super::super) fn latest_of(&self, kind: &str) -> impl Iterator<Item = &Config> {
        self.alive().filter(move |config| {
            config.kind == kind && self.latest(kind, &config.name).is_some_and(|latest| latest.id == config.id)
        })
    }

    /// Any version, including deleted ones.
    pub(in super::super) fn version(&self, id: &str) -> Option<&Config> {
        let version = self.versions.iter().find(|version| version.config.id == id);
        version.map(|version| &version.config)
    }

    /// Content of any version, including deleted ones.
    pub(in super::super) fn content(&self, id: &str) -> Option<&str> {
        self.version(id).map(|config| config.content.as_str())
    }

    /// Any version that was not deleted.
    pub(in super::super) fn get(&self, id: &str) -> Option<Config> {
        self.alive().find(|config| config.id == id).map(|config| self.shown(config))
    }

    /// Ordered by type, `default` first in each, then by name; newest version first.
    pub(in super::super) fn list(&self, filter: &ConfigFilter) -> Vec<Config> {
        let wanted = |config: &&Config| {
            filter.kind.as_ref().is_none_or(|kind| config.kind == *kind)
                && filter.name.as_ref().is_none_or(|name| config.name == *name)
        };
        let mut found: Vec<Config> = self.alive().filter(wanted).map(|config| self.shown(config)).rev().collect();
        found.sort_by(|a, b| {
            let key = |config: &Config| (config.kind.clone(), config.name != "default", config.name.clone());
            key(a).cmp(&key(b))
        });
        let mut kept = 0;
        let mut previous: Option<(String, String)> = None;
        found.retain(|config| {
            let this = (config.kind.clone(), config.name.clone());
            kept = if previous.as_ref() == Some(&this) { kept + 1 } else { 1 };
            previous = Some(this);
            filter.limit.is_none_or(|limit| kept <= limit)
        });
        found
    }

    /// Deletes one version, or all of one name. Returns whether there was any.
    pub(in super::super) fn delete(&mut self, is_meant: impl Fn(&Config) -> bool) -> bool {
        let mut any = false;
        for version in self.versions.iter_mut().filter(|version| !version.deleted && is_meant(&version.config)) {
            version.deleted = true;
            any = true;
        }
        any
    }

    /// The changes that a post would make.
    pub(in super::super) fn diff(&self, post: &ConfigPost, redact: bool) -> Result<ConfigDiff, DirectorError> {
        let (kind, name, content) = checked(post)?;
        let latest = self.latest(kind, name);
        let id = latest.map_or_else(|| "0".to_owned(), |config| config.id.clone());
        let from = latest.map_or(Ok(Value::Null), |config| read(&config.content))?;
        Ok(ConfigDiff { from: ConfigId { id }, diff: diff::lines(&from, &read(content)?, redact) })
    }

    /// The difference between two configs.
    pub(in super::super) fn diff_two(&self, from: &ConfigRef, to: &ConfigRef) -> Result<Vec<DiffLine>, DirectorError> {
        Ok(diff::lines(&self.referred(from)?, &self.referred(to)?, true))
    }

    fn referred(&self, config: &ConfigRef) -> Result<Value, DirectorError> {
        match (&config.id, &config.content) {
            (Some(id), _) => {
                let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
                let known = self.alive().find(|config| config.id == id);
                let missing = || DirectorError::new(404, 440_012, format!("Config with ID '{id}' not found."));
                read(&known.ok_or_else(missing)?.content)
            }
            (None, Some(content)) => read(content),
            (None, None) => Err(DirectorError::bad_config("Either 'id' or 'content' is required")),
        }
    }

    /// The id that was given last.
    pub(in super::super) fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Hides the versions that were stored after the one with this id. Returns their ids.
    pub(in super::super) fn hide_after(&mut self, id: u64) -> Vec<String> {
        let newer = self.versions.iter_mut().filter(|version| version.config.id.parse().is_ok_and(|own: u64| own > id));
        newer.map(|version| (version.hidden = true, version.config.id.clone()).1).collect()
    }

    /// Shows versions that were hidden.
    pub(in super::super) fn show(&mut self, ids: &[String]) {
        for version in self.versions.iter_mut().filter(|version| ids.contains(&version.config.id)) {
            version.hidden = false;
        }
    }

    /// Number of versions ever stored.
    pub(in super::super) fn count(&self) -> usize {
        self.versions.len()
    }

    fn alive(&self) -> impl DoubleEndedIterator<Item = &Config> {
        self.versions.iter().filter(|version| !version.deleted && !version.hidden).map(|version| &version.config)
    }

    fn shown(&self, config: &Config) -> Config {
        let current = self.latest(&config.kind, &config.name).is_some_and(|latest| latest.id == config.id);
        Config { current, ..config.clone() }
    }
}

fn checked(post: &ConfigPost) -> Result<(&str, &str, &str), DirectorError> {
    let kind = required("type", post.kind.as_deref())?;
    let name = required("name", post.name.as_deref())?;
    let content = required("content", post.content.as_deref())?;
    read(content).map(|_| (kind, name, content))
}

fn read(content: &str) -> Result<Value, DirectorError> {
    match boshy_yaml::from_text::<Value>(content, &Limits::default()) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(DirectorError::new(400, 440_011, "YAML hash expected")),
        Err(error) => Err(bad_yaml(&error)),
    }
}

fn required<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, DirectorError> {
    let given = value.filter(|value| !value.is_empty());
    given.ok_or_else(|| DirectorError::bad_config(format!("'{key}' is required")))
}

fn bad_yaml(error: &YamlError) -> DirectorError {
    DirectorError::new(400, 440_011, format!("Config must be valid YAML: {error}"))
}
