//! The lab's director, asked from the host as the BOSH CLI asks it.
//!
//! Only what bringing up a lab takes: uploads, configs, deploys and deletes, each followed to the end of its task.

mod client;
mod task;
mod variables;

use std::path::Path;

use serde_json::Value;

pub(crate) use self::variables::{Filled, with_properties};
use self::{client::Client, task::Task};
use crate::{access::Access, error::LabError};

/// Words about what happens.
pub(crate) type Say<'a> = &'a mut dyn FnMut(&str);

/// A director to give work to.
pub(crate) struct Director {
    client: Client,
}

impl Director {
    pub(crate) fn new(access: Access) -> Result<Self, LabError> {
        Ok(Self { client: Client::new(access)? })
    }

    /// `bosh upload-release FILE`.
    pub(crate) async fn upload_release(&self, file: &Path, say: Say<'_>) -> Result<(), LabError> {
        let task = self.client.upload("/releases", file).await?;
        self.follow(&format!("uploading {}", file.display()), task, say).await
    }

    /// The newest version of a release that the director has.
    pub(crate) async fn newest(&self, release: &str) -> Result<String, LabError> {
        let releases = client::json("/releases", self.client.get("/releases", None).await?)?;
        let found = releases.as_array().into_iter().flatten().find(|known| known["name"] == release);
        let newest = found.and_then(|known| known["release_versions"].as_array()?.last()?["version"].as_str());
        newest.map(str::to_owned).ok_or_else(|| LabError::Refused(format!("the archive is no release named {release}")))
    }

    /// `bosh deploy`.
    pub(crate) async fn deploy(&self, manifest: &str, say: Say<'_>) -> Result<(), LabError> {
        let task = self.client.post("/deployments", "text/yaml", manifest.to_owned().into()).await?;
        self.follow("deploying", task, say).await
    }

    /// `bosh delete-deployment`.
    pub(crate) async fn delete(&self, deployment: &str, say: Say<'_>) -> Result<(), LabError> {
        let task = self.client.delete(&format!("/deployments/{}", client::segment(deployment))).await?;
        self.follow(&format!("deleting {deployment}"), task, say).await
    }

    /// `bosh update-runtime-config`.
    pub(crate) async fn update_runtime_config(&self, content: &str) -> Result<(), LabError> {
        let body = serde_json::json!({ "type": "runtime", "name": "default", "content": content });
        self.client.post("/configs", "application/json", body.to_string().into()).await.map(drop)
    }

    async fn follow(&self, operation: &str, task: Option<String>, say: Say<'_>) -> Result<(), LabError> {
        let Some(path) = task else {
            return Err(LabError::Refused(format!("{operation}: the director answered without a task")));
        };
        Task::new(&self.client, path).follow(operation, say).await
    }
}

/// A manifest as a value.
pub(crate) fn read(manifest: &str, what: &str) -> Result<Value, LabError> {
    let limits = boshy_director::yaml::Limits::default();
    boshy_director::yaml::from_text(manifest, &limits)
        .map_err(|source| LabError::Manifest { operation: format!("reading {what}"), source: Box::new(source) })
}
