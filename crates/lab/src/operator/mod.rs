//! The operator of the lab: a client of its director, used from the host as the BOSH CLI is.
//!
//! It implements what bringing up a lab requires: uploads, configs, deploys and deletes, each followed to the end of
//! its task.

mod task;
mod variables;

use std::path::Path;

use boshy_director::client::{ClientError, ClientSettings, Credentials, DirectorClient, TaskId};
use serde_json::Value;

pub(crate) use self::{
    task::Say,
    variables::{Filled, with_properties},
};
use crate::{access::Access, error::LabError};

/// Gives orders to the lab's director.
pub(crate) struct Operator {
    client: DirectorClient,
}

impl Operator {
    pub(crate) fn new(access: Access) -> Result<Self, LabError> {
        let credentials = Credentials { name: access.client, secret: access.secret };
        let settings = ClientSettings::new(access.url, Some(access.ca_pem), credentials);
        let client = DirectorClient::new(&settings).map_err(|source| LabError::Director {
            operation: "reading how the director is reached".to_owned(),
            source: source.into(),
        })?;
        Ok(Self { client })
    }

    /// `bosh upload-release FILE`.
    pub(crate) async fn upload_release(&self, file: &Path, say: Say<'_>) -> Result<(), LabError> {
        let task = self.client.upload_release(file).await?;
        self.follow(&format!("uploading {}", file.display()), task, say).await
    }

    /// The newest version of a release on the director.
    pub(crate) async fn newest(&self, release: &str) -> Result<String, LabError> {
        let found = self.client.releases().await?.into_iter().find(|known| known.name == release);
        let newest = found.and_then(|mut known| known.release_versions.pop());
        let missing = || LabError::Refused(format!("the archive is no release named {release}"));
        newest.map(|newest| newest.version).ok_or_else(missing)
    }

    /// `bosh deploy`.
    pub(crate) async fn deploy(&self, manifest: &str, say: Say<'_>) -> Result<(), LabError> {
        let task = self.client.deploy(manifest).await?;
        self.follow("deploying", task, say).await
    }

    /// `bosh delete-deployment`.
    pub(crate) async fn delete(&self, deployment: &str, say: Say<'_>) -> Result<(), LabError> {
        let task = self.client.delete_deployment(deployment).await?;
        self.follow(&format!("deleting {deployment}"), task, say).await
    }

    /// `bosh update-runtime-config`.
    pub(crate) async fn update_runtime_config(&self, content: &str) -> Result<(), LabError> {
        Ok(self.client.update_config("runtime", "default", content).await?)
    }

    async fn follow(&self, operation: &str, task: TaskId, say: Say<'_>) -> Result<(), LabError> {
        task::follow(&self.client, task, operation, say).await
    }
}

impl From<ClientError> for LabError {
    fn from(error: ClientError) -> Self {
        Self::Director { operation: "asking the lab's director".to_owned(), source: error.into() }
    }
}

/// Parses a manifest.
pub(crate) fn read(manifest: &str, what: &str) -> Result<Value, LabError> {
    let limits = boshy_yaml::Limits::default();
    boshy_yaml::from_text(manifest, &limits)
        .map_err(|source| LabError::Manifest { operation: format!("reading {what}"), source: Box::new(source) })
}
