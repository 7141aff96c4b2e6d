//! Reads a file and the environment into a raw value, with the place of every error.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use boshy_yaml::{Limits, YamlError};
use config::{Config, ConfigError, Environment, Map, Source, Value};
use serde::de::DeserializeOwned;

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file could not be read.
    #[error("{}: cannot be read", file.display())]
    Unreadable {
        /// Path of the settings file.
        file: PathBuf,
        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("{}: is not valid YAML", file.display())]
    Syntax {
        /// Path of the settings file.
        file: PathBuf,
        /// Position and cause.
        #[source]
        source: YamlError,
    },
    /// The file and the environment cannot be merged: a value of either cannot be a setting.
    #[error("{}: cannot be used together with the environment", file.display())]
    Merge {
        /// Path of the settings file.
        file: PathBuf,
        /// The value at fault and the cause.
        #[source]
        source: Box<ConfigError>,
    },
    /// A key is missing, unknown, or of the wrong type.
    #[error("{}: {key}: {reason}", file.display())]
    Key {
        /// Path of the settings file.
        file: PathBuf,
        /// Path of the key, such as `director.auth`.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate or its key cannot be used.
    #[error("{}: {key}", file.display())]
    Tls {
        /// Path of the settings file.
        file: PathBuf,
        /// Path of the key, such as `xds.tls.private_key_file`.
        key: String,
        /// The certificate file, and the cause.
        #[source]
        source: Box<boshy_tls::FileError>,
    },
}

impl SettingsError {
    /// The error of a certificate file that cannot be used. `section` is the setting that contains the keys of the
    /// files.
    pub(crate) fn tls(file: &Path, section: &str, error: boshy_tls::FileError) -> Self {
        Self::Tls { file: file.to_owned(), key: format!("{section}.{}", error.key), source: Box::new(error) }
    }

    pub(crate) fn key(file: &Path, key: impl Into<String>, reason: impl Display) -> Self {
        Self::Key { file: file.to_owned(), key: key.into(), reason: reason.to_string() }
    }
}

/// Reads a raw settings value.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<T, SettingsError> {
    let text =
        fs::read_to_string(file).map_err(|source| SettingsError::Unreadable { file: file.to_owned(), source })?;
    let written: Option<Map<String, Value>> = boshy_yaml::from_text(&text, &Limits::default())
        .map_err(|source| SettingsError::Syntax { file: file.to_owned(), source })?;
    let merged = Config::builder()
        .add_source(Written(written.unwrap_or_default()))
        .add_source(Environment::with_prefix("BOSHY").prefix_separator("__").separator("__"))
        .build()
        .map_err(|source| SettingsError::Merge { file: file.to_owned(), source: Box::new(source) })?;
    serde_path_to_error::deserialize(merged).map_err(|error| {
        let key = match error.path().to_string().as_str() {
            "." => "top level".to_owned(),
            path => path.to_owned(),
        };
        SettingsError::key(file, key, error.inner())
    })
}

/// The values of the file, which the environment overrides.
#[derive(Clone, Debug)]
struct Written(Map<String, Value>);

impl Source for Written {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
